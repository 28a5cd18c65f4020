"""The cursor of a transaction in PostgreSQL, for statements that SQLite and PostgreSQL share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, LiteralString

from psycopg import Connection, Pipeline
from psycopg.rows import TupleRow

from confd.controller.store.cursor import Dialect
from confd.controller.store.queries.rollouts import OPEN

DIALECT = Dialect(
    touch="""
        UPDATE agents SET last_poll = polled.value FROM json_each_text(?::json) AS polled
        WHERE agents.id = polled.key AND (last_poll IS NULL OR last_poll < polled.value)""",
    load_reported=f"""
        SELECT EXISTS (SELECT 1 FROM rollouts WHERE {OPEN}),
            '[' || coalesce(string_agg('[' || keys.key || ',' || to_json(a.namespace) || ','
            || coalesce(a.report, 'null') || ',' || coalesce(o.outcome, 'null') || ']', ','), '') || ']'
        FROM json_each(?) AS keys JOIN agents AS a ON a.id = keys.value ->> 0 LEFT JOIN outcomes AS o
        ON o.namespace = a.namespace AND o.version = CAST(keys.value ->> 1 AS bigint) AND o.agent_id = a.id""",
)


@lru_cache(512)
def translate(statement: str) -> LiteralString:
    """Return a shared statement in the words of PostgreSQL and psycopg."""
    # SQLite takes CROSS JOIN for the order of its loops, and allows a condition.
    translated: LiteralString = statement.replace("CROSS JOIN", "JOIN").replace("?", "%s")  # type: ignore[assignment]
    return translated


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
        self._connection, self._pipeline = connection, pipeline
        self._last = connection.cursor()
        self.written = False

    def rewind(self) -> None:
        """Begin the next work."""
        self.written = False

    @property
    def rowcount(self) -> int:
        """Rows that the last statement changed."""
        if self._pipeline is not None:
            self._pipeline.sync()
        return self._last.rowcount

    def execute(self, statement: str, values: Sequence[Any] = (), /) -> PostgresCursor:
        """Run a statement, or queue it."""
        self.written = self.written or not statement.lstrip().startswith("SELECT")
        # Each result stays with its own cursor.
        self._last = self._connection.cursor()
        self._last.execute(translate(statement), [_storable(each) for each in values])
        if self._pipeline is not None:
            # The server ends the transaction of a client that stops only where a Sync came before.
            self._pipeline._enqueue_sync()
            self._connection.wait(self._pipeline._communicate_gen())
        return self

    def fetchone(self) -> Any:
        """Return the next row, C{None} after the last one."""
        return self._last.fetchone()

    def fetchall(self) -> list[Any]:
        """Return the remaining rows."""
        return self._last.fetchall()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._last.fetchall())


def _storable(value: object) -> object:
    """Replace U+0000, which text in PostgreSQL cannot hold."""
    return value.replace("\x00", "\ufffd") if type(value) is str and "\x00" in value else value
