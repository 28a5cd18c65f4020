"""The audit in SQL: functions of a cursor that return values, and run in the thread of the database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from operator import attrgetter
from typing import TypeAlias, TypeVar

import msgspec
from attrs import evolve, fields

from confd.audit import BACKUP, BEGINNING, CUT_OFF, DONE, Attempt, AuditEntry, AuditOutcome
from confd.codec import headers
from confd.controller.store.change_log import Written
from confd.controller.store.cursor import Cursor, Work
from confd.model import Revision

T = TypeVar("T")

#: Number and hash of an entry.
Last: TypeAlias = tuple[int, str]

#: Stands before the first entry.
NO_ENTRY: Last = 0, BEGINNING

#: The largest integer of SQLite, beyond any number.
_ENDLESS = 2**63 - 1

_COLUMNS = ", ".join(each.name for each in fields(AuditEntry))
_MATCHING = f"""SELECT {_COLUMNS} FROM audit WHERE number < ? AND namespace <> '' AND EXISTS (
        SELECT 1 FROM json_each(?) WHERE namespace = value ->> 0
        OR (value ->> 1 = '*' AND substr(namespace, 1, length(value ->> 0)) = value ->> 0)
    ) ORDER BY number DESC LIMIT ?"""
#: The index of these entries has the same condition.
_LAST_BACKUP = f"""SELECT at FROM (
        SELECT number, at, outcome, lead(outcome) OVER (ORDER BY number) AS next FROM audit
        WHERE action = '{BACKUP}' AND outcome IN ('{DONE}', '{CUT_OFF}')
    ) AS backups WHERE outcome = '{DONE}' AND (next IS NULL OR next <> '{CUT_OFF}') ORDER BY number DESC LIMIT 1"""
_values = attrgetter(*(each.name for each in fields(AuditEntry)))
_INSERT = f"INSERT INTO audit ({_COLUMNS}) VALUES ({', '.join('?' for _ in fields(AuditEntry))})"
_INSERT_SEVERAL = f"""INSERT INTO audit ({_COLUMNS})
    SELECT CAST(value ->> 0 AS bigint), {", ".join(f"value ->> {at}" for at in range(1, len(fields(AuditEntry))))}
    FROM json_each(?) ORDER BY key"""


def audited(work: Work[Written[T]], attempt: Attempt | None, detail: Callable[[T], str]) -> Work[Written[T]]:
    """
    Run a work together with its audit entry: both are done, or neither.

    @param attempt: C{None} to record nothing.
    @param detail: what to say of the result.
    """
    if attempt is None:
        return work

    def both(cursor: Cursor) -> Written[T]:
        result = work(cursor)
        ending = AuditOutcome(attempt, detail=joined(detail(result.value), result.note))
        return evolve(result, audited=(*result.audited, ending))

    return both


def record(cursor: Cursor, results: Sequence[object], last: Last | None = None) -> Last:
    """
    Put the results of the works of a transaction on record, in order.

    All share a statement: after each one the thread waits for the interpreter, or for the server.

    @param last: the last entry, C{None} to read it.
    @return: the last entry now.
    """
    endings = [ending for each in results if isinstance(each, Written) for ending in each.audited]
    if not endings:
        return last or NO_ENTRY
    if last is None:
        last = cursor.execute("SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1").fetchone() or NO_ENTRY
    number, previous = last
    rows = []
    for ending in endings:
        entry = AuditEntry.following(number, previous, headers.rfc3339(ending.attempt.made_at) or "", ending)
        rows.append(_values(entry))
        number, previous = entry.number, entry.hash
    if len(rows) == 1:
        # A list takes SQLite 50 us longer.
        cursor.execute(_INSERT, rows[0])
    else:
        cursor.execute(_INSERT_SEVERAL, (msgspec.json.encode(rows).decode(),))
    return number, previous


def describe_version(revision: Revision) -> str:
    """Return the detail of the audit entry of a new version."""
    return str(revision.configuration.tag)


def joined(detail: str, note: str) -> str:
    """Return the detail of an audit entry with the note that the transaction adds."""
    return f"{detail}, {note}" if note else detail


def page(cursor: Cursor, limit: int, before: int | None, patterns: Sequence[str] | None = None) -> Sequence[AuditEntry]:
    """Return entries, newest first: see L{confd.interfaces.IAuditStore.audit}."""
    bound = _ENDLESS if before is None else min(before, _ENDLESS)
    if patterns is None:
        cursor.execute(f"SELECT {_COLUMNS} FROM audit WHERE number < ? ORDER BY number DESC LIMIT ?", (bound, limit))
    else:
        # Each pattern as a pair: the text before a star, and the star or nothing.
        pairs = [[each.removesuffix("*"), "*" if each.endswith("*") else ""] for each in patterns]
        cursor.execute(_MATCHING, (bound, msgspec.json.encode(pairs).decode(), limit))
    return [AuditEntry(*row) for row in cursor]


def last_backup(cursor: Cursor) -> datetime | None:
    """Return the time of the newest backup: see L{confd.interfaces.IAuditStore.last_backup}."""
    row = cursor.execute(_LAST_BACKUP).fetchone()
    return None if row is None else headers.parse_rfc3339(row[0])
