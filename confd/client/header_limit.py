"""Limit the headers of HTTP responses, which L{twisted.web.client} reads without a limit."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IPushProducer, IStreamClientEndpoint, ITCPTransport
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from zope.interface import implementer

#: Bytes of the status line and the headers of a response, including interim responses (1xx).
MAX_HEAD_BYTES = 32768


@implementer(IStreamClientEndpoint)
@define(eq=False)
class BoundedHead:
    """Wrap an endpoint; close its connections if the head of a response exceeds L{MAX_HEAD_BYTES}."""

    _endpoint: IStreamClientEndpoint

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect the wrapped endpoint."""
        wrapping = WrappingFactory(factory)
        wrapping.protocol = BoundedConnection
        wrapping.noisy = False
        connecting = self._endpoint.connect(wrapping)
        return connecting.addCallback(lambda connection: cast(ProtocolWrapper, connection).wrappedProtocol)


class _Transport(ITCPTransport, IPushProducer):
    """The transport of an HTTP connection."""


class BoundedConnection(ProtocolWrapper):
    """
    Count the bytes of response heads between the transport and the HTTP client.

    The client calls C{writeSequence} once for each request, and pauses the transport between the head and the body of
    the response. All bytes between these two calls belong to a head.
    """

    #: Bytes that the head may still have; C{None} while no head is expected.
    _left: int | None = None
    transport: _Transport

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Send a request, and expect the head of its response."""
        self._left = MAX_HEAD_BYTES
        super().writeSequence(data)

    def pauseProducing(self) -> None:
        """Pause before the body, which has a limit of its own."""
        self._left = None
        self.transport.pauseProducing()

    def dataReceived(self, data: bytes) -> None:
        """Pass bytes on; close the connection if a head is too long."""
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
        """Abort the connection, as closing would wait for a TLS peer that never answers."""
        self.disconnecting = 1
        self.transport.abortConnection()
