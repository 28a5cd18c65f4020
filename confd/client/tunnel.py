"""Send requests through a forward proxy: CONNECT for https (RFC 9110 section 9.3.6), whole URLs for http."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import cast

from attrs import define, field, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectingCancelledError
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint, ITCPTransport
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from twisted.web.client import URI
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from confd.client.forward_proxy import ForwardProxies, ForwardProxy
from confd.client.header_limit import MAX_HEAD_BYTES
from confd.runtime.addresses import join

_STATUS = re.compile(rb"HTTP/1\.[0-9] ([0-9]{3})(?: |\r?\n)")
_END = re.compile(rb"\r?\n\r?\n")


class ProxyFailed(ConnectError):
    """The proxy cannot be reached or refuses the tunnel; the text names the proxy."""

    def __str__(self) -> str:
        return str(self.osError)


@implementer(IStreamClientEndpoint)
@frozen(eq=False)
class ProxyEndpoint:
    """Connect to a proxy; name the proxy in errors."""

    _endpoint: IStreamClientEndpoint
    _proxy: ForwardProxy

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect to the proxy; fail with L{ProxyFailed}."""

        def failed(failure: Failure) -> Failure:
            if failure.check(CancelledError, ConnectingCancelledError):
                return failure
            reason = failure.getErrorMessage().rstrip(".")
            return Failure(ProxyFailed(f"the proxy {self._proxy.shown} does not take the connection ({reason})"))

        return self._endpoint.connect(factory).addErrback(failed)


@implementer(IStreamClientEndpoint)
@frozen(eq=False)
class Tunnel:
    """
    Connect to a host through a proxy.

    @ivar endpoint: of the proxy.
    @ivar host: without brackets.
    """

    _endpoint: IStreamClientEndpoint
    _proxy: ForwardProxy
    _host: str
    _port: int

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect to the proxy, ask for a tunnel, and connect a protocol of the factory to the tunnel."""
        return Deferred.fromCoroutine(self._connect(factory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        opening = cast(_Opening, await self._endpoint.connect(Factory.forProtocol(_Opening)))
        target = join(self._host, self._port)
        lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
        request = "\r\n".join(lines).encode("ascii")
        if self._proxy.authorization is not None:
            request += b"\r\nProxy-Authorization: " + self._proxy.authorization
        status = await opening.ask(request + b"\r\n\r\n")
        if not 200 <= status < 300:
            opening.transport.abortConnection()
            raise ProxyFailed(f"the proxy {self._proxy.shown} {_refusal(status)}")
        protocol = factory.buildProtocol(opening.transport.getPeer())
        if protocol is None:
            opening.transport.abortConnection()
            raise ConnectingCancelledError(opening.transport.getPeer())
        opening.hand_over(protocol)
        return protocol


def _refusal(status: int) -> str:
    if status == 407:
        return "answers 407; add user and password to its URL"
    return f"answers CONNECT with {status}" if status else "does not answer CONNECT in HTTP"


class _Opening(Protocol):
    """Ask a proxy for a tunnel, then pass bytes between the tunnel and a protocol."""

    transport: ITCPTransport

    def __init__(self) -> None:
        self._head = b""
        self._inner: IProtocol | None = None
        self._answered: Deferred[int] | None = None

    def ask(self, request: bytes) -> Deferred[int]:
        """
        Send a request.

        @return: fires with the status of the response; with 0 for an invalid response.
        """
        self._answered = Deferred(lambda _: self.transport.abortConnection())
        self.transport.write(request)
        return self._answered

    def hand_over(self, inner: IProtocol) -> None:
        """Connect a protocol to the tunnel."""
        self._inner = inner
        inner.makeConnection(self.transport)
        head, self._head = self._head, b""
        if head:
            inner.dataReceived(head)

    def dataReceived(self, data: bytes) -> None:
        """Read the head of the response; pass all further bytes on."""
        if self._inner is not None:
            self._inner.dataReceived(data)
            return
        self._head += data
        end, status = _END.search(self._head), _STATUS.match(self._head)
        if end is not None and status is not None:
            self._head = self._head[end.end() :]
            self._answer(int(status[1]))
        elif end is not None or len(self._head) > MAX_HEAD_BYTES:
            self._answer(0)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """Report the end of the connection."""
        if self._inner is not None:
            self._inner.connectionLost(reason)
        else:
            self._answer(0)

    def _answer(self, status: int) -> None:
        answered, self._answered = self._answered, None
        if answered is not None and not answered.called:
            answered.callback(status)


@implementer(IAgent)
@define(eq=False)
class ProxiedAgent:
    """
    Make requests; send requests for http URLs to their proxy.

    @ivar direct: makes all other requests; its endpoints tunnel https through proxies.
    @ivar through: returns an agent that sends whole URLs to a proxy.
    """

    _direct: IAgent
    _proxies: ForwardProxies
    _through: Callable[[ForwardProxy], IAgent]
    _agents: dict[ForwardProxy, IAgent] = field(factory=dict, init=False)

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: IBodyProducer | None = None
    ) -> Deferred[IResponse]:
        """Make a request, directly or through the proxy for its URL; see L{IAgent}."""
        address = URI.fromBytes(uri)
        proxy = self._proxies.find(address.scheme.decode("ascii"), address.host.decode("ascii"), address.port)
        if proxy is None or address.scheme != b"http":
            return self._direct.request(method, uri, headers, bodyProducer)
        sent = Headers() if headers is None else headers.copy()
        if proxy.authorization is not None:
            sent.setRawHeaders(b"Proxy-Authorization", [proxy.authorization])
        if proxy not in self._agents:
            self._agents[proxy] = self._through(proxy)
        return self._agents[proxy].request(method, uri, sent, bodyProducer)
