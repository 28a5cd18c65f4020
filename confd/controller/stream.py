"""The hub of the event streams: whoever listens is told of each change, with the same bytes (contract, section 6)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from confd import sse
from confd.controller.snapshot import Encoded, Snapshot
from confd.timing import Periodic

#: Seconds between two heartbeats.
HEARTBEAT = 10.0

#: Seconds for which a reader may take nothing before it is cut off.
PATIENCE = 10.0

#: Readers that are written to before the reactor gets a turn.
SLICE = 200


class Hub(Service):
    """All streams that are open."""

    log = Logger()

    def __init__(self, clock: IReactorTime, snapshot: Snapshot) -> None:
        self._clock, self._snapshot = clock, snapshot
        # Keys of a dictionary: a set that remembers who came first.
        self._readers: dict[str, dict[Reader, None]] = {}
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
        """
        in_force = self._snapshot.get(namespace)
        reader = Reader(self, request, namespace)
        self._readers.setdefault(namespace, {})[reader] = None
        reader.begin()
        if last_event_id != str(in_force.configuration.tag):
            reader.send(in_force)
        return reader

    def leave(self, reader: Reader) -> None:
        """A reader is gone."""
        readers = self._readers.get(reader.namespace, {})
        readers.pop(reader, None)
        if not readers:
            self._readers.pop(reader.namespace, None)

    def announce(self, encoded: Encoded) -> None:
        """Tell those who read this namespace."""
        readers = self._readers.get(encoded.configuration.namespace, {})
        self._tell(iter(list(readers)), encoded)

    def in_force(self, namespace: str) -> Encoded:
        """What a reader that has caught its breath is owed: the newest only, never a queue."""
        return self._snapshot.get(namespace)

    def now(self) -> float:
        """Monotonic seconds."""
        return self._clock.seconds()

    def _tell(self, readers: Iterator[Reader], encoded: Encoded) -> None:
        told = 0
        for reader in islice(readers, SLICE):
            reader.send(encoded)
            told += 1
        if told == SLICE:
            self._clock.callLater(0, self._tell, readers, encoded)

    def _heartbeat(self) -> None:
        for namespace, readers in list(self._readers.items()):
            tag = str(self._snapshot.get(namespace).configuration.tag)
            self._pulse(iter(list(readers)), sse.frame("heartbeat", tag.encode()))

    def _pulse(self, readers: Iterator[Reader], beat: bytes) -> None:
        beaten = 0
        for reader in islice(readers, SLICE):
            reader.beat(beat)
            beaten += 1
        if beaten == SLICE:
            self._clock.callLater(0, self._pulse, readers, beat)


@implementer(IPushProducer)
class Reader:
    """
    One open stream.

    What it is owed is a flag, not a buffer: while its connection takes nothing, nothing is written to it.

    @ivar done: fires when the stream is over.
    """

    __slots__ = ("_hub", "_order", "_request", "_stalled_at", "done", "namespace")

    def __init__(self, hub: Hub, request: Any, namespace: str) -> None:
        self._hub, self._request, self.namespace = hub, request, namespace
        self._order = (0, 0)
        self._stalled_at: float | None = None
        self.done: Deferred[None] = Deferred()

    def begin(self) -> None:
        """Send the headers."""
        self._request.setHeader("Content-Type", sse.CONTENT_TYPE)
        self._request.registerProducer(self, True)
        self._request.notifyFinish().addErrback(lambda _: self._hub.leave(self))
        self._request.write(sse.COMMENT)

    def send(self, encoded: Encoded) -> None:
        """A configuration; one that is not newer than the last is left out."""
        if self._stalled_at is None and encoded.order > self._order:
            self._order = encoded.order
            self._request.write(encoded.frame)

    def beat(self, beat: bytes) -> None:
        """A heartbeat, or the end for a reader that has taken nothing for too long."""
        if self._stalled_at is None:
            self._request.write(beat)
        elif self._hub.now() - self._stalled_at >= PATIENCE:
            self._request.channel.transport.abortConnection()

    def end(self) -> None:
        """End the stream in order."""
        self._hub.leave(self)
        self._request.unregisterProducer()
        if not self.done.called:
            self.done.callback(None)

    def pauseProducing(self) -> None:
        """The connection is full."""
        if self._stalled_at is None:
            self._stalled_at = self._hub.now()

    def resumeProducing(self) -> None:
        """The connection takes bytes again: bring the reader up to date."""
        self._stalled_at = None
        self.send(self._hub.in_force(self.namespace))

    def stopProducing(self) -> None:
        """The connection is gone."""
        self._hub.leave(self)
