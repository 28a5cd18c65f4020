"""
What does a second process bring: polls a second, the fan-out of a stream, and the memory that it takes?

Here nothing is kept on a core, for one process or for two; where there are two cores, the load takes its share of both.
Run it with C{python -m benchmarks.processes}.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from statistics import median

from benchmarks import fanout
from benchmarks.contest import contest, ratio, scratch
from benchmarks.findings import Bar, Finding, Scale, main, say
from benchmarks.host import resident
from benchmarks.load import Target
from benchmarks.plots import Chart
from benchmarks.polls import CONNECTIONS, polled
from tests.integration.fleet import Fleet, children, eventually, request

#: How many there are.
COUNTS = (1, 2)


@contextmanager
def served(count: int, memory: dict[int, float]) -> Iterator[Target]:
    """
    A controller of so many processes.

    @param memory: gets the megabytes of all of them once they are polled no more.
    """
    with scratch() as folder:
        fleet = Fleet(folder, 300)
        try:
            process = fleet.controller("--log-level", "warn", "--processes", str(count)).start()
            eventually(lambda: f"\nconfd_fronts {count - 1}.0".encode() in _metrics(fleet) or count == 1)
            yield polled(fleet)
            memory[count] = sum(map(resident, [process.pid, *children(process.pid)])) / 1e6
        finally:
            fleet.close()


def _metrics(fleet: Fleet) -> bytes:
    return request("GET", f"{fleet.url}/metrics").body


def measure(scale: Scale) -> Finding:
    """One and two, in turn."""
    memory: dict[int, float] = {}
    rates = contest({str(count): partial(served, count, memory) for count in COUNTS}, CONNECTIONS, scale, kept=False)
    agents = scale.agents[min(1, len(scale.agents) - 1)]
    told: dict[int, list[fanout.Figures]] = {count: [] for count in COUNTS}
    for number in range(scale.times):
        for count in COUNTS:
            told[count].append(fanout.measure("STREAM", agents, max(1, scale.rounds // scale.times), 5.0, count))
            say(f"  {count}, {number + 1} of {scale.times}: {told[count][-1].whole:.0f} ms to the last of {agents}")
    whole = {count: median(each.whole for each in found) for count, found in told.items()}
    return Finding(
        "processes",
        "One process and two",
        [
            {
                "processes": count,
                "polls per second": rates[str(count)].second,
                "per CPU second": 1e6 / rates[str(count)].cpu if rates[str(count)].cpu else None,
                "p99 ms": rates[str(count)].p99,
                "errors": rates[str(count)].wrong,
                "agents": agents,
                "ms to the last": whole[count],
                "missed": sum(each.missed for each in told[count]),
                "MB": memory[count],
            }
            for count in COUNTS
        ],
        [
            # Of two cores the load takes its part, so that this can never be 2 there.
            Bar("polls of two by those of one", rates["2"].second / rates["1"].second, 1.25),
            Bar("polls of two by those of one, per CPU second", ratio(rates, "1", "2", per_cpu=True), 0.9),
            Bar("fan-out of two by that of one", whole[2] / whole[1], 1.25, least=False),
        ],
        [
            Chart("Polls per second", [(str(count), rates[str(count)].second) for count in COUNTS], ("2",)),
            Chart(f"ms to the last of {agents}", [(str(count), whole[count]) for count in COUNTS], ("2",)),
        ],
    )


if __name__ == "__main__":
    sys.exit(main(__doc__, measure))
