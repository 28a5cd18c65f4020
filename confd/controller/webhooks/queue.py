"""Send the events of a queue, each until its receiver takes it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from random import Random
from typing import TYPE_CHECKING

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from confd.changes import RETIRED, REVISION, Change, Contents
from confd.errors import ConfdError
from confd.interfaces import IChangeListener
from confd.interfaces.webhooks import HOLD_SECONDS, MAX_QUEUED, MAX_QUEUED_HOURS, IWebhookStore, QueueState
from confd.runtime.list_delivery import ListDelivery
from confd.runtime.metrics import Metrics
from confd.runtime.timing import Backoff, LogLimiter

if TYPE_CHECKING:
    from confd.controller.webhooks.request import WebhookReceiver

#: Longest pause between two attempts, in seconds.
RETRY_MAX_SECONDS = 300.0

#: Seconds between two looks at an empty queue without an event.
IDLE_SECONDS = 86400.0

_DROPPED_LOG_SECONDS = 3600.0


class QueueSender(ListDelivery):
    """
    Send the events of one queue in their order, at least once.

    @ivar results: attempts by result.
    @ivar state: of the queue, as of the last attempt.
    """

    def __init__(
        self,
        clock: IReactorTime,
        now: Callable[[], datetime],
        store: IWebhookStore,
        receiver: WebhookReceiver,
        holder: str,
        secret: Callable[[], str],
        random: Random,
    ) -> None:
        """
        @param now: the wall clock.
        @param holder: name of this process among the controllers of a database.
        @param secret: returns C{WEBHOOK_SECRET}.
        @param random: spreads the attempts.
        """
        super().__init__(clock, f"webhook {receiver.number}", Backoff(random, RETRY_MAX_SECONDS))
        self.receiver, self._store, self._holder, self._secret, self._now = receiver, store, holder, secret, now
        self.results = Counter({"delivered": 0, "failed": 0})
        self.state = QueueState()
        self._done: int | None = None
        self._dropped: int | None = None
        self._drops = LogLimiter(clock, _DROPPED_LOG_SECONDS)

    def idle_seconds(self) -> float:
        # Another controller sends; it may end without a word.
        return HOLD_SECONDS if self.state.waiting else IDLE_SECONDS

    async def ping(self, body: bytes) -> str:
        """Send an event beside the queue; return why that failed, empty if it did not."""
        try:
            await self.receiver.send(body, self._secret())
        except ConfdError as error:
            return error.message
        return ""

    async def advance(self) -> bool:
        """Read the queue, and send its first event."""
        receiver = self.receiver.number - 1
        self.state = await self._store.advance(receiver, self._done, self._holder, self._now())
        self._done = None
        dropped, self._dropped = self._dropped, self.state.dropped
        if dropped is not None and dropped < self.state.dropped and self._drops.due():
            self.log.warn(
                "{who}: {count} events were dropped unsent; a queue holds {most} events for {hours} hours",
                who=self.receiver.who,
                count=self.state.dropped,
                most=MAX_QUEUED,
                hours=MAX_QUEUED_HOURS,
            )
        if self.state.head is None:
            return False
        number, body = self.state.head
        try:
            await self.receiver.send(body, self._secret())
        except ConfdError:
            self.results["failed"] += 1
            raise
        self.results["delivered"] += 1
        self._done = number
        return True


@implementer(IChangeListener)
class QueueSenders(MultiService):
    """The senders of all queues; none waits for another."""

    def __init__(self, senders: Sequence[QueueSender], now: Callable[[], datetime]) -> None:
        super().__init__()
        self._senders, self._now = senders, now
        for each in senders:
            each.setServiceParent(self)

    def load(self, contents: Contents) -> None:
        self.wake()

    def apply(self, change: Change) -> None:
        if change.kind in (REVISION, RETIRED):
            self.wake()

    def wake(self) -> None:
        """Look at all queues."""
        for each in self._senders:
            each.wake()

    async def ping(self, body: bytes) -> list[tuple[QueueSender, str]]:
        """Send an event to all receivers beside the queues; return each with why that failed."""
        errors = await gatherResults([Deferred.fromCoroutine(each.ping(body)) for each in self._senders])
        return list(zip(self._senders, errors, strict=True))

    def expose(self, metrics: Metrics) -> None:
        """Add the metrics of webhooks."""

        def each(read: Callable[[QueueState], float]) -> Callable[[], dict[str, float]]:
            return lambda: {str(one.receiver.number): read(one.state) for one in self._senders}

        metrics.counter(
            "confd_webhook_deliveries",
            "Requests to receivers of webhooks.",
            lambda: {
                (str(one.receiver.number), result): count
                for one in self._senders
                for result, count in one.results.items()
            },
            "number",
            "result",
        )
        metrics.gauge(
            "confd_webhook_waiting", "Events that wait for a receiver.", each(lambda it: it.waiting), "number"
        )
        metrics.counter(
            "confd_webhook_dropped", "Events that were deleted unsent.", each(lambda it: it.dropped), "number"
        )
        metrics.gauge(
            "confd_webhook_age_seconds",
            "Age of the oldest event that waits for a receiver.",
            each(lambda it: 0 if it.oldest_at is None else (self._now() - it.oldest_at).total_seconds()),
            "number",
        )
