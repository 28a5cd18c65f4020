"""
The announcements that brokers still need.

A broker gets the announcements of a namespace in version order, one at a time. After an outage it gets the newest only.
Nothing here delays or fails a publish.

Other clients may reconnect to a broker later than the controller. Clients of the Go system do not ask for missed
announcements: the controller repeats them after a broker's return.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from confd.changes import Change, Contents
from confd.controller.configs.announcer import Announcer
from confd.controller.configs.snapshot import EncodedConfig, Snapshot
from confd.controller.interfaces import IControllerStore
from confd.errors import ConfdError
from confd.interfaces import IBroker, IChangeListener
from confd.runtime.offload import Offload
from confd.runtime.timing import Backoff, Periodic

#: Seconds that the answer to a publish waits for the brokers' receipts.
DELIVERY_WAIT_SECONDS = 0.025

#: Seconds between two attempts at most, so that a broker has what it missed within 5 seconds of its return.
RETRY_MAX_SECONDS = 4.0

#: Seconds after a broker's return until the version is published again: clients of the Go system come back within them.
AGAIN_AFTER = (2.0, 5.0, 10.0)

#: Time for announcements under way when the controller stops.
STOP_FLUSH_SECONDS = 1.0

#: Longest sleep while no announcement waits.
_IDLE_SECONDS = 60.0


class BrokerPublisher(Service):
    """
    Delivers announcements to a broker, and repeats each until the broker accepts it.

    @ivar delivered: announcements that the broker accepted so far.
    @ivar failures: failed attempts so far.
    @ivar accepted: called with the namespace and the number of the change of each announcement that the broker has.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        broker: IBroker,
        backoff: Backoff,
        offload: Offload | None = None,
        current: Callable[[], Iterator[EncodedConfig]] = lambda: iter(()),
    ) -> None:
        """
        @param backoff: between attempts; its cap is L{RETRY_MAX_SECONDS}.
        @param offload: signs large announcements; C{None} signs them on the reactor.
        @param current: returns the announcements to repeat after the broker's return.
        """
        self.broker = broker
        self._clock = clock
        self.delivered = self.failures = 0
        self.accepted: Callable[[str, int], object] = lambda namespace, seq: None
        self._offload, self._current = offload or Offload(maybeDeferred), current
        self._backoff = backoff
        #: With the number of the change.
        self._outgoing: dict[str, tuple[EncodedConfig, int]] = {}
        self._receipts: dict[str, list[Deferred[None]]] = {}
        self._repeats: Iterator[EncodedConfig] = iter(())
        self._planned: list[IDelayedCall] = []
        self._reason: str | None = None
        self._loop = Periodic(clock, self._deliver, self._pause, grace=STOP_FLUSH_SECONDS)

    def startService(self) -> None:
        """Start to deliver."""
        super().startService()
        self._loop.startService()

    def stopService(self) -> Deferred[None] | None:
        """Fire when the announcement under way is published or times out; a restart repeats the current ones."""
        super().stopService()
        self._cancel_repeats()
        return self._loop.stopService()

    def post(self, encoded: EncodedConfig, seq: int = 0) -> None:
        """
        Announce a configuration, in place of an older one of its namespace.

        @param seq: number of the change that made it.
        """
        self._outgoing[encoded.namespace] = encoded, seq
        self._loop.hurry()

    def waiting(self) -> int:
        """Return the namespaces whose newest announcement the broker does not have."""
        return len(self._outgoing)

    def receipt(self, namespace: str) -> Deferred[None]:
        """Fire once the broker has all posted announcements of a namespace."""
        if namespace not in self._outgoing:
            return succeed(None)
        waiting = self._receipts.setdefault(namespace, [])
        receipt: Deferred[None] = Deferred(waiting.remove)
        waiting.append(receipt)
        return receipt

    def _pause(self) -> float:
        return self._backoff.next() if self._outgoing else _IDLE_SECONDS

    async def _deliver(self) -> None:
        # New announcements come before the rest of the repeats.
        while await self._deliver_news() and (encoded := next(self._repeats, None)) is not None:
            try:
                await self._announce(encoded)
            except ConfdError:
                # If the broker is lost again, its next return starts over.
                self.failures += 1
                self._repeats = iter(())

    async def _deliver_news(self) -> bool:
        """Announce the posted configurations; return whether the broker has all of them."""
        while self._outgoing:
            namespace = next(iter(self._outgoing))
            # To the end of the queue: a namespace that the broker always refuses must not delay the others.
            encoded, seq = self._outgoing[namespace] = self._outgoing.pop(namespace)
            try:
                await self._announce(encoded)
            except ConfdError as error:
                self._delayed(encoded, error.message)
                return False
            self._reason = None
            if self._outgoing[namespace][0] is encoded:
                del self._outgoing[namespace]
                self.accepted(namespace, seq)
                waiting = self._receipts.pop(namespace, [])
                while waiting:
                    waiting.pop().callback(None)
        return True

    async def _announce(self, encoded: EncodedConfig) -> None:
        await self.broker.announce(encoded.namespace, await self._signed(encoded))
        self.delivered += 1
        self._backoff.reset()

    def broker_returned(self) -> None:
        """Announce all again: clients of the broker come back later than the controller."""
        self._cancel_repeats()
        if self.running:
            self._planned = [self._clock.callLater(seconds, self._repeat) for seconds in AGAIN_AFTER]

    def _repeat(self) -> None:
        if self.broker.problem() is None:
            self._repeats = self._current()
            self._loop.hurry()

    def _cancel_repeats(self) -> None:
        self._repeats = iter(())
        for each in self._planned:
            if each.active():
                each.cancel()

    async def _signed(self, encoded: EncodedConfig) -> bytes:
        announcement: bytes = await self._offload.run(len(encoded.body), getattr, encoded, "announcement")
        return announcement

    def _delayed(self, encoded: EncodedConfig, reason: str) -> None:
        self.failures += 1
        if reason != self._reason:
            self._reason = reason
            self.log.warn("{tag} is not announced yet: {reason}", tag=str(encoded.configuration.tag), reason=reason)


@implementer(IChangeListener)
class Publishers(MultiService):
    """
    The publishers of all brokers.

    @ivar broker_publishers: one for each.
    """

    def __init__(
        self,
        clock: IReactorTime,
        snapshot: Snapshot,
        broker_publishers: Sequence[BrokerPublisher],
        announcer: Announcer | None = None,
    ) -> None:
        """
        @param announcer: shares the announcements with other controllers; C{None} for a sole controller.
        """
        super().__init__()
        self._clock, self._snapshot, self._announcer = clock, snapshot, announcer
        self.broker_publishers = broker_publishers
        for broker_publisher in broker_publishers:
            broker_publisher.setServiceParent(self)
        if announcer is not None:
            announcer.setServiceParent(self)

    def load(self, contents: Contents) -> None:
        if self._announcer is not None:
            self._announcer.applied = contents.seq
            return
        # A crash may have come between a commit and its announcement.
        for encoded in self._snapshot.published():
            self.post(encoded)

    def apply(self, change: Change) -> None:
        if self._announcer is None or self._announcer.takes(change.seq):
            for encoded in self._snapshot.changed(change):
                self.post(encoded, change.seq)

    def post(self, encoded: EncodedConfig, seq: int = 0) -> None:
        """Post an announcement to every broker; see L{BrokerPublisher.post}."""
        for broker_publisher in self.broker_publishers:
            broker_publisher.post(encoded, seq)

    def published(self, namespace: str) -> Deferred[bool]:
        """
        Tell whether every broker has the newest announcement of a namespace.

        @return: fires as soon as they do, and after L{DELIVERY_WAIT_SECONDS} seconds whether they do or not; never
            fails.
        """
        if not self.broker_publishers:
            return succeed(True)
        receipts = DeferredList(
            [broker_publisher.receipt(namespace) for broker_publisher in self.broker_publishers],
            fireOnOneErrback=True,
            consumeErrors=True,
        )
        if (
            any(broker_publisher.broker.problem() is not None for broker_publisher in self.broker_publishers)
            and not receipts.called
        ):
            receipts.cancel()
        else:
            receipts.addTimeout(DELIVERY_WAIT_SECONDS, self._clock)
        return receipts.addCallbacks(lambda _: True, lambda _: False)


def make_publishers(
    clock: IReactorTime,
    store: IControllerStore,
    brokers: Sequence[IBroker],
    snapshot: Snapshot,
    random: Random,
    offload: Offload,
) -> Publishers:
    """
    Return the publishers of all brokers; each broker answers questions from the snapshot.

    @param store: shares the announcements with other controllers, if others may use it.
    """
    for broker in brokers:
        broker.answer(snapshot.announcement)
    publishers = [
        BrokerPublisher(clock, broker, Backoff(random, RETRY_MAX_SECONDS), offload, snapshot.published)
        for broker in brokers
    ]
    shares = brokers and store.interval is not None
    announcer = Announcer(clock, store, snapshot, publishers, random) if shares else None
    return Publishers(clock, snapshot, publishers, announcer)
