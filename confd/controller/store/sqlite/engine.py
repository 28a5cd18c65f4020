"""
The threads of the store: one writer that commits in groups, and readers beside it.

What runs in a thread is a function of a cursor that returns plain values; no cursor, row or connection leaves it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from typing import TypeVar

from twisted.enterprise.adbapi import ConnectionPool
from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from confd.controller.store.cursor import Work
from confd.controller.store.queries import audit
from confd.controller.store.sqlite.connection import (
    DAMAGED,
    SUSPECTED,
    Files,
    Replaced,
    connect_arguments,
    explain,
    find_damage,
    give_way,
    make_durable,
    save_log,
)
from confd.controller.store.write_queue import WriteQueue, ignore_unavailable, unavailable
from confd.errors import Unavailable
from confd.runtime.reactor import Reactor

T = TypeVar("T")

#: What a probe writes: about as much as a small publish, so that a disk too full for one is too full for the other.
PROBE_BYTES = 16 * 1024


def commit_together(connection: sqlite3.Connection, works: Sequence[Work[object]]) -> list[object]:
    """
    Do several works in one transaction, each in its own savepoint: a failed work leaves the others.

    @return: once committed, for each work what it returned, or the exception that it raised.
    @raise Exception: if nothing was committed.
    """
    outcomes: list[object] = []
    try:
        with closing(connection.cursor()) as cursor:
            cursor.execute("BEGIN IMMEDIATE")
            for work in works:
                cursor.execute("SAVEPOINT work")
                try:
                    outcomes.append(work(cursor))
                except Exception as error:
                    if not connection.in_transaction:
                        # SQLite gave the whole transaction up: the disk is full, or fails.
                        raise
                    cursor.execute("ROLLBACK TO work")
                    outcomes.append(error)
                cursor.execute("RELEASE work")
            audit.record(cursor, outcomes)
            cursor.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise
    return outcomes


class Engine:
    """
    One writer connection, and two for readers, each in a thread of its own.
    """

    log = Logger()

    def __init__(
        self,
        path: str,
        reactor: Reactor,
        busy_timeout: float,
        committed: Callable[[Sequence[object]], Sequence[object]] = lambda results: results,
    ) -> None:
        """
        @param path: of a database that is there.
        @param reactor: runs the threads; at its shutdown adbapi ends them, after the services have stopped.
        @param busy_timeout: seconds to wait for another process's lock.
        @param committed: called with the results of each transaction once it is on disk; returns the results to fire.
        """
        self._path, self._files, self._on_commit = path, Files(path, reactor.seconds), committed
        self._pool = partial(_pool, path, reactor, busy_timeout)
        self._writer = self._pool(1, self._prepare_writer)
        self._readers = self._pool(2, _forbid_writes)
        self._queue = WriteQueue(self._run_together, self._committed, self._refused)
        self._draining = False
        self._problem: str | None = None
        #: Why no write is tried: L{SUSPECTED} or L{DAMAGED}.
        self._damage: str | None = None
        self._looking = False
        self._refused_probes = 0

    def problem(self) -> str | None:
        """Return why writes fail, C{None} while they work: damage until a check passes, else until a write succeeds."""
        reason = self._damage or self._problem
        return None if reason is None else unavailable(reason).message

    @property
    def waiting(self) -> int:
        """Writes that wait for their transaction."""
        return len(self._queue)

    def read(self, work: Work[T]) -> Deferred[T]:
        """
        Do a work that only reads.

        @raise Unavailable: C{storage_unavailable}.
        """
        done: Deferred[T] = self._readers.runWithConnection(_with_cursor, work)
        return done.addErrback(self._unread)

    def write(self, work: Work[T]) -> Deferred[T]:
        """
        Do a work in a transaction.

        @return: fires once it is on disk.
        @raise Unavailable: C{storage_unavailable}.
        """
        if self._damage is not None:
            return fail(unavailable(self._damage))
        return self._queue.put(work)

    def probe(self) -> Deferred[None]:
        """
        Write a row without a meaning, so that L{problem} returns the state of the disk.

        A damaged database is read again instead, after 1, 2, 4, 8 … probes: a failing disk may have recovered.
        """
        if self._damage is not None:
            self._refused_probes += 1
            if self._refused_probes & (self._refused_probes - 1) == 0:
                return self.look_for_damage()
        return self.write(_write_noise).addErrback(ignore_unavailable)

    def look_for_damage(self) -> Deferred[None]:
        """
        Read the whole database, behind all else, in a thread that ends with it; L{drain} breaks it off.

        @return: fires after the second look, where the first one found damage.
        """
        if self._looking:
            return succeed(None)
        self._looking = True
        looked = self._look_once().addErrback(self._look_twice)
        return looked.addCallbacks(self._found_sound, self._found_damage)

    def _look_once(self) -> Deferred[None]:
        """Read the whole database through a fresh connection."""
        pool = self._pool(1, _forbid_writes)

        def closed(result: T) -> T:
            pool.close()
            return result

        looked: Deferred[None] = pool.runWithConnection(self._look)
        return looked.addBoth(closed)

    def _look_twice(self, failure: Failure) -> Deferred[None] | Failure:
        """SQLite calls a page damaged that could not be read once: only a second look tells."""
        error = failure.value
        return self._look_once() if explain(error) == DAMAGED else failure

    def _found_sound(self, _: None) -> None:
        self._looking = False
        if self._damage is None:
            return
        self._damage, self._refused_probes = None, 0
        self.log.info("the database {path} is not damaged: a page could not be read for a moment", path=self._path)

    def _found_damage(self, failure: Failure) -> None:
        self._looking = False
        error = failure.value
        reason = explain(error)
        if reason == DAMAGED and self._damage != DAMAGED:
            self.log.error("the database {path} cannot be used: {reason}", path=self._path, reason=reason)
            self._damage = DAMAGED
        elif reason is None:
            self._broken_off(failure)

    def drain(self) -> Deferred[None]:
        """Return a L{Deferred} that fires once no write waits; writes that come later are done too."""
        self._draining = True
        return self._queue.drain()

    def close(self) -> None:
        """End the threads, after what they do now, and close the connections."""
        self._draining = True
        self._readers.close()
        self._writer.close()

    def _run_together(self, works: Sequence[Work[object]]) -> Deferred[list[object]]:
        done: Deferred[list[object]] = self._writer.runWithConnection(self._transact, works)
        return done

    def _transact(self, connection: sqlite3.Connection, works: Sequence[Work[object]]) -> list[object]:
        try:
            self._files.check()
            outcomes = commit_together(connection, works)
            # A file that went meanwhile took the commit with it.
            self._files.check()
        except Replaced as error:
            if error.log_lost:
                save_log(connection)
            raise
        return outcomes

    def _prepare_writer(self, connection: sqlite3.Connection) -> None:
        make_durable(connection)
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        self._files.opened()

    def _committed(self, outcomes: list[object]) -> Sequence[object]:
        if self._problem is not None:
            self.log.info("the database {path} can be written again", path=self._path)
            self._problem = None
        return [self._reported(each) if isinstance(each, Exception) else each for each in self._on_commit(outcomes)]

    def _refused(self, failure: Failure) -> tuple[BaseException, bool]:
        error = failure.value
        return self._reported(error), explain(error) is not None

    def _reported(self, error: BaseException | None) -> BaseException:
        """Return the error for a caller, and remember an error of the storage."""
        reason = explain(error)
        if error is not None and reason is None:
            return error
        if reason == DAMAGED:
            reason = self._suspect()
        assert reason
        if self._problem != reason:
            self.log.error("the database {path} cannot be used: {reason}", path=self._path, reason=reason)
            self._problem = reason
        return unavailable(reason)

    def _suspect(self) -> str:
        """Return what to say of an error that looks like damage, and see to a second look."""
        if self._damage is None:
            self._damage = SUSPECTED
            self.look_for_damage()
        return self._damage

    def _unread(self, failure: Failure) -> Failure:
        """A reader's error says nothing of writes, unless the database is damaged."""
        error = failure.value
        reason = explain(error)
        if reason is None:
            return failure
        return Failure(self._reported(error) if reason == DAMAGED else unavailable(reason))

    def _look(self, connection: sqlite3.Connection) -> None:
        # A large one takes minutes, right after the start, when all agents come back.
        give_way()
        # Asked every so many steps of the SQLite machine: true interrupts it.
        connection.set_progress_handler(lambda: self._draining, 100_000)
        find_damage(connection)

    def _broken_off(self, failure: Failure) -> None:
        if not self._draining and not failure.check(Unavailable):
            self.log.failure("looking for damage in {path} failed", failure, path=self._path)


def _pool(
    path: str, reactor: Reactor, busy_timeout: float, most: int, prepare: Callable[[sqlite3.Connection], None]
) -> ConnectionPool:
    def open_connection(connection: sqlite3.Connection) -> None:
        try:
            prepare(connection)
        except BaseException:
            # adbapi leaves a connection open that it could not prepare.
            connection.close()
            raise

    uri, arguments = connect_arguments(path, busy_timeout)
    return ConnectionPool(
        "sqlite3", uri, cp_min=most, cp_max=most, cp_openfun=open_connection, cp_reactor=reactor, **arguments
    )


def _forbid_writes(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA query_only = ON")


def _with_cursor(connection: sqlite3.Connection, work: Work[T]) -> T:
    with closing(connection.cursor()) as cursor:
        return work(cursor)


def _write_noise(cursor: sqlite3.Cursor) -> None:
    cursor.execute("INSERT OR REPLACE INTO probe VALUES (1, randomblob(?))", (PROBE_BYTES,))
