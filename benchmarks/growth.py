"""
What do more registered agents, a longer history and more namespaces cost a controller?

Each of them grows alone. Run it with C{python -m benchmarks.growth}.
"""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from statistics import median
from typing import Any

from attrs import evolve, frozen

from benchmarks import fanout, proof
from benchmarks.contest import authorization, scratch, tag_of
from benchmarks.crowd import Crowd
from benchmarks.findings import Bar, Finding, Scale, main, say
from benchmarks.host import on_core, resident
from benchmarks.load import Target, as_fast_as_it_goes
from benchmarks.plots import Chart
from confd.codec import bodies
from tests.integration.fleet import AGENT, Fleet, eventually, request

CONNECTIONS = 64

#: Seconds that a start may take: far more than it takes, so that a slow one has a figure.
START_SECONDS = 300

_NAMESPACES = """
    WITH RECURSIVE numbers (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM numbers LIMIT ?)
    INSERT INTO namespaces (name) SELECT 'team-' || n FROM numbers
"""

_FIRST_VERSIONS = """
    INSERT INTO revisions (namespace, version, epoch, document, checksum, poll_interval, author, comment, created_at)
    SELECT name, 1, epoch, document, checksum, poll_interval, author, comment, created_at
    FROM namespaces, revisions WHERE name <> 'default' AND namespace = 'default' AND version = 1
"""


@frozen
class Size:
    """The rows in the database of a controller."""

    agents: int
    versions: int
    namespaces: int

    def __str__(self) -> str:
        return f"{self.agents} agents, {self.versions} versions, {self.namespaces} namespaces"


@frozen
class Start:
    """
    The start of a controller.

    @ivar answered: seconds until it answers a poll; C{loaded}: until it knows all agents.
    @ivar megabytes: its memory then, in units of 1 000 000 bytes.
    """

    answered: float
    loaded: float
    megabytes: float


@contextmanager
def grown(size: Size) -> Iterator[tuple[Fleet, Start]]:
    """Run a controller with so many rows."""
    with scratch() as folder:
        fleet = Fleet(folder, 300)
        process = fleet.controller("--log-level", "warn", "--max-agents", str(2 * size.agents + 1000))
        try:
            process.start()
            tag = bodies.parse_configuration(request("GET", f"{fleet.url}/api/v1/config", auth=AGENT).body).tag
            process.stop()
            with closing(sqlite3.connect(folder / "controller.db")) as connection:
                proof.fill(connection, size.agents, evolve(tag, version=size.versions))
                if size.namespaces > 1:
                    with connection:
                        connection.execute(_NAMESPACES, (size.namespaces - 1,))
                        connection.execute(_FIRST_VERSIONS)
            began = time.monotonic()
            with on_core(0):
                process.start(wait=False)
            poll = lambda: request("GET", f"{fleet.url}/api/v1/config", auth=AGENT).status == 200  # noqa: E731
            eventually(poll, START_SECONDS)
            answered = time.monotonic() - began
            eventually(process.up, START_SECONDS)
            yield fleet, Start(answered, time.monotonic() - began, resident(process.pid) / 1e6)
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
    """Measure a small controller, and one for each part that has grown, in turn; compare the medians."""
    small = Size(*(few for few, _ in (scale.known, scale.versions, scale.namespaces)))
    large = [
        evolve(small, agents=scale.known[1]),
        evolve(small, versions=scale.versions[1]),
        evolve(small, namespaces=scale.namespaces[1]),
    ]
    runs: dict[Size, list[dict[str, float]]] = {each: [] for each in (small, *large)}
    for number in range(max(1, scale.times // 2)):
        for size, found in runs.items():
            with grown(size) as (fleet, start):
                found.append(_columns(start) | {name: look(fleet, scale) for name, look in LOOKS.items()})
            say(f"  {size}, {number + 1}: {found[-1]}")
    middles = {size: {name: median(each[name] for each in found) for name in found[0]} for size, found in runs.items()}
    table: list[dict[str, Any]] = [
        {"known agents": size.agents, "versions": size.versions, "namespaces": size.namespaces} | middle
        for size, middle in middles.items()
    ]
    bars = [
        Bar(f"{name}, {size}, by the small controller", middles[size][name] / middles[small][name], 1.2, least=False)
        for size in large
        for name in LOOKS
    ]
    slowest = max(middle["s to a poll"] for middle in middles.values())
    return Finding(
        "growth",
        "What more agents, versions and namespaces cost",
        table,
        [Bar("s from the start to the answer to a poll", slowest, 5, least=False), *bars],
        [Chart(name, [(str(size), middle[name]) for size, middle in middles.items()], ("",)) for name in LOOKS],
    )


def _columns(start: Start) -> dict[str, float]:
    return {"s to a poll": start.answered, "s until loaded": start.loaded, "MB": start.megabytes}


if __name__ == "__main__":
    sys.exit(main(__doc__, measure))
