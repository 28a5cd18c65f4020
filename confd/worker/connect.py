"""How the worker connects: a name is resolved once, and only an address that was checked is connected to."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

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
from twisted.web.client import URI, BrowserLikePolicyForHTTPS
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from confd.heads import BoundedHead
from confd.worker.policy import Policy

#: Seconds that one address gets to accept a connection.
CONNECT_SECONDS = 5


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
        return BoundedHead(endpoint)


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
