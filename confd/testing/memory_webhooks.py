"""The queues of webhooks in memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta

from twisted.internet.defer import Deferred
from zope.interface import implementer

from confd.audit import Attempt
from confd.interfaces.webhooks import (
    HOLD_SECONDS,
    MAX_QUEUED,
    MAX_QUEUED_HOURS,
    IWebhookStore,
    Occurrence,
    QueueState,
)
from confd.testing.memory_rows import Rows

_NEVER = datetime.min.replace(tzinfo=UTC)


@implementer(IWebhookStore)
class WebhookRows(Rows):
    """The part of a L{confd.testing.memory.MemoryStore} that keeps events for receivers."""

    def __init__(self) -> None:
        super().__init__()
        self._queues: list[list[tuple[int, bytes, datetime]]] = []
        self._describe: Callable[[tuple[str, str, object], Attempt | None], Sequence[bytes]] | None = None
        self._now: Callable[[], datetime] = lambda: _NEVER
        self._queued, self._dropped = 0, defaultdict[int, int](int)
        self._holders: dict[int, tuple[str, datetime]] = {}
        self._sent: dict[tuple[str, str], tuple[int, int]] = {}

    def queue_changes(
        self,
        receivers: int,
        describe: Callable[[tuple[str, str, object], Attempt | None], Sequence[bytes]],
        now: Callable[[], datetime],
    ) -> None:
        self._queues += [[] for _ in range(receivers - len(self._queues))]
        self._describe, self._now = describe, now

    def queue_event(self, body: bytes, at: datetime, once: Occurrence | None = None) -> Deferred[bool]:
        return self._write(self._queue_once, body, at, once)

    def advance(self, receiver: int, done: int | None, holder: str, at: datetime) -> Deferred[QueueState]:
        return self._write(self._advance, receiver, done, holder, at)

    def _queue_changes(self, changes: Iterable[tuple[str, str, object]], attempt: Attempt | None) -> None:
        for change in changes:
            for body in [] if self._describe is None else self._describe(change, attempt):
                self._append_event(body, self._now())

    def _queue_once(self, body: bytes, at: datetime, once: Occurrence | None) -> bool:
        if once is not None:
            key, place = (once.kind, once.namespace), (once.version, once.count)
            if place <= self._sent.get(key, (-1, -1)):
                return False
            self._sent[key] = place
        self._append_event(body, at)
        return True

    def _append_event(self, body: bytes, at: datetime) -> None:
        for receiver, queue in enumerate(self._queues):
            self._queued += 1
            queue.append((self._queued, body, at))
            self._drop(receiver, queue[:-MAX_QUEUED])

    def _drop(self, receiver: int, events: Sequence[tuple[int, bytes, datetime]]) -> None:
        self._dropped[receiver] += len(events)
        self._queues[receiver] = [each for each in self._queues[receiver] if each not in events]

    def _advance(self, receiver: int, done: int | None, holder: str, at: datetime) -> QueueState:
        self._queues[receiver] = [each for each in self._queues[receiver] if each[0] != done]
        oldest = at - timedelta(hours=MAX_QUEUED_HOURS)
        self._drop(receiver, [each for each in self._queues[receiver] if each[2] < oldest])
        queue = self._queues[receiver]
        if not queue:
            return QueueState(dropped=self._dropped[receiver])
        owner, until = self._holders.get(receiver, ("", _NEVER))
        head = None
        if owner == holder or until < at:
            self._holders[receiver] = holder, at + timedelta(seconds=HOLD_SECONDS)
            head = queue[0][:2]
        return QueueState(len(queue), min(each[2] for each in queue), self._dropped[receiver], head)
