"""Giving up old revisions, a slice at a time: functions of a cursor, run in the thread of the database."""

from __future__ import annotations

from confd.controller.store.cursor import Cursor
from confd.controller.store.queries.rollouts import OPEN

#: Rows that one transaction deletes at most, as each may hold a large document.
SLICE = 16


def prune(cursor: Cursor, namespace: str, keep: int) -> None:
    """
    Keep the newest revisions of a namespace. The others are gone at once for all callers; of their rows a slice is
    deleted, and the rest later.

    @param keep: how many; 0 keeps all.
    """
    if keep:
        cursor.execute(f"{_GIVE_UP} WHERE name = ?", (keep, keep, namespace))
        _delete(cursor, namespace)


def give_up(cursor: Cursor, namespace: str, version: int) -> None:
    """Give up all versions up to C{version}, whether or not they were ever here; see L{prune} for their rows."""
    cursor.execute("UPDATE namespaces SET pruned = max(pruned, ?) WHERE name = ?", (version, namespace))
    _delete(cursor, namespace)


def _delete(cursor: Cursor, namespace: str) -> None:
    cursor.execute(
        """DELETE FROM revisions WHERE id IN (
            SELECT id FROM revisions
            WHERE namespace = ? AND version <= (SELECT pruned FROM namespaces WHERE name = ?) LIMIT ?)""",
        (namespace, namespace, SLICE),
    )


def sweep(cursor: Cursor, keep: int) -> int:
    """
    Prune all namespaces: after a start, C{keep} may differ.

    @return: how many rows were deleted; fewer than L{SLICE} once no more are to be.
    """
    if keep:
        cursor.execute(_GIVE_UP, (keep, keep))
    cursor.execute(
        """DELETE FROM revisions WHERE id IN (
            SELECT r.id FROM namespaces AS n CROSS JOIN revisions AS r ON r.namespace = n.name AND r.version <= n.pruned
            WHERE n.pruned > 0 LIMIT ?)""",
        (SLICE,),
    )
    return cursor.rowcount


_GIVE_UP = f"""
    UPDATE namespaces
    SET pruned = max(pruned, coalesce(
        -- The base of an open rollout stays, whatever follows it.
        (SELECT min(base - 1, (SELECT max(version) FROM revisions WHERE namespace = name) - ?) FROM rollouts
            WHERE namespace = name AND {OPEN}),
        (SELECT max(version) FROM revisions WHERE namespace = name) - ?))
"""
