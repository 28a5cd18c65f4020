"""The connections of a controller to PostgreSQL: one writer, which commits in groups, and readers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence, Sized
from functools import partial
from typing import Any, TypeVar

import psycopg
from psycopg.rows import TupleRow
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from confd.controller.store.cursor import Work
from confd.controller.store.postgres.connection import ConnectionThread
from confd.controller.store.postgres.continuity import WentBack
from confd.controller.store.postgres.cursor import PostgresCursor
from confd.controller.store.postgres.errors import NoAnswer, StorageRefusal, explain, refusal
from confd.controller.store.postgres.groups import CommittedGroup, InDoubt, Writer
from confd.controller.store.postgres.hosts import connect_to_continuation
from confd.controller.store.postgres.metrics import DatabaseCounts
from confd.controller.store.postgres.replication import NoStandby, awaits_standby
from confd.controller.store.postgres.url import DatabaseUrl
from confd.controller.store.write_queue import WriteQueue, unavailable
from confd.errors import ConfdError, Unavailable
from confd.runtime.metrics import Metrics
from confd.runtime.reactor import Reactor

T = TypeVar("T")

#: Seconds until a write is given up, and until a commit in doubt is.
WRITE_DEADLINE_SECONDS = 5.0

#: Seconds until a read is given up, and until a read of a whole table is.
READ_DEADLINE_SECONDS, LOAD_DEADLINE_SECONDS = 2.0, 30.0

#: Seconds between two attempts of a write.
RETRY_SECONDS = 0.1

#: Connections for reads.
READERS = 2

_WRITER_TIMEOUTS = {"lock_timeout": 1000, "statement_timeout": 4000, "idle_in_transaction_session_timeout": 2000}
_READER_TIMEOUTS = {"lock_timeout": 1000, "statement_timeout": 30000, "idle_in_transaction_session_timeout": 2000}


class PostgresEngine:
    """
    Runs the works of a store, each in the thread of a connection.

    Nothing is connected before the first work; a lost connection is replaced by the next work.

    @ivar reason: why writes fail, C{None} while they work.
    @ivar counts: for metrics.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Reactor,
        url: DatabaseUrl,
        writer: Writer,
        prepare: Callable[[psycopg.Connection[TupleRow]], None],
        committed: Callable[[CommittedGroup], Sequence[object]],
        deadline: float = WRITE_DEADLINE_SECONDS,
        patience: float | None = None,
    ) -> None:
        """
        @param prepare: called with each new connection of the writer, in its thread.
        @param committed: called with each group once it is on disk; returns the results to fire.
        @param deadline: seconds for a transaction, and for a commit in doubt.
        @param patience: seconds for which a transaction that failed is tried again; C{None} for those of the deadline.
        """
        self._deadline, self._patience = deadline, deadline if patience is None else patience
        self._reactor, self._url, self._writer, self._prepare = reactor, url, writer, prepare
        self._on_commit = committed
        self._writing = ConnectionThread(reactor, self.connect)
        self._idle = [ConnectionThread(reactor, self._connect_reader, repeats=True) for _ in range(READERS)]
        self._readers = tuple(self._idle)
        self._reads: deque[tuple[Callable[[psycopg.Connection[TupleRow]], object], float, Deferred[Any]]] = deque()
        self._queue = WriteQueue(self._run_together, self._committed, self._refused)
        self.reason: str | None = None
        self.counts = DatabaseCounts()

    def connect(self) -> psycopg.Connection[TupleRow]:
        """Open a connection of the writer, which blocks; see L{DatabaseUrl.connect}."""
        connection = connect_to_continuation(self._url, self._writer.standing, **_WRITER_TIMEOUTS)
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _connect_reader(self) -> psycopg.Connection[TupleRow]:
        timeouts = {**_READER_TIMEOUTS, "default_transaction_read_only": 1}
        return connect_to_continuation(self._url, self._writer.standing, **timeouts)

    @property
    def waiting(self) -> int:
        return len(self._queue)

    def problem(self) -> str | None:
        """Return why writes fail, C{None} while they work."""
        return None if self.reason is None else unavailable(self.reason).message

    def expose(self, metrics: Metrics) -> None:
        """Add the metrics of the connections."""
        went_back, no_standby = str(WentBack()), str(NoStandby())
        self.counts.expose(metrics, lambda: self.reason == went_back, lambda: self.reason == no_standby)

    def report(self, reason: str) -> None:
        """Remember why the database cannot be used, until a write succeeds."""
        if self.reason != reason:
            self.log.error("the database {name} cannot be used: {reason}", name=self._url.name, reason=reason)
            self.reason = reason

    def read(self, work: Work[T], /, deadline: float = READ_DEADLINE_SECONDS) -> Deferred[T]:
        """
        Run a work that only reads.

        @param deadline: seconds from its begin.
        @raise Unavailable: C{storage_unavailable}.
        """
        done: Deferred[T] = Deferred()
        self._reads.append((lambda connection: work(PostgresCursor(connection)), deadline, done))
        self._begin_reads()
        return done.addErrback(_unread)

    def write(self, work: Work[T], /) -> Deferred[T]:
        """
        Run a work in a transaction, with others; fires once it is on disk.

        @raise Unavailable: C{storage_unavailable}, C{storage_went_back}, C{outcome_unknown}.
        """
        return self._queue.put(work)

    def drain(self) -> Deferred[None]:
        """Return a L{Deferred} that fires once no write waits; writes that come later are done too."""
        return self._queue.drain()

    def release(self) -> Deferred[None]:
        """Delete the rows of this process; the next write inserts them again."""
        if self.reason is not None or not self._writer.entered:
            return succeed(None)
        done = self._writing.run(self._writer.leave, READ_DEADLINE_SECONDS)
        return done.addErrback(lambda failure: failure.trap(psycopg.Error) and None)

    def close(self) -> None:
        """Close the connections and end the threads."""
        for each in (self._writing, *self._readers):
            each.close()

    def _begin_reads(self) -> None:
        while self._idle and self._reads:
            work, deadline, done = self._reads.popleft()
            thread = self._idle.pop()
            thread.run(work, deadline).addBoth(self._read_ended, thread, done)

    def _read_ended(self, result: object, thread: ConnectionThread, done: Deferred[object]) -> None:
        if isinstance(result, Failure) and result.check(NoAnswer):
            self.counts.deadlines["query"] += 1
        self._idle.append(thread)
        self._begin_reads()
        done.callback(result)

    def _run_together(self, works: Sequence[Work[object]]) -> Deferred[list[object]]:
        return Deferred.fromCoroutine(self._run_all(works))

    async def _run_all(self, works: Sequence[Work[object]]) -> list[object]:
        """
        Commit works; return the groups that they were committed in.

        @raise Exception: if the first work could not be committed.
        """
        began, groups = self._reactor.seconds(), list[object]()
        while works:
            try:
                done = await self._run_some(works)
            except Exception as error:
                patient = self.reason is None and self._reactor.seconds() - began < self._patience
                if patient and _passes(error):
                    await deferLater(self._reactor, RETRY_SECONDS)
                    continue
                error = await self._diagnose(error)
                if not groups:
                    raise error from None
                done = [CommittedGroup(0, [self._explained(error) for _ in works])]
            groups += done
            count = sum(len(each.results) for each in done)
            # A work may do the writes of several callers.
            self.counts.writes += sum(len(each) if isinstance(each, Sized) else 1 for each in works[:count])
            works = works[count:]
        return groups

    async def _diagnose(self, error: Exception) -> Exception:
        """Return the error that says best why works could not be committed."""
        if not (_in_doubt(error) or isinstance(error, NoAnswer | psycopg.errors.LockNotAvailable)):
            return error
        try:
            waits = await self.read(awaits_standby)
        except Unavailable:
            return error
        if not waits:
            return error
        if _in_doubt(error):
            self.report(str(NoStandby()))
            return error
        return NoStandby()

    async def _run_some(self, works: Sequence[Work[object]]) -> Sequence[CommittedGroup]:
        try:
            return await self._writing.run(partial(self._writer.run, works=works), self._deadline)
        except NoAnswer:
            self.counts.deadlines["writer"] += 1
            raise
        except InDoubt as doubt:
            if not await self._resolve(doubt.number):
                self.counts.in_doubt["lost"] += 1
                return doubt.groups[:-1]
            self.counts.in_doubt["committed"] += 1
            self._writer.standing = doubt.standing
            return doubt.groups

    async def _resolve(self, number: int) -> bool:
        """
        Return whether a transaction in doubt was committed.

        @raise Unavailable: C{outcome_unknown}.
        """
        began = self._reactor.seconds()
        while True:
            try:
                work = partial(self._writer.resolve, number=number)
                committed = await self._writing.run(work, self._deadline)
            except (psycopg.Error, StorageRefusal):
                committed = None
                if self._reactor.seconds() - began < self._deadline:
                    await deferLater(self._reactor, RETRY_SECONDS)
                    continue
            if committed is None:
                self.counts.in_doubt["unknown"] += 1
                raise Unavailable(
                    "outcome_unknown",
                    "The database did not confirm this change; it is either stored whole or not at all. Repeat it with"
                    " the same Idempotency-Key, or read the history first.",
                )
            return committed

    def _committed(self, groups: list[object]) -> Sequence[object]:
        if self.reason is not None:
            self.log.info("the database {name} can be written again", name=self._url.name)
            self.reason = None
        self.counts.groups += len(groups)
        return [result for group in groups if isinstance(group, CommittedGroup) for result in self._on_commit(group)]

    def _refused(self, failure: Failure) -> tuple[BaseException, bool]:
        error = failure.value
        assert error is not None
        # Among the writes that wait may be the repair of a database that went back.
        shared = explain(error) is not None and not isinstance(error, WentBack)
        return self._explained(error), shared

    def _explained(self, error: BaseException) -> BaseException:
        reason = explain(error)
        if reason is None:
            return error
        self.report(reason)
        return refusal(error, reason)


def _in_doubt(error: Exception) -> bool:
    return isinstance(error, Unavailable) and error.code == "outcome_unknown"


def _passes(error: Exception) -> bool:
    """Return whether a write that failed may succeed if it is tried again."""
    return explain(error) is not None and not isinstance(error, ConfdError)


def _unread(failure: Failure) -> Failure:
    reason = explain(failure.value)
    return failure if reason is None else Failure(refusal(failure.value, reason))
