"""
One HTTP/1.1 connection, bounded: what is too long, too slow or ambiguous is refused in JSON, and the end of it.

Stock twisted.web lets every byte that trickles in reset its idle timeout, waits for ever for a client that does not
take its answer, serves all that is pipelined in one turn of the reactor, and still answers requests that proxies read
in more than one way: folded headers, no Host, two Hosts, C{//path} (RFC 9112 sections 3.2, 5.2 and 11.2).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote_to_bytes

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, datetimeToString

from confd.web.api.errors import error_body
from confd.web.server.request_metrics import UNMATCHED

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

#: A registered name, an IPv4 or an IPv6 address, and a port (RFC 3986 section 3.2).
_HOST = re.compile(rb"(?:[A-Za-z0-9._~%!$&'()*+,;=-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?")

#: A field behind a chunked body; no white space before it, nor a bare CR or LF in it.
_TRAILER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\x00\r\n]*")

#: Bytes of such fields at most; nothing reads them.
_MOST_TRAILER_BYTES = 4096

#: Pieces of what is pipelined that are kept apart.
_MOST_PIECES = 64

#: The first byte of a TLS handshake (RFC 8446 section 5.1), and of no request.
_HANDSHAKE = b"\x16"

_PHRASES = {
    400: "Bad Request",
    403: "Forbidden",
    408: "Request Timeout",
    413: "Content Too Large",
    431: "Request Header Fields Too Large",
}


class BoundedChannel(HTTPChannel):
    """An HTTP/1.1 connection that no client can hold for longer, or fill with more, than its limits."""

    maxHeaders = 64
    totalHeadersSize = 16384
    abortTimeout: int | None = None  # type: ignore[assignment]

    transport: Any

    #: There is one thing at a time to wait for: the rest of a request, the next turn, or the end.
    _timer: IDelayedCall | None = None
    _closing = False
    head_came = 0.0

    #: A request that was answered, as long as its answer is not taken and something else is asked for behind it.
    _untaken: Any = None

    #: Whether there was an empty line before a request, which is taken once each time: what comes next depends on it.
    _lenient = False

    @property
    def at_rest(self) -> bool:
        """Whether what comes next means the same as on a new connection."""
        return not (self.requests or self._buffer or self._lenient)

    def dataReceived(self, data: bytes) -> None:
        """A request that has begun must get on; what comes after the end was decided is dropped."""
        if self._closing:
            return
        response_cache = self.factory.response_cache
        if response_cache is None or not self.at_rest or self.factory.draining:
            self._read(data)
        elif response_cache.answer(self, data):
            self.resetTimeout()
        else:
            response_cache.begin(self, data)
            try:
                self._read(data)
            finally:
                response_cache.end()

    def _read(self, data: bytes) -> None:
        if data.startswith(_HANDSHAKE) and not (self.requests or self._buffer):
            # In clear, which TLS clients tell from TLS. No line would ever end in what they send.
            self.factory.met_tls(self.getPeer())
            self.refuse(400, "not_tls", "A TLS handshake came where HTTP is spoken; use http:// instead of https://.")
            return
        super().dataReceived(data)
        begun = self.requests or self._buffer
        if begun and self._timer is None and not (self._handlingRequest or self._closing):
            self._within(self.factory.limits.header_seconds, self._too_slow, "the headers")

    def lineReceived(self, line: bytes) -> None:
        """Refuse a line that a proxy may have taken for a part of the one before."""
        if self._closing:
            return
        if not (line or self.requests):
            self._lenient = True
        if line[:1] in (b" ", b"\t"):
            self.refuse(400, "bad_request", "A header line begins with white space.")
        else:
            super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        """Refuse a request line or a header that does not end."""
        self._refuse_headers()

    def headerReceived(self, line: bytes) -> bool:
        """Take a header, or refuse it."""
        try:
            return bool(super().headerReceived(line))
        except ValueError:
            # A Content-Length of more digits than Python converts.
            self._respondToBadRequestAndDisconnect()
            return False

    def allHeadersReceived(self) -> None:
        """Refuse what must not be read any further, before a byte of the body is."""
        limits = self.factory.limits
        reason = self._ambiguity()
        if reason is not None:
            self.refuse(400, "bad_request", reason)
        elif (misdirected := self._misdirected()) is not None:
            self.refuse(403, *misdirected)
        elif self.length is None or self.takes(self.length):
            self.head_came = self.factory.reactor.seconds()
            super().allHeadersReceived()
            if self.factory.draining:
                self.finish_up()
            if self.length is None and self._transferDecoder is not None:
                # Twisted searches all of the trailers again with each piece that comes.
                self._transferDecoder._maxTrailerHeadersSize = _MOST_TRAILER_BYTES
            if self.length != 0:
                self._within(limits.body_seconds, self._too_slow, "the body")

    def rawDataReceived(self, data: bytes) -> None:
        """Bytes of a body, or of what is pipelined."""
        if self._closing:
            return
        super().rawDataReceived(data)
        if len(self._dataBuffer) > _MOST_PIECES:
            # Twisted adds up the lengths of all pieces whenever one comes.
            self._dataBuffer[:] = [b"".join(self._dataBuffer)]

    def allContentReceived(self) -> None:
        """The request is complete, unless its trailers end differently for another reader (RFC 9112 section 7.1.2)."""
        if self._closing:
            return
        if not all(map(_TRAILER.fullmatch, getattr(self._transferDecoder, "_trailerHeaders", ()))):
            self.refuse(400, "bad_request", "A trailer behind the body is not a header field.")
            return
        self._cancel_timer()
        super().allContentReceived()

    def grant(self, received: int) -> None:
        """Allow a body of which so much has come the time that this takes at the least rate."""
        if self._timer is not None and not self._closing:
            most, rate = self.factory.limits.body_seconds, self.factory.limits.body_rate
            left = self.head_came + most + received // rate - self.factory.reactor.seconds()
            self._within(max(0, min(most, left)), self._too_slow, "the body")

    @property
    def more(self) -> bool:
        """Whether anything has arrived behind the request that is under way."""
        return bool(self._buffer) or any(self._dataBuffer)

    def requestDone(self, request: Any) -> None:
        """
        Begin with what is pipelined behind a request in the next turn of the reactor: others wait, too.

        Not before the client has taken what it asked for already: answers would pile up.
        """
        if not (self.persistent and self.more):
            super().requestDone(request)
        elif self._waitingForTransport:
            self._untaken = request
            self._within(self.factory.limits.idle_seconds, self.transport.abortConnection)
        else:
            self._within(0, super().requestDone, request)

    def resumeProducing(self) -> None:
        """The client takes its answers again."""
        request, self._untaken = self._untaken, None
        super().resumeProducing()
        if request is not None:
            self.requestDone(request)

    def loseConnection(self) -> None:
        """Close once the client has taken what was written; cut it where it does not."""
        self._end_within(self.factory.limits.idle_seconds)
        super().loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Leave nothing behind."""
        self._closing = True
        self._cancel_timer()
        super().connectionLost(reason)
        self.factory.forget(self)

    def finish_up(self) -> None:
        """Answer what is under way, and close; at once where nothing is."""
        if self._closing:
            return
        if self.requests:
            self.persistent = False
            self.requests[0].responseHeaders.setRawHeaders(b"Connection", [b"close"])
        else:
            self.loseConnection()

    def takes(self, size: int) -> bool:
        """
        Whether so many bytes of a body are to be read; the request is refused if not.

        What is longer than a stranger may send is read only from those who may send it, and asked about before.
        """
        limits = self.factory.limits
        if self._closing:
            return False
        request = self.requests[-1]
        if size <= min(limits.body if request.trusted else limits.stranger, limits.body):
            return True
        # As they would be set once it was complete.
        request.method, request.uri, request.client = self._command, self._path, self.getPeer()
        request.find_caller()
        request.trusted = self.factory.large(request, size) and size <= limits.body
        if size > limits.body:
            self.refuse(413, "body_too_large", f"The body is larger than the {limits.body} bytes that are taken here.")
        elif not request.trusted:
            said = f"The body is larger than {limits.stranger} bytes; more is read only from those who may send it."
            self.refuse(413, "body_too_large", said)
        return bool(request.trusted)

    def refuse(self, status: int, code: str, message: str) -> None:
        """
        Answer at once, whatever is still to come, and close.

        The client gets a moment to read the answer before its unread bytes would make the kernel reset the connection.
        """
        if self._closing:
            return
        self._end_within(self.factory.limits.linger_seconds)
        self.clearLineBuffer()
        self.factory.request_metrics.count(b"", UNMATCHED, status)
        request_id = self.requests[-1].id if self.requests else secrets.token_hex(8)
        body = error_body(code, message, request_id)
        headers = SECURITY_HEADERS | {
            "Date": datetimeToString().decode("ascii"),
            "Connection": "close",
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "X-Request-ID": request_id,
        }
        lines = [
            f"HTTP/1.1 {status} {_PHRASES[status]}",
            *(f"{name}: {text}" for name, text in headers.items()),
            "",
            "",
        ]
        self.transport.write("\r\n".join(lines).encode("ascii") + body)
        if not self.isSecure() and hasattr(self.transport, "loseWriteConnection"):
            self.transport.loseWriteConnection()

    def _refuse_headers(self) -> None:
        most, longest = self.maxHeaders, self.totalHeadersSize
        self.refuse(431, "headers_too_large", f"The headers are more than {most}, or longer than {longest} bytes.")

    def _respondToBadRequestAndDisconnect(self) -> None:
        if self._receivedHeaderCount > self.maxHeaders or self._receivedHeaderSize > self.totalHeadersSize:
            self._refuse_headers()
        else:
            self.refuse(400, "bad_request", "The request is not valid HTTP/1.1.")

    def _ambiguity(self) -> str | None:
        headers = self.requests[-1].requestHeaders
        hosts = headers.getRawHeaders(b"Host") or []
        if len(hosts) > 1 or (not hosts and self._version == b"HTTP/1.1"):
            return "The request must have exactly one Host header."
        if hosts and not _HOST.fullmatch(hosts[0]):
            return "The Host header is not a host name, an address, and a port."
        encodings = headers.getRawHeaders(b"Transfer-Encoding")
        if encodings is not None and not (
            # Twisted takes any number of them that are identity, beside one that is chunked.
            self._version == b"HTTP/1.1" and [each.lower() for each in encodings] == [b"chunked"]
        ):
            return "The only Transfer-Encoding is chunked, in HTTP/1.1."
        if self.factory.proxies.hops(self.getPeer(), headers) is None:
            return "Forwarded and X-Forwarded-For must be readable, and say the same; the proxy adds to both or to one."
        if not self._command.isupper():
            return "The method must be in upper case."
        path = self._path.partition(b"?")[0]
        if not path.startswith(b"/") or _AMBIGUOUS_PATH.search(path) or not _is_utf8(path):
            return "The path must be absolute, in UTF-8, without empty, dot or encoded-slash segments."
        return None

    def _misdirected(self) -> tuple[str, str] | None:
        hosts = self.requests[-1].requestHeaders.getRawHeaders(b"Host") or ()
        audit_log = (self.factory.refuse_host(self.getPeer(), host) for host in hosts)
        return next((refusal for refusal in audit_log if refusal is not None), None)

    def _within(self, seconds: float, then: Callable[..., None], *args: object) -> None:
        def due() -> None:
            self._timer = None
            then(*args)

        self._cancel_timer()
        self._timer = self.callLater(seconds, due)

    def _end_within(self, seconds: float) -> None:
        self._closing = True
        self.setTimeout(None)
        self._within(seconds, self.transport.abortConnection)

    def _too_slow(self, what: str) -> None:
        self.refuse(408, "too_slow", f"The rest of {what} did not arrive in time.")

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _is_utf8(path: bytes) -> bool:
    if b"%" not in path:
        return True
    try:
        unquote_to_bytes(path).decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
