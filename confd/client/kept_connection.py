"""Connections over which a client sends one GET after the other, and the pool of these that are idle."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from typing import Protocol as Structure

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.http import PotentialDataLoss, _ChunkedTransferDecoder, _IdentityTransferDecoder
from zope.interface import implementer

from confd.client.response_head import END_OF_HEAD, MAX_HEAD_BYTES, BadResponse, ResponseHead, parse_head

#: Seconds that an idle connection is kept.
IDLE_SECONDS = 240.0

#: Idle connections to one server.
MAX_IDLE = 64


class StaleConnection(Exception):
    """A kept connection ended before the first byte of the response: its server had closed it."""


class Sink(Structure):
    """Takes the body of a response."""

    def write(self, data: bytes) -> None:
        """Take a piece."""

    def ended(self, reason: Failure | None) -> None:
        """Take the end, with the reason why the body is incomplete."""


class _PausableTransport(ITCPTransport, IPushProducer):
    """The transport of a connection."""


@implementer(IPushProducer)
class KeptConnection(Protocol):
    """
    One connection. It carries one request at a time.

    @ivar body: the bytes of the body that came with the head.
    @ivar whole: whether the body is complete.
    """

    transport: _PausableTransport
    noisy = False

    def __init__(self, keep: Callable[[KeptConnection], object], lost: Callable[[KeptConnection], object]) -> None:
        """
        @param keep: called when the connection can carry another request.
        @param lost: called at its end.
        """
        self._keep, self._lost = keep, lost
        self._waiting: Deferred[ResponseHead] | None = None
        self._head: ResponseHead | None = None
        self._decoder: _ChunkedTransferDecoder | _IdentityTransferDecoder | None = None
        self._sink: Sink | None = None
        self._buffer = b""
        self._left = 0
        self._carried = 0
        self._paused = False
        self._end: Failure | None = None
        self.body, self.whole = b"", False

    def get(self, request: bytes) -> Deferred[ResponseHead]:
        """
        Send a request; cancelling closes the connection.

        @return: fires with the head of the response. Call L{deliver} or L{abandon} at once, unless L{whole}.
        @raise StaleConnection: if a kept connection ended before the response.
        @raise BadResponse: if the response is not HTTP/1.1.
        """
        self.body, self.whole, self._buffer, self._left = b"", False, b"", MAX_HEAD_BYTES
        self._waiting = Deferred(lambda _: self.abandon())
        self.transport.write(request)
        return self._waiting

    def deliver(self, sink: Sink) -> None:
        """Pass the body on; the sink may pause this connection."""
        self._sink = sink
        if self.body:
            sink.write(self.body)
            self.body = b""
        if self._end is not None:
            self._finish(self._end)

    def abandon(self) -> None:
        """Close the connection: the rest of the response is not needed."""
        self._sink = self._waiting = None
        self.transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        """Read a response."""
        if self._decoder is not None:
            self._read_body(data)
        elif self._waiting is not None:
            self._read_head(data)
        else:
            # The server speaks without being asked.
            self.transport.abortConnection()

    def _read_head(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        while (end := END_OF_HEAD.search(buffer, 0, self._left)) is not None:
            try:
                head = parse_head(buffer[: end.end()])
            except BadResponse as error:
                self._fail(error)
                return
            self._left -= end.end()
            buffer = buffer[end.end() :]
            if head.status >= 200:
                self._begin(head, buffer)
                return
            if head.status == 101:
                self._fail(BadResponse("another protocol"))
                return
        self._buffer = buffer
        if len(buffer) >= self._left:
            self._fail(BadResponse("a long head"))

    def _begin(self, head: ResponseHead, rest: bytes) -> None:
        """Begin the body, and hand over the head with as much of the body as is here."""
        self._buffer, self._head = b"", head
        waiting, self._waiting = self._waiting, None
        if head.bodyless or head.length == 0:
            self._complete(rest)
        elif head.length is not None and len(rest) == head.length:
            self.body = rest
            self._complete(b"")
        else:
            self._decoder = (
                _ChunkedTransferDecoder(self._take, self._complete)
                if head.chunked
                else _IdentityTransferDecoder(head.length, self._take, self._complete)
            )
            if rest:
                self._read_body(rest)
        if waiting is not None:
            waiting.callback(head)

    def _read_body(self, data: bytes) -> None:
        assert self._decoder is not None
        try:
            self._decoder.dataReceived(data)
        except Exception:
            self._finish(Failure(BadResponse("a damaged body")))
            self.transport.abortConnection()

    def _take(self, data: bytes) -> None:
        if self._sink is not None:
            self._sink.write(data)
        else:
            self.body += data

    def _complete(self, rest: bytes) -> None:
        """Take the end of the body; bytes behind it belong to no request."""
        assert self._head is not None
        self.whole, self._decoder, self._carried = True, None, self._carried + 1
        persistent = self._head.persistent and not rest
        sink, self._sink = self._sink, None
        if persistent:
            self.resumeProducing()
            self._keep(self)
        else:
            self.transport.abortConnection()
        if sink is not None:
            sink.ended(None)

    def _finish(self, reason: Failure) -> None:
        """End a body that is not complete."""
        self._decoder = None
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.ended(reason)
        else:
            self._end = reason

    def _fail(self, error: Exception) -> None:
        waiting, self._waiting = self._waiting, None
        self.transport.abortConnection()
        if waiting is not None:
            waiting.errback(error)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """End the response."""
        self._lost(self)
        if self._decoder is not None:
            try:
                self._decoder.noMoreData()
            except PotentialDataLoss:
                # The end of the connection ends a body without a length. The decoder has called L{_complete}.
                pass
            except Exception:
                self._finish(reason)
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.called:
            stale = self._carried and not self._buffer and self._left == MAX_HEAD_BYTES
            waiting.errback(Failure(StaleConnection()) if stale else reason)

    # -- the producer of a body --

    def pauseProducing(self) -> None:
        self._paused = True
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        if self._paused:
            self._paused = False
            self.transport.resumeProducing()

    def stopProducing(self) -> None:
        self.abandon()


@define(eq=False)
class ConnectionPool:
    """
    The idle connections of a client, by server.

    @ivar max_idle: idle connections to one server.
    """

    _clock: IReactorTime
    max_idle: int = MAX_IDLE
    _idle: dict[Hashable, deque[tuple[KeptConnection, float]]] = field(factory=dict, init=False)
    _timer: IDelayedCall | None = field(default=None, init=False)
    _ending: set[KeptConnection] = field(factory=set, init=False)
    _closed: Deferred[None] | None = field(default=None, init=False)

    def take(self, server: Hashable) -> KeptConnection | None:
        """Return the connection to a server that was used last, if any is idle."""
        idle = self._idle.get(server)
        return idle.pop()[0] if idle else None

    def keep(self, server: Hashable, connection: KeptConnection) -> None:
        """Keep a connection, or close it if enough are idle."""
        idle = self._idle.setdefault(server, deque())
        if len(idle) >= self.max_idle or self._closed is not None:
            connection.transport.abortConnection()
            return
        idle.append((connection, self._clock.seconds()))
        if self._timer is None:
            self._timer = self._clock.callLater(IDLE_SECONDS, self._expire)

    def forget(self, server: Hashable, connection: KeptConnection) -> None:
        """Drop a connection that has ended."""
        idle = self._idle.get(server)
        if idle:
            self._idle[server] = deque(each for each in idle if each[0] is not connection)
        self._ending.discard(connection)
        if self._closed is not None and not self._ending and not self._closed.called:
            self._closed.callback(None)

    def close(self) -> Deferred[None]:
        """Close the idle connections; fire when they have ended."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._ending = {connection for idle in self._idle.values() for connection, _ in idle}
        self._closed = Deferred()
        if not self._ending:
            return succeed(None)
        for connection in self._ending:
            connection.transport.abortConnection()
        return self._closed

    def _expire(self) -> None:
        """Close the connections that were idle for long, and look again when the next one is due."""
        self._timer, oldest = None, None
        due = self._clock.seconds() - IDLE_SECONDS
        for server, idle in list(self._idle.items()):
            while idle and idle[0][1] <= due:
                idle.popleft()[0].transport.abortConnection()
            if not idle:
                del self._idle[server]
            elif oldest is None or idle[0][1] < oldest:
                oldest = idle[0][1]
        if oldest is not None:
            self._timer = self._clock.callLater(oldest - due, self._expire)
