"""A GET of the configured URL, whose response is streamed to the caller, within limits."""

from __future__ import annotations

import re
from collections import Counter
from functools import partial
from typing import NoReturn, cast
from urllib.parse import urljoin

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectionClosed, DNSLookupError
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from confd.client.address_policy import AddressPolicy
from confd.client.checked_endpoints import CheckedEndpoints
from confd.client.kept_connection import ConnectionPool, KeptConnection, StaleConnection
from confd.client.response_head import ResponseHead
from confd.errors import BadGateway, ConfdError, GatewayTimeout, Unavailable
from confd.runtime.addresses import fetchable, join, split_authority
from confd.runtime.certificate_errors import CertificateProblem, is_tls_error
from confd.runtime.histogram import Histogram
from confd.runtime.reactor import Reactor
from confd.web.server.request import BoundedRequest

#: Redirects that one fetch follows.
MAX_REDIRECTS = 5

#: Fetches at the same time; more get 503.
MAX_IN_FLIGHT = 256

_REDIRECTS = (301, 302, 303, 307, 308)
_DEFAULT_PORTS = {"http": 80, "https": 443}
_PRINTABLE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_PASSED_ON = [
    (name, name.lower()) for name in (b"Content-Type", b"Content-Encoding", b"Content-Language", b"Last-Modified")
]

#: Words for errors, the first match counts. The text of an error may quote the URL, which may hold a token.
_WORDS: tuple[tuple[type[BaseException], str], ...] = (
    (DNSLookupError, "has a host name that does not resolve"),
    (ConnectError, "does not accept the connection"),
    (ConnectionClosed, "closed the connection"),
)


@frozen
class Target:
    """
    A URL in the form in which it is requested.

    @ivar server: scheme, host and port.
    @ivar request: the bytes of the request.
    """

    server: tuple[str, str, int]
    request: bytes

    @classmethod
    def of(cls, url: str, persistent: bool) -> Target:
        """
        Return the target of a URL.

        @param url: as L{fetchable} returns it.
        @param persistent: whether the connection may be kept.
        """
        scheme, _, rest = url.partition("://")
        authority, slash, path = rest.partition("/")
        path, mark, query = path.partition("?")
        host, given = split_authority(authority)
        port = _DEFAULT_PORTS[scheme] if given is None else given
        name = join(host, None if port == _DEFAULT_PORTS[scheme] else port)
        lines = [
            f"GET {slash}{path}{mark if query else ''}{query} HTTP/1.1",
            *(() if persistent else ("Connection: close",)),
            "User-Agent: confd-worker",
            "Accept: */*",
            "Accept-Encoding: identity",
            f"Host: {name}",
        ]
        return cls((scheme, host, port), "\r\n".join([*lines, "", ""]).encode("ascii"))


class _Connections(Factory):
    """Makes connections to one server."""

    noisy = False

    def __init__(self, pool: ConnectionPool, server: tuple[str, str, int], persistent: bool) -> None:
        self._keep = partial(pool.keep, server) if persistent else KeptConnection.abandon
        self._lost = partial(pool.forget, server)

    def buildProtocol(self, addr: object) -> KeptConnection:
        return KeptConnection(self._keep, self._lost)


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
        self._endpoints = CheckedEndpoints(reactor, policy)
        self._pool = ConnectionPool(reactor)
        #: The URL that was fetched last, and its target.
        self._last: tuple[str, Target] | None = None

    def stopService(self) -> Deferred[None]:
        """Stop, and close the idle connections."""
        super().stopService()
        return self._pool.close()

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
        connection, head = await self._follow(url)
        if head.length is not None and head.length > self._max_bytes and not head.bodyless:
            connection.abandon()
            raise BadGateway("upstream_too_large", f"The upstream sends more than {self._max_bytes} bytes.")
        request.setResponseCode(head.status)
        request.setHeader("Content-Security-Policy", "default-src 'none'; sandbox; frame-ancestors 'none'")
        for name, key in _PASSED_ON:
            value = head.fields.get(key)
            if value and _PRINTABLE.fullmatch(value):
                request.setHeader(name, value)
        if head.length is not None and not head.bodyless:
            request.setHeader(b"Content-Length", head.fields[b"content-length"])
        if request.method == b"HEAD":
            if not connection.whole:
                connection.abandon()
        elif not connection.whole:
            pump = _Pump(request, connection, self._max_bytes)
            await pump.done
        elif len(connection.body) > self._max_bytes:
            raise _too_long()
        elif connection.body:
            request.write(connection.body)

    async def _follow(self, url: str) -> tuple[KeptConnection, ResponseHead]:
        """Return the response to a GET, and the connection with its body."""
        if self._last is None or self._last[0] != url:
            self._last = url, Target.of(url, persistent=True)
        target, persistent = self._last[1], True
        for _ in range(MAX_REDIRECTS + 1):
            connection, head = await self._get(target, persistent)
            location = head.fields.get(b"location")
            if head.status not in _REDIRECTS or not location:
                return connection, head
            if not connection.whole:
                connection.abandon()
            try:
                url = fetchable(urljoin(url, location.decode("ascii")))
            except ValueError:
                raise BadGateway("bad_redirect", "The upstream redirects to an invalid URL.") from None
            # Redirects to one host after the other must not fill the pool.
            target, persistent = Target.of(url, persistent=False), False
        raise BadGateway("too_many_redirects", f"The upstream redirects more than {MAX_REDIRECTS} times.")

    async def _get(self, target: Target, persistent: bool) -> tuple[KeptConnection, ResponseHead]:
        while True:
            connection = self._pool.take(target.server) if persistent else None
            if connection is None:
                endpoint = self._endpoints.endpoint(*target.server)
                made = await endpoint.connect(_Connections(self._pool, target.server, persistent))
                connection = cast(KeptConnection, made)
            try:
                return connection, await connection.get(target.request)
            except StaleConnection:
                continue


def _too_long() -> BadGateway:
    return BadGateway("upstream_too_large", "The upstream sends too much; its response was cut off.")


def _error(error: BaseException) -> ConfdError:
    if isinstance(error, ConnectTimeout):
        return GatewayTimeout("upstream_timeout", "The upstream did not accept the connection in time.")
    if isinstance(error, CertificateProblem):
        return BadGateway("upstream_failed", f"The upstream cannot be trusted: {error}.")
    if is_tls_error(error):
        return BadGateway("upstream_failed", "The upstream does not speak TLS.")
    words = next((words for kind, words in _WORDS if isinstance(error, kind)), "does not speak valid HTTP")
    return BadGateway("upstream_failed", f"The upstream {words}.")


class _Pump:
    """
    Passes a body on, at the speed of its reader.

    @ivar done: fires when the body has ended.
    """

    def __init__(self, request: BoundedRequest, connection: KeptConnection, limit: int) -> None:
        self._request, self._connection, self._left = request, connection, limit
        self.done: Deferred[None] = Deferred(self._stop)
        request.registerProducer(connection, True)
        connection.deliver(self)

    def write(self, data: bytes) -> None:
        """Pass a piece on, or break off a body that is too long."""
        self._left -= len(data)
        if self._left >= 0:
            self._request.write(data)
        elif not self.done.called:
            self._stop(self.done)
            self.done.errback(_too_long())

    def ended(self, reason: Failure | None) -> None:
        """Take the end of the body."""
        if self.done.called:
            return
        self._release()
        if reason is None:
            self.done.callback(None)
        else:
            self.done.errback(reason)

    def _stop(self, _: object) -> None:
        self._release()
        self._connection.abandon()

    def _release(self) -> None:
        if not self._request.gone:
            self._request.unregisterProducer()
