"""
twisted.web with bounds: of bodies, headers, connections and time, from the first byte on (G9).

Stock twisted.web takes a body of any size into a temporary file before any handler is asked, lets every byte that
trickles in reset its idle timeout, and still answers requests that proxies read in more than one way: folded headers,
no Host, two Hosts, C{//path} (RFC 9112 sections 3.2, 5.2 and 11.2).
"""

from __future__ import annotations

import io
import re
import secrets
from collections.abc import Callable
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.resource import IResource
from twisted.web.server import Request, Site

from confd.web.errors import error_body

#: What every answer carries; pages that need more replace it.
SECURITY_HEADERS = {
    "Server": "confd",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}

#: Empty, dot and encoded-slash segments: what one reader takes for another path than the next (CWE-22, CWE-436).
_AMBIGUOUS_PATH = re.compile(rb"//|%2f|%5c|%00|(?:^|/)(?:\.|%2e){1,2}(?:/|$)|[^\x21-\x7e]", re.IGNORECASE)


@frozen
class Limits:
    """
    The bounds of one site.

    @ivar body: bytes of a body.
    @ivar header_seconds: from the first byte of a request to the end of its headers.
    @ivar body_seconds: from there to the end of its body.
    @ivar idle_seconds: that a kept connection may be silent.
    @ivar linger_seconds: that a refused client may go on sending before it is cut.
    @ivar drain_seconds: that requests in flight get when the process stops.
    @ivar connections: at the same time.
    """

    body: int = 1048576
    header_seconds: float = 10
    body_seconds: float = 30
    idle_seconds: float = 30
    linger_seconds: float = 1
    drain_seconds: float = 10
    connections: int = 12000


class BoundedRequest(Request):
    """A request whose body is bounded and stays in memory, with an id to find it by in the log."""

    defaultContentType = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.id = secrets.token_hex(8)

    def gotLength(self, length: int | None) -> None:
        """Keep the body in memory: the channel has refused one that is too long."""
        self.content = io.BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        """Take a piece of the body, or refuse it once there is too much."""
        if self.content.tell() + len(data) > self.channel.factory.limits.body:
            self.channel.refuse_body()
        else:
            self.content.write(data)


class BoundedChannel(HTTPChannel):
    """An HTTP/1.1 connection that no client can hold for longer, or fill with more, than its limits."""

    maxHeaders = 64
    totalHeadersSize = 16384

    _deadline: IDelayedCall | None = None
    _refused = False

    def dataReceived(self, data: bytes) -> None:
        """The first byte of a request starts its clock; what follows a refusal is dropped."""
        if self._refused:
            return
        if self._deadline is None and not self._handlingRequest:
            self._within(self.factory.limits.header_seconds, "headers")
        super().dataReceived(data)

    def lineReceived(self, line: bytes) -> None:
        """Refuse a line that a proxy may have taken for a part of the one before."""
        if self._refused:
            return
        if line[:1] in (b" ", b"\t"):
            self.refuse(400, "bad_request", "A header line begins with white space.")
        else:
            super().lineReceived(line)

    def allHeadersReceived(self) -> None:
        """Refuse what must not be read any further, before a byte of the body is."""
        reason = self._ambiguity()
        if reason is not None:
            self.refuse(400, "bad_request", reason)
        elif self.length is not None and self.length > self.factory.limits.body:
            self.refuse_body()
        else:
            self._within(self.factory.limits.body_seconds, "the body")
            super().allHeadersReceived()
            if self.factory.draining:
                self.persistent = False

    def rawDataReceived(self, data: bytes) -> None:
        """Bytes of a body."""
        if not self._refused:
            super().rawDataReceived(data)

    def allContentReceived(self) -> None:
        """The request is complete."""
        if not self._refused:
            self._cancel_deadline()
            super().allContentReceived()

    def connectionLost(self, reason: Failure) -> None:
        """Leave nothing behind."""
        self._cancel_deadline()
        self.factory.forget(self)
        super().connectionLost(reason)

    def idle(self) -> bool:
        """Whether nothing of a request has arrived, and none is being answered."""
        return not self.requests and not self._refused

    def refuse_body(self) -> None:
        """Answer 413."""
        limit = self.factory.limits.body
        self.refuse(413, "body_too_large", f"The body is larger than {limit} bytes.", "Content Too Large")

    def refuse(self, status: int, code: str, message: str, phrase: str = "Bad Request") -> None:
        """
        Answer at once, whatever is still to come, and close.

        The client gets a moment to read the answer before its unread bytes would make the kernel reset the connection.
        """
        if self._refused:
            return
        self._refused = True
        self._cancel_deadline()
        self.setTimeout(None)
        body = error_body(code, message, secrets.token_hex(8))
        lines = [f"HTTP/1.1 {status} {phrase}", "Connection: close", "Content-Type: application/json"]
        lines += [f"{name}: {value}" for name, value in SECURITY_HEADERS.items()]
        lines += [f"Content-Length: {len(body)}", "", ""]
        self.transport.write("\r\n".join(lines).encode() + body)
        if not self.isSecure() and hasattr(self.transport, "loseWriteConnection"):
            self.transport.loseWriteConnection()
        self._deadline = self.callLater(self.factory.limits.linger_seconds, self.transport.abortConnection)

    def _respondToBadRequestAndDisconnect(self) -> None:
        self.refuse(400, "bad_request", "The request is not valid HTTP/1.1.")

    def _ambiguity(self) -> str | None:
        headers = self.requests[-1].requestHeaders
        hosts = headers.getRawHeaders(b"Host") or []
        if len(hosts) > 1 or (not hosts and self._version == b"HTTP/1.1"):
            return "The request must have exactly one Host header."
        path = self._path.partition(b"?")[0]
        if not path.startswith(b"/") or _AMBIGUOUS_PATH.search(path):
            return "The path must be absolute, without empty, dot or encoded-slash segments."
        return None

    def _within(self, seconds: float, what: str) -> None:
        self._cancel_deadline()
        self._deadline = self.callLater(seconds, self._too_slow, what)

    def _too_slow(self, what: str) -> None:
        self._deadline = None
        self.refuse(408, "too_slow", f"The rest of {what} did not arrive in time.", "Request Timeout")

    def _cancel_deadline(self) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None


class BoundedSite(Site):
    """An HTTP server with L{Limits}, which can be drained."""

    protocol: Callable[..., Any] = BoundedChannel
    logger = Logger()

    def __init__(self, reactor: IReactorTime, resource: IResource, limits: Limits) -> None:
        super().__init__(
            resource,
            requestFactory=BoundedRequest,
            timeout=limits.idle_seconds,
            reactor=reactor,
            parsePOSTFormSubmission=False,
        )
        self._clock = reactor
        self.limits = limits
        self.draining = False
        self._channels: set[BoundedChannel] = set()
        self._drained: Deferred[None] | None = None

    def buildProtocol(self, addr: IAddress) -> BoundedChannel | None:
        """A channel, or none where there are too many: the connection is then closed."""
        if len(self._channels) >= self.limits.connections:
            self.logger.warn("a connection was refused: {limit} are open", limit=self.limits.connections)
            return None
        channel: BoundedChannel = super().buildProtocol(addr)
        channel.callLater = self._clock.callLater
        self._channels.add(channel)
        return channel

    def getResourceFor(self, request: Any) -> IResource:
        """The resource, with the headers on the request that every answer carries."""
        for name, value in SECURITY_HEADERS.items():
            request.setHeader(name, value)
        request.setHeader("X-Request-ID", request.id)
        found: IResource = super().getResourceFor(request)
        return found

    def log(self, request: Any) -> None:
        """An access line, without the query: it may hold what nobody else should read."""
        self.logger.debug(
            "{method} {path} {status}",
            method=request.method.decode("ascii", "replace"),
            path=request.path.decode("ascii", "replace"),
            status=request.code,
            peer=getattr(request.getClientAddress(), "host", ""),
            request_id=request.id,
        )

    def forget(self, channel: BoundedChannel) -> None:
        """A connection is gone."""
        self._channels.discard(channel)
        self._maybe_drained()

    def drain(self) -> Deferred[None]:
        """
        Close what is idle, let what is in flight finish, and cut it when C{drain_seconds} are over.

        @return: fires when no connection is left.
        """
        self.draining = True
        for channel in list(self._channels):
            if channel.idle():
                channel.loseConnection()
            else:
                channel.persistent = False
        if not self._channels:
            return succeed(None)
        self._drained = Deferred()
        cut = self._clock.callLater(self.limits.drain_seconds, self._cut)
        self._drained.addBoth(lambda _: cut.cancel() if cut.active() else None)
        return self._drained

    def _cut(self) -> None:
        for channel in list(self._channels):
            channel.transport.abortConnection()

    def _maybe_drained(self) -> None:
        drained = self._drained
        if drained is not None and not self._channels:
            self._drained = None
            drained.callback(None)
