"""
How long after a publish have many agents applied it, on two controllers that know a million agents?

SQL fills the database of PostgreSQL with agents that have a token. Both controllers start at once. Some of the agents
poll with their tokens, one time each, as after a failure of all controllers. Then they report a new version, while
another namespace gets publishes. Run it with C{python -m benchmarks.simulation}.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from threading import Event

from attrs import evolve, frozen

from benchmarks.contest import DOCUMENT, authorization, posting
from benchmarks.controllers import Stage, server, stage
from benchmarks.figures import quantile
from benchmarks.findings import FOLDER, FULL, TINY, Bar, Finding, Scale, save, say
from benchmarks.host import resident
from benchmarks.load import Target, each_once
from benchmarks.million import START_SECONDS, TOKEN, ask, fill, pattern
from tests.integration.fleet import AGENT, base_of, eventually, request

CONTROLLERS, CONNECTIONS = 2, 64

#: Seconds for all agents to poll, and for all to report.
PATIENCE = 600.0

#: Seconds between two publishes to another namespace, and between two questions for the convergence.
PERIOD = 0.5


@frozen
class Meanwhile:
    """Milliseconds of publishes to another namespace, and of the convergence of the first, while agents report."""

    publishes: list[float]
    summaries: list[float]

    def run(self, url: str, until: Event) -> None:
        """Publish and ask until an event is set."""
        for number in count(1):
            document = DOCUMENT | {"number": number}
            self.publishes.append(_timed(lambda d=document: ask("POST", f"{url}/config?namespace=other", d)))
            self.summaries.append(_timed(lambda: ask("GET", f"{url}/config/convergence")))
            if until.wait(PERIOD):
                return


def _timed(act: Callable[[], object]) -> float:
    began = time.monotonic()
    act()
    return 1000 * (time.monotonic() - began)


def start(ready: Stage) -> float:
    """Start all controllers at once; return the seconds until each has answered a poll."""
    began = time.monotonic()
    for process in ready.processes:
        process.start(wait=False)
    for process in ready.processes:
        url = f"{base_of(process)}/api/v1/config"
        eventually(lambda url=url: request("GET", url, auth=AGENT).status == 200, START_SECONDS)
    return time.monotonic() - began


def send_each(ready: Stage, active: int, make: Callable[[str, int, dict[str, str], str], Target]) -> tuple[float, int]:
    """
    Send one request from each of C{active} agents, in equal parts to all controllers at once.

    @param make: make the request from the address and process of a controller, the headers and the id of the agent.
    @return: the seconds, and the number of agents without a good answer.
    """
    share = active // len(ready.processes)

    def part(number: int) -> tuple[int, int]:
        process = ready.processes[number]
        ids = [f"agent-{at + 1}" for at in range(number * share, (number + 1) * share)]
        targets = [make(base_of(process), process.pid, authorization((name, TOKEN)), name) for name in ids]
        return each_once(targets, CONNECTIONS, PATIENCE)

    began = time.monotonic()
    with ThreadPoolExecutor(len(ready.processes)) as pool:
        found = list(pool.map(part, range(len(ready.processes))))
    return time.monotonic() - began, sum(share - answers + wrong for answers, wrong in found)


def _poll(url: str, pid: int, headers: dict[str, str], name: str) -> Target:
    return Target(f"{url}/api/v1/config", pid, headers=headers | {"X-Agent-ID": name})


def _converge(ready: Stage, active: int) -> tuple[float, int, Meanwhile]:
    """Publish, and let the agents report: return the seconds, the agents that failed, and what happened meanwhile."""
    first = f"{base_of(ready.processes[0])}/api/v1"
    ask("POST", f"{first}/namespaces", {"name": "other", "config": DOCUMENT})
    meanwhile, over = Meanwhile([], []), Event()
    with ThreadPoolExecutor(1) as pool:
        ask("POST", f"{first}/config", DOCUMENT)
        tag = request("GET", f"{first}/config", auth=AGENT).headers["etag"].strip('"')

        def report(url: str, pid: int, headers: dict[str, str], name: str) -> Target:
            body = {"agent_id": name, "version": tag, "state": "applied"}
            return posting(f"{url}/api/v1/report", pid, body, headers)

        disturbing = pool.submit(meanwhile.run, first, over)
        try:
            seconds, failed = send_each(ready, active, report)
        finally:
            over.set()
        disturbing.result()
    return seconds, failed, meanwhile


def _totals(ready: Stage) -> Sequence[int]:
    """Return the agents that have applied the newest version, as each controller counts them."""
    return [ask("GET", f"{base_of(each)}/api/v1/config/convergence")["applied"] for each in ready.processes]


def measure(scale: Scale, active: int) -> Finding:
    """
    Answer the question.

    @param active: agents that poll and report.
    """
    known = scale.known[1]
    with server() as there, stage(there, CONTROLLERS) as ready:
        pattern(ready.processes[0])
        for process in ready.processes:
            process.stop()
            process.environ["MAX_AGENTS"] = str(2 * known + 1000)
        say(f"  {known} agents: filled in {fill(ready, known):.1f} s")
        started = start(ready)
        polled, refused = send_each(ready, active, _poll)
        say(f"  started in {started:.1f} s; {active} agents polled in {polled:.1f} s, {refused} failed")
        for process in ready.processes:
            eventually(process.up, START_SECONDS)
        applied, failed, meanwhile = _converge(ready, active)
        eventually(lambda: min(_totals(ready)) >= active - failed, 10)
        wrong = max(abs(total - active + failed) for total in _totals(ready))
        held = max(resident(each.pid) for each in ready.processes) / 1e6
        say(f"  {active} agents reported in {applied:.1f} s, {failed} failed")
    rows = [
        ("s from the start of both controllers to their answers to polls", started, 10.0),
        (f"s in which {active} agents poll with their tokens", polled, 30.0),
        ("agents whose poll was refused", refused, 0.0),
        (f"s in which {active} agents report a version", applied, 90.0),
        ("agents whose report was refused", failed, 0.0),
        ("agents by which a controller counts wrongly", wrong, 0.0),
        ("ms of a publish meanwhile, p99", quantile(sorted(meanwhile.publishes), 0.99), 250.0),
        ("ms of the convergence meanwhile, p99", quantile(sorted(meanwhile.summaries), 0.99), 3000.0),
        ("MB of memory of a controller", held, 300.0),
    ]
    return Finding(
        "simulation",
        "Two controllers with many agents: a start of all, and a version that all report",
        [{"known agents": known, "figure": name, "value": value} for name, value, _ in rows],
        [Bar(f"{name}, {known} agents known", value, bound, least=False) for name, value, bound in rows],
    )


def main() -> int:
    """Run the command; return status 0 even if a target is missed, for readers judge the targets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--known", type=int, default=1_000_000, help="agents in the database (1000000)")
    parser.add_argument("--active", type=int, default=200_000, help="agents that poll and report (200000)")
    parser.add_argument("--tiny", action="store_true", help="as little as possible, to check that it runs")
    parser.add_argument("--into", type=Path, default=FOLDER, help="the folder of results (docs/benchmarks)")
    options = parser.parse_args()
    scale = TINY if options.tiny else evolve(FULL, name="whole", times=1, known=(1, options.known))
    finding = measure(scale, TINY.known[0] if options.tiny else options.active)
    save(finding, scale, options.into)
    print(finding.text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
