"""A bounded GET of the configured URL, streamed through."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any
from urllib.parse import urljoin

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeadlineError
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
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, BrowserLikePolicyForHTTPS, HTTPConnectionPool, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IAgentEndpointFactory, IResponse
from zope.interface import implementer

from confd.model import BadGateway, ConfdError, GatewayTimeout, Unavailable
from confd.worker.policy import Policy

#: Redirects that are followed.
MAX_REDIRECTS = 5

#: Fetches at the same time; above that callers are told to come back.
MAX_IN_FLIGHT = 256

_CONNECT_SECONDS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_ASK = Headers({"User-Agent": ["confd-worker"], "Accept": ["*/*"]})
_PASSED_ON = (b"Content-Type", b"Content-Encoding", b"Content-Language", b"Last-Modified")


@define(eq=False)
class Upstream:
    """
    Fetches on behalf of whoever asks.

    @ivar timeout: seconds that one fetch may take from beginning to end.
    @ivar max_bytes: of one answer.
    """

    _reactor: Any
    _policy: Policy
    _timeout: float
    _max_bytes: int
    _agent: Agent = field(init=False)
    _in_flight: int = field(default=0, init=False)
    log: Logger = field(factory=Logger, init=False)

    def __attrs_post_init__(self) -> None:
        pool = HTTPConnectionPool(self._reactor)
        pool.maxPersistentPerHost = 32
        self._agent = Agent.usingEndpointFactory(self._reactor, _CheckedEndpoints(self._reactor, self._policy), pool)

    def fetch(self, url: str, request: Any) -> Deferred[None]:
        """
        GET C{url} and put the answer on C{request}: status, content type and body, as they come.

        @return: fires when the answer is on the request, whole; one that breaks off half-way breaks the connection off.
        @raise Unavailable: too many at the same time.
        @raise Forbidden: an address on the way may not be reached.
        @raise BadGateway: the upstream failed, or answers with too much.
        @raise GatewayTimeout: it took too long.
        """
        return Deferred.fromCoroutine(self._fetch(url, request))

    async def _fetch(self, url: str, request: Any) -> None:
        if self._in_flight >= MAX_IN_FLIGHT:
            raise Unavailable("too_many_hits", f"{MAX_IN_FLIGHT} fetches are under way; try again in a second.")
        self._in_flight += 1
        work = Deferred.fromCoroutine(self._stream(url, request))
        try:
            await work.addTimeout(self._timeout, self._reactor)
        except CancelledError:
            raise
        except Exception as error:
            told = self._told(error)
            self.log.warn("hit failed: {reason}", reason=told.message, error=type(error).__name__)
            if not request.startedWriting:
                raise told from None
            # The status is out already: only a broken connection can say that the body is not whole.
            request.channel.transport.abortConnection()
        finally:
            self._in_flight -= 1

    def _told(self, error: Exception) -> ConfdError:
        if isinstance(error, ConfdError):
            return error
        if isinstance(error, DeadlineError):
            return GatewayTimeout("upstream_timeout", f"The upstream took longer than {self._timeout} seconds.")
        # The error's own text may quote the URL, which may hold a token.
        return BadGateway("upstream_failed", f"The upstream did not answer properly ({type(error).__name__}).")

    async def _stream(self, url: str, request: Any) -> None:
        response = await self._follow(url)
        if response.length is not UNKNOWN_LENGTH and response.length > self._max_bytes:
            response.deliverBody(_Discard())
            raise BadGateway("upstream_too_large", f"The upstream's answer is larger than {self._max_bytes} bytes.")
        request.setResponseCode(response.code, response.phrase)
        request.setHeader("Content-Security-Policy", "default-src 'none'; sandbox; frame-ancestors 'none'")
        for name in _PASSED_ON:
            for value in response.headers.getRawHeaders(name) or ():
                request.responseHeaders.addRawHeader(name, value)
        if response.length is not UNKNOWN_LENGTH:
            request.setHeader("Content-Length", str(response.length))
        pump = _Pump(request, self._max_bytes)
        response.deliverBody(pump)
        await pump.done

    async def _follow(self, url: str) -> IResponse:
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._agent.request(b"GET", url.encode("ascii"), _ASK)
            location = response.headers.getRawHeaders("Location")
            if response.code not in _REDIRECTS or not location:
                return response
            response.deliverBody(_Discard())
            url = urljoin(url, location[0])
            if not url.startswith(("http://", "https://")) or not url.isascii():
                raise BadGateway("bad_redirect", "The upstream redirects to something that is not http or https.")
        raise BadGateway("too_many_redirects", f"The upstream redirects more than {MAX_REDIRECTS} times.")


class _Discard(Protocol):
    """Takes what is at hand of a body that nobody needs."""

    def dataReceived(self, data: bytes) -> None:
        self.transport.loseConnection()


class _Pump(Protocol):
    """
    Passes a body on, at the speed of whoever reads it.

    @ivar done: fires when the body has ended.
    """

    def __init__(self, request: Any, limit: int) -> None:
        self._request, self._left = request, limit
        self._too_large = False
        self.done: Deferred[None] = Deferred(lambda _: self.transport.loseConnection())

    def connectionMade(self) -> None:
        self._request.registerProducer(self.transport, True)

    def dataReceived(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left < 0:
            self._too_large = True
            self.transport.loseConnection()
        else:
            self._request.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._request.unregisterProducer()
        if self.done.called:
            return
        if self._too_large:
            self.done.errback(BadGateway("upstream_too_large", "The upstream's answer is too large; it was cut off."))
        elif reason.check(ResponseDone, PotentialDataLoss):
            self.done.callback(None)
        else:
            self.done.errback(reason)


@implementer(IAgentEndpointFactory)
@define(eq=False)
class _CheckedEndpoints:
    """Endpoints that resolve a name once, and connect only to an address that was checked."""

    _reactor: Any
    _policy: Policy
    _tls: BrowserLikePolicyForHTTPS = field(factory=BrowserLikePolicyForHTTPS, init=False)

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        endpoint = _CheckedEndpoint(self._reactor, self._policy, uri.host.decode("ascii"), uri.port)
        if uri.scheme == b"https":
            return wrapClientTLS(self._tls.creatorForNetloc(uri.host, uri.port), endpoint)
        return endpoint


@implementer(IStreamClientEndpoint)
@define(eq=False)
class _CheckedEndpoint:
    _reactor: Any
    _policy: Policy
    _host: str
    _port: int

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        return Deferred.fromCoroutine(self._connect(factory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        collector = _Collector()
        self._reactor.nameResolver.resolveHostName(collector, self._host, self._port)
        hosts = await collector.done
        self._policy.check(self._host, [ip_address(host.partition("%")[0]) for host in hosts])
        error: Exception = DNSLookupError("the host name does not resolve")
        for host in hosts:
            kind = TCP6ClientEndpoint if ":" in host else TCP4ClientEndpoint
            try:
                protocol: IProtocol = await kind(self._reactor, host, self._port, _CONNECT_SECONDS).connect(factory)
            except ConnectError as failed:
                error = failed
            else:
                return protocol
        raise error


@implementer(IResolutionReceiver)
class _Collector:
    """Collects the addresses of a host name."""

    def __init__(self) -> None:
        self._hosts: list[str] = []
        self.done: Deferred[list[str]] = Deferred()

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """Resolution starts."""

    def addressResolved(self, address: IAddress) -> None:
        """One more address."""
        self._hosts.append(address.host)  # type: ignore[attr-defined]

    def resolutionComplete(self) -> None:
        """That was all."""
        if not self.done.called:
            self.done.callback(self._hosts)
