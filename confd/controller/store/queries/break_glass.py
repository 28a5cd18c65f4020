"""Records of break-glass calls in SQL: functions of a cursor that run in the thread of the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from confd.access.break_glass import BreakGlass
from confd.access.change_requests import review_of
from confd.audit import Attempt
from confd.changes import BREAK_GLASS
from confd.codec.headers import rfc3339
from confd.controller.store.change_log import request_change
from confd.controller.store.cursor import Cursor
from confd.controller.store.queries import change_requests, rollouts
from confd.model import Revision


def record(
    cursor: Cursor,
    attempt: Attempt | None,
    namespace: str,
    revision: Revision | None,
    rollout: int | None = None,
    applied: bool = False,
) -> list[tuple[str, str, object]]:
    """
    Record an attempt that has a reason, and open its review; return the changes of the feed.

    @param attempt: leaves no record without a reason.
    @param revision: see L{review_of}, as C{rollout} and C{applied}.
    """
    if attempt is None or not attempt.break_glass:
        return []
    version = None if revision is None else revision.configuration.version
    (number,) = cursor.execute("SELECT coalesce(max(id), 0) + 1 FROM break_glass").fetchone()
    made = BreakGlass.of(attempt, number, namespace, version, rollout)
    cursor.execute(
        """INSERT INTO break_glass (id, namespace, version, rollout, action, reason, who, subject, at)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)""",
        (number, namespace, version, rollout, made.action, made.reason, made.who, made.subject, rfc3339(made.at)),
    )
    review = change_requests.append(cursor, review_of(attempt, namespace, revision, rollout, applied))
    return [(BREAK_GLASS, namespace, made), request_change(review)]


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
