"""
Do polls, publishes and reports take longer with more registered agents and a longer history?

Run it with C{python -m benchmarks.growth}.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from statistics import median

from benchmarks import fanout, proof
from benchmarks.contest import authorization, scratch, tag_of
from benchmarks.crowd import Crowd
from benchmarks.findings import Bar, Finding, Scale, main, say
from benchmarks.host import on_core
from benchmarks.load import Target, as_fast_as_it_goes
from benchmarks.plots import Chart
from confd.codec import bodies
from tests.integration.fleet import AGENT, Fleet, request

CONNECTIONS = 64


@contextmanager
def grown(agents: int, versions: int) -> Iterator[Fleet]:
    """Run a controller with so many registered agents and versions."""
    with scratch() as folder:
        fleet = Fleet(folder, 300)
        process = fleet.controller("--log-level", "warn")
        try:
            process.start()
            tag = bodies.parse_configuration(request("GET", f"{fleet.url}/api/v1/config", auth=AGENT).body).tag
            process.stop()
            with closing(sqlite3.connect(folder / "controller.db")) as connection:
                proof.fill(connection, agents, type(tag)(tag.cluster, tag.epoch, versions))
            with on_core(0):
                process.start()
            yield fleet
        finally:
            fleet.close()


def polls(fleet: Fleet, scale: Scale) -> float:
    """Return the processor time of a poll in microseconds."""
    headers = authorization() | {"If-None-Match": tag_of(fleet)}
    target = Target(f"{fleet.url}/api/v1/config", fleet.processes[0].pid, headers=headers)
    with on_core(-1):
        return as_fast_as_it_goes(target, CONNECTIONS, scale.seconds).cpu


def publishes(fleet: Fleet, scale: Scale) -> float:
    """Return the median milliseconds from a publish to the last agent that listens."""
    agents = scale.agents[0]
    crowd = Crowd("STREAM", agents, fleet.port, None, 1.0)
    bench = fanout.Bench("STREAM", agents, fleet, fleet.processes[0], None, crowd)
    try:
        with on_core(-1):
            crowd.start()
        samples = [bench.round(number) for number in range(scale.rounds + 1)][1:]
    finally:
        crowd.stop()
    return median(1000 * (sample.post + max(sample.times)) for sample, _ in samples)


def reports(fleet: Fleet, scale: Scale) -> float:
    """Return the processor time of a report in microseconds."""
    connections = min(CONNECTIONS, scale.agents[0])
    players = proof.reporters(fleet, connections)
    try:
        statuses, spent = proof.flood(players, fleet.processes[0], connections, max(1.0, scale.seconds))
        return 1e6 * spent / max(1, statuses.get("200", 0))
    finally:
        players.stop()


LOOKS: dict[str, Callable[[Fleet, Scale], float]] = {
    "poll, us of CPU": polls,
    "publish to last, ms": publishes,
    "report, us of CPU": reports,
}


def measure(scale: Scale) -> Finding:
    """Measure with few and with many, in turn, and compare the medians."""
    sizes = [(agents, versions) for agents in scale.known for versions in scale.versions]
    found: dict[tuple[int, int], list[list[float]]] = {each: [] for each in sizes}
    for number in range(max(1, scale.times // 2)):
        for size in sizes:
            with grown(*size) as fleet:
                found[size].append([look(fleet, scale) for look in LOOKS.values()])
            say(f"  {size[0]} agents, {size[1]} versions, {number + 1}: {found[size][-1]}")
    middles = {size: [median(each) for each in zip(*runs, strict=True)] for size, runs in found.items()}
    table = [
        {"known agents": agents, "versions": versions} | dict(zip(LOOKS, middles[agents, versions], strict=True))
        for agents, versions in sizes
    ]
    few, many = middles[sizes[0]], middles[sizes[-1]]
    return Finding(
        "growth",
        "What more agents and more versions cost",
        table,
        [Bar(f"{name}: most by least", many[at] / few[at], 1.2, least=False) for at, name in enumerate(LOOKS)],
        [
            Chart(
                name,
                [(f"{agents} agents, {versions}", middles[agents, versions][at]) for agents, versions in sizes],
                ("",),
            )
            for at, name in enumerate(LOOKS)
        ],
    )


if __name__ == "__main__":
    sys.exit(main(__doc__, measure))
