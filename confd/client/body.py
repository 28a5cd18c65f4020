"""The bodies of HTTP requests and responses."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IConsumer, IPushProducer, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IBodyProducer, IResponse
from zope.interface import implementer

from confd.codec.bodies import MAX_ANSWER_BYTES
from confd.errors import Malformed


@implementer(IBodyProducer)
class RequestBody:
    """A small request body, written at once."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(body)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Write the whole body."""
        consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None:
        pass

    def resumeProducing(self) -> None:
        pass

    def stopProducing(self) -> None:
        pass


class StreamBody(Protocol):
    """
    Pass the body of a response on, piece by piece, and pause the connection while a piece is handled.

    @ivar ended: fires when the body has ended and all pieces are handled; fails with the error of the first piece that
        could not be handled.
    """

    def __init__(self, received: Callable[[bytes], object]) -> None:
        """
        @param received: called with each piece; it may return a Deferred that fires when the piece is handled.
        """
        self._received = received
        self._pieces: deque[bytes] = deque()
        self._handling = False
        self._lost: Failure | None = None
        self.ended: Deferred[None] = Deferred(lambda _: self._close())

    def dataReceived(self, data: bytes) -> None:
        self._pieces.append(data)
        if not self._handling:
            self._handling = True
            Deferred.fromCoroutine(self._handle()).addErrback(self._fail)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._lost = reason
        if not self._handling:
            self._end(reason)

    async def _handle(self) -> None:
        """Pass on the received pieces."""
        while self._pieces and not self.ended.called:
            handled = maybeDeferred(self._received, self._pieces.popleft())
            if handled.called:
                await handled
            else:
                self._pause()
                await handled
                self._resume()
        self._handling = False
        if self._lost is not None:
            self._end(self._lost)

    def _end(self, reason: Failure) -> None:
        if self.ended.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):
            self.ended.callback(None)
        else:
            self.ended.errback(reason)

    def _fail(self, failure: Failure) -> None:
        if not self.ended.called:
            self.ended.errback(failure)
            self._close()

    def _pause(self) -> None:
        producer = IPushProducer(self.transport, None)
        if producer is not None and self._lost is None:
            producer.pauseProducing()

    def _resume(self) -> None:
        producer = IPushProducer(self.transport, None)
        if producer is not None and self._lost is None:
            producer.resumeProducing()

    def _close(self) -> None:
        if self.transport is not None:
            if self._handling:
                # A paused connection would not see the close of its peer.
                self._resume()
            self.transport.loseConnection()


class _WholeBody(Protocol):
    """Read the body of a response, up to a limit."""

    def __init__(self, moved: Callable[[int], None]) -> None:
        self._moved = moved
        self._chunks: list[bytes] = []
        self._size = 0
        self.read: Deferred[bytes] = Deferred(lambda _: self._close())

    def dataReceived(self, data: bytes) -> None:
        """Keep a piece; close the connection if the body is too long."""
        self._moved(len(data))
        self._size += len(data)
        if self._size <= MAX_ANSWER_BYTES:
            self._chunks.append(data)
        elif not self.read.called:
            self._chunks.clear()
            self.read.errback(Malformed("answer_too_long", f"The answer is over {MAX_ANSWER_BYTES} bytes."))
            self._close()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Fire L{read}."""
        if self.read.called:
            return
        # The end of the connection ends a body without a length. Its JSON and checksum show whether it is complete.
        if reason.check(ResponseDone, PotentialDataLoss):
            self.read.callback(b"".join(self._chunks))
        else:
            self.read.errback(reason)

    def _close(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()


def read_body(response: IResponse, moved: Callable[[int], None] = lambda size: None) -> Deferred[bytes]:
    """
    Read a response to its end.

    @param moved: called with the size of each piece.
    @return: fires with the body; cancelling closes the connection.
    @raise Malformed: if the body is longer than L{MAX_ANSWER_BYTES}.
    """
    body = _WholeBody(moved)
    response.deliverBody(body)
    return body.read


def discard(response: IResponse) -> None:
    """Close the connection, rather than read a body that is not needed."""
    response.deliverBody(_Discard())


class _Discard(Protocol):
    transport: ITCPTransport

    def connectionMade(self) -> None:
        self.transport.loseConnection()
