"""The controller's store in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import partial

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from zope.interface import implementer

from confd.changes import Batch, Committed, Contents
from confd.controller.interfaces import IControllerStore
from confd.controller.store.change_log import ChangeLog
from confd.controller.store.database import DatabaseStore
from confd.controller.store.migrations import shipped_migrations
from confd.controller.store.queries import contents
from confd.controller.store.sqlite.backup import Backup, copy_database, remove_leftovers
from confd.controller.store.sqlite.bootstrap import open_database
from confd.controller.store.sqlite.dialect import DIALECT
from confd.controller.store.sqlite.engine import Engine
from confd.controller.store.sqlite.identity_file import IdentityFile
from confd.controller.store.write_queue import ignore_unavailable
from confd.errors import Unavailable
from confd.history import EpochChange
from confd.model import Draft, Revision
from confd.runtime.reactor import Reactor
from confd.runtime.timing import Periodic

#: Seconds between two probes: while all is well, and while nothing can be written.
PROBE_INTERVAL_SECONDS, PROBE_INTERVAL_WHILE_FAILING_SECONDS = 5.0, 1.0


@implementer(IControllerStore)
class SqliteStore(DatabaseStore):
    """
    Configurations, agents and the audit in one SQLite database.

    The store works after L{stopService}, for services that flush while they stop. The threads end with the reactor, or
    by L{close}.
    """

    interval = None
    dialect = DIALECT

    def __init__(self, reactor: Reactor, path: str, first: Draft, keep: int = 0, *, busy_timeout: float = 5.0) -> None:
        """
        Open nothing.

        @param reactor: its timers and its threads are used.
        @param path: C{DB_PATH}.
        @param first: version 1 of a new database, with its poll interval.
        @param keep: C{HISTORY_KEEP}, revisions of a namespace; 0 keeps all.
        @param busy_timeout: seconds that a write waits for another process's lock.
        """
        super().__init__(ChangeLog(reactor.seconds), keep)
        self._path, self._first = path, first
        self._reactor, self._busy_timeout = reactor, busy_timeout
        self._opened: tuple[Engine, IdentityFile] | None = None
        self._probes = Periodic(reactor, lambda: self._engine.probe(), self._pause)

    def startService(self) -> None:
        """
        Open the database, or create it.

        @raise StartError: with a line that begins with C{DB_PATH}.
        """
        opened = open_database(self._path, self._first, shipped_migrations())
        self._path = opened.path
        remove_leftovers(self._path)
        engine = Engine(self._path, self._reactor, self._busy_timeout, self._log.commit)
        self._opened = engine, opened.identity_file
        super().startService()
        self._probes.startService()
        if not opened.checked:
            engine.look_for_damage()
        Deferred.fromCoroutine(self._prune()).addErrback(ignore_unavailable)

    def stopService(self) -> Deferred[None]:
        """Fire when every accepted write is on disk."""
        super().stopService()
        return maybeDeferred(self._probes.stopService).addCallback(lambda _: self._engine.drain())

    def close(self) -> None:
        """End the threads and release the database. The end of the reactor does the same."""
        self._engine.close()
        self._identity_file.release()

    def copy(self) -> Backup:
        """
        Copy the database, beside reads and writes; for a thread.

        @raise Unavailable: see L{copy_database}.
        """
        return copy_database(self._path, self._reactor.seconds)

    @property
    def _engine(self) -> Engine:
        """
        Return the threads of the open database.

        @raise Unavailable: C{starting}.
        """
        return self._require_open()[0]

    @property
    def _identity_file(self) -> IdentityFile:
        return self._require_open()[1]

    def _require_open(self) -> tuple[Engine, IdentityFile]:
        if self._opened is None:
            raise Unavailable("starting", "The controller is starting; its database is not open yet.")
        return self._opened

    def contents(self) -> Deferred[Contents]:
        return self._engine.read(partial(_contents, seq=self._log.last))

    def changes(self, after: int) -> Deferred[Batch]:
        return succeed(self._log.since(after))

    def begin_epoch(self, change: EpochChange) -> Deferred[Committed[Sequence[Revision]]]:
        return Deferred.fromCoroutine(self._begin_epoch(change))

    async def _begin_epoch(self, change: EpochChange) -> Committed[Sequence[Revision]]:
        committed = await super().begin_epoch(change)
        cluster_id = change.cluster_id
        if cluster_id is not None:
            # The change is on disk already; if this fails the next start does it.
            settled = self._engine.write(lambda _: self._identity_file.write(cluster_id))
            await settled.addErrback(ignore_unavailable)
        return committed

    def _announce_cluster(self, before: str, after: str) -> None:
        self._identity_file.write(before, after)

    def _pause(self) -> float:
        return PROBE_INTERVAL_SECONDS if self.problem() is None else PROBE_INTERVAL_WHILE_FAILING_SECONDS


def _contents(cursor: sqlite3.Cursor, seq: int) -> Contents:
    cursor.execute("BEGIN")
    try:
        return contents.load_contents(cursor, seq)
    finally:
        cursor.execute("ROLLBACK")
