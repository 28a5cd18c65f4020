"""The HTTP/1.1 client of an agent: persistent connections, bounded response headers, and forward proxies."""

from __future__ import annotations

from attrs import frozen
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.web.client import URI, Agent, HTTPConnectionPool, ProxyAgent
from twisted.web.iweb import IAgent, IAgentEndpointFactory, IPolicyForHTTPS
from zope.interface import implementer

from confd.client.forward_proxy import ForwardProxies, ForwardProxy
from confd.client.header_limit import BoundedHead
from confd.client.tunnel import ProxiedAgent, ProxyEndpoint, Tunnel
from confd.runtime.reactor import Reactor
from confd.runtime.tls_on_demand import TlsEndpoint
from confd.runtime.transport import HostEndpoint

#: Seconds that an idle connection is kept: less than confd's servers keep it, so that a request rarely finds it closed.
IDLE_SECONDS = 20

_NO_PROXIES = ForwardProxies()


def web_agent(
    reactor: Reactor, pool: HTTPConnectionPool, tls: IPolicyForHTTPS | None, proxies: ForwardProxies = _NO_PROXIES
) -> IAgent:
    """
    Return an HTTP/1.1 client.

    @param pool: keeps connections for later requests.
    @param tls: C{None} suits a client of C{http} URLs alone.
    @param proxies: the forward proxies to use.
    """
    pool.cachedConnectionTimeout = IDLE_SECONDS
    endpoints = _Endpoints(reactor, tls, proxies)
    agent: IAgent = Agent.usingEndpointFactory(reactor, endpoints, pool)
    if proxies == _NO_PROXIES:
        return agent
    return ProxiedAgent(agent, proxies, lambda proxy: ProxyAgent(BoundedHead(endpoints.to_proxy(proxy)), reactor, pool))


@implementer(IAgentEndpointFactory)
@frozen(eq=False)
class _Endpoints:
    """Make the endpoints of an L{Agent}."""

    _reactor: Reactor
    _tls: IPolicyForHTTPS | None
    _proxies: ForwardProxies

    def to_proxy(self, proxy: ForwardProxy) -> IStreamClientEndpoint:
        """Return the endpoint of a proxy."""
        return ProxyEndpoint(self._to_host(proxy.host, proxy.port), proxy)

    def _to_host(self, host: str, port: int) -> IStreamClientEndpoint:
        endpoint: IStreamClientEndpoint = HostEndpoint(self._reactor, host, port)
        return endpoint

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        host = uri.host.decode("ascii")
        endpoint = self._to_host(host, uri.port)
        if uri.scheme == b"https" and self._tls is not None:
            proxy = self._proxies.find("https", host, uri.port)
            if proxy is not None:
                endpoint = Tunnel(self.to_proxy(proxy), proxy, host, uri.port)
            endpoint = TlsEndpoint(self._tls.creatorForNetloc(uri.host, uri.port), endpoint)
        return BoundedHead(endpoint)
