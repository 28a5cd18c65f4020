"""
How long until a process is ready, and how much memory does it take when idle?

Run it with C{python -m benchmarks.footprint}.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.contest import scratch
from benchmarks.findings import Bar, Finding, Scale, main, say
from benchmarks.host import resident
from benchmarks.plots import Chart
from tests.integration.fleet import Fleet, Process, eventually, free_port

#: Time for a process to finish the work that it does after it is ready.
_SETTLE = 0.5


def dev(fleet: Fleet) -> Process:
    """Return the process of C{confd-dev}: controller, agent and worker."""
    port = free_port()
    options = ["--port", str(port), "--worker-port", str(free_port())]
    return fleet.add("dev", ["confd-dev", *options], f"http://127.0.0.1:{port}/ready")


def once(name: str) -> tuple[float, float, float]:
    """Return the seconds until a process is ready, its megabytes of 1 000 000, and the megabytes that map no file."""
    with scratch() as folder:
        fleet = Fleet(folder)
        try:
            if name == "agent":
                fleet.controller().start()
                worker = fleet.worker().start()
                process = fleet.agent(worker, ops=True)
            else:
                makers: dict[str, Callable[[], Process]] = {"controller": fleet.controller, "worker": fleet.worker}
                process = makers.get(name, lambda: dev(fleet))()
            began = time.monotonic()
            process.start(wait=False)
            eventually(process.up)
            ready = time.monotonic() - began
            time.sleep(_SETTLE)
            return ready, resident(process.pid) / 1e6, anonymous(process.pid) / 1e6
        finally:
            fleet.close()


def anonymous(pid: int) -> int:
    """Return the bytes of memory of a process that map no file such as a library (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(status.partition("RssAnon:")[2].split()[0])


def measure(scale: Scale) -> Finding:
    """Measure each process in turn."""
    found: dict[str, list[tuple[float, float, float]]] = {}
    for number in range(scale.times):
        for name in ("controller", "agent", "worker", "dev"):
            found.setdefault(name, []).append(once(name))
        say(f"  {number + 1} of {scale.times}")
    table: list[dict[str, Any]] = [
        {"process": name}
        | dict(zip(("ready s", "MB", "MB of no file"), map(median, zip(*runs, strict=True)), strict=True))
        for name, runs in found.items()
    ]
    daemons = [row for row in table if row["process"] != "dev"]
    return Finding(
        "footprint",
        "Start-up and idle memory",
        table,
        [
            Bar("seconds until the slowest is ready", max(row["ready s"] for row in daemons), 1, least=False),
            Bar("MB of the largest", max(row["MB"] for row in daemons), 60, least=False),
        ],
        [
            Chart("Seconds until ready", [(row["process"], row["ready s"]) for row in table], ("",)),
            Chart("MB when idle", [(row["process"], row["MB"]) for row in table], ("",)),
        ],
    )


if __name__ == "__main__":
    sys.exit(main(__doc__, measure))
