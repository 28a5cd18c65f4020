"""A controller on PostgreSQL: failovers, stopped servers, partitions, and servers that refuse: H-02 to H-11."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress

import psycopg

from tests.faults.databases import Pair, heals, newest, polling, quick_polls, refused, threads
from tests.faults.harness import FaultHarness, Load
from tests.faults.injection import fill, jump, lying_clock, rule, small_disk
from tests.faults.rows import Row, Rows, row
from tests.integration.fleet import ADMIN, AGENT, PATIENCE, Response, eventually, free_port, request
from tests.integration.recorded_fleet import BOUND, INTERVAL

POSTGRES = ("postgres",)


def _code(code: str, text: str = "") -> Callable[[Response], bool]:
    return lambda answer: answer.json()["code"] == code and text in answer.json()["error"]


@row(
    "H-02",
    "primary killed, synchronous standby promoted",
    "SIGKILL under 4 writers, promotion after 0 to 5 s",
    "lost 0, numbers 1 to n, chain whole; writes 2 s after the promotion",
    needs=POSTGRES,
    rounds=10,
    most=300,
)
def failover(fleet: FaultHarness) -> None:
    with Pair(fleet) as pair:
        pair.follow(synchronous=True)
        fleet.begin()
        for _ in range(4):
            with Load(fleet) as load:
                load.acked(10)
                pair.fail_over(fleet.random.uniform(0, 5))
                acked = load.answers[200]
                fleet.awaits(lambda load=load, acked=acked: load.answers[200] > acked, 2, "writes after a promotion")
            pair.read()
            pair.standby.wipe()
            pair.follow(synchronous=True)
        fleet.publish()
        fleet.converges(BOUND)
        pair.read()


@row(
    "H-03",
    "primary killed, standby promoted that lacks changes",
    "SIGKILL; the standby was stopped 5 publishes before",
    "storage_went_back; no agent goes back; all converge after epoch raise",
    needs=POSTGRES,
    agents=3,
    rounds=5,
)
def failover_with_losses(fleet: FaultHarness) -> None:
    with Pair(fleet) as pair:
        pair.follow(synchronous=False)
        fleet.begin()
        pair.standby.stop(signal.SIGKILL)
        for _ in range(5):
            fleet.publish()
        fleet.converges(BOUND)
        pair.primary.stop(signal.SIGKILL)
        pair.standby.start()
        with polling(fleet):
            pair.promote()
            fleet.until(lambda: "went_back" in fleet.post().json()["code"], "noticed", PATIENCE)
            for _ in range(5):
                refused(fleet, 6, _code("storage_went_back", "run confdctl epoch raise"), "before the epoch is raised")
            fleet.claim("not a continuation" in fleet.ready().body.decode(), "/ready says it")
            raised = request("POST", f"{fleet.daemons.url}/api/v1/epoch/raise", {}, ADMIN)
            fleet.claim(raised.status == 200, f"the epoch is raised: {raised.status} {raised.body[:200]!r}")
            heals(fleet, 2, "writes in the new epoch")
        fleet.converges(BOUND)
        newest(fleet)


@row(
    "H-04",
    "the old primary server returns",
    "the first host of the URL starts again, the new primary server restarts",
    "writes on the old one 0, polls never fall; writes 2 s after the restart",
    needs=POSTGRES,
    rounds=5,
)
def resurrected(fleet: FaultHarness) -> None:
    with Pair(fleet) as pair:
        pair.follow(synchronous=True)
        fleet.begin()
        pair.fail_over(0.5)
        heals(fleet, 2, "writes after the promotion")
        old = pair.standby
        old.start()
        with old.connect(pair.name) as connection:
            before = connection.execute("SELECT max(version), max(seq) FROM revisions, head").fetchone()
        for _ in range(3):
            with polling(fleet) as took:
                pair.primary.stop()
                for _ in range(3):
                    refused(fleet, 12, lambda answer: True, "while only the old one runs")
                pair.primary.start()
                heals(fleet, 2, "writes after the restart")
            quick_polls(fleet, took)
        with old.connect(pair.name) as connection:
            after = connection.execute("SELECT max(version), max(seq) FROM revisions, head").fetchone()
        fleet.claim(after == before, f"the old primary server took no writes: {before}, {after}")
        pair.read()
        fleet.publish()
        fleet.converges(BOUND)


def _stopped(fleet: FaultHarness, which: str) -> None:
    with Pair(fleet) as pair:
        fleet.begin()
        heals(fleet, 2, "a publish before")
        before = threads(fleet.controller.pid)
        pids = {"backends": pair.backends(), "postmaster": [pair.primary.pid]}.get(which)
        for _ in range(2):
            with polling(fleet) as took:
                for pid in pids or []:
                    os.kill(pid, signal.SIGSTOP)
                if pids is None:
                    pair.each(pair.primary, signal.SIGSTOP)
                until = time.monotonic() + (5 if which == "postmaster" else 20)
                blocked = which == "all" or (which == "backends" and pair.within_transaction(pids or []))
                if which == "backends" and not blocked:
                    # The server starts backends for new connections.
                    fleet.awaits(lambda: fleet.post().status == 200, 11, "a publish on a new connection")
                while time.monotonic() < until:
                    if blocked:
                        refused(fleet, 11, lambda answer: True, f"{which} stopped")
                    else:
                        # Open connections go on without the postmaster, new ones without the stopped backends.
                        fleet.claim(fleet.post().status == 200, f"a publish without the {which}")
                        time.sleep(0.05)
                pair.each(pair.primary, signal.SIGCONT)
                heals(fleet, 2, f"writes after {which} continued")
            quick_polls(fleet, took)
            pids = pids and (pair.backends() if which == "backends" else [pair.primary.pid])
        fleet.claim(threads(fleet.controller.pid) <= before + 1, f"no thread leaks: {before}")
        fleet.publish()
        fleet.converges(BOUND)
        pair.read()


STOPPED = Rows(
    Row(
        f"H-05 {which}", f"PostgreSQL stands still: {which}", "SIGSTOP for 20 s (the postmaster alone: 5 s), twice",
        "polls p99 50 ms; writes 503; back 2 s after SIGCONT; threads leaked 0",
        lambda fleet, which=which: _stopped(fleet, which), needs=POSTGRES, rounds=2,
    )
    for which in ("backends", "postmaster", "all")
)  # fmt: skip


@row(
    "H-08",
    "controller cut off from PostgreSQL",
    "iptables DROP for 15 s, STALE_LIMIT=5",
    "polls go on; tokens until STALE_LIMIT; caught up 3 s after",
    needs=("postgres", "namespace", "iptables"),
    rounds=3,
)
def partitioned(fleet: FaultHarness) -> None:
    port = str(free_port())
    with Pair(fleet, {"listen_addresses": "127.0.0.1", "port": port}) as pair:
        url = f"postgresql://confd@127.0.0.1:{port}/{pair.name}"
        fleet.controller.environ |= {"DATABASE_URL": url, "STALE_LIMIT": "5"}
        fleet.begin()
        joined = request("POST", f"{fleet.daemons.url}/api/v1/register", {"hostname": "own"}, AGENT).json()
        own = (joined["agent_id"], joined["token"])

        def poll() -> Response:
            return request("GET", f"{fleet.daemons.url}/api/v1/config", auth=own)

        fleet.claim(poll().status == 200, "a token is accepted")
        with rule("-p", "tcp", "--dport", port, "-j", "DROP"), polling(fleet) as took:
            began = time.monotonic()
            fleet.claim(poll().status == 200, "a token is accepted without the database")
            refused(fleet, 11, lambda answer: True, "cut off")
            fleet.until(lambda: poll().status == 503, "the token is refused", PATIENCE)
            fleet.claim(time.monotonic() - began >= 5, "no sooner than STALE_LIMIT")
            time.sleep(max(0.0, began + 9 - time.monotonic()))
            fleet.claim(poll().json().get("code") == "controller_stale", "refused as stale")
            stale = request("GET", f"{fleet.daemons.url}/ready/read").status
            fleet.claim(stale == 503, f"/ready/read is 503: {stale}")
            time.sleep(max(0.0, began + 15 - time.monotonic()))
        quick_polls(fleet, took)
        fleet.awaits(lambda: poll().status == 200, 3, "the token is accepted again")
        heals(fleet, 3, "writes after the partition")
        pair.read()
        fleet.converges(BOUND)


@row(
    "H-10 connections",
    "no free connection",
    "other clients take all of max_connections",
    "503 with the reason; heals alone",
    needs=POSTGRES,
    rounds=3,
)
def no_connections(fleet: FaultHarness) -> None:
    with Pair(fleet, {"max_connections": "20", "superuser_reserved_connections": "0"}) as pair:
        fleet.begin()
        taken: list[psycopg.Connection[tuple[object, ...]]] = []
        for pid in pair.backends():
            os.kill(pid, signal.SIGTERM)
        with suppress(psycopg.OperationalError):
            while True:
                taken.append(pair.primary.connect("postgres"))
        # The controller may have come first, so that it is cut off again.
        eventually(lambda: _fill_up(pair, taken))
        refused(fleet, 6, _code("storage_unavailable", "the server has no free connection"), "no free connection")
        for each in taken:
            each.close()
        heals(fleet, 3, "writes with free connections")
        fleet.converges(BOUND)
        pair.read()


def _fill_up(pair: Pair, taken: list[psycopg.Connection[tuple[object, ...]]]) -> bool:
    """End the connections of the controller and take their places; return whether the controller has none."""
    rows = taken[0].execute("SELECT pid FROM pg_stat_activity WHERE datname = %s", (pair.name,)).fetchall()
    for (pid,) in rows:
        taken[0].execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
        with suppress(psycopg.OperationalError):
            taken.append(pair.primary.connect("postgres"))
    return not rows


@row(
    "H-10 disk",
    "the disk of the server is full",
    "a tmpfs without a free byte",
    "503; nothing acknowledged is lost; heals with free space",
    needs=("postgres", "namespace"),
    rounds=2,
)
def full_disk(fleet: FaultHarness) -> None:
    with small_disk(fleet.folder / "disk", "192m") as disk, Pair(fleet) as pair:
        # Another table space would do as well; the log stays on the other disk, so that the server goes on.
        os.chmod(fleet.folder, 0o711)
        os.chmod(disk, 0o777)
        space = disk / "space"
        space.mkdir()
        pair.primary.hand_over(space)
        with pair.primary.connect("postgres") as connection:
            connection.execute(f"CREATE TABLESPACE small LOCATION '{space}'")  # type: ignore[call-overload]
            connection.execute(f"ALTER DATABASE {pair.name} SET TABLESPACE small")  # type: ignore[call-overload]
        fleet.begin()
        filler = fill(disk)
        pad = "".join(chr(fleet.random.randrange(32, 127)) for _ in range(200_000))
        fleet.until(lambda: fleet.post(pad=pad).status == 503, "full", PATIENCE)
        refused(fleet, 6, _code("storage_unavailable", "the disk of the server is full"), "full", pad=pad)
        filler.unlink()
        heals(fleet, 3, "writes with free space")
        pair.read()
        fleet.converges(BOUND)


@row(
    "H-10 standby",
    "the only standby is gone, and an operator cancels commits",
    "SIGKILL of the standby; pg_cancel_backend ten times a second",
    "acknowledged 0 meanwhile; /ready says it; heals alone",
    needs=POSTGRES,
    rounds=3,
    most=300,
)
def no_standby(fleet: FaultHarness) -> None:
    with Pair(fleet) as pair:
        pair.follow(synchronous=True)
        fleet.controller.environ["DATABASE_DURABILITY"] = "replicated"
        fleet.begin()
        pair.standby.stop(signal.SIGKILL)
        with Load(fleet, 2) as load:
            fleet.until(lambda: "no standby confirms" in fleet.ready().body.decode(), "/ready says it", PATIENCE)
            for _ in range(50):
                pair.ask("SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
                time.sleep(0.1)
            fleet.until(lambda: load.answers[503] > 0, "publishes are refused", PATIENCE)
        with Load(fleet, 2) as load:
            time.sleep(5)
            fleet.claim(load.answers[200] == 0, f"{load.answers[200]} publishes were acknowledged without a standby")
            pair.standby.start()
            fleet.awaits(lambda: load.answers[200] > 0, 5, "writes with the standby")
        pair.read()
        fleet.converges(BOUND)


@row(
    "H-11",
    "the clock of PostgreSQL jumps",
    "libfaketime: a day forward, a day back, and again",
    "versions and applies as before; writes go on",
    needs=("postgres", "faketime"),
    rounds=2,
)
def clock(fleet: FaultHarness) -> None:
    with Pair(fleet) as pair:
        os.chmod(fleet.folder, 0o755)
        pair.primary.stop(signal.SIGINT)
        pair.primary.environ = lying_clock(fleet.folder, "+0")
        pair.primary.start()
        fleet.begin()
        for offset in ("+86400", "-86400", "+0", "+3600"):
            jump(fleet.folder, offset)
            fleet.publish()
            fleet.converges(BOUND)
            time.sleep(2 * INTERVAL)
            fleet.claim(fleet.listed()[0]["state"] == "applied", f"no false silence at {offset}")
        newest(fleet)
        pair.read()
