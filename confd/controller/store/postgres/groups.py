"""
The transactions of a writer: works in groups, each group in one transaction, under the lock of the row C{head}.

All runs in the thread of the writer's connection.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence

import msgspec
import psycopg
from attrs import define, evolve, field, frozen
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow

from confd.controller.store.change_log import Written
from confd.controller.store.cursor import Work
from confd.controller.store.postgres.announcements import note_changes
from confd.controller.store.postgres.change_rows import append_changes, sweep_changes
from confd.controller.store.postgres.continuity import DatabaseState, WentBack, check_continuation, load_state
from confd.controller.store.postgres.cursor import PostgresCursor, open_pipeline
from confd.controller.store.postgres.errors import explain, refusal
from confd.controller.store.postgres.replication import check_replication
from confd.controller.store.queries import audit
from confd.interfaces.controllers import AgreedSettings

#: Seconds without a heartbeat after which the rows of a controller are deleted. It has no commit in doubt by then.
FORGOTTEN_SECONDS = 3600


@frozen
class CommittedGroup:
    """
    Works that were committed together.

    @ivar before: number of the last change before them.
    @ivar results: what each returned, or the exception that it raised.
    """

    before: int
    results: Sequence[object]


@frozen
class Repair:
    """A work that repairs a database that lost changes: the new epoch of an operator."""

    _work: Work[object]

    def __call__(self, cursor: PostgresCursor) -> object:
        return self._work(cursor)


class InDoubt(Exception):
    """
    A COMMIT was sent, and its result is not known.

    @ivar number: of the transaction, among those of this writer.
    @ivar groups: what was committed before, and last the group in doubt.
    """

    def __init__(self, number: int, groups: Sequence[CommittedGroup], standing: DatabaseState) -> None:
        super().__init__(f"transaction {number} may be committed")
        self.number, self.groups, self.standing = number, groups, standing


@frozen
class _Refused:
    """A work in the place of another one, which must not run."""

    _error: Exception

    def __call__(self, cursor: PostgresCursor) -> object:
        raise self._error


class _NotAlone(Exception):
    """A work of a group failed after it had written, so that the works must run one by one."""


class _Displaced(Exception):
    """The row of this writer is gone: it was away for long."""


@define(eq=False)
class Writer:
    """
    Commits works for one controller.

    @ivar id: names this process in the database.
    @ivar address: of this process, for people.
    @ivar seconds: the monotonic clock in which POSTs arrive.
    @ivar standing: the state of the database at the last commit or read of changes; C{None} before the first.
    @ivar entered: whether the database was checked, and holds the rows of this process.
    @ivar replicated: whether to write only where commits wait for a standby.
    @ivar brokers: names of the brokers that this controller announces to.
    @ivar agreed: the settings that other controllers must have, too.
    @ivar seen: number of the last change that this controller applied.
    @ivar reloads: how often memory had to be loaded from the database again.
    """

    address: str
    release: str
    seconds: Callable[[], float]
    replicated: bool = False
    brokers: Sequence[str] = field(default=(), init=False)
    agreed: AgreedSettings = field(factory=AgreedSettings, init=False)
    seen: int = field(default=0, init=False)
    id: uuid.UUID = field(factory=uuid.uuid4)
    standing: DatabaseState | None = field(default=None, init=False)
    entered: bool = field(default=False, init=False)
    reloads: int = field(default=0, init=False)
    _number: int = field(default=0, init=False)
    _checked: object = field(default=None, init=False)

    def run(self, connection: psycopg.Connection[TupleRow], works: Sequence[Work[object]]) -> list[CommittedGroup]:
        """
        Commit works in one transaction, or in one each where one of them spoils the others.

        @raise InDoubt: if the last transaction may be committed.
        @raise StorageRefusal: if the database must not be written.
        @raise psycopg.Error: if nothing of the last transaction was committed.
        """
        try:
            return [self._commit(connection, works)]
        except WentBack as error:
            # Only these may write to a database that is no continuation.
            if not any(isinstance(work, Repair) for work in works):
                raise
            allowed = [work if isinstance(work, Repair) else _Refused(refusal(error, str(error))) for work in works]
            return [self._commit(connection, allowed, repair=True)]
        except _NotAlone:
            pass
        except psycopg.Error as error:
            if explain(error) is not None or len(works) == 1:
                raise
        groups: list[CommittedGroup] = []
        for work in works:
            try:
                groups.append(self._commit(connection, [work]))
            except InDoubt as doubt:
                raise InDoubt(doubt.number, [*groups, *doubt.groups], doubt.standing) from None
            except psycopg.Error as error:
                if explain(error) is not None:
                    raise
                groups.append(CommittedGroup(0, [error]))
        return groups

    def enter(self, connection: psycopg.Connection[TupleRow]) -> None:
        """Insert the rows of this process; any number of controllers use a database."""
        with connection.transaction():
            # Nothing here is worth the wait for a standby, which a start could not give up.
            connection.execute("SET LOCAL synchronous_commit = local")
            connection.execute(
                "INSERT INTO writers (id, last_group) VALUES (%s, %s) ON CONFLICT DO NOTHING", (self.id, self._number)
            )
            connection.execute(
                """INSERT INTO controllers (id, address, release, seen_seq, settings) VALUES (%s, %s, %s, %s, %s)
                ON CONFLICT (id) DO UPDATE SET beat_at = clock_timestamp()""",
                (self.id, self.address, self.release, self.seen, self._shown),
            )
        self.entered = True

    def leave(self, connection: psycopg.Connection[TupleRow]) -> None:
        """Delete the rows of this process at its end."""
        with connection.transaction():
            connection.execute("DELETE FROM controllers WHERE id = %s", (self.id,))
            connection.execute("DELETE FROM writers WHERE id = %s", (self.id,))

    def follow(self, read: DatabaseState) -> None:
        """Note the state of the database at a read that found a continuation."""
        if self.standing is None or read.seq > self.standing.seq:
            self.standing = read

    def beat(self, cursor: PostgresCursor) -> None:
        """Write the heartbeat of this process: a work."""
        cursor.execute(
            "UPDATE controllers SET beat_at = clock_timestamp(), seen_seq = ?, settings = ? WHERE id = ?",
            (self.seen, self._shown, self.id),
        )

    @property
    def _shown(self) -> str:
        return msgspec.json.encode(self.agreed.digests).decode()

    def resolve(self, connection: psycopg.Connection[TupleRow], number: int) -> bool | None:
        """
        Return whether a transaction in doubt was committed; C{None} if that cannot be known any more.

        The transaction in doubt holds the lock of this row until it ends, so that this one waits for its end.
        """
        with connection.transaction():
            row = connection.execute(
                "UPDATE writers SET resolved = resolved + 1 WHERE id = %s RETURNING last_group", (self.id,)
            ).fetchone()
        return None if row is None else row[0] >= number

    def _commit(
        self, connection: psycopg.Connection[TupleRow], works: Sequence[Work[object]], repair: bool = False
    ) -> CommittedGroup:
        """
        Commit works in one transaction.

        @param repair: whether the database may be no continuation.
        """
        try:
            return self._attempt(connection, works, repair)
        except _Displaced:
            self.enter(connection)
            return self._attempt(connection, works, repair)

    def _attempt(
        self, connection: psycopg.Connection[TupleRow], works: Sequence[Work[object]], repair: bool
    ) -> CommittedGroup:
        self._number += 1
        try:
            with open_pipeline(connection) as pipeline:
                cursor = PostgresCursor(connection, pipeline)
                before = self._begin(cursor, repair)
                results = [self._run(cursor, work, len(works) == 1) for work in works]
                group = CommittedGroup(before.seq, results)
                refused = all(isinstance(each, Exception) for each in results)
                if not refused:
                    standing = self._finish(cursor, group, self._record(cursor, before, works, results))
        except BaseException:
            _roll_back(connection)
            raise
        if refused:
            _roll_back(connection)
        else:
            self.standing, self._checked = standing, connection
        return group

    def _begin(self, cursor: PostgresCursor, repair: bool) -> DatabaseState:
        """Begin a transaction; return the state of the database, which no other writer changes until its end."""
        cursor.queue("BEGIN")
        # One wait for the server. The lock of this row orders all changes; the state is read behind it.
        there = cursor.queue("UPDATE writers SET last_group = ? WHERE id = ? RETURNING 1", (self._number, self.id))
        cursor.queue("SELECT 1 FROM head FOR UPDATE")
        before = load_state(cursor)
        if there.fetchone() is None:
            raise _Displaced
        if self._checked is not cursor.connection and (
            repair or check_continuation(cursor, self.standing, before) in ("raised", "reset")
        ):
            self.reloads += 1
        if self.replicated:
            check_replication(cursor)
        return before

    def _record(
        self,
        cursor: PostgresCursor,
        before: DatabaseState,
        works: Sequence[Work[object]],
        results: Sequence[object],
    ) -> DatabaseState:
        """Queue the audit entries and the changes of works; return the state of the database with them."""
        number, digest = audit.record(cursor, results, (before.audit_number, before.audit_hash))
        after = evolve(before, audit_number=number, audit_hash=digest)
        changes = [change for each in results if isinstance(each, Written) for change in each.changes]
        if changes:
            after = append_changes(cursor, after, changes, self.id, self.seconds)
            if self.brokers:
                note_changes(cursor, self.brokers, before.seq, changes)
        # A repair changes the epoch, and perhaps the cluster.
        return load_state(cursor) if any(isinstance(work, Repair) for work in works) else after

    def _run(self, cursor: PostgresCursor, work: Work[object], alone: bool) -> object:
        cursor.rewind()
        try:
            return work(cursor)
        except psycopg.Error:
            raise
        except Exception as error:
            if cursor.written and not alone:
                raise _NotAlone from error
            return error

    def _finish(self, cursor: PostgresCursor, group: CommittedGroup, standing: DatabaseState) -> DatabaseState:
        """Commit, in one flight with all that is queued; return C{standing}."""
        connection, warnings = cursor.connection, list[str | None]()

        def noted(diagnostic: psycopg.errors.Diagnostic) -> None:
            warnings.append(diagnostic.sqlstate)

        connection.add_notice_handler(noted)
        try:
            ended = cursor.queue("COMMIT")
            cursor.wait()
        except psycopg.Error as error:
            if error.sqlstate is not None and not error.sqlstate.startswith(("08", "57")):
                # The server refused a statement, and so the commit.
                raise
            raise InDoubt(self._number, [group], standing) from error
        finally:
            connection.remove_notice_handler(noted)
        if "01000" in warnings:
            # An operator cancelled the wait for the standby.
            raise InDoubt(self._number, [group], standing)
        if ended.statusmessage != "COMMIT":
            raise psycopg.OperationalError("the transaction was rolled back")
        return standing


def _roll_back(connection: psycopg.Connection[TupleRow]) -> None:
    if not connection.closed and connection.pgconn.transaction_status != TransactionStatus.IDLE:
        connection.execute("ROLLBACK")


def sweep_rows(cursor: PostgresCursor) -> None:
    """Delete changes that no feed still needs, and the rows of processes that ended: a work."""
    sweep_changes(cursor)
    cursor.execute(
        "DELETE FROM controllers WHERE beat_at < clock_timestamp() - ? * interval '1 s'", (FORGOTTEN_SECONDS,)
    )
    cursor.execute("DELETE FROM writers WHERE id NOT IN (SELECT id FROM controllers)")
