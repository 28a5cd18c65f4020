"""How the worker connects: a name is resolved once, and only an address that was checked is connected to."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from ipaddress import ip_address

from attrs import define
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.web.client import URI
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from confd.client.header_limit import BoundedHead
from confd.runtime.reactor import Reactor
from confd.runtime.tls import client_options
from confd.runtime.transport import HostEndpoint
from confd.worker.address_policy import AddressPolicy

#: Seconds that one address gets to accept a connection.
CONNECT_SECONDS = 5


@implementer(IAgentEndpointFactory)
@define(eq=False)
class CheckedEndpoints:
    """
    Where an L{twisted.web.client.Agent} gets its connections from.

    @ivar policy: says which addresses may be connected to.
    """

    _reactor: Reactor
    _policy: AddressPolicy

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """The endpoint for a URL, over TLS where it begins with C{https}."""
        host = uri.host.decode("ascii")
        endpoint: IStreamClientEndpoint = HostEndpoint(
            self._reactor, host, uri.port, CONNECT_SECONDS, partial(self._check, host)
        )
        if uri.scheme == b"https":
            endpoint = wrapClientTLS(client_options(host), endpoint)
        return BoundedHead(endpoint)

    def _check(self, host: str, addresses: Sequence[str]) -> None:
        self._policy.check(host, [ip_address(each.partition("%")[0]) for each in addresses])
