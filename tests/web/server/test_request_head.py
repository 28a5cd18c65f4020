"""Tests of L{confd.web.server.request_head}: a head has one meaning, in whatever pieces it arrives."""

from __future__ import annotations

import re
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from confd.web.server.headers import canonical
from confd.web.server.request_head import MAX_HEAD_BYTES, MAX_HEADERS, BadHead, HeadReader, LargeHead

#: What a head looks like that every reader takes for the same one (RFC 9112); C{Transfer-Encoding} aside.
HEAD = re.compile(
    rb"(?:\r\n)?([A-Z-]+) ([\x21-\x7e]+) (HTTP/1\.[01])\r\n"
    rb"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\r\n)*)\r\n",
)

TOKENS = st.text("!#$%&'*+.^_`|~0123456789abcXYZ-", min_size=1, max_size=12).map(str.encode)
VALUES = st.text("\t !,;=abc\x80\xff", max_size=12).map(lambda text: text.encode("latin-1"))
BLANKS = st.text(" \t", max_size=2).map(str.encode)

#: Headers that are read, and have a meaning of their own, are generated with a meaning.
RESERVED = {b"connection", b"proxy-connection", b"content-length", b"transfer-encoding", b"upgrade"}

FIELDS = st.lists(
    st.tuples(TOKENS.filter(lambda name: name.lower() not in RESERVED), BLANKS, VALUES, BLANKS)
    | st.just((b"Connection", b" ", b"Upgrade, x", b""))
    | st.just((b"Upgrade", b" ", b"h2c", b"")),
    max_size=6,
)

METHODS = st.sampled_from([b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"PROPFIND"])
TARGETS = st.text("/ab%0?=&;:#{}[]|^~!$'()*+,@\"<>\\`", max_size=20).map(lambda text: b"/" + text.encode())
LENGTHS = st.none() | st.integers(0, 10**12)
CUTS = st.lists(st.integers(0, 2000), max_size=6)
DAMAGE = st.lists(
    st.tuples(
        st.integers(0, 300),
        st.integers(0, 3),
        st.sampled_from([b"\r", b"\n", b"\0", b" ", b"\t", b":", b"\x7f", b"\x0b", b"\x80", b"\r\n", b"\r\n ", b""]),
    ),
    min_size=1,
    max_size=3,
)


def outcome(raw: bytes, cuts: list[int]) -> tuple[object, ...]:
    """Return how a reader reads bytes in pieces: the head and what follows, an error, or the want of more."""
    reader, rest = HeadReader(), b""
    places = [0, *sorted(cut % (len(raw) + 1) for cut in cuts), len(raw)]
    for start, end in pairwise(places):
        if reader.complete:
            rest += raw[start:end]
            continue
        try:
            rest = reader.read(raw[start:end])
        except (BadHead, LargeHead) as error:
            return (type(error),)
    if not reader.complete:
        return ("more",)
    headers = dict(reader.headers.getAllRawHeaders())
    return reader.method, reader.uri, reader.version, headers, reader.length, reader.persistent, rest


def described(head: bytes) -> tuple[object, ...] | None:
    """Return what L{HEAD} says of bytes: the head and what follows."""
    match = HEAD.match(head)
    if match is None:
        return None
    headers: dict[bytes, list[bytes]] = {}
    for line in match[4].split(b"\r\n")[:-1]:
        name, _, value = line.partition(b":")
        headers.setdefault(canonical(name), []).append(value.strip(b" \t"))
    return match[1], match[2], match[3], headers, head[match.end() :]


class HeadReaderTests(SynchronousTestCase):
    """L{HeadReader}."""

    def test_a_complete_head_leaves_nothing_of_the_next_one_begun(self) -> None:
        reader = HeadReader()
        for piece, begun in ((b"GET / HT", True), (b"TP/1.1\r\n\r\n", False), (b"GET", True)):
            reader.read(piece)
            self.assertEqual(reader.begun, begun)

    @given(METHODS, TARGETS, st.sampled_from([b"HTTP/1.1", b"HTTP/1.0"]), FIELDS, LENGTHS, st.binary(max_size=9), CUTS)
    def test_valid_head_is_read_in_any_pieces(
        self,
        method: bytes,
        uri: bytes,
        version: bytes,
        fields: list[tuple[bytes, ...]],
        length: int | None,
        rest: bytes,
        cuts: list[int],
    ) -> None:
        lines = [b"%b:%b%b%b\r\n" % field for field in fields]
        if length is not None:
            lines.append(b"content-length: %d\r\n" % length)
        raw = b"%b %b %b\r\n%b\r\n" % (method, uri, version, b"".join(lines))
        read = outcome(raw + rest, cuts)
        *expected, behind = described(raw + rest) or ()
        self.assertEqual(read, (*expected, length or 0, version == b"HTTP/1.1", behind))

    @given(METHODS, FIELDS, DAMAGE, st.booleans(), CUTS)
    @example(b"GET", [], [(3, 0, b" ")], False, [])
    @example(b"GET", [], [(0, 0, b"\n")], False, [1])
    @example(b"GET", [], [(0, 0, b"\r\n\r\n")], False, [])
    @example(b"GET", [], [(6, 4, b"RTSP")], False, [])
    @example(b"GET", [], [(11, 3, b"2.0")], False, [])
    @example(b"GET", [], [(11, 3, b"0.9")], False, [])
    def test_damaged_head_is_read_as_every_reader_does_or_not_at_all(
        self,
        method: bytes,
        fields: list[tuple[bytes, ...]],
        damage: list[tuple[int, int, bytes]],
        skipped: bool,
        cuts: list[int],
    ) -> None:
        raw = b"\r\n" * skipped + b"%b / HTTP/1.1\r\n" % method
        raw += b"".join(b"%b:%b%b%b\r\n" % field for field in fields) + b"\r\nGET /smuggled HTTP/1.1\r\n\r\n"
        for place, length, rubbish in damage:
            raw = raw[:place] + rubbish + raw[place + length :]
        whole = outcome(raw, [])
        self.assertEqual(outcome(raw, cuts), whole)
        self.assertEqual(outcome(raw, list(range(len(raw)))), whole)
        if len(whole) > 1:
            self.assertEqual((*whole[:4], whole[6]), described(raw))

    def test_reader_reads_one_head_after_another(self) -> None:
        reader = HeadReader()
        for line in (b"Connection: close", b"Content-Length: 3", b"Upgrade: x\r\nConnection: Upgrade", b"X: y") * 2:
            self.assertEqual(reader.read(b"GET /a HTTP/1.1\r\n" + line + b"\r\n\r\nrest"), b"rest")
            self.assertTrue(reader.complete)
            self.assertEqual(reader.persistent, line != b"Connection: close")
            self.assertEqual((reader.method, reader.uri), (b"GET", b"/a"))

    def test_client_that_closes_is_found_in_any_list_of_options(self) -> None:
        for options in (b"close", b"Close", b"keep-alive, close", b"close, TE", b"x\r\nConnection: close"):
            reader = HeadReader()
            reader.read(b"GET / HTTP/1.1\r\nConnection: " + options + b"\r\n\r\n")
            self.assertEqual((reader.complete, reader.persistent), (True, False), options)

    def test_largest_head_is_read_and_a_larger_one_is_not(self) -> None:
        line, end = b"GET / HTTP/1.1\r\n", b"\r\n\r\n"
        for more, expected in ((0, 7), (1, 1)):
            padding = b"x" * (MAX_HEAD_BYTES - len(line + end) - 2 + more)
            for cuts in ([], [100, 5000, MAX_HEAD_BYTES]):
                self.assertEqual(len(outcome(line + b"X:" + padding + end, cuts)), expected)
        for more, expected in ((0, 7), (1, 1)):
            self.assertEqual(len(outcome(line + b"X: y\r\n" * (MAX_HEADERS + more) + b"\r\n", [])), expected)

    def test_head_without_end_is_refused_at_the_limit(self) -> None:
        raw = b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 4000
        self.assertEqual(outcome(raw[:MAX_HEAD_BYTES], []), ("more",))
        self.assertEqual(outcome(raw, [7]), (LargeHead,))

    @given(TOKENS)
    def test_name_gets_the_capitals_of_twisted(self, name: bytes) -> None:
        headers = Headers()
        headers.addRawHeader(name, b"")
        self.assertEqual([canonical(name)], [each for each, _ in headers.getAllRawHeaders()])
