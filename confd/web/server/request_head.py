"""The head of a request, its line and its headers, read by llhttp (RFC 9112, sections 2 to 6)."""

from __future__ import annotations

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from twisted.web.http_headers import Headers

from confd.web.server.headers import CheckedHeaders, canonical

#: Bytes and headers of the longest head.
MAX_HEAD_BYTES, MAX_HEADERS = 16384, 64

_END = b"\r\n\r\n"
_VERSIONS = {b"0\r\n": b"HTTP/1.0", b"1\r\n": b"HTTP/1.1"}


class BadHead(Exception):
    """The bytes are not the head of a request."""


class LargeHead(Exception):
    """The head is longer, or has more headers, than the server reads."""


class HeadReader:
    """
    Reads one head after another, each in as many pieces as it arrives in.

    llhttp skips line ends before a request and spaces in its line, and accepts other protocols and versions. So the
    reader builds the line again from what llhttp has read, and refuses a head that begins with any other bytes.

    @ivar complete: whether the latest head is complete. The following describe it.
    @ivar length: bytes of the body; C{None} for a body in chunks.
    @ivar persistent: whether the client wants to keep the connection.
    """

    __slots__ = (
        "_count",
        "_line_skipped",
        "_parser",
        "_raw",
        "_seen",
        "complete",
        "headers",
        "length",
        "method",
        "persistent",
        "uri",
        "version",
    )

    headers: Headers
    method: bytes
    version: bytes
    length: int | None

    def __init__(self) -> None:
        self._parser: HttpRequestParser | None = None
        self._begin()

    def _begin(self) -> None:
        self._raw: dict[bytes, list[bytes]] = {}
        self._count = 0
        self._seen = self.uri = b""
        self._line_skipped = self.complete = self.persistent = False

    @property
    def begun(self) -> bool:
        """Whether a part of a head has arrived; the empty line before it does not count."""
        return bool(self._seen) and not self.complete

    def read(self, data: bytes) -> bytes:
        """
        Read a piece of a head; the first piece after a complete head begins the next one.

        @return: the bytes behind the head.
        @raise BadHead: the bytes do not begin a request of HTTP/1.1 or HTTP/1.0.
        @raise LargeHead: the head is too large.
        """
        if self.complete:
            self._begin()
        before = len(self._seen)
        seen = self._seen + data
        if seen[:1] in (b"\r", b"\n"):
            # An empty line may come before a request, once.
            if self._line_skipped or not b"\r\n".startswith(seen[:2]):
                raise BadHead
            self._line_skipped = len(seen) > 1
            self._seen = b"" if self._line_skipped else seen
            return self.read(seen[2:]) if len(seen) > 2 else b""
        found = seen.find(_END, max(0, before - 3))
        end = len(seen) if found < 0 else found + len(_END)
        self._feed(seen[before : min(end, MAX_HEAD_BYTES)])
        if end > MAX_HEAD_BYTES:
            raise LargeHead
        if found < 0:
            self._seen = seen
            return b""
        self._finish(seen[:end])
        return seen[end:]

    def _feed(self, piece: bytes) -> None:
        if self._parser is None:
            self._parser = HttpRequestParser(self)
        try:
            self._parser.feed_data(piece)
        except HttpParserUpgrade:
            # The server offers no other protocol, and serves the request as if it asked for none.
            self._parser = None
        except HttpParserError:
            self._parser = None
            raise BadHead from None

    def on_url(self, piece: bytes) -> None:
        """Take a piece of the URI from llhttp."""
        self.uri += piece

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header from llhttp."""
        self._count += 1
        if self._count <= MAX_HEADERS:
            self._raw.setdefault(canonical(name), []).append(value.rstrip(b" \t"))

    def on_headers_complete(self) -> None:
        """Note that llhttp has found the end of the head."""
        assert self._parser is not None
        self.complete, self.persistent = True, self._parser.should_keep_alive()
        self.method = self._parser.get_method()

    def _finish(self, head: bytes) -> None:
        """Describe a head that has arrived."""
        if not self.complete:
            raise BadHead
        line = b"%b %b HTTP/1." % (self.method, self.uri)
        version = _VERSIONS.get(head[len(line) : len(line) + 3])
        if version is None or not head.startswith(line):
            raise BadHead
        if self._count > MAX_HEADERS:
            raise LargeHead
        self.version = version
        headers = self._raw
        self.headers, self.length = CheckedHeaders(headers), 0
        if b"Transfer-Encoding" in headers:
            self.length = None
        elif b"Content-Length" in headers:
            self.length = _length(headers[b"Content-Length"][0])
        if not self.persistent or self.length != 0:
            # llhttp waits for the body, or for the end of the connection.
            self._parser = None


def _length(digits: bytes) -> int:
    try:
        return int(digits)
    except ValueError:
        # Python converts no number of thousands of digits, zeros included.
        raise BadHead from None
