"""Responses that outlive their handler: server-sent events, and what happens to slow readers."""

from __future__ import annotations

from typing import Generic, TypeVar

from twisted.application.service import Service
from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime, ITransport
from twisted.python.failure import Failure
from zope.interface import implementer

from confd.codec import sse
from confd.runtime.timing import Periodic
from confd.web.server.request import BoundedRequest

#: Seconds between two heartbeats.
HEARTBEAT_SECONDS = 10.0

#: Seconds in which a reader must take an event, and the bytes of that event that earn it one second more.
STALLED_MAX_SECONDS, MIN_BYTES_PER_SECOND = 10.0, 8192


def send(transport: ITransport, data: bytes) -> None:
    """
    Send now what a connection takes, not in the next turn of the reactor.

    The reactor sends the rest, and finds an error again. It sends all for a transport of another kind, as TLS.
    """
    sent: object = 0
    if isinstance(transport, FileDescriptor) and not (transport.dataBuffer or transport._tempDataLen):
        sent = transport.writeSomeData(data) if transport.connected and not transport.disconnecting else 0
    if sent != len(data):
        transport.write(data[sent:] if isinstance(sent, int) else data)


class StreamingAnswer:
    """A handler returns this for a response that goes on after the handler has returned."""

    __slots__ = ("_over",)

    def __init__(self, over: Deferred[None]) -> None:
        """
        @param over: fires when the response is complete; it is cancelled when the client hangs up.
        """
        self._over = over

    def begin(self, request: BoundedRequest) -> None:
        """Finish C{request} once the response is complete."""
        request.notifyFinish().addErrback(lambda _: self._over.cancel())
        request.shed()
        self._over.addCallback(lambda _: request.finish())
        self._over.addErrback(_failed, request)


def _failed(failure: Failure, request: BoundedRequest) -> None:
    if not failure.check(CancelledError):
        request.processingFailed(failure)


@implementer(IPushProducer)
class EventStream:
    """
    One open stream of server-sent events.

    While the connection is full, events are skipped. So a slow reader costs no more memory than its transport holds,
    plus the newest event of each kind.

    @ivar done: fires when the stream is over.
    """

    __slots__ = ("_cut", "_owed", "_request", "_streams", "done", "namespace")

    def __init__(self, streams: Streams, request: BoundedRequest, namespace: str) -> None:
        self._streams, self._request, self.namespace = streams, request, namespace
        self._cut: IDelayedCall | None = None
        #: Bytes of the event that was written last.
        self._owed = 0
        # A client that hangs up cancels this.
        self.done: Deferred[None] = Deferred(lambda _: self.stopProducing())

    def begin(self) -> None:
        """Send the headers, and enter the stream among the open ones; the response to HEAD ends with its headers."""
        self._streams.enter(self)
        self._request.setHeader("Content-Type", sse.CONTENT_TYPE)
        # A proxy that buffers or compresses would hold the events back.
        self._request.setHeader("Cache-Control", "no-store, no-transform")
        self._request.setHeader("X-Accel-Buffering", "no")
        self._request.registerProducer(self, True)
        self._request.write(sse.COMMENT)
        if self._request.method == b"HEAD":
            self.end()

    @property
    def takes_more(self) -> bool:
        """Whether L{write} sends what it is given; if not, L{catch_up} is called once the connection has room."""
        return self._cut is None and not self.done.called

    def write(self, frame: bytes) -> bool:
        """Send an event, or skip it while the connection is full; return whether it was sent."""
        if not self.takes_more:
            return False
        request, self._owed = self._request, len(frame)
        request.sentLength += len(frame)
        send(request.channel.transport, self._streams.chunk(frame) if request.chunked else frame)
        return True

    def catch_up(self) -> object:
        """Send the newest of the skipped events: the connection has room again."""
        raise NotImplementedError

    def end(self) -> None:
        """End the response in order; abort the connection of a stalled reader, which would not take the end either."""
        if self.done.called:
            return
        transport, stalled = self._request.channel.transport, self._cut is not None
        self.stopProducing()
        self._request.unregisterProducer()
        self.done.callback(None)
        if stalled:
            transport.abortConnection()

    def pauseProducing(self) -> None:
        """Skip events from now on, and abort the connection if it stays full."""
        if self.takes_more:
            allowed = STALLED_MAX_SECONDS + self._owed // MIN_BYTES_PER_SECOND
            self._cut = self._streams.clock.callLater(allowed, self._request.channel.transport.abortConnection)

    def resumeProducing(self) -> None:
        self._keep()
        self.catch_up()

    def stopProducing(self) -> None:
        self._keep()
        self._streams.leave(self)

    def _keep(self) -> None:
        if self._cut is not None and self._cut.active():
            self._cut.cancel()
        self._cut = None


def abort_in(clock: IReactorTime, seconds: float, request: BoundedRequest, stream: EventStream) -> None:
    """Abort the connection of a stream when its credentials expire, unless the stream is over before."""
    ending = clock.callLater(max(0.0, seconds), request.channel.transport.abortConnection)

    def over(result: object) -> object:
        if ending.active():
            ending.cancel()
        return result

    stream.done.addBoth(over)


S = TypeVar("S", bound=EventStream)


class Streams(Generic[S]):
    """
    The open streams, by namespace.

    @ivar clock: the reactor; monotonic.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self.clock = clock
        # A dictionary in place of a set: it keeps the order of arrival.
        self._open: dict[str, dict[S, None]] = {}
        #: The event that was written last, and its bytes in a chunked response; most streams get the same one.
        self._chunk = b"", b""

    def __len__(self) -> int:
        return sum(map(len, self._open.values()))

    def namespaces(self) -> list[str]:
        """Return the namespaces that have an open stream."""
        return list(self._open)

    def of(self, namespace: str) -> list[S]:
        """Return the open streams of a namespace, in order of arrival."""
        return list(self._open.get(namespace, ()))

    def chunk(self, frame: bytes) -> bytes:
        """Return an event as one chunk: RFC 9112, section 7.1."""
        if frame is not self._chunk[0]:
            self._chunk = frame, b"%x\r\n%s\r\n" % (len(frame), frame)
        return self._chunk[1]

    def enter(self, stream: S) -> None:
        """Add an open stream."""
        self._open.setdefault(stream.namespace, {})[stream] = None

    def leave(self, stream: S) -> None:
        """Remove a stream; nothing happens if it is not open."""
        streams = self._open.get(stream.namespace, {})
        streams.pop(stream, None)
        if not streams:
            self._open.pop(stream.namespace, None)

    def end(self) -> None:
        """End all streams; their readers reconnect, here or elsewhere."""
        for namespace in self.namespaces():
            for stream in self.of(namespace):
                stream.end()


class StreamService(Service, Generic[S]):
    """Keeps streams alive with a heartbeat, and ends them when the service stops."""

    def __init__(self, clock: IReactorTime) -> None:
        """
        @param clock: the reactor; monotonic.
        """
        self._streams: Streams[S] = Streams(clock)
        self._beat = Periodic(clock, self._heartbeat, lambda: HEARTBEAT_SECONDS)

    def __len__(self) -> int:
        return len(self._streams)

    def startService(self) -> None:
        super().startService()
        self._beat.startService()

    def stopService(self) -> Deferred[None] | None:
        super().stopService()
        self._streams.end()
        return self._beat.stopService()

    def _heartbeat(self) -> None:
        raise NotImplementedError
