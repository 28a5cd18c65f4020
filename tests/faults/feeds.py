"""A feed of changes whose connections break without a word, and a pooler between: H-07."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

from tests.controller.store.postgres.pooler import Pooler, set_limits
from tests.faults.controllers import another
from tests.faults.databases import Pair, heals
from tests.faults.edge import AUTH, HOST, Crowd
from tests.faults.harness import FaultHarness
from tests.faults.injection import rule
from tests.faults.rows import row
from tests.integration.fleet import AGENT, Process, base_of, eventually, free_port, request
from tests.integration.recorded_fleet import BOUND

#: Open streams of each controller.
STREAMS = 10

#: Publishes of one step of a row.
PUBLISHES = 20

#: The C{application_name} that tells the connections of the second controller from those of the first one.
SECOND = "second"

IPTABLES = ("postgres", "namespace", "iptables")


@contextmanager
def young(fleet: FaultHarness, process: Process, limit: float) -> Iterator[None]:
    """Claim that the feed of a controller is no older than C{limit} seconds meanwhile."""
    ages: list[float] = []
    end = threading.Event()

    def read() -> None:
        while not end.wait(0.05):
            ages.append(fleet.total("confd_feed_age_seconds", process))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
    fleet.claim(len(ages) > 5, f"{len(ages)} ages are enough")
    fleet.at_most(max(ages), limit, f"the age of the feed of {process.name}")


@contextmanager
def streams(fleet: FaultHarness, *processes: Process) -> Iterator[None]:
    """Keep streams open, and claim that no controller ends a stream meanwhile."""
    with ExitStack() as stack:
        crowds = {each.name: stack.enter_context(Crowd(int(base_of(each).rpartition(":")[2]))) for each in processes}
        for crowd in crowds.values():
            crowd.connect(STREAMS, b"GET /api/v1/stream HTTP/1.1\r\n" + HOST + AUTH + b"\r\n")
        for each in processes:
            eventually(lambda each=each: fleet.total("confd_stream_readers", each) >= STREAMS)
        yield
        for name, crowd in crowds.items():
            fleet.claim((left := crowd.open()) == STREAMS, f"{left} of {STREAMS} streams of {name} are left")


def follows(fleet: FaultHarness, controllers: list[Process], within: float, publishers: int = 1) -> None:
    """
    Claim that each controller serves in time what another one publishes.

    @param publishers: controllers that publish, the first ones, in turn.
    """
    for number in range(PUBLISHES):
        publisher = controllers[number % publishers]
        answer = fleet.post(url=base_of(publisher))
        fleet.claim(answer.status == 200, f"a publish: {answer.status}")
        version = answer.json()["version"]
        for other in controllers:
            url = f"{base_of(other)}/api/v1/config"
            fleet.awaits(
                lambda url=url, version=version: request("GET", url, auth=AGENT).json()["version"] >= version,
                within,
                f"the version on {other.name}",
            )


def cut_off(pair: Pair, port: str, which: str) -> ExitStack:
    """Drop all packets of the connections of the second controller that a condition of SQL selects, for good."""
    with pair.primary.connect("postgres") as connection:
        rows = connection.execute(
            f"SELECT client_port FROM pg_stat_activity WHERE application_name = '{SECOND}' AND {which}"  # type: ignore[call-overload]
        ).fetchall()
    assert rows, f"no connection is {which}"
    stack = ExitStack()
    for (client,) in rows:
        stack.enter_context(rule("-p", "tcp", "--sport", str(client), "--dport", port, "-j", "DROP"))
        stack.enter_context(rule("-p", "tcp", "--sport", port, "--dport", str(client), "-j", "DROP"))
    return stack


@contextmanager
def over_tcp(fleet: FaultHarness) -> Iterator[tuple[Process, Callable[[str], ExitStack]]]:
    """
    Run a second controller, and reach the database by TCP; prove in the end that all agents have the newest version.

    @return: the second controller, and a function that cuts off some of its connections: see L{cut_off}.
    """
    port = str(free_port())
    with Pair(fleet, {"listen_addresses": "127.0.0.1", "port": port}) as pair:
        url = f"postgresql://confd@127.0.0.1:{port}/{pair.name}"
        fleet.controller.environ["DATABASE_URL"] = url
        fleet.begin()
        yield another(fleet, DATABASE_URL=f"{url}?application_name={SECOND}"), partial(cut_off, pair, port)
        pair.read()
        fleet.converges(BOUND)


@row(
    "H-07 half-open",
    "all connections to PostgreSQL half-open",
    "iptables DROP of the open connections of one of two controllers",
    "feed age 3 s; versions of the other one 3 s; 20 streams untouched; writes",
    needs=IPTABLES,
    rounds=5,
)
def half_open(fleet: FaultHarness) -> None:
    with over_tcp(fleet) as (second, cut):
        both = [fleet.controller, second]
        with streams(fleet, *both):
            for _ in range(3):
                with young(fleet, second, 3), cut("true"):
                    follows(fleet, both, 3)
                    fleet.awaits(lambda: fleet.post(url=base_of(second)).status == 200, 6, "a publish of the second")


@row(
    "H-07 notify",
    "hints of PostgreSQL are lost",
    "iptables DROP of the connection that listens",
    "feed age 0.5 s; versions of the other controller 0.6 s; 20 streams untouched",
    needs=IPTABLES,
    rounds=5,
)
def deaf(fleet: FaultHarness) -> None:
    with (
        over_tcp(fleet) as (second, cut),
        streams(fleet, fleet.controller, second),
        young(fleet, second, 0.5),
        cut("query LIKE 'LISTEN%'"),
    ):
        follows(fleet, [fleet.controller, second], 0.6)


@row(
    "H-07 pgbouncer",
    "pgbouncer between, in transaction mode",
    "two controllers; SIGKILL of pgbouncer for 3 s",
    "feed age 0.5 s; versions of the other controller 0.6 s; 20 streams untouched",
    needs=("postgres", "pgbouncer"),
    rounds=5,
)
def pooled(fleet: FaultHarness) -> None:
    with Pair(fleet) as pair:
        settings = {"pool_mode": "transaction", "ignore_startup_parameters": "options"}
        pooler = Pooler(pair.primary, "confd", settings)
        try:
            set_limits(pair.primary, "confd")
            pooler.start()
            fleet.controller.environ["DATABASE_URL"] = pooler.url(pair.name)
            fleet.begin()
            both = [fleet.controller, another(fleet)]
            with streams(fleet, *both):
                with young(fleet, both[0], 0.5), young(fleet, both[1], 0.5):
                    follows(fleet, both, 0.6, publishers=2)
                pooler.stop()
                time.sleep(3)
                pooler.start()
                heals(fleet, 3, "writes with pgbouncer")
                follows(fleet, both, 0.6, publishers=2)
            pair.read()
            fleet.converges(BOUND)
        finally:
            pooler.remove()
