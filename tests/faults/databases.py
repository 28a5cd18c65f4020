"""A pair of PostgreSQL servers under a fleet of faults."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from attrs import define, field, fields

from confd.audit import AuditEntry, verify
from confd.codec import strict_json
from tests.controller.store.postgres.server import PostgresServer
from tests.faults.harness import FaultHarness, percentile
from tests.integration.fleet import ADMIN, PATIENCE, Response, children, eventually, request

_REVISIONS = """
    SELECT c.cluster_id, r.epoch, r.version, r.document, r.checksum FROM revisions r JOIN clusters c ON c.id = r.cluster
    WHERE r.namespace = 'default' ORDER BY r.version
"""
_AUDIT = f"SELECT {', '.join(each.name for each in fields(AuditEntry))} FROM audit ORDER BY number"


@define(eq=False)
class Pair:
    """
    A primary server and its standby, the database of a fleet.

    @ivar settings: of the primary server.
    """

    fleet: FaultHarness
    settings: dict[str, str] = field(factory=dict)
    primary: PostgresServer = field(init=False)
    standby: PostgresServer = field(factory=PostgresServer, init=False)
    name: str = field(init=False)

    def __enter__(self) -> Pair:
        self.primary = PostgresServer(self.settings)
        self.primary.create()
        self.primary.start()
        self.name = self.primary.new_database()
        self.fleet.controller.environ |= {"DATABASE_URL": self.url, "DATABASE_INIT": "true"}
        return self

    def __exit__(self, *_: object) -> None:
        for server in (self.primary, self.standby):
            with suppress(ProcessLookupError, FileNotFoundError):
                self.each(server, signal.SIGCONT)
            server.remove()

    @property
    def url(self) -> str:
        """The C{DATABASE_URL}; its hosts keep their order whichever is the primary server."""
        hosts = [str(each.folder) for each in (self.primary, self.standby)]
        return f"postgresql://confd@/{self.name}?host={','.join(hosts)}&port=5432,5432"

    def follow(self, synchronous: bool) -> None:
        """Start the standby, whose data are new."""
        self.standby.follow(self.primary, "standby")
        self.standby.start()
        self.primary.configure(synchronous_standby_names="standby" if synchronous else "")
        state = "sync" if synchronous else "async"
        eventually(lambda: self.ask(f"SELECT count(*) FROM pg_stat_replication WHERE sync_state = '{state}'") == 1)

    def fail_over(self, pause: float) -> None:
        """Kill the primary server, and promote the standby after a while."""
        self.primary.stop(signal.SIGKILL)
        time.sleep(pause)
        self.promote()

    def promote(self) -> None:
        """Promote the standby; the servers change their roles."""
        self.standby.promote()
        self.primary, self.standby = self.standby, self.primary
        self.primary.configure(synchronous_standby_names="")

    def ask(self, query: str) -> object:
        """Return the value of a query on the primary server."""
        with self.primary.connect(self.name) as connection:
            row = connection.execute(query).fetchone()  # type: ignore[call-overload]
        assert row is not None
        return row[0]

    def read(self) -> None:
        """Record the revisions in the database for the check, and verify the audit chain."""
        with self.primary.connect(self.name) as connection:
            rows = connection.execute(_REVISIONS).fetchall()
            entries = [AuditEntry(*row) for row in connection.execute(_AUDIT)]  # type: ignore[call-overload]
        for _, _, version, text, checksum in rows:
            self.fleet.claim(strict_json.checksum(json.loads(str(text))) == checksum, f"version {version} is whole")
        self.fleet.history.read((f"{str(row[0])[:8]}.{row[1]}.{row[2]}", str(row[4])) for row in rows)
        verification = verify(entries)
        self.fleet.claim(verification.wrong is None, f"the audit chain is whole: {verification.reason}")

    def each(self, server: PostgresServer, which: signal.Signals) -> None:
        """Send a signal to all processes of a server."""
        if server.running:
            for pid in (server.pid, *children(server.pid)):
                # A backend may have ended since.
                with suppress(ProcessLookupError):
                    os.kill(pid, which)

    def backends(self) -> list[int]:
        """Return the processes that serve the controller."""
        with self.primary.connect("postgres") as connection:
            rows = connection.execute("SELECT pid FROM pg_stat_activity WHERE datname = %s", (self.name,)).fetchall()
        return [int(str(pid)) for (pid,) in rows]

    def within_transaction(self, pids: list[int]) -> bool:
        """Return whether a stopped process is within a transaction, whose locks the server keeps until it goes on."""
        query = f"SELECT count(*) FROM pg_stat_activity WHERE pid IN ({','.join(map(str, pids))}) AND state <> 'idle'"
        return self.ask(query) != 0


@contextmanager
def polling(fleet: FaultHarness, pause: float = 0.02) -> Iterator[list[float]]:
    """Poll meanwhile; yield the seconds of the answers. An answer that is not 200, or older, is a violation."""
    took: list[float] = []
    end, newest = threading.Event(), [(0, 0)]

    def poll() -> None:
        while not end.wait(pause):
            began = time.monotonic()
            answer = request("GET", f"{fleet.daemons.url}/api/v1/config", auth=ADMIN)
            took.append(time.monotonic() - began)
            found = answer.json()
            served = (found["epoch"], found["version"]) if answer.status == 200 else (0, 0)
            if served < newest[0]:
                fleet.claim(False, f"a poll got {answer.status} and {served} after {newest[0]}")
            newest[0] = max(newest[0], served)

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    try:
        yield took
    finally:
        end.set()
        thread.join()


def quick_polls(fleet: FaultHarness, took: list[float], limit: float = 0.05) -> None:
    """Claim that polls were answered from memory."""
    fleet.claim(len(took) > 20, f"{len(took)} polls are enough")
    fleet.at_most(percentile(took, 0.99), limit, "p99 of a poll")


def refused(fleet: FaultHarness, within: float, check: Callable[[Response], bool], what: str, **more: str) -> None:
    """Publish once, with C{more} in the document; claim that the answer is 503, as C{check} expects it, and in time."""
    began = time.monotonic()
    answer = fleet.post(**more)
    fleet.at_most(time.monotonic() - began, within, f"{what}: the answer")
    said = f"{answer.status} {answer.body[:300]!r}"
    fleet.claim(answer.status == 503 and "retry-after" in answer.headers and check(answer), f"{what}: {said}")


def heals(fleet: FaultHarness, within: float, what: str) -> None:
    """Claim that a publish succeeds in time."""
    fleet.awaits(lambda: fleet.post().status == 200, within, what)


def threads(pid: int) -> int:
    """Return the number of threads of a process."""
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def newest(fleet: FaultHarness) -> None:
    """Wait until all agents have applied what the controller serves."""
    fleet.until(lambda: all(each["state"] == "applied" for each in fleet.listed()), "applied", PATIENCE)
