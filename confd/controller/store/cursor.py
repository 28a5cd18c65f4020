"""What the statements of every database run on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

from attrs import frozen

T = TypeVar("T")

#: A limit that no table reaches.
ALL = 2**62

#: The columns of a row; the statement decides their types.
Row: TypeAlias = tuple[Any, ...]


class Cursor(Protocol):
    """
    A cursor of a database: of SQLite, or L{confd.controller.store.postgres.cursor.PostgresCursor}.

    The statements in L{confd.controller.store.queries} are written in the SQL that SQLite and PostgreSQL share, with
    the placeholder C{?}. Lists are passed to them as JSON: C{json_each(?)} returns a row for each element of an array,
    and C{value ->> 0} is the text of the first element of that row.

    @ivar rowcount: rows that the last statement changed.
    """

    @property
    def rowcount(self) -> int: ...

    def execute(self, statement: str, values: Sequence[object] = ..., /) -> Cursor:
        """Run a statement; return this cursor."""

    def fetchone(self) -> Any:
        """Return the next row, C{None} after the last one."""

    def fetchall(self) -> list[Row]:
        """Return the remaining rows."""

    def __iter__(self) -> Iterator[Row]: ...


#: Runs in the thread of a connection, inside a transaction, and returns plain values.
Work = Callable[[Any], T]


@frozen
class Dialect:
    """
    The statements that databases need in words of their own.

    @ivar touch: takes a JSON object, the time of the last poll by id of the agent; see L{queries.agents.touch}.
    @ivar load_reported: takes a JSON array of agent and version. Returns one row: whether a rollout is open, and a JSON
        array of: number of the pair, and of its agent the namespace, the last report and the outcome.
    """

    touch: str
    load_reported: str
