"""
One HTTP request with a bounded body.

Stock twisted.web writes a body of any size to a temporary file before it asks a handler.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IAddress
from twisted.python.failure import Failure
from twisted.web.http import NO_BODY_CODES, Request
from twisted.web.resource import IResource

from confd.web.api.errors import error_body
from confd.web.server.head import encode_head
from confd.web.server.headers import CheckedHeaders
from confd.web.server.refusal import common_headers
from confd.web.server.request_metrics import HUNG_UP, UNMATCHED

if TYPE_CHECKING:
    from confd.web.server.channel import BoundedChannel
    from confd.web.server.head_memo import KnownHead


#: What a resource returns that finishes its request itself. The same constant of L{twisted.web.server} comes with
#: templates, XML and Perspective Broker, which take two megabytes.
NOT_DONE_YET = 1


class BoundedRequest(Request):
    """
    A request whose body is bounded and stays in memory.

    @ivar id: names the request in responses and in the log.
    @ivar route: the pattern of its path, or L{UNMATCHED}.
    @ivar arrived: when the request was complete, in seconds of the reactor's clock.
    @ivar caller: the name of the authenticated identity; empty where the endpoint asks for none.
    @ivar known_head: the head, if it was read before.
    @ivar trusted: whether the caller may send a body larger than C{Limits.stranger}.
    """

    # Instances of up to 30 attributes share their keys, and Twisted uses most of them. One more in the dictionary
    # costs each open stream a kilobyte.
    __slots__ = ("_uncounted", "arrived", "caller", "id", "known_head", "route", "trusted")

    channel: BoundedChannel
    client: IAddress | None
    content: io.BytesIO | None
    path: bytes
    # The parts of the path that Klein has and has not matched.
    prepath: list[bytes]
    postpath: list[bytes]

    def __init__(self, channel: BoundedChannel) -> None:
        super().__init__(channel)
        self.responseHeaders: CheckedHeaders = CheckedHeaders({})
        self.id, self.route, self.caller = next(channel.factory.request_ids), UNMATCHED, ""
        self.arrived, self.trusted = 0.0, False
        self.known_head: KnownHead | None = None
        #: Whether the request is complete and L{count} has not counted it yet.
        self._uncounted = False

    @property
    def head_arrived(self) -> float:
        """When the headers were complete, in seconds of the reactor's clock."""
        return self.channel.head_arrived

    @property
    def gone(self) -> bool:
        """Whether the client has hung up."""
        return self._disconnected

    def getRequestHostname(self) -> bytes:
        """Return a constant: routing asks for the name, and no name decides anything."""
        return b"localhost"

    def gotLength(self, length: int | None) -> None:
        """Keep the body in memory: the channel refuses longer ones."""
        self.content = io.BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        """Add a piece of the body, or refuse the request if the body is now too large."""
        assert self.content is not None
        if self.channel.accepts(self.content.tell() + len(data)):
            self.content.write(data)
            self.channel.extend_deadline(self.content.tell())

    def setHeader(self, name: str | bytes, value: str | bytes) -> None:
        """Set a header of the response."""
        self.responseHeaders.set(name, value)

    def write_whole(self, body: bytes, content_type: str) -> None:
        """Write a response in one piece; its status and its other headers are set."""
        self.startedWriting = 1
        bare = self.code in NO_BODY_CODES
        if not bare:
            length = b"%d" % len(body)
            self.responseHeaders.update({b"Content-Type": [content_type.encode()], b"Content-Length": [length]})
        headers = self.responseHeaders.getAllRawHeaders()
        head = encode_head(self.clientproto, b"%d" % self.code, self.code_message, headers)
        self.channel.write(head if bare or self.method == b"HEAD" else head + body)

    def find_caller(self) -> None:
        """Replace the address of a trusted proxy with the address of the client behind it."""
        proxies = self.channel.factory.proxies
        if not proxies.networks:
            return
        self.client = proxies.caller(self.client, proxies.hops(self.client, self.requestHeaders) or ())

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Process the request: its head is known, and endpoints parse its query and its body."""
        assert self.content is not None
        self.content.seek(0)
        self.path = self.uri.partition(b"?")[0]
        self.process()

    def process(self) -> None:
        """Note the time at which the request was complete, and route it."""
        site = self.channel.factory
        self.find_caller()
        self.arrived, self._uncounted = site.reactor.seconds(), True
        self.responseHeaders.update(common_headers(self.id, site.date.now()))
        try:
            self.render(site.resource)
        except Exception:
            self.processingFailed(Failure())

    def render(self, resource: IResource) -> None:
        """Let a resource answer, which finishes the request itself, now or later."""
        resource.render(self)

    def connectionLost(self, reason: Failure) -> None:
        self.count(HUNG_UP)
        super().connectionLost(reason)

    def count(self, status: int) -> None:
        """Count the request in the metrics, once, as answered now."""
        if self._uncounted:
            self._uncounted = False
            site = self.channel.factory
            site.request_metrics.count(self.method, self.route, status, site.reactor.seconds() - self.arrived)

    def remember(
        self, body: bytes, recognizes: Callable[[], Callable[[str], bool]], revalidate: Callable[[], bool]
    ) -> None:
        """Offer the response to the cache of the site; see L{ResponseCache.keep} for the parameters."""
        response_cache = self.channel.factory.response_cache
        if response_cache is not None:
            response_cache.keep(self, body, recognizes, revalidate)

    def shed(self) -> None:
        """Free the headers and the body: a stream that has begun may go on for weeks."""
        self.count(self.code)
        self.requestHeaders = self.responseHeaders = CheckedHeaders({})
        self.content = self.known_head = None

    def break_off(self) -> None:
        """
        Let the connection end before the response does: only that still tells the client that it is incomplete.

        Call L{finish} next.
        """
        self.channel.persistent = False
        self.chunked = 0
        if self.clientproto != b"HTTP/1.1":
            # An HTTP/1.0 response ends where its connection does, unless that is reset.
            self.channel.transport.abortConnection()

    def processingFailed(self, reason: Failure) -> None:
        """Log a defect, and answer with nothing but the id under which the log has it."""
        self._log.failure(
            "request {request_id} failed: {method} {path}",
            reason,
            request_id=self.id,
            method=ascii_text(self.method),
            path=ascii_text(self.path),
        )
        if self.startedWriting:
            self.break_off()
            self.finish()
            return
        body = error_body("internal_error", f"An internal error occurred; the log has it under {self.id}.", self.id)
        self.setResponseCode(500)
        self.setHeader("Content-Type", "application/json")
        self.setHeader("Content-Length", str(len(body)))
        self.write(body)
        self.finish()


def ascii_text(raw: bytes) -> str:
    """Return ASCII bytes of a request line as text, with a replacement character for each other byte."""
    return raw.decode("ascii", "replace")
