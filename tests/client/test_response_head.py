"""Tests of L{confd.client.response_head}."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from twisted.web._newclient import HTTPClientParser, Request
from twisted.web.http_headers import Headers

from confd.client.response_head import BadResponse, parse_head

NAMES = st.sampled_from(
    [b"Content-Type", b"CONTENT-TYPE", b"Location", b"Server", b"X-A", b"Connection", b"Last-Modified"]
)
VALUES = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=12).map(str.encode)
LINES = st.lists(st.tuples(NAMES, VALUES), max_size=8)


def head_of(status: int, lines: list[tuple[bytes, bytes]], end: bytes = b"\r\n") -> bytes:
    """Return the bytes of a head."""
    return end.join([b"HTTP/1.1 %d Some Reason" % status, *(name + b": " + value for name, value in lines), b"", b""])


class HeadTests(SynchronousTestCase):
    """L{parse_head}."""

    @given(st.sampled_from([200, 204, 301, 404, 599]), LINES, st.sampled_from([b"\r\n", b"\n"]))
    def test_it_reads_what_twisted_reads(self, status: int, lines: list[tuple[bytes, bytes]], end: bytes) -> None:
        raw = head_of(status, lines, end)
        parser = HTTPClientParser(Request(b"GET", b"/", Headers({b"Host": [b"x"]}), None), lambda rest: None)
        parser.makeConnection(StringTransport())
        parser.dataReceived(raw)
        found = parse_head(raw)
        self.assertEqual(found.status, parser.response.code)
        for name in (b"content-type", b"location", b"last-modified", b"connection"):
            values = (parser.connHeaders if name == b"connection" else parser.response.headers).getRawHeaders(name)
            self.assertEqual(found.fields.get(name), None if values is None else b", ".join(values))

    def test_the_end_of_the_body_is_clear_or_the_response_is_refused(self) -> None:
        length, chunked = b"Content-Length: 7\r\n", b"Transfer-Encoding: Chunked\r\n"
        for lines, expected in (
            (length, (7, False, True)),
            (chunked, (None, True, True)),
            (b"", (None, False, False)),
            (length + b"Connection: a, CLOSE\r\n", (7, False, False)),
            # RFC 9112 section 6.3: the coding wins, and the connection is not used again.
            (length + chunked, (None, True, False)),
        ):
            found = parse_head(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n")
            self.assertEqual((found.length, found.chunked, found.persistent), expected, lines)
        for lines in (length * 2, chunked * 2, b"Content-Length: +7\r\n", b"Transfer-Encoding: gzip, chunked\r\n"):
            self.assertRaises(BadResponse, parse_head, b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n")

    def test_http_1_0_keeps_no_connection(self) -> None:
        self.assertFalse(parse_head(b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n").persistent)

    def test_a_status_without_a_body_keeps_the_connection(self) -> None:
        for status in (b"204", b"304"):
            found = parse_head(b"HTTP/1.1 " + status + b"\r\n\r\n")
            self.assertEqual((found.bodyless, found.persistent), (True, True))

    @given(st.binary(max_size=60))
    def test_other_bytes_are_refused(self, raw: bytes) -> None:
        self.assertRaises(BadResponse, parse_head, b"HTTP/1.1 200 OK\r\nA: b\r\n :" + raw)
        self.assertRaises(BadResponse, parse_head, raw)
