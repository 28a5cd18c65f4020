"""
Run all benchmarks, and write the results to docs/benchmarks.

Run it with C{make bench}, or C{python -m benchmarks.everything}; C{ARGS=--full} takes about an hour on an idle machine.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from attrs import evolve

from benchmarks import (
    controllers,
    fanout,
    figures,
    footprint,
    growth,
    hits,
    outputs,
    polls,
    proof,
    publishes,
    recovery,
    registrations,
    rollouts,
)
from benchmarks.figures import Figures
from benchmarks.findings import FOLDER, FULL, SHORT, TINY, Bar, Finding, Scale, save, say
from benchmarks.plots import Chart
from benchmarks.strategies import PROGRAMS, lacking

#: Mean interval of the polls of POLLER.
_INTERVAL = 5.0

#: Agents of KAFKA at most.
_KAFKA_MAX_AGENTS = 1000

_NAN = float("nan")


def pushes(scale: Scale) -> Finding:
    """Measure for each strategy the time from a publish to the last agent, and the memory that an agent takes."""
    absent = [name for name in PROGRAMS if lacking(name) is not None]
    runs: dict[tuple[str, int], list[Figures]] = {}
    for agents in scale.agents:
        for number in range(scale.times):
            for strategy in [
                each for each in ("STREAM", "REDIS", "NATS", "KAFKA", "ETCD", "POLLER") if each not in absent
            ]:
                # KAFKA is for fleets of hundreds.
                if strategy == "KAFKA" and agents > _KAFKA_MAX_AGENTS:
                    continue
                # The delay of POLLER is its interval; more rounds would show nothing new.
                if strategy == "POLLER" and number:
                    continue
                rounds = 1 if strategy == "POLLER" else max(1, scale.rounds // scale.times)
                told = fanout.measure(strategy, agents, rounds, _INTERVAL)
                runs.setdefault((strategy, agents), []).append(told)
                say(f"  {strategy}, {agents} agents, {number + 1}: {told.whole:.0f} ms from the request to the last")
    by = {key: figures.middle(each) for key, each in runs.items()}
    # The middle size and the largest one; REDIS and NATS at the middle size.
    sizes = sorted({scale.agents[len(scale.agents) // 2], scale.agents[-1]})
    bars = []
    for agents in sizes:
        stream, watch = by["STREAM", agents], by.get(("ETCD", agents))
        late = _p99(stream) / _p99(watch) if watch else _NAN
        bars.append(Bar(f"STREAM's p99 by etcd watch's, {agents} agents", late, 0.5, least=False))
    for name in ("REDIS", "NATS"):
        at = by.get((name, sizes[0]))
        bars.append(Bar(f"{name} by the raw broker, {sizes[0]} agents", (at and at.ratio) or _NAN, 1.3, least=False))
    bars += [
        Bar("kB a stream reader", stream.kilobytes, 8, least=False),
        Bar("kB a stream reader by etcd's", stream.kilobytes / watch.kilobytes if watch else _NAN, 0.2, least=False),
    ]
    names = {"POST": "post", "p50": "p50", "p99": "p99", "last": "last", "whole": "whole", "raw last": "raw_last"}
    return Finding(
        "fanout",
        "From a publish to the last agent, and the memory of an agent",
        [
            {"strategy": each.strategy, "agents": each.agents}
            | {title: getattr(each, name) for title, name in names.items()}
            | {"missed": each.missed, "kB/agent": each.kilobytes}
            for each in by.values()
        ],
        bars,
        [
            Chart(
                f"p99 from the request, ms, {agents} agents",
                [(s, _p99(each)) for (s, a), each in by.items() if a == agents and s != "POLLER"],
                ("STREAM", "REDIS", "NATS"),
            )
            for agents in scale.agents
        ],
        [PROGRAMS[each] for each in absent],
    )


def _p99(found: Figures) -> float:
    """Return the p99 from the request on. An agent may be faster than the answer, so a ratio needs the request."""
    return found.post + found.p99


def proofs(scale: Scale) -> Finding:
    """Measure the reports a second, and the time until all agents have proved a change."""
    found = [proof.prove(agents, scale.rounds, max(1.0, scale.seconds)) for agents in scale.agents]
    return Finding(
        "proof",
        "Reports a second, and the time to proven convergence",
        [
            {
                "agents": each.agents,
                "proven ms": each.proven,
                "worst ms": each.worst,
                "reports per second": each.reports,
                "us of CPU each": each.cpu,
                "refused": each.refused,
            }
            for each in found
        ],
        [
            Bar("reports per second", max(each.reports for each in found), 8000),
            *(
                Bar(f"ms until {each.agents} agents have proved", each.proven, 0.25 * each.agents, least=False)
                for each in (found[0], found[-1])
            ),
        ],
        [Chart("ms until proven", [(f"{each.agents} agents", each.proven) for each in found], ("",))],
    )


QUESTIONS: dict[str, Callable[[Scale], Finding]] = {
    "polls": polls.measure,
    "fanout": pushes,
    "publishes": publishes.measure,
    "registrations": registrations.measure,
    "rollouts": rollouts.measure,
    "proof": proofs,
    "hits": hits.measure,
    "footprint": footprint.measure,
    "outputs": outputs.measure,
    "recovery": recovery.measure,
    "growth": growth.measure,
    "controllers": controllers.measure,
}


def main() -> int:
    """Run the command; return status 1 if a measurement failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="at full size")
    parser.add_argument("--tiny", action="store_true", help="as little as possible, to check that it runs")
    parser.add_argument("--only", nargs="+", choices=QUESTIONS, default=list(QUESTIONS))
    parser.add_argument("--times", type=int, help="turns of each (5)")
    parser.add_argument("--into", type=Path, default=FOLDER, help="the folder of results (docs/benchmarks)")
    options = parser.parse_args()
    scale = TINY if options.tiny else FULL if options.full else SHORT
    if options.times is not None:
        scale = evolve(scale, times=options.times)
    failed = 0
    for number, name in enumerate(options.only, 1):
        say(f"{number} of {len(options.only)}: {name}")
        try:
            finding = QUESTIONS[name](scale)
        except Exception:
            # A failed measurement does not stop the others.
            traceback.print_exc()
            failed += 1
            continue
        save(finding, scale, options.into)
        print(finding.text(), end="\n\n", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
