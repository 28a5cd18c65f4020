"""Connections to URLs of others: a name is resolved once, and its addresses are checked before a connection."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING

from attrs import define
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from confd.client.address_policy import AddressPolicy
from confd.client.header_limit import BoundedHead
from confd.runtime.reactor import Reactor
from confd.runtime.tls_on_demand import verified
from confd.runtime.transport import HostEndpoint

if TYPE_CHECKING:
    from twisted.web.client import URI

#: Seconds in which an address must accept a connection.
CONNECT_MAX_SECONDS = 5


@implementer(IAgentEndpointFactory)
@define(eq=False)
class CheckedEndpoints:
    """
    Makes connections, among them those of an L{twisted.web.client.Agent}.

    @ivar policy: decides which addresses a URL may lead to.
    """

    _reactor: Reactor
    _policy: AddressPolicy

    def endpoint(self, scheme: str, host: str, port: int) -> IStreamClientEndpoint:
        """Return the endpoint of a server, with TLS for C{https}."""
        endpoint: IStreamClientEndpoint = HostEndpoint(
            self._reactor, host, port, CONNECT_MAX_SECONDS, partial(self._check, host)
        )
        return verified(host, endpoint) if scheme == "https" else endpoint

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """Return the endpoint of a URL, with limited headers."""
        return BoundedHead(self.endpoint(uri.scheme.decode("ascii"), uri.host.decode("ascii"), uri.port))

    def _check(self, host: str, addresses: Sequence[str]) -> None:
        self._policy.check(host, [ip_address(each.partition("%")[0]) for each in addresses])
