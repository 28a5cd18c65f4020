"""Freezes in SQL: functions of a cursor that return values, and run in the thread of the database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec
from attrs import evolve, frozen

from confd.access.freezes import Freeze, Weekly, Window, unknown_freeze
from confd.changes import FREEZE
from confd.codec.headers import parse_rfc3339, rfc3339
from confd.controller.store.change_log import Written
from confd.controller.store.cursor import Cursor, Row

#: What L{freeze_of} takes.
COLUMNS = "id, namespaces, body, reason, created_by, created_at, removed_at"


@frozen
class _Body:
    """When a freeze is active."""

    once: Window | None
    weekly: Weekly | None


_NAMESPACES = msgspec.json.Decoder(tuple[str, ...])
_BODY = msgspec.json.Decoder(_Body)


def load(cursor: Cursor) -> Sequence[Freeze]:
    """Return the freezes that are not removed, by id."""
    cursor.execute(f"SELECT {COLUMNS} FROM freezes WHERE removed_at IS NULL ORDER BY id")
    return [freeze_of(row) for row in cursor.fetchall()]


def add(cursor: Cursor, freeze: Freeze) -> Written[Freeze]:
    """Insert a freeze, which gets the next id."""
    (number,) = cursor.execute("SELECT coalesce(max(id), 0) + 1 FROM freezes").fetchone()
    cursor.execute(
        "INSERT INTO freezes (id, namespaces, body, reason, created_by, created_at) VALUES (?, ?, ?, ?, ?, ?)",
        (
            number,
            msgspec.json.encode(freeze.namespaces).decode(),
            msgspec.json.encode(_Body(freeze.once, freeze.weekly)).decode(),
            freeze.reason,
            freeze.created_by,
            rfc3339(freeze.created_at),
        ),
    )
    return _written(_find(cursor, number))


def remove(cursor: Cursor, number: int, at: datetime) -> Written[Freeze]:
    """
    Remove a freeze.

    @raise NotFound: C{unknown_freeze}.
    """
    freeze = evolve(_find(cursor, number), removed_at=at)
    cursor.execute("UPDATE freezes SET removed_at = ? WHERE id = ?", (rfc3339(at), number))
    return _written(freeze)


def _written(freeze: Freeze) -> Written[Freeze]:
    return Written(freeze, [(FREEZE, str(freeze.id), freeze)])


def _find(cursor: Cursor, number: int) -> Freeze:
    cursor.execute(f"SELECT {COLUMNS} FROM freezes WHERE id = ? AND removed_at IS NULL", (number,))
    row = cursor.fetchone()
    if row is None:
        raise unknown_freeze(number)
    return freeze_of(row)


def freeze_of(row: Row) -> Freeze:
    """Return the freeze in a row of L{COLUMNS}."""
    number, namespaces, body, reason, created_by, created_at, removed_at = row
    active = _BODY.decode(body)
    return Freeze(
        number,
        _NAMESPACES.decode(namespaces),
        reason,
        created_by,
        parse_rfc3339(created_at),
        active.once,
        active.weekly,
        None if removed_at is None else parse_rfc3339(removed_at),
    )
