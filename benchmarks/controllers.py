"""
How much do several controllers on one PostgreSQL database take, and how late does one of them hear of another?

A real server with fsync runs on the disk of the temporary files. One database has one controller, another database has
two, and the turns alternate. Beside them: a bare loop that inserts groups of the rows of a publish, of the same size as
the controllers' groups. Run it with C{python -m benchmarks.controllers}.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any

from attrs import define, frozen

from benchmarks.contest import DOCUMENT, authorization, posting, scratch
from benchmarks.crowd import Players
from benchmarks.dialects import Stream
from benchmarks.figures import quantile
from benchmarks.findings import Bar, Finding, Scale, main, say
from benchmarks.host import processor_time
from benchmarks.load import Target, as_fast_as_it_goes
from benchmarks.plots import Chart
from tests.controller.store.postgres.pooler import Pooler, set_limits
from tests.controller.store.postgres.pooler import why_missing as pooler_missing
from tests.controller.store.postgres.server import PostgresServer
from tests.integration.fleet import ADMIN, AGENT, Fleet, Process, base_of, children, free_port, request
from tests.runtime.test_metrics import samples

#: Connections of each load, shared by the controllers under it.
WRITERS, REGISTRARS, REPORTERS = 32, 64, 64

#: The tables of a publish, each with the columns of one row; the bare loop fills copies of them.
_ROWS = {
    "revisions": ("version", "document", "checksum", "author"),
    "audit": ("number", "at", "who", "detail", "hash", "previous"),
    "changes": ("seq", "kind", "subject", "body"),
}


@define(eq=False)
class Stage:
    """A server of PostgreSQL, and the controllers of one of its databases."""

    server: PostgresServer
    database: str
    processes: Sequence[Process]

    def targets(self, path: str, body: Any, who: tuple[str, str]) -> list[Target]:
        """Return a POST to each controller."""
        return [posting(f"{base_of(each)}{path}", each.pid, body, authorization(who)) for each in self.processes]

    def written(self) -> tuple[float, float]:
        """Return the writes so far, and the transactions that they shared."""
        found = [samples(request("GET", f"{base_of(each)}/metrics").body) for each in self.processes]
        works = sum(each["confd_database_group_works_total", ()] for each in found)
        return works, sum(each["confd_database_groups_total", ()] for each in found)


@frozen
class Turn:
    """
    One measurement.

    @ivar cpu: microseconds of processor time of the controllers for each answer; C{database}: of PostgreSQL.
    """

    second: float
    cpu: float
    database: float
    wrong: int


@contextmanager
def server() -> Iterator[PostgresServer]:
    """Run PostgreSQL with the settings of its default, but for the connections."""
    made = PostgresServer({"max_connections": "60"})
    try:
        made.create()
        made.start()
        yield made
    finally:
        made.remove()


def _database_time(there: PostgresServer) -> float:
    """Return the processor time of a server and its backends, also of ended ones, in seconds."""
    ticks = 0
    for pid in (there.pid, *children(there.pid)):
        # A worker of autovacuum may end meanwhile; its time is then that of the server's children.
        with suppress(FileNotFoundError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15] if pid == there.pid else fields[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def stage(there: PostgresServer, count: int, url: str | None = None) -> Iterator[Stage]:
    """
    Run so many controllers on a new database.

    @param url: how they connect, where that is not directly; C{NAME} stands for the database.
    """
    database = there.new_database()
    with scratch() as folder:
        fleet = Fleet(folder, 300)
        processes = []
        try:
            for number in range(count):
                port = free_port()
                arguments = ["confd-controller", "--port", str(port), "--log-level", "warn"]
                made = fleet.add(f"controller-{number}", arguments, f"http://127.0.0.1:{port}/ready")
                made.environ |= {"DATABASE_URL": (url or there.url("NAME")).replace("NAME", database)}
                made.environ["DATABASE_INIT"] = "true"
                processes.append(made.start())
            yield Stage(there, database, processes)
        finally:
            fleet.close()


def together(stage: Stage, targets: Sequence[Target], connections: int, seconds: float) -> Turn:
    """Load all controllers of a stage at once, each with its share of the connections."""
    before = _database_time(stage.server)
    share = connections // len(targets)
    with ThreadPoolExecutor(len(targets)) as pool:
        rates = list(pool.map(lambda each: as_fast_as_it_goes(each, share, seconds), targets))
    second = sum(each.second for each in rates)
    spent = _database_time(stage.server) - before
    cpu = sum(each.cpu * each.second for each in rates) / max(1.0, second)
    return Turn(second, cpu, 1e6 * spent / max(1.0, second * seconds), sum(each.wrong for each in rates))


def reporting(stage: Stage, agents: int, seconds: float) -> Turn:
    """Let agents of all controllers report without a pause."""
    with ExitStack() as stack:
        crowds = []
        for each in stage.processes:
            crowd = Players("benchmarks.reporters")
            stack.callback(crowd.stop)
            crowd.begin(["--controller", base_of(each).rpartition("/")[2], "--agents", str(agents)], agents)
            crowds.append(crowd)
        controllers = [processor_time(each.pid) for each in stage.processes]
        before = _database_time(stage.server)
        for crowd in crowds:
            crowd.order(flood=min(agents, REPORTERS // len(crowds)), seconds=seconds)
        statuses = [crowd.hear()["statuses"] for crowd in crowds]
        spent = sum(processor_time(each.pid) for each in stage.processes) - sum(controllers)
        database = _database_time(stage.server) - before
    taken = sum(each.get("200", 0) for each in statuses)
    wrong = sum(sum(each.values()) for each in statuses) - taken
    return Turn(taken / seconds, 1e6 * spent / max(1, taken), 1e6 * database / max(1, taken), wrong)


def bare(stage: Stage, group: int, seconds: float) -> Turn:
    """Insert groups of the rows of a publish, each in one transaction."""
    before, count = _database_time(stage.server), 0
    with stage.server.connect(stage.database) as connection:
        statements = {}
        for table, columns in _ROWS.items():
            connection.execute(
                f"CREATE TABLE IF NOT EXISTS bare_{table} ({', '.join(f'{each} text' for each in columns)})"
            )  # type: ignore[call-overload]
            places = ", ".join(["%s"] * len(columns))
            text = json.dumps(DOCUMENT) if table == "revisions" else "x" * 40
            statements[f"INSERT INTO bare_{table} VALUES ({places})"] = [text, *["x" * 40] * (len(columns) - 1)]
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            with connection.pipeline(), connection.transaction():
                for statement, row in statements.items():
                    connection.cursor().executemany(statement, [row] * group)  # type: ignore[arg-type]
            count += group
        spent = _database_time(stage.server) - before
    return Turn(count / seconds, 0.0, 1e6 * spent / max(1, count), 0)


def delays(stage: Stage, publishes: int) -> list[float]:
    """Publish on the first controller; return the milliseconds until a stream of the last one has each version."""
    dialect, times = Stream(), []
    host, _, port = base_of(stage.processes[-1]).rpartition("/")[2].partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(dialect.hello)
        rest = b""
        for number in range(publishes + 1):
            began = time.monotonic()
            if number:
                url = f"{base_of(stage.processes[0])}/api/v1/config"
                answer = request("POST", url, {**DOCUMENT, "number": number}, ADMIN)
                assert answer.status == 200, answer
            heard = 0
            while not heard:
                messages, rest = dialect.split(rest + connection.recv(65536))
                heard = len(messages)
            if number:
                times.append(1000 * (time.monotonic() - began))
    return sorted(times)


def contest(turns: Mapping[str, Callable[[], Turn]], scale: Scale) -> dict[str, Turn]:
    """Take all turns in rotation; return the medians."""
    found: dict[str, list[Turn]] = {name: [] for name in turns}
    for number in range(scale.times):
        for name, take in turns.items():
            found[name].append(turn := take())
            say(
                f"  {name}, {number + 1} of {scale.times}: {turn.second:.0f}/s, {turn.cpu:.0f} + {turn.database:.0f} us"
            )
    return {
        name: Turn(
            median(each.second for each in turns),
            median(each.cpu for each in turns),
            median(each.database for each in turns),
            sum(each.wrong for each in turns),
        )
        for name, turns in found.items()
    }


def measure(scale: Scale) -> Finding:
    """Answer the question at one size."""
    with server() as there, stage(there, 1) as one, stage(there, 2) as two:
        found, bars = _rates(one, two, scale)
        lags = {"with NOTIFY": delays(two, scale.rounds * 10)}
        if pooler_missing() is None:
            lags["through pgbouncer, without NOTIFY"] = _pooled_delays(there, scale)
    for (name, times), bound in zip(lags.items(), (300, 600), strict=False):
        bars.append(
            Bar(
                f"ms from a publish to an agent of the other controller, {name}, p99",
                quantile(times, 0.99),
                bound,
                least=False,
            )
        )
    table = [_row(name, turn) for name, turn in found.items()]
    table += [
        {"what": f"to the other controller, {name}", "p50 ms": quantile(times, 0.5), "p99 ms": quantile(times, 0.99)}
        for name, times in lags.items()
    ]
    charts = [
        Chart(f"{what.capitalize()} per second", [(name, turn.second) for name, turn in found.items() if what in name])
        for what in ("publishes", "registrations", "reports", "polls")
    ]
    lacking = [] if len(lags) == 2 else ["pgbouncer"]
    return Finding("controllers", "Several controllers on PostgreSQL", table, bars, charts, lacking)


def _rates(one: Stage, two: Stage, scale: Scale) -> tuple[dict[str, Turn], list[Bar]]:
    seconds, both = scale.seconds, {"one controller": one, "two controllers": two}

    def turns(what: str, path: str, body: Any, who: tuple[str, str], connections: int) -> dict[str, Callable[[], Turn]]:
        return {
            f"{what}, {name}": lambda each=each: together(each, each.targets(path, body, who), connections, seconds)  # type: ignore[misc]
            for name, each in both.items()
        }

    publishes = turns("publishes", "/api/v1/config", DOCUMENT, ADMIN, WRITERS)
    before = two.written()
    for each in publishes.values():
        each()
    works, groups = (now - then for now, then in zip(two.written(), before, strict=True))
    group = max(1, round(works / max(1.0, groups)))
    publishes[f"publishes, bare loop of groups of {group}"] = lambda: bare(two, group, seconds)
    found = contest(publishes, scale)
    joining = {"hostname": "bench", "metadata": "tier=edge", "strategy": "STREAM"}
    found |= contest(turns("registrations", "/api/v1/register", joining, AGENT, REGISTRARS), scale)
    agents = min(200, scale.agents[0])
    found |= contest(
        {f"reports, {name}": lambda each=each: reporting(each, agents, seconds) for name, each in both.items()},  # type: ignore[misc]
        scale,
    )
    polls = {name: [_poll(each) for each in there.processes] for name, there in both.items()}
    found |= contest(
        {
            f"polls, {name}": lambda name=name: together(both[name], polls[name], WRITERS, seconds)  # type: ignore[misc]
            for name in both
        },
        scale,
    )
    names = list(found)
    second = {name: turn.second for name, turn in found.items()}
    return found, [
        Bar("publishes of two controllers by the bare loop", second[names[1]] / second[names[2]], 0.5),
        Bar("publishes of two controllers by one", second[names[1]] / second[names[0]], 1.0),
        Bar("registrations of two controllers by one", second[names[4]] / second[names[3]], 1.0),
        Bar("reports per second, two controllers", second[names[6]], 9000),
    ]


def _poll(process: Process) -> Target:
    url = f"{base_of(process)}/api/v1/config"
    tag = request("GET", url, auth=AGENT).headers["etag"]
    return Target(url, process.pid, headers=authorization(AGENT) | {"If-None-Match": tag})


def _pooled_delays(there: PostgresServer, scale: Scale) -> list[float]:
    settings = {"pool_mode": "transaction", "ignore_startup_parameters": "options"}
    pooler = Pooler(there, "confd", settings)
    try:
        set_limits(there, "confd")
        pooler.start()
        with stage(there, 2, pooler.url("NAME")) as pooled:
            return delays(pooled, scale.rounds * 10)
    finally:
        pooler.remove()


def _row(name: str, turn: Turn) -> dict[str, Any]:
    return {
        "what": name,
        "per second": turn.second,
        "us of CPU each, controllers": turn.cpu,
        "us of CPU each, PostgreSQL": turn.database,
        "errors": turn.wrong,
        "p50 ms": None,
        "p99 ms": None,
    }


if __name__ == "__main__":
    sys.exit(main(__doc__, measure))
