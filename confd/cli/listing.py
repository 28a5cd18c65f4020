"""The columns of a list: their values for people, for a CSV file, and for the order."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from datetime import datetime
from enum import Enum
from operator import itemgetter
from typing import Any, TypeAlias

from attrs import evolve, frozen

from confd.cli.errors import CommandError, Exit
from confd.cli.text import format_age, format_time, short_id
from confd.codec.text import printable

#: A row of a list; its columns know its shape.
Item: TypeAlias = Any


class Kind(Enum):
    """What a column holds."""

    #: A value that is never broken into lines.
    VALUE = "value"
    #: Words, which may take several lines.
    WORDS = "words"
    #: An RFC 3339 time; C{None} is C{never}.
    TIME = "time"
    #: An RFC 3339 time; C{None} is nothing.
    OPTIONAL_TIME = "optional time"
    #: A UUID, or another identifier.
    ID = "id"


@frozen
class Column:
    """
    A column of a list.

    @ivar title: its heading, in capitals.
    @ivar read: returns its value of an item.
    @ivar spare: 0 if it is always shown; on a narrow terminal the columns with the highest numbers go first.
    """

    title: str
    read: Callable[[Item], object]
    kind: Kind = Kind.VALUE
    spare: int = 0

    @property
    def name(self) -> str:
        """The name for C{--sort-by} and for the first line of a CSV file."""
        return self.title.lower().replace(" ", "_").replace("-", "_")

    def exact(self, item: object) -> object:
        """Return the value of an item for scripts and for C{-o wide}."""
        return self._shown(item, format_time)

    def short(self, item: object, now: datetime) -> object:
        """Return the value of an item for people: a relative time, or the beginning of a UUID."""
        if self.kind is Kind.ID:
            return short_id(str(self.read(item)))
        return self._shown(item, lambda time: format_age(time, now))

    def _shown(self, item: object, write_time: Callable[[str | None], str]) -> object:
        value = self.read(item)
        if self.kind is Kind.TIME or (self.kind is Kind.OPTIONAL_TIME and value is not None):
            return write_time(value)  # type: ignore[arg-type]
        return value


def column(
    title: str,
    read: str | Callable[[Item], object],
    kind: Kind = Kind.VALUE,
    spare: int = 0,
) -> Column:
    """
    Return a column.

    @param read: name of a key, or a function of an item.
    """
    return Column(title, itemgetter(read) if isinstance(read, str) else read, kind, spare)


def positional(head: Sequence[str | Column]) -> list[Column]:
    """Return columns of rows that are sequences, for titles or columns in their order."""

    return [
        evolve(each, read=itemgetter(place))
        if isinstance(each, Column)
        # The first column names the row; people copy it.
        else Column(each, itemgetter(place), Kind.WORDS if place else Kind.VALUE)
        for place, each in enumerate(head)
    ]


def in_order(items: Sequence[Item], columns: Sequence[Column], key: str) -> list[Item]:
    """
    Return items in the order of a column, items without a value last.

    @param key: name of a column; a dash before it reverses the order.
    @raise CommandError: no column has the name.
    """
    wanted = key.removeprefix("-").lower().replace(" ", "_").replace("-", "_")
    found = next((each for each in columns if each.name == wanted), None)
    if found is None:
        names = ", ".join(each.name for each in columns)
        raise CommandError(Exit.USAGE, f"--sort-by: no column is named {printable(key)!r}; use one of {names}.")
    present = [each for each in items if found.read(each) not in (None, "")]
    absent = [each for each in items if found.read(each) in (None, "")]
    return sorted(present, key=lambda each: _rank(found.read(each)), reverse=key.startswith("-")) + absent


def _rank(value: object) -> tuple[int, float, str]:
    """Return the place of a value in an order: numbers before texts."""
    if isinstance(value, (int, float)):
        return (0, value, "")
    return (1, 0, str(value).casefold())


def as_csv(items: Sequence[Item], columns: Sequence[Column], head: bool) -> str:
    """
    Return items as CSV (RFC 4180) with whole values, without the last line break.

    @param head: whether the first line names the columns.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if head:
        writer.writerow([each.name for each in columns])
    writer.writerows([[_cell(each.read(item)) for each in columns] for item in items])
    return text.getvalue().removesuffix("\n")


def _cell(value: object) -> str:
    """Return a value for a CSV file; spreadsheets take a text for a formula after certain characters."""
    text = "" if value is None else printable(value)
    return f"'{text}" if isinstance(value, str) and text.startswith(("=", "+", "-", "@")) else text
