"""The cursor of a transaction in PostgreSQL, for statements that SQLite and PostgreSQL share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, LiteralString

from psycopg import Connection, Cursor, Pipeline
from psycopg.abc import PQGen
from psycopg.generators import send
from psycopg.rows import TupleRow

from confd.controller.store.cursor import Dialect
from confd.controller.store.queries.rollouts import OPEN

DIALECT = Dialect(
    touch="""
        UPDATE agents SET last_poll = polled.value FROM json_each_text(?::json) AS polled
        WHERE agents.id = polled.key AND (last_poll IS NULL OR last_poll < polled.value)""",
    # LATERAL with a limit finds each row by its primary key, whatever the planner knows of the tables.
    load_reported=f"""
        SELECT EXISTS (SELECT 1 FROM rollouts WHERE {OPEN}),
            '[' || coalesce(string_agg('[' || keys.key || ',' || to_json(a.namespace) || ','
            || coalesce(a.report, 'null') || ',' || coalesce(o.outcome, 'null') || ']', ','), '') || ']'
        FROM json_each(?) AS keys
        JOIN LATERAL (SELECT * FROM agents WHERE id = keys.value ->> 0 LIMIT 1) AS a ON TRUE
        LEFT JOIN LATERAL (
            SELECT outcome FROM outcomes
            WHERE namespace = a.namespace AND version = CAST(keys.value ->> 1 AS bigint) AND agent_id = a.id LIMIT 1
        ) AS o ON TRUE""",
)


@lru_cache(512)
def translate(statement: str) -> LiteralString:
    """Return a shared statement in the words of PostgreSQL and psycopg."""
    # SQLite takes CROSS JOIN for the order of its loops, and allows a condition.
    translated: LiteralString = statement.replace("CROSS JOIN", "JOIN").replace("?", "%s")  # type: ignore[assignment]
    return translated


class _Flights(Pipeline):
    """
    Sends statements in flights: all up to the next result that is asked for leave together, with a Sync behind them.

    To the server, a client is idle in its transaction only after a Sync. A client that stops elsewhere would hold its
    locks for ever. After an error the server skips the rest of a flight.
    """

    def _communicate_gen(self) -> PQGen[None]:
        # Each packet makes the system run the server at once, in the place of this thread.
        yield from ()

    def _fetch_gen(self, *, flush: bool) -> PQGen[None]:
        if self.command_queue:
            if self.result_queue[-1] is not None:
                self._enqueue_sync()
            for command in self.command_queue:
                command()
            self.command_queue.clear()
            yield from send(self.pgconn)
        # A Flush after the Sync would end the time limit of the idle client, and the Sync has sent all results.
        yield from super()._fetch_gen(flush=False)

    def _exit_gen(self) -> PQGen[None]:
        if self.result_queue:
            yield from super()._exit_gen()


@contextmanager
def open_pipeline(connection: Connection[TupleRow]) -> Iterator[Pipeline]:
    """Send statements without waiting for their results; the server may end the transaction of a client that stops."""
    connection._pipeline = _Flights(connection)
    with connection.pipeline() as pipeline:
        yield pipeline


class PostgresCursor:
    """
    Run statements on a connection, many of them in one flight: a statement without a result is only queued.

    An error of a queued statement comes with a later statement or result.

    @ivar written: whether a statement since L{rewind} may have changed something.
    """

    def __init__(self, connection: Connection[TupleRow], pipeline: Pipeline | None = None) -> None:
        """
        @param pipeline: of the connection; C{None} if each statement is awaited.
        """
        self.connection, self._pipeline = connection, pipeline
        self._last = connection.cursor()
        self.written = False

    def rewind(self) -> None:
        """Begin the next work."""
        self.written = False

    @property
    def rowcount(self) -> int:
        """Rows that the last statement changed."""
        self.wait()
        return self._last.rowcount

    def wait(self) -> None:
        """Wait until all queued statements are done."""
        if self._pipeline is not None:
            self._pipeline.sync()

    def execute(self, statement: str, values: Sequence[object] = (), /) -> PostgresCursor:
        """Run a statement, or queue it."""
        self._last = self.queue(statement, values)
        return self

    def queue(self, statement: str, values: Sequence[object] = (), /) -> Cursor[TupleRow]:
        """Run a statement, or queue it; return the cursor of its own that holds the result."""
        self.written = self.written or not statement.lstrip().startswith("SELECT")
        return self.connection.cursor().execute(translate(statement), [_storable(each) for each in values])

    def fetchone(self) -> Any:
        """Return the next row, C{None} after the last one."""
        return self._last.fetchone()

    def fetchall(self) -> list[TupleRow]:
        """Return the remaining rows."""
        return self._last.fetchall()

    def __iter__(self) -> Iterator[TupleRow]:
        return iter(self._last.fetchall())


def _storable(value: object) -> object:
    """Replace U+0000, which text in PostgreSQL cannot hold."""
    if type(value) is list:
        return [_storable(each) for each in value]
    return value.replace("\x00", "\ufffd") if type(value) is str and "\x00" in value else value
