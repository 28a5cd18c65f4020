"""
What do a million agents in PostgreSQL cost a controller: its start, its memory, polls, registrations and publishes?

SQL fills the database with agents that have a token and have applied version 1. The benchmark then starts a controller
on it. Run it with C{python -m benchmarks.million}: C{--agents} sets the number.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

from attrs import evolve

from benchmarks.contest import DOCUMENT
from benchmarks.controllers import WRITERS, Stage, server, stage, together
from benchmarks.figures import quantile
from benchmarks.findings import FOLDER, FULL, TINY, Bar, Finding, Scale, save, say
from benchmarks.host import Invalid, processor_time, resident
from confd.codec.headers import rfc3339
from confd.controller.store.postgres.cursor import DIALECT, PostgresCursor
from confd.controller.store.queries.agents import touch
from confd.runtime.daemon import utc_now
from tests.integration.fleet import ADMIN, AGENT, Process, base_of, eventually, request

#: The token of each agent of the benchmark.
TOKEN = "correct horse battery staple"

#: Agents whose polls one flush writes: those of a second, of a million agents with an interval of 300 s, twice.
FLUSHED = 6700

#: Requests of one kind, one after the other.
REQUESTS = 20

#: Seconds that a start may take: the deadline is far above the target, so that a miss has a figure.
START_SECONDS = 300

_AGENTS = """
    INSERT INTO agents
        (id, namespace, hostname, metadata, strategy, registered_at, last_poll, token, report, reported_at)
    SELECT 'agent-' || n, 'default', 'host-' || n, 'tier=edge', 'NATS', %(at)s, %(at)s,
        sha256(convert_to('agent-' || n || ':' || %(token)s, 'UTF8')), given.report, given.reported_at
    FROM generate_series(1, %(count)s) AS n, (SELECT report, reported_at FROM agents WHERE id = 'pattern') AS given
"""

_OUTCOMES = """
    INSERT INTO outcomes (namespace, version, agent_id, outcome)
    SELECT o.namespace, o.version, 'agent-' || n, o.outcome
    FROM generate_series(1, %(count)s) AS n, (SELECT * FROM outcomes WHERE agent_id = 'pattern') AS o
"""


def fill(there: Stage, agents: int) -> float:
    """Add agents with a token that have applied version 1; the controllers are stopped. Return the seconds."""
    began = time.monotonic()
    values = {"at": rfc3339(utc_now()), "token": TOKEN, "count": agents}
    with there.server.connect(there.database) as connection:
        for statement in (_AGENTS, _OUTCOMES):
            connection.execute(statement, values)
        connection.execute("VACUUM ANALYZE agents, outcomes")
    return time.monotonic() - began


def pattern(process: Process) -> None:
    """Register an agent, and let it report version 1: the pattern of the others."""
    url = base_of(process)
    tag = request("GET", f"{url}/api/v1/config", auth=AGENT).headers["etag"].strip('"')
    ask("POST", f"{url}/api/v1/register", {"agent_id": "pattern"}, AGENT)
    ask("POST", f"{url}/api/v1/report", {"agent_id": "pattern", "version": tag, "state": "applied"}, AGENT)


def start(process: Process, agents: int) -> tuple[float, float, float]:
    """
    Start a controller.

    @return: the seconds until it answers a poll, until it answers a poll with a token, and until all agents are loaded.
    """
    began = time.monotonic()
    process.start(wait=False)
    url, took = base_of(process), []
    for path, who in (
        ("/api/v1/config", AGENT),
        ("/api/v1/config", (f"agent-{agents}", TOKEN)),
        ("/health", None),
    ):
        eventually(lambda path=path, who=who: request("GET", url + path, auth=who).status == 200, START_SECONDS)
        took.append(time.monotonic() - began)
    return took[0], took[1], took[2]


def flush(there: Stage, agents: int) -> float:
    """Write the last polls of agents as a controller does; return the median milliseconds of a flush."""
    random, took = Random(0), []
    with there.server.connect(there.database) as connection:
        for _ in range(REQUESTS):
            chosen = random.sample(range(1, agents + 1), min(FLUSHED, agents))
            polls = {f"agent-{number}": utc_now() for number in chosen}
            began = time.monotonic()
            with connection.transaction():
                touch(PostgresCursor(connection), polls, DIALECT.touch)
            took.append(1000 * (time.monotonic() - began))
    return median(took)


def times(method: str, url: str, body: Any = None, who: tuple[str, str] = ADMIN) -> list[float]:
    """Send one request after the other; return the milliseconds of the answers, in order of size."""
    took = []
    for _ in range(REQUESTS):
        began = time.monotonic()
        ask(method, url, body, who)
        took.append(1000 * (time.monotonic() - began))
    return sorted(took)


def ask(method: str, url: str, body: Any = None, who: tuple[str, str] = ADMIN) -> Any:
    """
    Send a request, and return the JSON of its answer.

    @raise Invalid: the request was refused.
    """
    answer = request(method, url, body, who, timeout=START_SECONDS)
    if answer.status not in (200, 201):
        raise Invalid(f"{url} was answered with {answer.status}: {answer.body[:200]!r}")
    return answer.json()


def measure(scale: Scale) -> Finding:
    """Answer the question for C{scale.known[1]} agents."""
    agents = scale.known[1]
    with server() as there, stage(there, 1) as ready:
        (process,) = ready.processes
        process.environ["MAX_AGENTS"] = str(2 * agents + 1000)
        pattern(process)
        process.stop()
        say(f"  {agents} agents: filled in {fill(ready, agents):.1f} s")
        first, token, whole = start(process, agents)
        held, spent = resident(process.pid) / 1e6, processor_time(process.pid)
        say(f"  the first poll after {first:.1f} s, with a token after {token:.1f} s, all agents after {whole:.1f} s")
        url = f"{base_of(process)}/api/v1"
        joining = {"hostname": "bench", "metadata": "tier=edge", "strategy": "NATS"}
        joined = together(ready, ready.targets("/api/v1/register", joining, AGENT), WRITERS, scale.seconds)
        posts = times("POST", f"{url}/config", DOCUMENT)
        summaries = times("GET", f"{url}/config/convergence")
        lists = times("GET", f"{url}/agents?limit=100&after=agent-5")
        flushed = flush(ready, agents)
    rows = [
        ("s from the start to the answer to a poll", first, 5.0),
        ("s from the start to the answer to a poll with a token", token, 10.0),
        ("MB of memory of the controller after the start", held, 300.0),
        ("ms of a publish, p99", quantile(posts, 0.99), 250.0),
        ("ms of the convergence of the newest version, p99", quantile(summaries, 0.99), 3000.0),
        ("ms of a page of agents, p99", quantile(lists, 0.99), 50.0),
        (f"ms of a flush of the polls of {min(FLUSHED, agents)} agents, median", flushed, 500.0),
    ]
    table = [{"agents": agents, "figure": name, "value": value} for name, value, _ in rows]
    table += [
        {"agents": agents, "figure": "s from the start until all agents are loaded", "value": whole},
        {"agents": agents, "figure": "s of CPU of the controller until all agents are loaded", "value": spent},
        {"agents": agents, "figure": "registrations per second", "value": joined.second},
        {"agents": agents, "figure": "us of CPU of the controller for a registration", "value": joined.cpu},
        {"agents": agents, "figure": "us of CPU of PostgreSQL for a registration", "value": joined.database},
    ]
    return Finding(
        "million",
        "A controller on PostgreSQL with many agents",
        table,
        [Bar(f"{name}, {agents} agents", value, bound, least=False) for name, value, bound in rows],
    )


def main() -> int:
    """Run the command; return status 0 even if a target is missed, for readers judge the targets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=1_000_000, help="agents in the database (1000000)")
    parser.add_argument("--tiny", action="store_true", help="as little as possible, to check that it runs")
    parser.add_argument("--into", type=Path, default=FOLDER, help="the folder of results (docs/benchmarks)")
    options = parser.parse_args()
    scale = TINY if options.tiny else evolve(FULL, name="whole", known=(1, options.agents))
    finding = measure(scale)
    save(finding, scale, options.into)
    print(finding.text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
