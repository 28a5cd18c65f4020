"""
How long until a process is ready, how much memory does it take when idle, and how much processor time?

The agent listens on no port: it is ready when its worker is. Run it with C{python -m benchmarks.footprint}.
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
from tests.integration.fleet import Fleet, Process, base_of, eventually, free_port, request

#: Time for a process to finish the work that it does after it is ready.
_SETTLE = 1.5

#: Seconds between two polls of an agent: the default of a controller.
_POLL_INTERVAL = 30

#: Seconds between two looks at a process that starts.
_LOOK = 0.005

#: Seconds of the measurement of an idle process: an agent checks its worker every four.
_IDLE = 8.0


def dev(fleet: Fleet) -> Process:
    """Return the process of C{confd-dev}: controller, agent and worker."""
    port = free_port()
    options = ["--port", str(port), "--worker-port", str(free_port())]
    return fleet.add("dev", ["confd-dev", *options], f"http://127.0.0.1:{port}/ready")


def once(name: str) -> tuple[float, float, float, float, float]:
    """
    Measure a process.

    @return: the seconds until it is ready, its megabytes of 1 000 000 (RSS), its share of these (PSS), the megabytes
        that map no file, and the milliseconds of processor time in an idle second.
    """
    with scratch() as folder:
        fleet = Fleet(folder, _POLL_INTERVAL)
        try:
            up: Callable[[], bool] | None = None
            if name == "agent":
                fleet.controller().start()
                worker = fleet.worker().start()
                process = fleet.agent(worker)
                up = lambda: request("GET", f"{base_of(worker)}/ready").status == 200  # noqa: E731
            else:
                makers: dict[str, Callable[[], Process]] = {"controller": fleet.controller, "worker": fleet.worker}
                process = makers.get(name, lambda: dev(fleet))()
            began = time.monotonic()
            process.start(wait=False)
            eventually(up or process.up, pause=_LOOK)
            ready = time.monotonic() - began
            time.sleep(_SETTLE)
            spent = _nanoseconds(process.pid)
            time.sleep(_IDLE)
            idle = (_nanoseconds(process.pid) - spent) / 1e6 / _IDLE
            share = _kilobytes(process.pid, "smaps_rollup", "Pss:") / 1000
            return ready, resident(process.pid) / 1e6, share, _kilobytes(process.pid, "status", "RssAnon:") / 1000, idle
        finally:
            fleet.close()


def _kilobytes(pid: int, file: str, name: str) -> float:
    """Return a size in a file of a process (Linux) in units of 1000 bytes."""
    return 1.024 * int(Path(f"/proc/{pid}/{file}").read_text().partition(name)[2].split()[0])


def _nanoseconds(pid: int) -> int:
    """Return the processor time of all threads of a process (Linux)."""
    return sum(int(each.read_text().split()[0]) for each in Path(f"/proc/{pid}/task").glob("*/schedstat"))


def measure(scale: Scale) -> Finding:
    """Measure each process in turn."""
    found: dict[str, list[tuple[float, ...]]] = {}
    for number in range(scale.times):
        for name in ("controller", "agent", "worker", "dev"):
            found.setdefault(name, []).append(once(name))
        say(f"  {number + 1} of {scale.times}")
    columns = ("ready s", "MB", "PSS MB", "MB of no file", "idle ms/s")
    table: list[dict[str, Any]] = [
        {"process": name} | dict(zip(columns, map(median, zip(*runs, strict=True)), strict=True))
        for name, runs in found.items()
    ]
    rows = {row["process"]: row for row in table}
    small = [rows["agent"], rows["worker"]]
    return Finding(
        "footprint",
        "Start-up and idle memory",
        table,
        [
            Bar("seconds until the controller is ready", rows["controller"]["ready s"], 0.35, least=False),
            Bar("seconds until agent and worker are ready", max(row["ready s"] for row in small), 0.3, least=False),
            Bar("PSS of agent and worker in MB", max(row["PSS MB"] for row in small), 32, least=False),
            Bar("idle ms a second of agent and worker", max(row["idle ms/s"] for row in small), 1, least=False),
        ],
        [
            Chart("Seconds until ready", [(row["process"], row["ready s"]) for row in table], ("",)),
            Chart("MB when idle", [(row["process"], row["MB"]) for row in table], ("",)),
        ],
    )


if __name__ == "__main__":
    sys.exit(main(__doc__, measure))
