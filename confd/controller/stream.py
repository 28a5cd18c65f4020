"""The hub of the event streams: whoever listens is told of each change, with the same bytes (contract, section 6)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import methodcaller
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from confd import sse
from confd.controller.snapshot import Encoded, Snapshot
from confd.model import Unavailable
from confd.timing import Periodic

#: Seconds between two heartbeats.
HEARTBEAT = 10.0

#: Seconds for which a reader may take nothing before it is cut off.
PATIENCE = 10.0

#: The order of what a reader has that has nothing.
_NOTHING = (0, 0)

#: Readers that are written to before the reactor gets a turn.
SLICE = 200


class Hub(Service):
    """
    All streams that are open.

    @ivar clock: monotonic.
    """

    log = Logger()

    def __init__(self, clock: IReactorTime, snapshot: Snapshot) -> None:
        self.clock, self._snapshot = clock, snapshot
        # Keys of a dictionary: a set that remembers who came first.
        self._readers: dict[str, dict[Reader, None]] = {}
        # What is being told: of each namespace one at a time, the newest.
        self._news: dict[str, Encoded] = {}
        self._beat = Periodic(clock, self._heartbeat, lambda: HEARTBEAT)

    def __len__(self) -> int:
        return sum(map(len, self._readers.values()))

    def startService(self) -> None:
        """Begin to beat."""
        super().startService()
        self._beat.startService()

    def stopService(self) -> Deferred[None] | None:
        """End every stream: its reader will come back, here or elsewhere."""
        super().stopService()
        for readers in list(self._readers.values()):
            for reader in list(readers):
                reader.end()
        return self._beat.stopService()

    def join(self, request: Any, namespace: str, last_event_id: str | None) -> Reader:
        """
        A new reader: it gets the configuration in force at once unless it has it, and from then on each that follows.

        @raise NotFound: C{unknown_namespace}.
        @raise Unavailable: C{stopping}: there would be nobody to end it.
        """
        if not self.running:
            raise Unavailable("stopping", "The controller is stopping; come back in a moment.")
        in_force = self._snapshot.get(namespace)
        has_it = last_event_id == str(in_force.configuration.tag)
        reader = Reader(self, request, namespace, in_force.order if has_it else _NOTHING)
        self._readers.setdefault(namespace, {})[reader] = None
        reader.begin()
        reader.send(in_force)
        return reader

    def leave(self, reader: Reader) -> None:
        """A reader is gone."""
        readers = self._readers.get(reader.namespace, {})
        readers.pop(reader, None)
        if not readers:
            self._readers.pop(reader.namespace, None)

    def announce(self, encoded: Encoded) -> None:
        """Tell those who read this namespace; where they are still being told of one before, it takes its place."""
        namespace = encoded.configuration.namespace
        under_way = namespace in self._news
        self._news[namespace] = encoded
        if not under_way:
            self._tell(namespace)

    def in_force(self, namespace: str) -> Encoded | None:
        """What a reader that has caught its breath is owed: the newest only, never a queue."""
        return self._snapshot.find(namespace)

    def _tell(self, namespace: str) -> None:
        encoded = self._news[namespace]

        def told() -> None:
            if self._news[namespace] is encoded:
                del self._news[namespace]
            else:
                self._tell(namespace)

        self._for_each(namespace, lambda reader: reader.send(self._news[namespace]), told)

    def _heartbeat(self) -> None:
        for namespace in list(self._readers):
            in_force = self._snapshot.find(namespace)
            if in_force is None:
                # It was retired.
                self._for_each(namespace, methodcaller("end"))
            else:
                beat = sse.frame("heartbeat", str(in_force.configuration.tag).encode())
                self._for_each(namespace, methodcaller("beat", beat))

    def _for_each(
        self, namespace: str, act: Callable[[Reader], object], then: Callable[[], object] = lambda: None
    ) -> None:
        self._go_on(iter(list(self._readers.get(namespace, ()))), act, then)

    def _go_on(self, readers: Iterator[Reader], act: Callable[[Reader], object], then: Callable[[], object]) -> None:
        for done, reader in enumerate(readers, 1):
            try:
                act(reader)
            except Exception:
                self.log.failure("a stream failed")
                reader.stopProducing()
            if done == SLICE:
                self.clock.callLater(0, self._go_on, readers, act, then)
                return
        then()


@implementer(IPushProducer)
class Reader:
    """
    One open stream.

    What it is owed is the newest, not a queue: while its connection takes nothing, nothing is written to it, so that it
    is behind by what the transport holds and one configuration at most.

    @ivar done: fires when the stream is over.
    """

    __slots__ = ("_cut", "_hub", "_order", "_request", "done", "namespace")

    def __init__(self, hub: Hub, request: Any, namespace: str, order: tuple[int, int]) -> None:
        """
        @param order: of the configuration that it has.
        """
        self._hub, self._request, self.namespace, self._order = hub, request, namespace, order
        self._cut: IDelayedCall | None = None
        # A client that hangs up cancels whoever waits for this.
        self.done: Deferred[None] = Deferred(lambda _: self.stopProducing())

    def begin(self) -> None:
        """Send the headers."""
        self._request.setHeader("Content-Type", sse.CONTENT_TYPE)
        self._request.registerProducer(self, True)
        self._request.write(sse.COMMENT)

    def send(self, encoded: Encoded) -> None:
        """A configuration; one that is not newer than the last is left out."""
        if encoded.order > self._order and self._takes_more:
            self._order = encoded.order
            self._request.write(encoded.frame)

    def beat(self, beat: bytes) -> None:
        """A heartbeat."""
        if self._takes_more:
            self._request.write(beat)

    def end(self) -> None:
        """End the stream in order; one that takes nothing is cut, as it would not take its end either."""
        if self.done.called:
            return
        transport, stalled = self._request.channel.transport, self._cut is not None
        self.stopProducing()
        self._request.unregisterProducer()
        self.done.callback(None)
        if stalled:
            transport.abortConnection()

    def pauseProducing(self) -> None:
        """The connection is full: what comes now is left out, and it is cut if it stays so."""
        if self._takes_more:
            self._cut = self._hub.clock.callLater(PATIENCE, self._request.channel.transport.abortConnection)

    def resumeProducing(self) -> None:
        """The connection takes bytes again: bring the reader up to date."""
        self._keep()
        in_force = self._hub.in_force(self.namespace)
        if in_force is not None:
            self.send(in_force)

    def stopProducing(self) -> None:
        """The connection is gone."""
        self._keep()
        self._hub.leave(self)

    @property
    def _takes_more(self) -> bool:
        return self._cut is None and not self.done.called

    def _keep(self) -> None:
        if self._cut is not None and self._cut.active():
            self._cut.cancel()
        self._cut = None
