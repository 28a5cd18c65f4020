"""Tests of L{confd.codec.sse}."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from confd.codec.sse import Event, Parser, frame
from confd.errors import Malformed

#: What streams are made of, so that random ones meet each other's edges.
_FIELDS = [b"data", b"event", b"id", b"retry", b":", b" ", b"x", b"data: 1\n\n"]
_EDGES = [b"\r", b"\n", b"\r\n", b"\n\n", b"\0", b"\xc3\xbc", b"\xff", b"\xef\xbb\xbf"]
STREAMS = st.lists(st.sampled_from([*_FIELDS, *_EDGES]), max_size=60).map(b"".join)


def parse(raw: bytes, limit: int = 1000) -> list[Event]:
    """All events of a stream that comes in one piece."""
    return Parser(limit).feed(raw)


def parse_slowly(raw: bytes, limit: int = 1000) -> list[Event]:
    """All events of a stream that comes byte by byte."""
    parser = Parser(limit)
    return [event for byte in raw for event in parser.feed(bytes([byte]))]


class ParserTests(SynchronousTestCase):
    """L{Parser}, by WHATWG HTML section 9.2.6."""

    @given(STREAMS)
    def test_however_it_is_cut(self, raw: bytes) -> None:
        self.assertEqual(parse_slowly(raw), parse(raw))

    @given(STREAMS, st.integers(0, 30), st.lists(st.integers(0, 200)))
    def test_the_limit_does_not_depend_on_the_cuts(self, raw: bytes, limit: int, cuts: list[int]) -> None:
        def outcome(pieces: list[bytes]) -> bool:
            parser = Parser(limit)
            try:
                for piece in pieces:
                    parser.feed(piece)
            except Malformed:
                return True
            return False

        positions = [0, *sorted(cuts), len(raw)]
        cut = [raw[start:end] for start, end in pairwise(positions)]
        self.assertEqual(outcome([raw]), outcome([bytes([byte]) for byte in raw]))
        self.assertEqual(outcome([raw]), outcome(cut))

    def test_examples_of_the_standard(self) -> None:
        self.assertEqual(
            parse(b"data: YHOO\ndata: +2\ndata: 10\n\n"), [Event("message", b"YHOO\n+2\n10", "")], "several lines"
        )
        self.assertEqual(
            parse(b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n"),
            [
                Event("message", b"first event", "1"),
                Event("message", b"second event", ""),
                Event("message", b" third event", ""),
            ],
            "comments, an id that is reset, one space only",
        )
        self.assertEqual(
            parse(b"data\n\ndata\ndata\n\ndata:"), [Event("message", b"", ""), Event("message", b"\n", "")], "no value"
        )

    def test_all_line_ends_are_equal(self) -> None:
        for end in (b"\n", b"\r", b"\r\n"):
            raw = end.join([b"event: a", b"data: 1", b"data: 2", b"", b"data: 3", b"", b""])
            self.assertEqual(parse(raw), [Event("a", b"1\n2", ""), Event("message", b"3", "")], end)

    def test_an_event_does_not_wait_for_what_may_follow_its_last_carriage_return(self) -> None:
        parser = Parser(1000)
        self.assertEqual(parser.feed(b"data: 1\r\r"), [Event("message", b"1", "")])
        self.assertEqual(parser.feed(b"\ndata: 2\r"), [])
        self.assertEqual(parser.feed(b"\n\r"), [Event("message", b"2", "")])

    def test_a_leading_byte_order_mark_is_ignored(self) -> None:
        self.assertEqual(parse(b"\xef\xbb\xbfdata: 1\n\n"), [Event("message", b"1", "")])
        self.assertEqual(
            parse(b"data: 1\n\n\xef\xbb\xbfdata: 2\n\n"), [Event("message", b"1", "")], "only at the start"
        )
        self.assertEqual(parse(b"\xef\xbb\xbf\xef\xbb\xbfdata: 2\n\n"), [], "only one")

    def test_an_id_lasts_until_the_next(self) -> None:
        self.assertEqual(parse(b"id: 7\ndata: a\n\ndata: b\n\n")[1], Event("message", b"b", "7"), "it stays")
        self.assertEqual(parse(b"id: 7\n\ndata: b\n\n")[0].id, "7", "named where there was no event")
        self.assertEqual(parse(b"id: 7\nid: 8\0\ndata: a\n\n")[0].id, "7", "one with NUL is none")

    def test_names_do_not_stay(self) -> None:
        self.assertEqual(parse(b"event: a\n\ndata: b\n\n"), [Event("message", b"b", "")])

    def test_what_is_not_utf8_is_replaced_in_names_and_left_in_data(self) -> None:
        self.assertEqual(parse(b"event: \xff\nid: \xfe\ndata: \xff\n\n"), [Event("\ufffd", b"\xff", "\ufffd")])

    def test_unknown_fields_and_comments_are_ignored(self) -> None:
        self.assertEqual(parse(b"retry: 5\nDATA: x\n data: y\nmood: good\ndata: z\n\n"), [Event("message", b"z", "")])

    def test_an_event_over_the_limit_is_malformed(self) -> None:
        for raw in (
            b"data: " + b"x" * 95 + b"\n\n",
            b"x" * 101,
            b":" + b"x" * 200,
            b"data\n" * 200,
            b"id: " + b"x" * 99,
        ):
            self.assertRaises(Malformed, parse, raw, 100)
            self.assertRaises(Malformed, parse_slowly, raw, 100)
        self.assertEqual(len(parse((b"data: " + b"x" * 94 + b"\n\n:\n") * 1000, 100)), 1000, "each is counted anew")

    def test_a_long_event_in_small_pieces_takes_linear_time(self) -> None:
        """Each byte is looked at once: a parser that begins anew with every piece would be at this for minutes."""
        raw = b"data: " + b"x" * (2 << 20) + b"\n\n"
        parser = Parser(4 << 20)
        events = [event for start in range(0, len(raw), 32) for event in parser.feed(raw[start : start + 32])]
        self.assertEqual([(event.name, len(event.data)) for event in events], [("message", 2 << 20)])


class FrameTests(SynchronousTestCase):
    """L{frame}."""

    @given(
        st.text(st.characters(exclude_characters="\r\n", codec="utf-8"), min_size=1).filter(
            lambda text: text[0] != " "
        ),
        st.binary().filter(lambda data: not set(data) & set(b"\r\n")),
        st.none() | st.text(st.characters(exclude_characters="\r\n\0", codec="utf-8")),
    )
    def test_any_event_reads_back_in_any_pieces(self, name: str, data: bytes, id: str | None) -> None:
        self.assertEqual(parse(frame(name, data, id) * 2), [Event(name, data, id or "")] * 2)
