"""Queues of webhooks in SQL: functions of a cursor that return values, and run in the thread of the database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from attrs import frozen

from confd.audit import Attempt
from confd.codec.headers import parse_rfc3339, rfc3339
from confd.controller.store.change_log import Written
from confd.controller.store.cursor import Cursor, Work
from confd.interfaces.webhooks import HOLD_SECONDS, MAX_QUEUED, MAX_QUEUED_HOURS, Occurrence, QueueState

T = TypeVar("T")


@frozen
class ChangeEvents:
    """
    The events of changes: see L{confd.interfaces.webhooks.IWebhookStore.queue_changes}.

    @ivar receivers: number of queues.
    @ivar now: the wall clock.
    """

    receivers: int
    describe: Callable[[tuple[str, str, object], Attempt | None], Sequence[bytes]]
    now: Callable[[], datetime]

    def along(self, work: Work[Written[T]], attempt: Attempt | None) -> Work[Written[T]]:
        """Return a work that queues the events of its changes, too: both are done, or neither."""

        def both(cursor: Cursor) -> Written[T]:
            result = work(cursor)
            for change in result.changes:
                for body in self.describe(change, attempt):
                    append(cursor, self.receivers, body, self.now())
            return result

        return both


def append(cursor: Cursor, receivers: int, body: bytes, at: datetime) -> None:
    """Append an event to each queue; a full queue drops its oldest event."""
    for receiver in range(receivers):
        cursor.execute(
            "INSERT INTO webhook_queue (url_index, body, created_at) VALUES (?, ?, ?)", (receiver, body, rfc3339(at))
        )
        cursor.execute(
            """DELETE FROM webhook_queue WHERE url_index = ? AND id <= (
                SELECT id FROM webhook_queue WHERE url_index = ? ORDER BY id DESC LIMIT 1 OFFSET ?)""",
            (receiver, receiver, MAX_QUEUED),
        )
        _count_dropped(cursor, receiver, cursor.rowcount)


def append_once(cursor: Cursor, receivers: int, body: bytes, at: datetime, once: Occurrence | None) -> bool:
    """Append an event: see L{confd.interfaces.webhooks.IWebhookStore.queue_event}."""
    if once is not None:
        cursor.execute(
            """INSERT INTO webhook_sent AS s (kind, namespace, version, count) VALUES (?, ?, ?, ?)
            ON CONFLICT (kind, namespace) DO UPDATE SET version = excluded.version, count = excluded.count
            WHERE s.version < excluded.version OR (s.version = excluded.version AND s.count < excluded.count)""",
            (once.kind, once.namespace, once.version, once.count),
        )
        if cursor.rowcount < 1:
            return False
    append(cursor, receivers, body, at)
    return True


def advance(cursor: Cursor, receiver: int, done: int | None, holder: str, at: datetime) -> QueueState:
    """Delete an event that was sent: see L{confd.interfaces.webhooks.IWebhookStore.advance}."""
    if done is not None:
        cursor.execute("DELETE FROM webhook_queue WHERE url_index = ? AND id = ?", (receiver, done))
    oldest = rfc3339(at - timedelta(hours=MAX_QUEUED_HOURS))
    cursor.execute("DELETE FROM webhook_queue WHERE url_index = ? AND created_at < ?", (receiver, oldest))
    _count_dropped(cursor, receiver, cursor.rowcount)
    waiting, oldest_at = cursor.execute(
        "SELECT count(*), min(created_at) FROM webhook_queue WHERE url_index = ?", (receiver,)
    ).fetchone()
    head = None
    if waiting and _holds(cursor, receiver, holder, at):
        cursor.execute("SELECT id, body FROM webhook_queue WHERE url_index = ? ORDER BY id LIMIT 1", (receiver,))
        number, body = cursor.fetchone()
        head = number, bytes(body)
    row = cursor.execute("SELECT dropped FROM webhook_receivers WHERE url_index = ?", (receiver,)).fetchone()
    return QueueState(
        waiting, None if oldest_at is None else parse_rfc3339(oldest_at), 0 if row is None else row[0], head
    )


def _holds(cursor: Cursor, receiver: int, holder: str, at: datetime) -> bool:
    """Hold a queue unless another controller does; return whether that worked."""
    cursor.execute("INSERT INTO webhook_receivers (url_index) VALUES (?) ON CONFLICT DO NOTHING", (receiver,))
    cursor.execute(
        """UPDATE webhook_receivers SET holder = ?, held_until = ?
        WHERE url_index = ? AND (holder = ? OR held_until < ?)""",
        (holder, rfc3339(at + timedelta(seconds=HOLD_SECONDS)), receiver, holder, rfc3339(at)),
    )
    return cursor.rowcount > 0


def _count_dropped(cursor: Cursor, receiver: int, count: int) -> None:
    if count > 0:
        cursor.execute(
            """INSERT INTO webhook_receivers AS r (url_index, dropped) VALUES (?, ?)
            ON CONFLICT (url_index) DO UPDATE SET dropped = r.dropped + excluded.dropped""",
            (receiver, count),
        )
