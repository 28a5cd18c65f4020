"""
One HTTP/1.1 connection with limits: a request that is too long, too slow or ambiguous gets an error, and the end.

Stock twisted.web restarts its idle timeout with each byte, waits without end for a client that does not read its
response, and answers all pipelined requests in one turn of the reactor.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IAddress, IDelayedCall, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.http_headers import Headers

from confd.web.server.ambiguity import ambiguity_in_headers, ambiguity_in_path, is_trailer
from confd.web.server.head import encode_head
from confd.web.server.head_memo import KnownHead
from confd.web.server.refusal import refusal
from confd.web.server.request import BoundedRequest
from confd.web.server.request_head import MAX_HEAD_BYTES, MAX_HEADERS, BadHead, HeadReader, LargeHead
from confd.web.server.request_metrics import UNMATCHED

if TYPE_CHECKING:
    from confd.web.server.site import BoundedSite

#: Bytes of all trailers after a body; confd reads none of them.
MAX_TRAILER_BYTES = 4096

#: Pieces of pipelined requests that are kept apart.
MAX_PIPELINED_PIECES = 64

#: The first byte of a TLS handshake (RFC 8446 section 5.1); no HTTP request begins with it.
_TLS_HANDSHAKE = b"\x16"


class BoundedChannel(HTTPChannel):
    """
    An HTTP/1.1 connection that no client can hold for longer, or fill with more, than its limits.

    @ivar head_arrived: when the headers of the latest request were complete, in seconds of the reactor's clock.
    """

    abortTimeout: int | None = None  # type: ignore[assignment]

    transport: ITCPTransport
    factory: BoundedSite
    requests: list[BoundedRequest]

    #: Only one thing is due at a time: the rest of a request, the next turn, or the end.
    _timer: IDelayedCall | None = None
    _closing = False
    head_arrived = 0.0

    #: A request whose response the client has not taken, while another request waits behind it.
    _untaken: BoundedRequest | None = None

    #: Reads the head of the next request, once its first bytes have arrived.
    _reader: HeadReader | None = None

    @property
    def at_rest(self) -> bool:
        """Whether the next bytes mean the same as on a new connection."""
        return not (self.requests or self._reader)

    def connectionMade(self) -> None:
        self._host, self._peer = self.transport.getHost(), self.transport.getPeer()
        # Twisted starts the timeout again with it, once a request is done.
        self._savedTimeOut = self.timeOut
        super().connectionMade()

    def getHost(self) -> IAddress:
        """Return the address of the server, for which the transport asks the system each time."""
        return self._host

    def getPeer(self) -> IAddress:
        """Return the address of the client, for which the transport makes an object each time."""
        return self._peer

    def dataReceived(self, data: bytes) -> None:
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
        self.resetTimeout()
        if self.requests:
            self.rawDataReceived(data)
            return
        known = self.factory.head_memo.find(data) if self._reader is None else None
        if known is not None:
            self._begin(*known)
            return
        whole, reader = self._reader is None, self._reader or self.factory.take_reader()
        self._reader = reader
        if data.startswith(_TLS_HANDSHAKE) and not reader.begun:
            # No head would ever end in a handshake. The answer is in clear: TLS clients report that as what it is.
            self.factory.log_tls_client(self.getPeer())
            self.refuse(400, "not_tls", "A TLS handshake came where HTTP is spoken; use http:// instead of https://.")
            return
        try:
            rest = reader.read(data)
        except BadHead:
            self._respondToBadRequestAndDisconnect()
        except LargeHead:
            sentence = f"The headers are more than {MAX_HEADERS}, or longer than {MAX_HEAD_BYTES} bytes."
            self.refuse(431, "headers_too_large", sentence)
        else:
            if reader.complete:
                self._reader = None
                self.factory.return_reader(reader)
                self._begin(reader, rest, data[: len(data) - len(rest)] if whole else b"")
            elif reader.begun and self._timer is None:
                self._within(self.factory.limits.header_seconds, self._too_slow, "the headers")

    def _begin(self, head: KnownHead | HeadReader, rest: bytes, raw: bytes = b"") -> None:
        """
        Begin a request, or refuse the request by its head, before a byte of its body is read.

        @param rest: the bytes that have arrived behind the head.
        @param raw: the bytes of the head if it arrived in one piece.
        """
        request = BoundedRequest(self)
        self.requests.append(request)
        request.method, request.uri, request.clientproto = head.method, head.uri, head.version
        request.requestHeaders, length = head.headers, head.length
        self.persistent = head.persistent and head.version == b"HTTP/1.1"
        reason = self._ambiguity(request, isinstance(head, KnownHead))
        if isinstance(head, KnownHead):
            request.known_head = head
        elif reason is None and raw:
            self.factory.head_memo.keep(raw, head)
        if reason is not None:
            self.refuse(400, "bad_request", reason)
        elif (misdirected := self._misdirected(request)) is not None:
            self.refuse(403, *misdirected)
        elif length is None or self.accepts(length):
            self.head_arrived = self.factory.reactor.seconds()
            self._read_body(request, length, rest)

    def _read_body(self, request: BoundedRequest, length: int | None, rest: bytes) -> None:
        self.length = length
        request.parseCookies()
        request.gotLength(length)
        if request.clientproto == b"HTTP/1.1":
            if not self.persistent:
                request.responseHeaders.setRawHeaders(b"Connection", [b"close"])
            expected = request.requestHeaders.getRawHeaders(b"Expect")
            if expected and expected[0].lower() == b"100-continue":
                self._send100Continue()
        if self.factory.draining:
            self.finish_up()
        if length is not None and len(rest) >= length:
            # The whole body has arrived: this needs neither a deadline nor a decoder.
            request.content = io.BytesIO(rest[:length])
            if len(rest) > length:
                self._dataBuffer.append(rest[length:])
            self.allContentReceived()
            return
        if length is None:
            self._maybeChooseTransferDecoder(b"Transfer-Encoding", b"chunked")
            # Twisted searches all trailers again with each piece that arrives.
            self._transferDecoder._maxTrailerHeadersSize = MAX_TRAILER_BYTES  # type: ignore[union-attr]
        else:
            self._maybeChooseTransferDecoder(b"Content-Length", b"%d" % length)
        self._within(self.factory.limits.body_seconds, self._too_slow, "the body")
        if rest:
            self.rawDataReceived(rest)

    def rawDataReceived(self, data: bytes) -> None:
        if self._closing:
            return
        super().rawDataReceived(data)
        if len(self._dataBuffer) > MAX_PIPELINED_PIECES:
            # Twisted adds up the lengths of all pieces whenever one arrives.
            self._dataBuffer[:] = [b"".join(self._dataBuffer)]

    def allContentReceived(self) -> None:
        if self._closing:
            return
        if not all(map(is_trailer, getattr(self._transferDecoder, "_trailerHeaders", ()))):
            self.refuse(400, "bad_request", "A trailer after the body is not a header field.")
            return
        self._cancel_timer()
        self._transferDecoder, self._handlingRequest, request = None, True, self.requests[-1]
        request.requestReceived(request.method, request.uri, request.clientproto)

    def extend_deadline(self, received: int) -> None:
        """
        Give a body, unless it is complete, the time that its bytes so far take at the least rate.

        @param received: bytes of the body so far.
        """
        if self._timer is not None and not self._closing and received != self.length:
            most, rate = self.factory.limits.body_seconds, self.factory.limits.body_rate
            left = self.head_arrived + most + received // rate - self.factory.reactor.seconds()
            self._within(max(0, min(most, left)), self._too_slow, "the body")

    @property
    def more(self) -> bool:
        """Whether bytes have arrived behind the request in progress."""
        return any(self._dataBuffer)

    def timeoutConnection(self) -> None:
        """Close an idle connection; a request in progress takes the time that it takes, and then times out afresh."""
        if not self._handlingRequest:
            super().timeoutConnection()

    def requestDone(self, request: BoundedRequest) -> None:
        """
        Begin the next pipelined request in the next turn of the reactor, so that other connections get their turn.

        Wait until the client has taken the response before: otherwise responses would pile up.
        """
        if self.persistent and not (self.more or self._waitingForTransport):
            # Nothing waits: Twisted would also look for bytes to read, and resume a transport that is not paused.
            self.requests.remove(request)
            self._handlingRequest = False
            self.setTimeout(self._savedTimeOut)
            return
        if not (self.persistent and self.more):
            super().requestDone(request)
        elif self._waitingForTransport:
            self._untaken = request
            self._within(self.factory.limits.idle_seconds, self.transport.abortConnection)
        else:
            self._within(0, super().requestDone, request)

    def resumeProducing(self) -> None:
        request, self._untaken = self._untaken, None
        super().resumeProducing()
        if request is not None:
            self.requestDone(request)

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:  # type: ignore[override]
        # Twisted hands dozens of pieces to the transport, which checks and counts each of them.
        self.transport.write(encode_head(version, code, reason, headers.getAllRawHeaders()))

    def loseConnection(self) -> None:
        """Close the connection after the client has taken the response, and abort it if the client does not."""
        self._end_within(self.factory.limits.idle_seconds)
        super().loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._closing = True
        self._cancel_timer()
        super().connectionLost(reason)
        self.factory.forget(self)

    def finish_up(self) -> None:
        """Close the connection after the request in progress; at once if it is idle."""
        if self._closing or (self._reader is not None and self._reader.begun):
            return
        if self.requests:
            self.persistent = False
            self.requests[0].responseHeaders.setRawHeaders(b"Connection", [b"close"])
        else:
            self.loseConnection()

    def accepts(self, size: int) -> bool:
        """
        Tell whether to read a body, and refuse the request if not.

        A body that is larger than C{Limits.stranger} is read only from a caller who may send it.

        @param size: bytes of the body, as far as they are known.
        """
        limits = self.factory.limits
        if self._closing:
            return False
        request = self.requests[-1]
        if size <= min(limits.body if request.trusted else limits.stranger, limits.body):
            return True
        request.find_caller()
        request.trusted = self.factory.large(request, size) and size <= limits.body
        if size > limits.body:
            self.refuse(413, "body_too_large", f"The body is larger than {limits.body} bytes.")
        elif not request.trusted:
            message = f"A body larger than {limits.stranger} bytes is read only from a caller who may send it here."
            self.refuse(413, "body_too_large", message)
        return request.trusted

    def refuse(self, status: int, code: str, message: str) -> None:
        """
        Answer at once, whatever is still to arrive, and close the connection.

        The client gets C{linger_seconds} to read the response: unread bytes make the kernel reset the connection.
        """
        if self._closing:
            return
        self._end_within(self.factory.limits.linger_seconds)
        self._reader = None
        self.factory.request_metrics.count(b"", UNMATCHED, status)
        request_id = self.requests[-1].id if self.requests else next(self.factory.request_ids)
        self.transport.write(refusal(status, code, message, request_id))
        if not self.isSecure() and hasattr(self.transport, "loseWriteConnection"):
            self.transport.loseWriteConnection()

    def _respondToBadRequestAndDisconnect(self) -> None:
        self.refuse(400, "bad_request", "The request is not valid HTTP/1.1.")

    def _ambiguity(self, request: BoundedRequest, known: bool) -> str | None:
        headers = request.requestHeaders
        reason = None if known else ambiguity_in_headers(headers, request.clientproto)
        if reason is None and self.factory.proxies.hops(self.getPeer(), headers) is None:
            return "Forwarded and X-Forwarded-For must be valid and agree; let the proxy add to both or to one."
        return reason or (None if known else ambiguity_in_path(request.uri))

    def _misdirected(self, request: BoundedRequest) -> tuple[str, str] | None:
        for host in request.requestHeaders.getRawHeaders(b"Host") or ():
            refusal = self.factory.refuse_host(self.getPeer(), host)
            if refusal is not None:
                return refusal
        return None

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

    def _too_slow(self, part: str) -> None:
        self.refuse(408, "too_slow", f"The rest of {part} did not arrive in time.")

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
