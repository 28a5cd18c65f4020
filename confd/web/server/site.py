"""An HTTP server with limits on bodies, headers, connections and time, from the first byte on (promise G9)."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import cast

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.logger import Logger
from twisted.web.http import HTTPFactory
from twisted.web.resource import IResource

from confd.runtime.timing import LogLimiter
from confd.web.auth.allowed_hosts import AllowedHosts
from confd.web.auth.throttle import source_of
from confd.web.server.channel import BoundedChannel
from confd.web.server.connection_limits import ConnectionLimits
from confd.web.server.head import HttpDate, request_ids
from confd.web.server.head_memo import HeadMemo
from confd.web.server.proxies import Hops, Proxies
from confd.web.server.request import BoundedRequest, ascii_text
from confd.web.server.request_head import HeadReader
from confd.web.server.request_metrics import RequestMetrics
from confd.web.server.response_cache import ResponseCache

_NO_PROXIES = Proxies()
_ANY_HOST = AllowedHosts()

#: Seconds between two log lines about the same mistake of clients.
CLIENT_MISTAKE_SECONDS = 60.0


@frozen
class Limits:
    """
    The limits of one site.

    @ivar body: bytes of a body.
    @ivar stranger: bytes of a body that are read before its caller is authenticated.
    @ivar header_seconds: from the first byte of a request to the end of its headers.
    @ivar body_seconds: from there to the end of the body, at less than C{body_rate}; also silence within the body.
    @ivar body_rate: bytes a second that a body must make after C{body_seconds}.
    @ivar idle_seconds: of silence on a kept connection, and for a client to take the last response.
    @ivar linger_seconds: for a refused client to read its response.
    @ivar drain_seconds: for requests in flight when the process stops.
    @ivar connections: at the same time.
    @ivar from_one: connections from one address, but for this machine and trusted proxies; 0 sets no limit.
    """

    body: int = 1048576
    stranger: int = 8192
    header_seconds: float = 10
    body_seconds: float = 30
    body_rate: int = 8192
    idle_seconds: float = 30
    linger_seconds: float = 1
    drain_seconds: float = 10
    connections: int = 12000
    from_one: int = 0


class BoundedSite(HTTPFactory):
    """
    An HTTP server with L{Limits} that can be drained.

    @ivar request_metrics: counts the requests.
    @ivar request_ids: an id for each request.
    @ivar date: the header C{Date} of each response.
    @ivar head_memo: the heads that need no more reading.
    """

    protocol: Callable[..., BoundedChannel] = BoundedChannel  # type: ignore[assignment]
    noisy = False
    logger = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        resource: IResource,
        limits: Limits,
        large: Callable[[BoundedRequest, int], bool] = lambda request, size: True,
        response_cache: ResponseCache | None = None,
        proxies: Proxies = _NO_PROXIES,
        hosts: AllowedHosts = _ANY_HOST,
        access_log: bool = True,
    ) -> None:
        """
        @param large: tells whether to read a body larger than C{Limits.stranger}: L{Dispatcher.large}.
        @param response_cache: answers repeated requests, without a line in the access log; C{None} for no cache.
        @param proxies: the proxies that are believed about the clients behind them.
        @param hosts: the names by which clients may address the site.
        @param access_log: whether to write access lines. An event that no log takes costs a twentieth of a request.
        """
        super().__init__(timeout=limits.idle_seconds, reactor=reactor)
        self.resource, self.limits, self.large, self.response_cache = resource, limits, large, response_cache
        self.proxies, self._hosts, self._access_log = proxies, hosts, access_log
        self.request_metrics, self.request_ids = RequestMetrics(), request_ids()
        self.date = HttpDate(reactor.seconds)
        self.head_memo = HeadMemo()
        self.draining = False
        self.connection_limits = ConnectionLimits(limits.connections, limits.from_one, self.request_metrics.refused)
        self._spare_reader: HeadReader | None = None
        self._channels: dict[BoundedChannel, str] = {}
        self._tls_log_limiter = LogLimiter(reactor, CLIENT_MISTAKE_SECONDS)
        self._host_log_limiter = LogLimiter(reactor, CLIENT_MISTAKE_SECONDS)

    def startFactory(self) -> None:
        """Open no access log, and start no clock for its lines."""

    def stopFactory(self) -> None:
        """Close nothing: L{startFactory} opens nothing."""

    def buildProtocol(self, addr: IAddress | None) -> BoundedChannel | None:  # type: ignore[override]
        source = source_of(addr)
        if not self.connection_limits.take(source, self.proxies.trusts(addr)):
            return None
        channel = cast(BoundedChannel, super().buildProtocol(addr))
        self._channels[channel] = source
        return channel

    def take_reader(self) -> HeadReader:
        """Return a reader of heads: nearly all requests share one, and idle connections hold none."""
        reader, self._spare_reader = self._spare_reader or HeadReader(), None
        return reader

    def return_reader(self, reader: HeadReader) -> None:
        """Keep a reader that has completed a head for the next request."""
        self._spare_reader = reader

    def log(self, request: BoundedRequest) -> None:  # type: ignore[override]
        """Count a request, and write an access line without the query, which may hold secrets."""
        request.count(request.code)
        if self._access_log:
            self.logger.debug(
                "{method} {path} {status}",
                method=ascii_text(request.method),
                path=ascii_text(request.path),
                status=request.code,
                peer=getattr(request.getClientAddress(), "host", ""),
                request_id=request.id,
            )

    def source(self, channel: BoundedChannel, hops: Hops = ()) -> str:
        """
        Return where a request on a connection comes from, as L{source_of} does.

        @param hops: what the headers of the request say of its way.
        """
        return source_of(self.proxies.caller(channel.getPeer(), hops)) if hops else self._channels[channel]

    def log_tls_client(self, peer: IAddress | None) -> None:
        """Log that a client began with a TLS handshake on a port without TLS."""
        if self._tls_log_limiter.due():
            self.logger.info(
                "a client at {peer} speaks TLS to a port without TLS. Give the client http:// instead of https://, or"
                " this process an endpoint that begins with ssl:",
                peer=getattr(peer, "host", "unix"),
            )

    def allow_hosts(self, hosts: AllowedHosts) -> None:
        """Answer to these hosts from now on, and clear the cache, which was filled under the earlier ones."""
        if hosts != self._hosts:
            self._hosts = hosts
            if self.response_cache is not None:
                self.response_cache.clear()

    def refuse_host(self, peer: IAddress | None, host: bytes) -> tuple[str, str] | None:
        """Return the code and the sentence of a refusal of this C{Host}, or C{None}: see L{AllowedHosts.refusal}."""
        refusal = self._hosts.refusal(peer, host)
        if refusal is not None and self._host_log_limiter.due():
            self.logger.info(
                "refused a client at {peer}. {sentence}", peer=getattr(peer, "host", "unix"), sentence=refusal[1]
            )
        return refusal

    def forget(self, channel: BoundedChannel) -> None:
        """Free the place of a closed connection."""
        source = self._channels.pop(channel, None)
        if source is not None:
            self.connection_limits.free(source)

    def cut(self, callers: Collection[str]) -> None:
        """
        Abort the connections of unfinished responses to these callers, such as streams that they may not read now.

        @param callers: names of identities.
        """
        for channel in list(self._channels):
            if any(request.startedWriting and request.caller in callers for request in channel.requests):
                channel.transport.abortConnection()

    def drain(self) -> Deferred[None]:
        """
        Close idle connections, let requests in flight finish, and abort them after C{drain_seconds}; call it once.

        @return: fires when no connection is left.
        """
        self.draining = True
        for channel in list(self._channels):
            channel.finish_up()
        drained = self.connection_limits.emptied()
        if drained.called:
            return drained
        cut = self.reactor.callLater(self.limits.drain_seconds, self._cut)
        return drained.addBoth(lambda _: cut.cancel() if cut.active() else None)

    def _cut(self) -> None:
        for channel in list(self._channels):
            channel.transport.abortConnection()
