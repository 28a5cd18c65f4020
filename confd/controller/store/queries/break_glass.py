"""Records of break-glass calls in SQL: functions of a cursor that run in the thread of the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from confd.access.break_glass import BreakGlass
from confd.audit import Attempt
from confd.changes import BREAK_GLASS
from confd.codec.headers import rfc3339
from confd.controller.store.cursor import Cursor
from confd.controller.store.queries import rollouts


def record(
    cursor: Cursor, attempt: Attempt | None, namespace: str, version: int | None, rollout: int | None = None
) -> list[tuple[str, str, object]]:
    """Record an attempt that has a reason; return the change of the feed. Other attempts leave no record."""
    if attempt is None or not attempt.break_glass:
        return []
    (number,) = cursor.execute("SELECT coalesce(max(id), 0) + 1 FROM break_glass").fetchone()
    made = BreakGlass.of(attempt, number, namespace, version, rollout)
    cursor.execute(
        """INSERT INTO break_glass (id, namespace, version, rollout, action, reason, who, subject, at)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)""",
        (number, namespace, version, rollout, made.action, made.reason, made.who, made.subject, rfc3339(made.at)),
    )
    return [(BREAK_GLASS, namespace, made)]


def count(cursor: Cursor) -> int:
    """Return the number of the newest record."""
    (number,) = cursor.execute("SELECT coalesce(max(id), 0) FROM break_glass").fetchone()
    return int(number)


def reasons(cursor: Cursor, namespace: str, versions: Sequence[int]) -> Mapping[int, str]:
    """Return the reason of each of these versions that a break-glass call published."""
    cursor.execute(
        """SELECT version, reason FROM break_glass
        WHERE namespace = ? AND version IN (SELECT CAST(value ->> 0 AS bigint) FROM json_each(?))""",
        (namespace, rollouts.elements(versions)),
    )
    return dict(cursor.fetchall())
