"""The writer's end of a connection that a front holds: for an HTTP channel it is a transport like any other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IPushProducer, ITransport
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from confd.controller.fronts.control import ENOUGH, WINDOW, Cut, Handed, Lose, Message, Rest, Shut, Taken, pieces
from confd.controller.fronts.ledger import Ledger
from confd.controller.stream import Reader
from confd.web.channel import BoundedChannel


@implementer(ITransport, IPushProducer)
class Wire:
    """
    A transport.

    @ivar memo: see L{BoundedChannel.relay}.
    @ivar secure: likewise.
    @ivar disconnecting: whether it is about to end.
    """

    log = Logger()

    __slots__ = (
        "_channel",
        "_handed",
        "_host",
        "_number",
        "_owed",
        "_peer",
        "_producer",
        "_reading",
        "_received",
        "_say",
        "_silenced",
        "_stalled",
        "_untaken",
        "disconnecting",
        "memo",
        "secure",
    )

    def __init__(
        self,
        number: int,
        say: Callable[[Message], None],
        peer: IAddress,
        host: IAddress,
        memo: Ledger | None,
        secure: bool,
        handed: Callable[[int, str], None],
    ) -> None:
        """
        @param number: of the connection.
        @param say: tells its front.
        @param secure: whether the front speaks TLS with the client.
        @param handed: told the number and the caller once its front goes on with a stream alone.
        """
        self.secure, self._handed = secure, handed
        self._number, self._say, self._peer, self._host, self.memo = number, say, peer, host, memo
        self._channel: BoundedChannel | None = None
        self._producer: Any = None
        self._untaken = self._owed = self._received = 0
        self._reading, self._stalled, self._silenced, self.disconnecting = True, False, False, False

    # -- what the front says --

    def begin(self, channel: BoundedChannel) -> None:
        """Serve it."""
        self._channel = channel
        channel.makeConnection(self)

    def receive(self, data: bytes) -> None:
        """The client has sent bytes."""
        self._received += len(data)
        self._owed += len(data)
        try:
            if self._channel is not None:
                self._channel.dataReceived(data)
            self._confirm()
        except Exception:
            # As a reactor does, so that a defect ends one connection and not its front.
            self.log.failure("a connection failed")
            self.abortConnection()

    def taken(self, size: int) -> None:
        """The client has taken bytes."""
        self._untaken -= size
        if self._stalled and self._untaken <= ENOUGH:
            self._stalled = False
            if self._producer is not None:
                self._producer.resumeProducing()

    def lost(self, reason: Exception | None = None) -> None:
        """It is gone, or nobody's business here for now."""
        channel, self._channel, self.disconnecting = self._channel, None, True
        if channel is not None:
            channel.connectionLost(Failure(reason or ConnectionDone()))

    # -- what the channel says --

    def rest(self) -> None:
        """All is answered that has come."""
        self._say(Rest(self._number, self._received))

    def hand_over(self, reader: Reader) -> None:
        """Let the front go on with a stream, as it stands, unless it has ended."""
        if not (self.disconnecting or reader.done.called):
            self._say(Handed(self._number, reader.namespace, reader.order, reader.agent_id, reader.chunked))
            self._handed(self._number, reader.caller)
            self.lost()

    def write(self, data: bytes) -> None:
        """See L{ITransport}."""
        if self.disconnecting or self._silenced or not data:
            return
        for message in pieces(self._number, data):
            self._say(message)
        self._untaken += len(data)
        if self._untaken > WINDOW and not self._stalled:
            self._stalled = True
            if self._producer is not None:
                self._producer.pauseProducing()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """See L{ITransport}."""
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        """See L{ITransport}: it is lost when the front says so."""
        if not self.disconnecting:
            self.disconnecting = True
            self._say(Lose(self._number))

    def abortConnection(self) -> None:
        """Reset it."""
        self.disconnecting = True
        self._say(Cut(self._number))

    def loseWriteConnection(self) -> None:
        """Write no more."""
        self._silenced = True
        self._say(Shut(self._number))

    def getPeer(self) -> IAddress:
        """The client."""
        return self._peer

    def getHost(self) -> IAddress:
        """What is listened on."""
        return self._host

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Whoever writes is told when to pause."""
        self._producer = producer

    def unregisterProducer(self) -> None:
        """Nobody is told any more."""
        self._producer = None

    def pauseProducing(self) -> None:
        """Hold the client back: what it sends is not confirmed."""
        self._reading = False

    def resumeProducing(self) -> None:
        """Let it go on."""
        self._reading = True
        self._confirm()

    def stopProducing(self) -> None:
        """See L{IPushProducer}."""
        self.loseConnection()

    def _confirm(self) -> None:
        if self._reading and self._owed >= ENOUGH:
            self._say(Taken(self._number, self._owed))
            self._owed = 0
