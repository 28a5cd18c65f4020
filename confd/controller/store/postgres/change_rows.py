"""Write the changes of a transaction into the database, where the feeds of all controllers read them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from attrs import evolve

from confd.changes import KINDS, REPORTED, REVISION
from confd.controller.store.postgres.continuity import DatabaseState
from confd.controller.store.postgres.cursor import PostgresCursor

#: The channel of hints at changes.
CHANNEL = "confd"

_INSERT = """
    INSERT INTO changes (seq, mark, kind, subject, body)
    SELECT CAST(? AS bigint) + key, ?, value ->> 0, value ->> 1, value ->> 2 FROM json_each(?)
"""

#: Deletes changes that are older than an hour, but keeps the newest 1 000.
_SWEEP = """
    DELETE FROM changes WHERE seq <= (SELECT seq FROM head) - 1000 AND at < clock_timestamp() - interval '1 hour'
"""


def append_changes(
    cursor: PostgresCursor,
    before: DatabaseState,
    changes: Sequence[tuple[str, str, object]],
    writer: uuid.UUID,
    seconds: Callable[[], float],
) -> DatabaseState:
    """
    Queue the changes of a transaction, and a hint at them.

    @param before: the state of the database, whose head this transaction has locked.
    @param seconds: the monotonic clock in which POSTs arrive.
    @return: the state of the database with the changes.
    """
    after = evolve(before, seq=before.seq + len(changes), mark=uuid.uuid4())
    rows = [(kind, subject, _body(kind, value, seconds)) for kind, subject, value in changes]
    cursor.execute(_INSERT, (before.seq + 1, after.mark, msgspec.json.encode(rows).decode()))
    cursor.execute("UPDATE head SET seq = ?, mark = ?", (after.seq, after.mark))
    if any(kind != REPORTED for kind, _, _ in changes):
        # A commit with NOTIFY takes a lock of the whole server; reports come often, and are not urgent.
        cursor.execute("SELECT pg_notify(?, ?)", (CHANNEL, str(writer)))
    return after


def sweep_changes(cursor: PostgresCursor) -> None:
    """Delete the changes that no feed still needs."""
    cursor.execute(_SWEEP)


def _body(kind: str, value: Any, seconds: Callable[[], float]) -> str:
    if kind == REVISION and value.posted is not None:
        # Other processes reckon from the time of the row.
        value = evolve(value, commit_ms=1000 * (seconds() - value.posted))
    return KINDS[kind].encode(value).decode()
