"""A bound on the heads of answers: L{twisted.web.client} takes headers without end."""

from __future__ import annotations

from typing import Any, cast

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from zope.interface import implementer

#: Bytes of the head of an answer at most, with all interim ones (1xx).
MAX_HEAD_BYTES = 32768


@implementer(IStreamClientEndpoint)
@define(eq=False)
class BoundedHead:
    """An endpoint whose answers have heads of at most L{MAX_HEAD_BYTES}."""

    _endpoint: IStreamClientEndpoint

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """See L{IStreamClientEndpoint}."""
        wrapping = WrappingFactory(factory)
        wrapping.protocol = BoundedConnection
        wrapping.noisy = False
        connecting = self._endpoint.connect(wrapping)
        return connecting.addCallback(lambda connection: cast(ProtocolWrapper, connection).wrappedProtocol)


class BoundedConnection(ProtocolWrapper):
    """
    Stands between the transport and the HTTP client.

    The client writes once a request, and pauses the transport once the head of the answer is over and a body follows:
    between these two nothing but a head can come.
    """

    #: Bytes that a head may still take; C{None} while none is due.
    _left: int | None = None
    transport: Any

    def writeSequence(self, data: Any) -> None:
        """A request: what comes now is the head of its answer."""
        self._left = MAX_HEAD_BYTES
        super().writeSequence(data)

    def pauseProducing(self) -> None:
        """A body follows, which somebody else bounds."""
        self._left = None
        self.transport.pauseProducing()

    def dataReceived(self, data: bytes) -> None:
        """Hand bytes on; of a head no more than it may have."""
        if self._left is not None:
            head, data = data[: self._left], data[self._left :]
            self._left -= len(head)
            super().dataReceived(head)
            if self._left == 0:
                self.loseConnection()
                return
        if data:
            super().dataReceived(data)

    def loseConnection(self) -> None:
        """Leave at once: a TLS peer that never says goodbye would be waited for."""
        self.disconnecting = 1
        self.transport.abortConnection()
