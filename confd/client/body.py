"""The bodies of HTTP requests and answers, as L{confd.client.http} sends and reads them."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IConsumer
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
        """Write all of it."""
        consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None:
        """There is nothing to pause."""

    def resumeProducing(self) -> None:
        """There is nothing to resume."""

    def stopProducing(self) -> None:
        """There is nothing to stop."""


class StreamBody(Protocol):
    """
    Hands the body of an answer on.

    @ivar ended: fires when it has ended.
    """

    def __init__(self, received: Callable[[bytes], None]) -> None:
        self._received = received
        self.ended: Deferred[None] = Deferred(lambda _: self._close())

    def dataReceived(self, data: bytes) -> None:
        """A piece of it."""
        if self.ended.called:
            return
        try:
            self._received(data)
        except Exception:
            self.ended.errback(Failure())
            self._close()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It has ended, in order or not."""
        if self.ended.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):
            self.ended.callback(None)
        else:
            self.ended.errback(reason)

    def _close(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()


class _Whole(Protocol):
    """Reads the body of an answer, up to a limit."""

    def __init__(self, moved: Callable[[int], None]) -> None:
        self._moved = moved
        self._chunks: list[bytes] = []
        self._size = 0
        self.read: Deferred[bytes] = Deferred(lambda _: self._close())

    def dataReceived(self, data: bytes) -> None:
        """Keep it, or cut an answer that is too long."""
        self._moved(len(data))
        self._size += len(data)
        if self._size <= MAX_ANSWER_BYTES:
            self._chunks.append(data)
        elif not self.read.called:
            self._chunks.clear()
            self.read.errback(Malformed("answer_too_long", f"The answer is over {MAX_ANSWER_BYTES} bytes."))
            self._close()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The body has ended, or was cut off."""
        if self.read.called:
            return
        # An answer without a length ends with its connection; whether it is whole, its JSON and checksum tell.
        if reason.check(ResponseDone, PotentialDataLoss):
            self.read.callback(b"".join(self._chunks))
        else:
            self.read.errback(reason)

    def _close(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()


def read_body(response: IResponse, moved: Callable[[int], None] = lambda size: None) -> Deferred[bytes]:
    """
    Read an answer to its end.

    @param moved: called with the size of each piece.
    @return: fires with the body; cancelling closes the connection.
    @raise Malformed: it is longer than L{MAX_ANSWER_BYTES}.
    """
    body = _Whole(moved)
    response.deliverBody(body)
    return body.read
