"""
How long from a publish until one agent has applied the version, by a file and by a worker? What does an idle agent
cost?

The file has a check that does nothing. The time is that of C{POST /api/v1/config?wait=applied}. Run it with
C{python -m benchmarks.outputs}.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.contest import scratch
from benchmarks.figures import quantile
from benchmarks.findings import TINY, Bar, Finding, Scale, main, say
from benchmarks.host import processor_time, resident
from benchmarks.plots import Chart
from tests.integration.fleet import Fleet, Process, base_of, request
from tests.integration.launcher import fork, program

#: Publishes before the measurement.
_WARM = 5

#: Bytes of the value of the document whose apply may hold up the reactor.
_LARGE = 200_000


def options(kind: str, folder: Path) -> list[str]:
    """Return the options of an agent with one output."""
    if kind == "HTTP":
        return []
    check = folder / "check"
    check.write_text("#!/bin/sh\n")
    check.chmod(0o755)
    return ["--outputs", "FILE", "--file-path", f"{folder}/app.json", "--file-check", f"{check} {{path}}"]


def publishes(fleet: Fleet, count: int, value: str) -> list[float]:
    """Return the seconds from each publish until it is applied, in order of size."""
    found = []
    for number in range(count):
        began = time.monotonic()
        answer = fleet.publish({"url": "http://127.0.0.1/", "n": number, "v": value}, wait="applied", timeout=10)
        assert answer.status == 200, answer.body
        found.append(time.monotonic() - began)
    return sorted(found)


def lag_bound(agent: Process) -> float:
    """Return the upper bound of the bucket with the longest lag of the reactor, in seconds."""
    text = request("GET", f"{base_of(agent)}/metrics").body.decode()
    buckets = re.findall(r'^confd_reactor_lag_seconds_bucket\{.*le="([^"]+)"\} ([0-9.e+]+)$', text, re.MULTILINE)
    most = max(float(count) for _, count in buckets)
    return next(float(bound) for bound, count in buckets if float(count) == most)


def once(kind: str, scale: Scale) -> dict[str, object]:
    """Measure an agent with one output, in a fleet of its own."""
    with scratch() as folder:
        folder.chmod(0o755)
        # The smallest scale looks at no figures.
        fleet = Fleet(folder, interval=60, launch=fork if scale is TINY else program)
        try:
            fleet.controller().start()
            worker = fleet.worker().start()
            stream = ("--distribution-strategy", "STREAM")
            agent = fleet.agent(worker, "agent", *stream, *options(kind, folder), ops=True).start()
            publishes(fleet, _WARM, "")
            times = publishes(fleet, scale.rounds * 5, "")
            lag = lag_bound(agent)
            idle = idle_cost(agent, scale.seconds)
            publishes(fleet, 3, "x" * _LARGE)
            return {
                "output": kind,
                "p50 ms": quantile(times, 0.5) * 1000,
                "p99 ms": quantile(times, 0.99) * 1000,
                "reactor lag ms, at most": lag * 1000,
                "with 200 kB": lag_bound(agent) * 1000,
                "idle CPU ms a second": idle * 1000,
                "MB": resident(agent.pid) / 1e6,
            }
        finally:
            fleet.close()


def idle_cost(agent: Process, seconds: float) -> float:
    """Return the seconds of processor time that an agent takes in a second without a publish."""
    before, began = processor_time(agent.pid), time.monotonic()
    time.sleep(max(seconds, 0.1))
    return (processor_time(agent.pid) - before) / (time.monotonic() - began)


def measure(scale: Scale) -> Finding:
    """Measure the outputs in turn."""
    table = []
    for kind in ("FILE", "HTTP"):
        table.append(once(kind, scale))
        say(f"  {kind}: p99 {table[-1]['p99 ms']:.0f} ms")
    file = table[0]
    return Finding(
        "outputs",
        "Outputs of an agent",
        table,
        [
            Bar("ms from a publish to applied, FILE, p99", _number(file["p99 ms"]), 150, least=False),
            Bar("ms that an apply blocks the reactor", _number(file["reactor lag ms, at most"]), 100, least=False),
        ],
        [Chart("Milliseconds from a publish to applied, p99", _bars(table))],
        [],
    )


def _bars(table: Sequence[dict[str, object]]) -> list[tuple[str, float]]:
    return [(str(row["output"]), _number(row["p99 ms"])) for row in table]


def _number(value: object) -> float:
    assert isinstance(value, float)
    return value


if __name__ == "__main__":
    sys.exit(main(__doc__, measure))
