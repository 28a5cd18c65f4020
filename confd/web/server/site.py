"""
twisted.web with bounds: of bodies, headers, connections and time, from the first byte on (promise G9).

Stock twisted.web takes a body of any size into a temporary file before any handler is asked.
"""

from __future__ import annotations

import io
import secrets
from collections.abc import Callable, Collection
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.resource import IResource
from twisted.web.server import Request, Site

from confd.runtime.timing import LogLimiter
from confd.web.api.errors import error_body
from confd.web.auth.allowed_hosts import AllowedHosts
from confd.web.auth.throttle import source_of
from confd.web.server.channel import SECURITY_HEADERS, BoundedChannel
from confd.web.server.connection_limits import ConnectionLimits
from confd.web.server.proxies import Hops, Proxies
from confd.web.server.request_metrics import HUNG_UP, UNMATCHED, RequestMetrics
from confd.web.server.response_cache import ResponseCache

_SECURITY_HEADERS = [(name.encode(), [value.encode()]) for name, value in SECURITY_HEADERS.items()]
_NO_PROXIES = Proxies()
_ANY_HOST = AllowedHosts()

#: Seconds until what clients do wrong again and again is said again.
REMINDER_SECONDS = 60.0


@frozen
class Limits:
    """
    The bounds of one site.

    @ivar body: bytes of a body.
    @ivar stranger: bytes of a body that are read before anybody is asked whose it is.
    @ivar header_seconds: from the first byte of a request to the end of its headers.
    @ivar body_seconds: from there to the end of its body, for bytes below the least rate; also of silence within it.
    @ivar body_rate: bytes a second that a body makes at least, once these seconds are over.
    @ivar idle_seconds: that a kept connection may be silent, and a closing one may leave its last answer untaken.
    @ivar linger_seconds: that a refused client may go on sending before it is cut.
    @ivar drain_seconds: that requests in flight get when the process stops.
    @ivar connections: at the same time.
    @ivar from_one: of these, from one address other than this machine's and trusted proxies'; 0 sets no limit.
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


class BoundedRequest(Request):
    """
    A request whose body is bounded and stays in memory.

    @ivar id: names it in answers and in the log.
    @ivar route: the pattern of its path.
    @ivar arrived: when it was complete, in seconds of the reactor's clock.
    @ivar caller: the name of the identity that it proved to have; empty where none was asked for.
    @ivar trusted: whether it was found that its caller may send a large body.
    """

    # Instances of up to 30 attributes share their keys, and Twisted takes most of these: with one more in the
    # dictionary each stream that is kept open takes a kilobyte more.
    __slots__ = ("_counts", "arrived", "caller", "id", "route", "trusted")

    defaultContentType = None
    channel: Any
    content: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.id, self.route, self.caller = secrets.token_hex(8), UNMATCHED, ""
        self.arrived, self.trusted = 0.0, False
        #: Whether it is complete, and not counted yet.
        self._counts = False

    @property
    def began(self) -> float:
        """When its head was complete, in seconds of the reactor's clock."""
        seconds: float = self.channel.head_came
        return seconds

    @property
    def gone(self) -> bool:
        """Whether the caller has hung up."""
        return self._disconnected

    def getRequestHostname(self) -> bytes:
        """A constant: routing asks, and what the caller takes us for decides nothing."""
        return b"localhost"

    def gotLength(self, length: int | None) -> None:
        """Keep the body in memory: the channel has refused one that is too long."""
        self.content = io.BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        """Take a piece of the body, or refuse it once there is too much."""
        if self.channel.takes(self.content.tell() + len(data)):
            self.content.write(data)
            self.channel.grant(self.content.tell())

    def find_caller(self) -> None:
        """Look behind the proxy that it came through, if that is to be believed."""
        proxies = self.channel.factory.proxies
        self.client = proxies.caller(self.client, proxies.hops(self.client, self.requestHeaders) or ())

    def process(self) -> None:
        """It is complete: answer it."""
        self.find_caller()
        self.arrived, self._counts = self.channel.factory.reactor.seconds(), True
        super().process()

    def connectionLost(self, reason: Failure) -> None:
        """The caller is gone."""
        self.count(HUNG_UP)
        super().connectionLost(reason)

    def count(self, status: int) -> None:
        """Count it, once, and as answered by now."""
        if self._counts:
            self._counts = False
            site = self.channel.factory
            site.request_metrics.count(self.method, self.route, status, site.reactor.seconds() - self.arrived)

    def remember(
        self, body: bytes, recognizes: Callable[[], Callable[[str], bool]], revalidate: Callable[[], bool]
    ) -> None:
        """The answer may be given again; for who may get it and when see L{ResponseCache.keep}."""
        response_cache = self.channel.factory.response_cache
        if response_cache is not None:
            response_cache.keep(self, body, recognizes, revalidate)

    def shed(self) -> None:
        """Let go of what nobody asks for once an answer has begun: it may go on for weeks."""
        self.count(self.code)
        self.requestHeaders = self.responseHeaders = Headers()
        self.content = None

    def break_off(self) -> None:
        """
        Let the connection end before the answer does: only that can still say that one which has begun is not whole.

        To be followed by L{finish}.
        """
        self.channel.persistent = False
        self.chunked = 0
        if self.clientproto != b"HTTP/1.1":
            # Its answers end where the connection does, unless that is reset.
            self.channel.transport.abortConnection()

    def processingFailed(self, reason: Failure) -> None:
        """Log a defect, and tell the caller nothing but where to find it."""
        self._log.failure(
            "request {request_id} failed: {method} {path}",
            reason,
            request_id=self.id,
            method=_text(self.method),
            path=_text(self.path),
        )
        if self.startedWriting:
            self.break_off()
            self.finish()
            return
        body = error_body("internal_error", f"Something went wrong here; the log has it under {self.id}.", self.id)
        self.setResponseCode(500)
        self.setHeader("Content-Type", "application/json")
        self.setHeader("Content-Length", str(len(body)))
        self.write(body)
        self.finish()


class BoundedSite(Site):
    """
    An HTTP server with L{Limits}, which can be drained.

    @ivar request_metrics: counts what it was asked.
    """

    protocol: Callable[..., Any] = BoundedChannel
    noisy = False
    logger = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        resource: IResource,
        limits: Limits,
        large: Callable[[Any, int], bool] = lambda request, size: True,
        response_cache: ResponseCache | None = None,
        proxies: Proxies = _NO_PROXIES,
        hosts: AllowedHosts = _ANY_HOST,
    ) -> None:
        """
        @param large: asked whether to read a body that is longer than a stranger may send: L{Dispatcher.large}.
        @param response_cache: what answers requests again; C{None} has each of them go all the way, and leave an access
            line.
        @param proxies: who is believed about whose requests they pass on.
        @param hosts: the names by which clients may address it.
        """
        super().__init__(
            resource,
            requestFactory=BoundedRequest,
            timeout=limits.idle_seconds,
            reactor=reactor,
            parsePOSTFormSubmission=False,
        )
        self.limits, self.large, self.response_cache, self.proxies, self._hosts = (
            limits,
            large,
            response_cache,
            proxies,
            hosts,
        )
        self.request_metrics = RequestMetrics()
        self.draining = False
        self.connection_limits = ConnectionLimits(limits.connections, limits.from_one, self.request_metrics.refused)
        self._channels: dict[BoundedChannel, str] = {}
        self._tls_told = LogLimiter(reactor, REMINDER_SECONDS)
        self._host_told = LogLimiter(reactor, REMINDER_SECONDS)

    def startFactory(self) -> None:
        """There is no access log file, and no clock to keep for its lines."""

    def stopFactory(self) -> None:
        """Nor anything to close."""

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """A channel, or none where there are too many: the connection is then closed."""
        source = source_of(addr)
        if not self.connection_limits.take(source, self.proxies.trusts(addr)):
            return None
        channel = super().buildProtocol(addr)
        self._channels[channel] = source
        return channel

    def getResourceFor(self, request: Any) -> IResource:
        """The resource, with the headers on the request that every answer carries."""
        for name, values in _SECURITY_HEADERS:
            request.responseHeaders.setRawHeaders(name, values)
        request.responseHeaders.setRawHeaders(b"X-Request-ID", [request.id])
        found: IResource = super().getResourceFor(request)
        return found

    def log(self, request: Any) -> None:
        """Count it; and an access line, without the query: it may hold what nobody else should read."""
        request.count(request.code)
        self.logger.debug(
            "{method} {path} {status}",
            method=_text(request.method),
            path=_text(request.path),
            status=request.code,
            peer=getattr(request.getClientAddress(), "host", ""),
            request_id=request.id,
        )

    def source(self, channel: BoundedChannel, hops: Hops = ()) -> str:
        """Where a request on a connection comes from, by what its headers tell of the way: see L{source_of}."""
        return source_of(self.proxies.caller(channel.getPeer(), hops)) if hops else self._channels[channel]

    def met_tls(self, peer: Any) -> None:
        """A client began with a TLS handshake, which is not spoken here."""
        if self._tls_told.due():
            self.logger.info(
                "a client at {peer} speaks TLS, and this port does not: give it http:// instead of https://, or this"
                " process an endpoint that begins with ssl:",
                peer=getattr(peer, "host", "unix"),
            )

    def allow_hosts(self, hosts: AllowedHosts) -> None:
        """Answer to these hosts from now on; remembered responses were checked against the earlier ones."""
        if hosts != self._hosts:
            self._hosts = hosts
            if self.response_cache is not None:
                self.response_cache.clear()

    def refuse_host(self, peer: Any, host: bytes) -> tuple[str, str] | None:
        """Return why a request with this C{Host} is refused: see L{AllowedHosts.refusal}."""
        refusal = self._hosts.refusal(peer, host)
        if refusal is not None and self._host_told.due():
            self.logger.info(
                "refused a client at {peer}. {sentence}", peer=getattr(peer, "host", "unix"), sentence=refusal[1]
            )
        return refusal

    def forget(self, channel: BoundedChannel) -> None:
        """A connection is gone."""
        source = self._channels.pop(channel, None)
        if source is not None:
            self.connection_limits.free(source)

    def cut(self, callers: Collection[str]) -> None:
        """End the answers to these callers that have begun and are not over: streams, which they would have no more."""
        for channel in list(self._channels):
            if any(request.startedWriting and request.caller in callers for request in channel.requests):
                channel.transport.abortConnection()

    def drain(self) -> Deferred[None]:
        """
        Close what is idle, let what is in flight finish, and cut it when C{drain_seconds} are over; once.

        @return: fires when no place is taken any more.
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


def _text(raw: bytes) -> str:
    return raw.decode("ascii", "replace")
