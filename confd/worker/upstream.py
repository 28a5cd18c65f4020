"""A GET of the configured URL, whose response is streamed to the caller, within limits."""

from __future__ import annotations

import re
from collections import Counter
from typing import NoReturn
from urllib.parse import urljoin

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectionClosed, DNSLookupError
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IResponse

from confd.client.address_policy import AddressPolicy
from confd.client.body import discard
from confd.client.checked_endpoints import CheckedEndpoints
from confd.errors import BadGateway, ConfdError, GatewayTimeout, Unavailable
from confd.runtime.addresses import fetchable
from confd.runtime.certificate_errors import CertificateProblem, is_tls_error
from confd.runtime.histogram import Histogram
from confd.runtime.reactor import Reactor
from confd.web.server.request import BoundedRequest

#: Redirects that one fetch follows.
MAX_REDIRECTS = 5

#: Fetches at the same time; more get 503.
MAX_IN_FLIGHT = 256

_REDIRECTS = (301, 302, 303, 307, 308)
_WITHOUT_BODY = (204, 304)
_REQUEST_HEADERS = Headers({"User-Agent": ["confd-worker"], "Accept": ["*/*"], "Accept-Encoding": ["identity"]})
_PRINTABLE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_PASSED_ON = (b"Content-Type", b"Content-Encoding", b"Content-Language", b"Last-Modified")

#: Words for errors, the first match counts. The text of an error may quote the URL, which may hold a token.
_WORDS: tuple[tuple[type[BaseException], str], ...] = (
    (DNSLookupError, "has a host name that does not resolve"),
    (ConnectError, "does not accept the connection"),
    (ConnectionClosed, "closed the connection"),
)


class Upstream(Service):
    """
    Fetches URLs for callers of the worker.

    @ivar in_flight: fetches in progress.
    @ivar results: fetches by result: the class of the status of the upstream, or the code of the error.
    @ivar seconds: the times that fetches took, to the end of the response or to the error.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Reactor,
        policy: AddressPolicy,
        timeout: float,
        max_bytes: int,
        max_in_flight: int = MAX_IN_FLIGHT,
    ) -> None:
        """
        @param policy: decides which addresses the worker may reach.
        @param timeout: seconds for one fetch, from beginning to end.
        @param max_bytes: of one response.
        @param max_in_flight: fetches at the same time.
        """
        self._reactor = reactor
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._max_in_flight = max_in_flight
        self.in_flight = 0
        self.results: Counter[str] = Counter({f"{each}xx": 0 for each in (2, 3, 4, 5)})
        self.seconds = Histogram()
        endpoints = CheckedEndpoints(reactor, policy)
        self._pool = HTTPConnectionPool(reactor)
        self._pool.maxPersistentPerHost = 32
        self._agent = Agent.usingEndpointFactory(reactor, endpoints, self._pool)
        # Redirects to one host after the other must not fill the pool.
        self._agent_once = Agent.usingEndpointFactory(reactor, endpoints)

    def stopService(self) -> Deferred[None]:
        """Stop, and close the idle connections."""
        super().stopService()
        closed: Deferred[None] = self._pool.closeCachedConnections()
        return closed

    def fetch(self, url: str, request: BoundedRequest) -> Deferred[None]:
        """
        Fetch C{url}, and write the response to C{request} as it arrives.

        @return: fires when the whole response is written; may fail after a part of it is written.
        @raise Unavailable: too many fetches are in progress.
        @raise Forbidden: the worker may not reach the URL, or a redirect of it.
        @raise BadGateway: the upstream failed, or its response is too large.
        @raise GatewayTimeout: the fetch took too long.
        """
        return Deferred.fromCoroutine(self._fetch(url, request))

    async def _fetch(self, url: str, request: BoundedRequest) -> None:
        if self.in_flight >= self._max_in_flight:
            self.results["too_many_hits"] += 1
            raise Unavailable("too_many_hits", f"{self.in_flight} fetches are in progress; try again in a second.")
        self.in_flight += 1
        began, result = self._reactor.seconds(), "hung_up"
        work = Deferred.fromCoroutine(self._stream(url, request))
        try:
            await work.addTimeout(self._timeout, self._reactor, self._late)
            result = f"{request.code // 100}xx"
        except Exception as error:
            if request.gone:
                # Twisted has several errors for a cancelled request.
                raise CancelledError() from None
            refusal = error if isinstance(error, ConfdError) else _error(error)
            result = refusal.code
            self.log.warn("hit failed: {reason}", reason=refusal.message, code=refusal.code)
            raise refusal from None
        finally:
            self.in_flight -= 1
            self.results[result] += 1
            self.seconds.observe(self._reactor.seconds() - began)

    def _late(self, _: object, seconds: float) -> NoReturn:
        raise GatewayTimeout("upstream_timeout", f"The upstream took longer than {seconds} seconds.")

    async def _stream(self, url: str, request: BoundedRequest) -> None:
        response = await self._follow(url)
        sized = response.length is not UNKNOWN_LENGTH
        if sized and response.length > self._max_bytes:
            discard(response)
            raise BadGateway("upstream_too_large", f"The upstream sends more than {self._max_bytes} bytes.")
        request.setResponseCode(response.code)
        request.setHeader("Content-Security-Policy", "default-src 'none'; sandbox; frame-ancestors 'none'")
        for name in _PASSED_ON:
            value = b", ".join(response.headers.getRawHeaders(name) or ())
            if value and _PRINTABLE.fullmatch(value):
                request.setHeader(name, value)
        if sized and response.code not in _WITHOUT_BODY:
            request.setHeader("Content-Length", str(response.length))
        if request.method == b"HEAD":
            discard(response)
            return
        pump = _Pump(request, self._max_bytes)
        response.deliverBody(pump)
        await pump.done

    async def _follow(self, url: str) -> IResponse:
        agent = self._agent
        for _ in range(MAX_REDIRECTS + 1):
            response: IResponse = await agent.request(b"GET", url.encode("ascii"), _REQUEST_HEADERS)
            if not 200 <= response.code <= 599:
                discard(response)
                raise BadGateway("upstream_failed", "The upstream answers with an invalid HTTP status.")
            location = response.headers.getRawHeaders(b"Location")
            if response.code not in _REDIRECTS or not location:
                return response
            discard(response)
            agent = self._agent_once
            try:
                url = fetchable(urljoin(url, location[0].decode("ascii")))
            except ValueError:
                raise BadGateway("bad_redirect", "The upstream redirects to an invalid URL.") from None
        raise BadGateway("too_many_redirects", f"The upstream redirects more than {MAX_REDIRECTS} times.")


def _error(error: BaseException) -> ConfdError:
    # L{twisted.web.client} wraps errors.
    reasons = getattr(error, "reasons", ())
    if reasons:
        return _error(reasons[-1].value)
    if isinstance(error, ConnectTimeout):
        return GatewayTimeout("upstream_timeout", "The upstream did not accept the connection in time.")
    if isinstance(error, CertificateProblem):
        return BadGateway("upstream_failed", f"The upstream cannot be trusted: {error}.")
    if is_tls_error(error):
        return BadGateway("upstream_failed", "The upstream does not speak TLS.")
    words = next((words for kind, words in _WORDS if isinstance(error, kind)), "does not speak valid HTTP")
    return BadGateway("upstream_failed", f"The upstream {words}.")


class _Pump(Protocol):
    """
    Passes a body on, at the speed of its reader.

    @ivar done: fires when the body has ended.
    """

    transport: ITCPTransport

    def __init__(self, request: BoundedRequest, limit: int) -> None:
        self._request, self._left = request, limit
        self.done: Deferred[None] = Deferred(self._stop)

    def connectionMade(self) -> None:
        self._request.registerProducer(self.transport, True)

    def dataReceived(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left < 0:
            self.transport.loseConnection()
        else:
            self._request.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.done.called:
            return
        self._release()
        if self._left < 0:
            self.done.errback(
                BadGateway("upstream_too_large", "The upstream sends too much; its response was cut off.")
            )
        elif reason.check(ResponseDone, PotentialDataLoss):
            self.done.callback(None)
        else:
            self.done.errback(reason)

    def _stop(self, _: object) -> None:
        self._release()
        self.transport.loseConnection()

    def _release(self) -> None:
        if not self._request.gone:
            self._request.unregisterProducer()
