"""Read the changes of all controllers from the database."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from attrs import evolve

from confd.changes import IDENTITY, KEYS, KINDS, REVISION, ROLLOUT, Batch, Change, Contents
from confd.controller.store.cursor import Cursor, Row
from confd.controller.store.postgres.continuity import DatabaseState, check_continuation, load_state
from confd.controller.store.postgres.cursor import PostgresCursor
from confd.controller.store.queries import configs, contents, epoch
from confd.errors import Gone, NotFound
from confd.model import Configuration

#: Changes that one read returns at most.
MAX_BATCH = 1000


#: Seconds after which it does not matter any more when a POST arrived.
MAX_AGE_SECONDS = 86_400

_SELECT = """
    SELECT seq, kind, subject, body, CAST(extract(epoch FROM clock_timestamp() - at) AS float)
    FROM changes WHERE seq > ? ORDER BY seq LIMIT ?
"""


def load_contents(cursor: PostgresCursor) -> Contents:
    """Return what a controller keeps in memory, as of one moment."""
    cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    try:
        return contents.load_contents(cursor, load_state(cursor).seq)
    finally:
        cursor.execute("ROLLBACK")


def load_changes(
    cursor: PostgresCursor, after: int, known: DatabaseState | None, seconds: Callable[[], float]
) -> tuple[Batch, DatabaseState]:
    """
    Return the changes after number C{after}, L{MAX_BATCH} at most, and the state of the database before this read.

    @param known: the state of the database that this controller knows.
    @param seconds: the monotonic clock of this process.
    @raise WentBack: if the database is no continuation.
    """
    now = load_state(cursor)
    if known is not None and now != known and check_continuation(cursor, known, now) in ("raised", "reset"):
        return Batch((), complete=False), now
    if now.seq == after:
        return Batch(()), now
    rows = cursor.execute(_SELECT, (after, MAX_BATCH)).fetchall()
    read_at = seconds()
    if not rows or rows[0][0] != after + 1:
        # Older changes were swept.
        return Batch((), complete=False), now
    newest = {(kind, subject): seq for seq, kind, subject, *_ in rows}
    changes = [_change(cursor, row, newest[row[1], row[2]] == row[0], read_at) for row in rows]
    return Batch(changes, more=rows[-1][0] < now.seq), now


def _change(cursor: PostgresCursor, row: Row, newest: bool, read_at: float) -> Change:
    seq, kind, subject, body, age = row
    if kind in (IDENTITY, KEYS):
        return Change(seq, kind, subject, epoch.load_identity(cursor))
    if kind not in KINDS:
        return Change(seq, kind, subject, msgspec.json.decode(body))
    value = KINDS[kind].decode(body.encode())
    if kind == REVISION and value.commit_ms is not None and 0 <= age <= MAX_AGE_SECONDS:
        value = evolve(value, posted=read_at - age - value.commit_ms / 1000)
    if newest and kind == REVISION:
        value = evolve(value, configuration=_configuration(cursor, subject, value.version.tag.version))
    elif newest and kind == ROLLOUT and value.candidate is not None:
        value = evolve(value, configuration=_configuration(cursor, subject, value.candidate.tag.version))
    return Change(seq, kind, subject, value)


def _configuration(cursor: Cursor, namespace: str, version: int) -> Configuration | None:
    try:
        return configs.revision(cursor, namespace, version).configuration
    except (Gone, NotFound):
        # Pruned since: a newer change follows in the next batch.
        return None
