"""How the worker connects: a name is resolved once, and only an address that was checked is connected to."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any, cast

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import (
    IAddress,
    IHostResolution,
    IProtocol,
    IProtocolFactory,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.web.client import URI, BrowserLikePolicyForHTTPS
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from confd.worker.policy import Policy

#: Seconds that one address gets to accept a connection.
CONNECT_SECONDS = 5

#: Bytes of the head of an answer at most, with all interim ones (1xx).
MAX_HEAD_BYTES = 32768


@implementer(IAgentEndpointFactory)
@define(eq=False)
class CheckedEndpoints:
    """
    Where an L{twisted.web.client.Agent} gets its connections from.

    @ivar policy: says which addresses may be connected to.
    """

    _reactor: Any
    _policy: Policy
    _tls: BrowserLikePolicyForHTTPS = field(factory=BrowserLikePolicyForHTTPS, init=False)

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """The endpoint for a URL, over TLS where it begins with C{https}."""
        endpoint: IStreamClientEndpoint = _Checked(self._reactor, self._policy, uri.host.decode("ascii"), uri.port)
        if uri.scheme == b"https":
            endpoint = wrapClientTLS(self._tls.creatorForNetloc(uri.host, uri.port), endpoint)
        return _Bounded(endpoint)


@implementer(IStreamClientEndpoint)
@define(eq=False)
class _Checked:
    _reactor: Any
    _policy: Policy
    _host: str
    _port: int

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        return Deferred.fromCoroutine(self._connect(factory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        addresses = _Addresses()
        self._reactor.nameResolver.resolveHostName(addresses, self._host, self._port)
        hosts = await addresses.found
        self._policy.check(self._host, [ip_address(host.partition("%")[0]) for host in hosts])
        error: Exception = DNSLookupError("the host name does not resolve")
        for host in hosts:
            kind = TCP6ClientEndpoint if ":" in host else TCP4ClientEndpoint
            try:
                protocol: IProtocol = await kind(self._reactor, host, self._port, CONNECT_SECONDS).connect(factory)
            except ConnectError as failed:
                error = failed
            else:
                return protocol
        raise error


@implementer(IResolutionReceiver)
class _Addresses:
    """
    Collects the addresses of a host name.

    @ivar found: fires with them.
    """

    def __init__(self) -> None:
        self._hosts: list[str] = []
        self.found: Deferred[list[str]] = Deferred()

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """Resolution starts."""

    def addressResolved(self, address: IAddress) -> None:
        """One more address."""
        self._hosts.append(address.host)  # type: ignore[attr-defined]

    def resolutionComplete(self) -> None:
        """That was all."""
        if not self.found.called:
            self.found.callback(self._hosts)


@implementer(IStreamClientEndpoint)
@define(eq=False)
class _Bounded:
    """An endpoint with a bound on the head of an answer: L{twisted.web.client} takes headers without end."""

    _endpoint: IStreamClientEndpoint

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
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
