"""
A connection of a client at a front: answered with what the writer had it remember, else passed on as it is.

Nothing is parsed here, so that there are no two readings of what a client sends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IDelayedCall, IPushProducer, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.policies import TimeoutMixin
from twisted.python.failure import Failure
from zope.interface import implementer

from confd.controller.fronts.control import ENOUGH, WINDOW, Closed, Data, Detached, Handed, Opened, Taken, pieces
from confd.web.memo import fill

if TYPE_CHECKING:
    from confd.controller.fronts.exchange import Exchange
    from confd.controller.stream import Reader


@implementer(IPushProducer)
class Client(TimeoutMixin, Protocol):
    """
    One of them. It is at rest while all is answered that it sent; then its next bytes may be answered here. Whoever
    answered last sees to it that it does not stay silent for ever: this end, while the writer does not know of it.
    """

    transport: Any

    def __init__(self, exchange: Exchange, number: int) -> None:
        """
        @param exchange: the front that it is a client of.
        @param number: what it is called there.
        """
        self._exchange, self._number = exchange, number
        self._host = ""
        self._resting, self._known, self._ending = True, False, False
        self._stalled = self._paused = False
        #: Bytes that the writer was sent since it knows of it; of these, that it has not taken; bytes of its own that
        #: it was not told of to be taken.
        self._sent = self._untaken = self._owed = 0
        self._reader: Reader | None = None

    def callLater(self, period: float, func: Callable[[], object]) -> IDelayedCall:
        """The clock of L{TimeoutMixin}."""
        called: IDelayedCall = self._exchange.clock.callLater(period, func)
        return called

    # -- what the client does --

    def connectionMade(self) -> None:
        """It is there."""
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
        peer = self.transport.getPeer()
        self._host = getattr(peer, "host", "")
        self.transport.registerProducer(self, True)
        self._exchange.say(Opened(self._number, self._host, getattr(peer, "port", 0)))
        self.setTimeout(self._exchange.idle_seconds)

    def dataReceived(self, data: bytes) -> None:
        """It sends something: answer it, or pass it on."""
        if self._ending or self._reader is not None:
            return
        if self._resting:
            template = self._exchange.remembered(self._host, data)
            if template is not None:
                self._detach()
                self.transport.write(fill(template))
                return
            self._resting, self._known = False, True
            self.setTimeout(None)
        self._sent += len(data)
        self._untaken += len(data)
        for message in pieces(self._number, data):
            self._exchange.say(message)
        self._flow()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is gone."""
        self.setTimeout(None)
        self._ending = True
        self._exchange.left(self._number)
        self._exchange.say(Closed(self._number))
        if self._reader is not None:
            self._reader.stopProducing()

    def timeoutConnection(self) -> None:
        """It was silent for too long, or does not take the last of what it was sent."""
        if self._ending:
            self.transport.abortConnection()
        else:
            self.lose()

    def pauseProducing(self) -> None:
        """It takes nothing for now."""
        self._stalled = True
        if self._reader is not None:
            self._reader.pauseProducing()
        self._flow()

    def resumeProducing(self) -> None:
        """It takes what it is sent."""
        self._stalled = False
        if self._reader is not None:
            self._reader.resumeProducing()
        self._confirm()
        self._flow()

    def stopProducing(self) -> None:
        """See L{connectionLost}."""

    # -- what the writer says --

    def write(self, data: Data) -> None:
        """Send it bytes."""
        self._owed += len(data.data)
        self.transport.write(data.data)
        self._confirm()

    def taken(self, size: int) -> None:
        """The writer has taken what it sent."""
        self._untaken -= size
        self._flow()

    def rest(self, received: int) -> None:
        """All is answered that had come by then."""
        self._resting = received == self._sent

    def read(self, handed: Handed) -> None:
        """Go on with a stream."""
        rest = RestOfStream(self, handed.chunked)
        self._reader = self._exchange.fanout.adopt(rest, handed.namespace, handed.order, handed.agent_id)
        self._reader.done.addCallback(lambda _: rest.finish())
        if self._stalled:
            self._reader.pauseProducing()

    def dismiss(self) -> None:
        """The writer closes it; unless it was silent there for too long, and is at rest here."""
        if self._known:
            self.lose()

    def lose(self) -> None:
        """Close it once it has taken what it was sent; cut it where it does not."""
        self._ending = True
        self.setTimeout(self._exchange.idle_seconds)
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def shut(self) -> None:
        """Send it nothing more."""
        self.transport.loseWriteConnection()

    def cut(self) -> None:
        """Reset it."""
        self.transport.abortConnection()

    def finish_up(self) -> None:
        """Close it if it waits for nothing; the writer closes it where it knows of it."""
        if not (self._known or self._reader is not None):
            self.lose()

    def _detach(self) -> None:
        """The writer needs to know nothing of it."""
        if self._known:
            self._exchange.say(Detached(self._number))
            self._known = False
            self._sent = self._untaken = self._owed = 0
        self.setTimeout(self._exchange.idle_seconds)

    def _confirm(self) -> None:
        if self._owed >= ENOUGH and not self._stalled and self._known:
            self._exchange.say(Taken(self._number, self._owed))
            self._owed = 0

    def _flow(self) -> None:
        """Read what it sends, unless it takes nothing itself, or the writer does not."""
        pause = self._stalled or self._untaken > WINDOW
        if pause != self._paused:
            self._paused = pause
            (self.transport.pauseProducing if pause else self.transport.resumeProducing)()


class RestOfStream:
    """What a stream asks of its request, once the head of the answer is out."""

    __slots__ = ("_client", "chunked")

    def __init__(self, client: Client, chunked: bool) -> None:
        self._client, self.chunked = client, chunked

    @property
    def channel(self) -> Client:
        """What has the transport."""
        return self._client

    def write(self, data: bytes) -> None:
        """More of the answer."""
        self._client.transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self.chunked else data)

    def unregisterProducer(self) -> None:
        """The client tells its reader when to pause for as long as it has one."""

    def finish(self) -> None:
        """The answer is complete."""
        if self.chunked:
            self._client.transport.write(b"0\r\n\r\n")
        self._client.lose()
