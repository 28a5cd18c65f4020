"""Read the changes of all controllers from the database."""

from __future__ import annotations

from typing import Any

import msgspec
from attrs import evolve

from confd.changes import IDENTITY, KEYS, KINDS, REVISION, ROLLOUT, Batch, Change, Contents
from confd.controller.store.cursor import Row
from confd.controller.store.postgres.continuity import DatabaseState, check_continuation, load_state
from confd.controller.store.postgres.cursor import PostgresCursor
from confd.controller.store.queries import configs, contents, epoch
from confd.errors import Gone, NotFound
from confd.model import Configuration

#: Changes that one read returns at most.
MAX_BATCH = 1000


def load_contents(cursor: PostgresCursor) -> Contents:
    """Return what a controller keeps in memory, as of one moment."""
    cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    try:
        return contents.load_contents(cursor, load_state(cursor).seq)
    finally:
        cursor.execute("ROLLBACK")


def load_changes(cursor: PostgresCursor, after: int, known: DatabaseState | None) -> Batch:
    """
    Return the changes after number C{after}; L{MAX_BATCH} at most.

    @param known: the state of the database that this controller knows.
    @raise WentBack: if the database is no continuation.
    """
    now = load_state(cursor)
    if known is not None and now != known and check_continuation(cursor, known, now) in ("raised", "reset"):
        return Batch((), complete=False)
    if now.seq == after:
        return Batch(())
    rows = cursor.execute(
        "SELECT seq, kind, subject, body FROM changes WHERE seq > ? ORDER BY seq LIMIT ?", (after, MAX_BATCH)
    ).fetchall()
    if not rows or rows[0][0] != after + 1:
        # Older changes were swept.
        return Batch((), complete=False)
    newest = {(kind, subject): seq for seq, kind, subject, _ in rows}
    return Batch([_change(cursor, row, newest[row[1], row[2]] == row[0]) for row in rows])


def _change(cursor: PostgresCursor, row: Row, newest: bool) -> Change:
    seq, kind, subject, body = row
    if kind in (IDENTITY, KEYS):
        return Change(seq, kind, subject, epoch.load_identity(cursor))
    if kind not in KINDS:
        return Change(seq, kind, subject, msgspec.json.decode(body))
    value = KINDS[kind].decode(body.encode())
    if newest and kind == REVISION:
        value = evolve(value, configuration=_configuration(cursor, subject, value.version.tag.version))
    elif newest and kind == ROLLOUT and value.candidate is not None:
        value = evolve(value, configuration=_configuration(cursor, subject, value.candidate.tag.version))
    return Change(seq, kind, subject, value)


def _configuration(cursor: Any, namespace: str, version: int) -> Configuration | None:
    try:
        return configs.revision(cursor, namespace, version).configuration
    except (Gone, NotFound):
        # Pruned since: a newer change follows in the next batch.
        return None
