"""
How long after a POST have all agents proved that they run the new version, and how many reports does a controller take?

A real controller runs on one core, and a process that plays the agents on the other. Each publish waits for all agents,
C{wait=applied}. A second part requests the pages of a controller with many agents and a long history.

Run it with C{python -m benchmarks.proof}; C{benchmarks/README.rst} explains the columns.
"""

from __future__ import annotations

import argparse
import http.client
import json
import shutil
import sqlite3
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

from attrs import asdict, evolve, frozen

from benchmarks.crowd import Players
from benchmarks.figures import quantile, rows
from benchmarks.host import Invalid, machine, on_core, processor_time
from confd.changes import ReceivedReport
from confd.codec import bodies, headers
from confd.controller.store.queries.reports import store_outcomes
from confd.model import Tag
from confd.reports import Report, ReportState, VersionOutcome
from tests.integration.fleet import ADMIN, Fleet, Process, request

#: Time for all agents to prove a publish.
DEADLINE = 30

#: Connections that report without a pause, and the length of that flood.
FLOOD, FLOOD_SECONDS = 64, 5.0

#: Requests for each page.
REQUESTS = 200

_ROOT = Path(__file__).resolve().parents[1]


@frozen
class Proof:
    """
    The result for one number of agents.

    @ivar proven: milliseconds from the POST to its answer, after all agents have reported; median of the rounds.
    @ivar worst: like C{proven}, in the slowest round.
    @ivar applied_p99: p99 from POST to applied as the controller measures it, without the report window; median.
    @ivar missed: agents that reported too late, over all rounds.
    @ivar reports: accepted reports a second in the flood.
    @ivar cpu: microseconds of processor time of the controller for each report of the flood.
    @ivar refused: reports of the flood with a status other than 200.
    """

    agents: int
    proven: float
    worst: float
    applied_p99: float
    missed: int
    reports: float
    cpu: float
    refused: int


@frozen
class Page:
    """
    Answer times of a path from a controller with many agents and versions, in milliseconds.
    """

    path: str
    p50: float
    p99: float
    worst: float


@contextmanager
def controller(*options: str) -> Iterator[tuple[Fleet, Process]]:
    """Yield a controller that has not started, and its folder; end both afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="confd-proof-"))
    fleet = Fleet(folder)
    try:
        yield fleet, fleet.controller("--log-level", "warn", *options)
    finally:
        fleet.close()
        shutil.rmtree(folder)


def prove(agents: int, rounds: int, flood_seconds: float = FLOOD_SECONDS) -> Proof:
    """
    Publish to so many agents, and wait for their reports.

    @param flood_seconds: length of the flood of reports afterwards.
    @raise Invalid: if a process fails.
    """
    # The long interval keeps polls out: the stream and the reports are measured.
    # An agent takes two connections: one for the stream, and one for reports.
    connections = str(2 * agents + 1000)
    with controller("--default-poll-interval", "300", "--max-connections", connections) as (fleet, process):
        with on_core(0):
            process.start()
        crowd = reporters(fleet, agents)
        try:
            # The first round warms up.
            told = [_publish(fleet, number) for number in range(rounds + 1)][1:]
            statuses, spent = flood(crowd, process, min(FLOOD, agents), flood_seconds)
        finally:
            crowd.stop()
    times = [took for took, _ in told]
    return Proof(
        agents=agents,
        proven=median(times),
        worst=max(times),
        applied_p99=median(convergence["p99_ms"] for _, convergence in told),
        missed=sum(agents - convergence["applied"] for _, convergence in told),
        reports=statuses.get("200", 0) / flood_seconds,
        cpu=1e6 * spent / sum(statuses.values()),
        refused=sum(count for status, count in statuses.items() if status != "200"),
    )


def reporters(fleet: Fleet, agents: int) -> Players:
    """Start so many reporting agents on the last core; the caller stops them."""
    players = Players("benchmarks.reporters")
    with on_core(-1):
        players.begin(["--controller", f"127.0.0.1:{fleet.port}", "--agents", str(agents)], agents)
    return players


def flood(players: Players, controller: Process, connections: int, seconds: float) -> tuple[dict[str, int], float]:
    """
    Let the agents report without a pause.

    @return: the number of answers by status, and the processor time of the controller in seconds.
    """
    before = processor_time(controller.pid)
    players.order(flood=connections, seconds=seconds)
    statuses: dict[str, int] = players.hear()["statuses"]
    return statuses, processor_time(controller.pid) - before


def _publish(fleet: Fleet, number: int) -> tuple[float, Any]:
    """Publish once; return the milliseconds until the answer, and its convergence."""
    began = time.monotonic()
    query = f"wait=applied&quorum=100&timeout={DEADLINE}"
    document = {"url": "https://ip.me", "round": number, "pad": "x" * 400}
    answer = request("POST", f"{fleet.url}/api/v1/config?{query}", document, ADMIN, timeout=2 * DEADLINE)
    took = 1000 * (time.monotonic() - began)
    if answer.status not in (200, 202):
        raise Invalid(f"a publish was answered with {answer.status}: {answer.body[:200]!r}")
    return took, answer.json()["convergence"]


def pages(agents: int, versions: int, requests: int = REQUESTS) -> list[Page]:
    """
    Measure the pages of a controller with so many agents and versions: first all agents have the current version, then
    none has it.

    @param requests: the number for each page.
    """
    with controller("--default-poll-interval", "300") as (fleet, process):
        process.start()
        tag = bodies.parse_configuration(request("GET", f"{fleet.url}/api/v1/config", auth=ADMIN).body).tag
        process.stop()
        with closing(sqlite3.connect(fleet.folder / "controller.db")) as connection:
            fill(connection, agents, evolve(tag, version=versions))
        process.start()
        base = "/api/v1/config"
        last = str(uuid.UUID(int=agents // 2, version=4))
        paths = [
            "/api/v1/agents?limit=100",
            f"/api/v1/agents?limit=500&after={last}",
            f"{base}/convergence",
            f"{base}/versions/{versions - 1}/convergence",
            f"{base}/history?limit=50",
            f"{base}/history?limit=500&before={versions // 2 + 2}",
            f"{base}/versions/{versions // 2 + 1}",
            f"{base}/diff?from=1&to={versions}",
        ]
        asked = [_page(fleet, path, requests) for path in paths]
        request("POST", f"{fleet.url}{base}", {"url": "https://ip.me"}, ADMIN)
        behind = [_page(fleet, path, requests) for path in (paths[0], f"{base}/convergence")]
        return asked + [evolve(each, path=f"{each.path} (no agent has it)") for each in behind]


def fill(connection: sqlite3.Connection, agents: int, newest: Tag) -> None:
    """
    Add versions 2 to C{newest} to the database of a stopped controller, and agents that have applied the newest.
    """
    at, ids = (
        headers.parse_rfc3339("2026-01-01T00:00:00Z"),
        [str(uuid.UUID(int=each, version=4)) for each in range(agents)],
    )
    report, random = Report(newest, ReportState.APPLIED), Random(0)
    outcomes = [
        VersionOutcome(ReportState.APPLIED, at, "", True, *(random.uniform(0, 300) for _ in range(6))) for _ in ids
    ]
    with connection:
        connection.execute(
            f"""WITH RECURSIVE numbers (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM numbers LIMIT {newest.version - 1})
            INSERT INTO revisions (namespace, version, epoch, document, checksum, poll_interval, author, comment,
                rollback_of, created_at)
            SELECT namespace, n, epoch, document, checksum, poll_interval, author, 'number ' || n, NULL, created_at
            FROM numbers, revisions WHERE namespace = 'default' AND version = 1"""
        )
        connection.executemany(
            """INSERT INTO agents (id, namespace, hostname, metadata, strategy, registered_at)
            VALUES (?, 'default', ?, 'tier=edge', 'STREAM', ?)""",
            [(each, f"host-{number}", headers.rfc3339(at)) for number, each in enumerate(ids)],
        )
        received = (ReceivedReport(each, "default", report, 0.0, at) for each in ids)
        store_outcomes(connection.cursor(), list(zip(received, outcomes, strict=True)))


def _page(fleet: Fleet, path: str, requests: int) -> Page:
    times = []
    for _ in range(requests):
        began = time.monotonic()
        answer = request("GET", fleet.url + path, auth=ADMIN)
        times.append(1000 * (time.monotonic() - began))
        if answer.status != 200:
            raise Invalid(f"{path} was answered with {answer.status}: {answer.body[:200]!r}")
    times.sort()
    return Page(path.partition("/api/v1")[2], quantile(times, 0.5), quantile(times, 0.99), times[-1])


_PROOF: dict[str, Callable[[Proof], Any]] = {
    "agents": lambda each: each.agents,
    "proven": lambda each: each.proven,
    "worst": lambda each: each.worst,
    "applied p99": lambda each: each.applied_p99,
    "missed": lambda each: each.missed,
    "reports/s": lambda each: each.reports,
    "cpu/report": lambda each: each.cpu,
    "refused": lambda each: each.refused,
}

_PAGE: dict[str, Callable[[Page], Any]] = {
    "path": lambda each: each.path,
    "p50": lambda each: each.p50,
    "p99": lambda each: each.p99,
    "worst": lambda each: each.worst,
}


def main() -> int:
    """Run the command; return status 1 if an agent was late or a report was refused."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, nargs="*", default=[1000, 5000], help="how many (1000 5000)")
    parser.add_argument("--rounds", type=int, default=10, help="publishes for each (10)")
    parser.add_argument("--known", type=int, default=10000, help="agents that are known, for the pages (10000)")
    parser.add_argument("--versions", type=int, default=1000000, help="versions, for the pages (1000000); 0: no pages")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    options = parser.parse_args()
    if options.rounds < 1 or min(options.agents, default=1) < 1:
        parser.error("--rounds and --agents must be at least 1")
    where = machine()
    print(where)
    try:
        proofs = [prove(agents, options.rounds) for agents in options.agents]
        print(rows(_PROOF, proofs))
        asked = pages(options.known, options.versions) if options.versions else []
        print(rows(_PAGE, asked) if asked else "")
    except (Invalid, AssertionError, OSError, http.client.HTTPException) as error:
        print(f"invalid: {error}", file=sys.stderr)
        return 1
    if options.json is not None:
        report = {"machine": where, "proofs": list(map(asdict, proofs)), "pages": list(map(asdict, asked))}
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    return int(any(each.missed or each.refused for each in proofs))


if __name__ == "__main__":
    sys.exit(main())
