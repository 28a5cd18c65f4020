"""Answers of server-sent events, and what becomes of readers that are slow: each is owed the newest, never a queue."""

from __future__ import annotations

from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from zope.interface import implementer

from confd.codec import sse
from confd.runtime.timing import Periodic

#: Seconds between two heartbeats.
HEARTBEAT_SECONDS = 10.0

#: Seconds that a reader gets to take an event before it is cut off, and bytes that make one second more.
STALLED_MAX_SECONDS, LEAST_RATE = 10.0, 8192


class Streams:
    """
    Those that are open, by the namespace that they are about.

    @ivar clock: monotonic.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self.clock = clock
        # Keys of a dictionary: a set that remembers who came first.
        self._open: dict[str, dict[EventStream, None]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._open.values()))

    def namespaces(self) -> list[str]:
        """What somebody reads about."""
        return list(self._open)

    def of(self, namespace: str) -> list[Any]:
        """Those about a namespace."""
        return list(self._open.get(namespace, ()))

    def enter(self, stream: EventStream) -> None:
        """One more."""
        self._open.setdefault(stream.namespace, {})[stream] = None

    def leave(self, stream: EventStream) -> None:
        """One is gone."""
        streams = self._open.get(stream.namespace, {})
        streams.pop(stream, None)
        if not streams:
            self._open.pop(stream.namespace, None)

    def end(self) -> None:
        """End all of them: their readers will come back, here or elsewhere."""
        for namespace in self.namespaces():
            for stream in self.of(namespace):
                stream.end()


class StreamService(Service):
    """Streams, with a heartbeat, which end with the service."""

    def __init__(self, clock: IReactorTime) -> None:
        """
        @param clock: monotonic.
        """
        self._streams = Streams(clock)
        self._beat = Periodic(clock, self._heartbeat, lambda: HEARTBEAT_SECONDS)

    def __len__(self) -> int:
        return len(self._streams)

    def startService(self) -> None:
        """Begin to beat."""
        super().startService()
        self._beat.startService()

    def stopService(self) -> Deferred[None] | None:
        """End every stream."""
        super().stopService()
        self._streams.end()
        return self._beat.stopService()

    def _heartbeat(self) -> None:
        raise NotImplementedError


@implementer(IPushProducer)
class EventStream:
    """
    One open stream.

    While its connection takes nothing, nothing is written to it, so that it is behind by what the transport holds and
    the newest events at most.

    @ivar done: fires when the stream is over.
    """

    __slots__ = ("_cut", "_owed", "_request", "_streams", "done", "namespace")

    def __init__(self, streams: Streams, request: Any, namespace: str) -> None:
        self._streams, self._request, self.namespace = streams, request, namespace
        self._cut: IDelayedCall | None = None
        #: Bytes of the event that was written last.
        self._owed = 0
        # A client that hangs up cancels whoever waits for this.
        self.done: Deferred[None] = Deferred(lambda _: self.stopProducing())

    def begin(self) -> None:
        """Send the headers; from now on it is open."""
        self._streams.enter(self)
        self._request.setHeader("Content-Type", sse.CONTENT_TYPE)
        # A proxy that buffers or compresses would keep the events to itself.
        self._request.setHeader("Cache-Control", "no-store, no-transform")
        self._request.setHeader("X-Accel-Buffering", "no")
        self._request.registerProducer(self, True)
        self._request.write(sse.COMMENT)

    @property
    def takes_more(self) -> bool:
        """Whether what is written now goes out; where not, L{catch_up} is called once there is room again."""
        return self._cut is None and not self.done.called

    def write(self, frame: bytes) -> None:
        """Send an event, or leave it out."""
        if self.takes_more:
            self._owed = len(frame)
            self._request.write(frame)

    def catch_up(self) -> None:
        """There is room again: send the newest of what was left out."""
        raise NotImplementedError

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
        if self.takes_more:
            patience = STALLED_MAX_SECONDS + self._owed // LEAST_RATE
            self._cut = self._streams.clock.callLater(patience, self._request.channel.transport.abortConnection)

    def resumeProducing(self) -> None:
        """The connection takes bytes again."""
        self._keep()
        self.catch_up()

    def stopProducing(self) -> None:
        """The connection is gone."""
        self._keep()
        self._streams.leave(self)

    def _keep(self) -> None:
        if self._cut is not None and self._cut.active():
            self._cut.cancel()
        self._cut = None
