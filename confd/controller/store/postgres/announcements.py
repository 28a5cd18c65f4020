"""The announcements that brokers still need: a row for each broker and namespace."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence

from confd.changes import IDENTITY, KEYS, REVISION
from confd.controller.store.postgres.cursor import PostgresCursor
from confd.interfaces.announcements import CLAIMED_SECONDS, MAX_CLAIMED, Claim

#: Kinds of changes that brokers get.
ANNOUNCED = frozenset((REVISION, KEYS, IDENTITY))

_NOTE = """
    INSERT INTO announcements (broker, namespace, seq, changed_at)
    SELECT broker, changed.name, changed.seq, clock_timestamp() FROM unnest(CAST(? AS text[])) AS broker, {changed}
    ON CONFLICT (broker, namespace) DO UPDATE SET seq = excluded.seq, changed_at = excluded.changed_at,
        claimed_by = NULL, claimed_at = NULL WHERE announcements.seq < excluded.seq
"""

_NOTE_ALL = _NOTE.format(changed="(SELECT name, CAST(? AS bigint) AS seq FROM namespaces WHERE NOT retired) AS changed")

_NOTE_SOME = _NOTE.format(changed="unnest(CAST(? AS text[]), CAST(? AS bigint[])) AS changed (name, seq)")

_LATE = f"""
    broker = ANY (?) AND seq <= ? AND done_seq < seq AND changed_at <= clock_timestamp() - ? * interval '1 s'
    AND (claimed_at IS NULL OR claimed_at < clock_timestamp() - {CLAIMED_SECONDS} * interval '1 s')
"""

_CLAIM = f"""
    UPDATE announcements AS a SET claimed_by = ?, claimed_at = clock_timestamp() FROM (
        SELECT broker, namespace FROM announcements WHERE {_LATE}
        ORDER BY changed_at LIMIT {MAX_CLAIMED} FOR UPDATE SKIP LOCKED) AS late
    WHERE a.broker = late.broker AND a.namespace = late.namespace RETURNING a.broker, a.namespace, a.seq
"""

_DONE = """
    UPDATE announcements AS a SET done_seq = greatest(a.done_seq, done.seq)
    FROM unnest(CAST(? AS text[]), CAST(? AS text[]), CAST(? AS bigint[])) AS done (broker, namespace, seq)
    WHERE a.broker = done.broker AND a.namespace = done.namespace
"""


def note_changes(
    cursor: PostgresCursor, brokers: Sequence[str], before: int, changes: Sequence[tuple[str, str, object]]
) -> None:
    """
    Note the changes of a transaction that brokers are to get.

    @param before: number of the last change before them.
    """
    newest = dict[str, int]()
    for number, (kind, subject, _) in enumerate(changes, before + 1):
        if kind == REVISION:
            newest[subject] = number
        elif kind in ANNOUNCED:
            cursor.execute(_NOTE_ALL, (brokers, number))
    if newest:
        cursor.execute(_NOTE_SOME, (brokers, list(newest), list(newest.values())))


def any_late(cursor: PostgresCursor, brokers: Collection[str], applied: int, late: float) -> bool:
    """Return whether L{claim} would claim something: a work that only reads."""
    (found,) = cursor.execute(
        f"SELECT EXISTS (SELECT 1 FROM announcements WHERE {_LATE})", (list(brokers), applied, late)
    ).fetchone()
    return bool(found)


def claim(
    cursor: PostgresCursor, brokers: Collection[str], applied: int, late: float, me: uuid.UUID
) -> Sequence[Claim]:
    """Do the work of L{IAnnouncements.claim}."""
    return [Claim(*row) for row in cursor.execute(_CLAIM, (me, list(brokers), applied, late)).fetchall()]


def note_done(cursor: PostgresCursor, done: Mapping[tuple[str, str], int]) -> None:
    """Do the work of L{IAnnouncements.announced}."""
    brokers, namespaces = zip(*done, strict=True)
    cursor.execute(_DONE, (list(brokers), list(namespaces), list(done.values())))
