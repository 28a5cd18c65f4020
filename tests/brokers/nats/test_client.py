"""Tests of the parser of what a NATS server sends."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from nats.errors import ProtocolError
from nats.protocol.parser import Parser
from twisted.trial.unittest import SynchronousTestCase

from confd.brokers.nats.client import MAX_LINE_BYTES, MAX_MESSAGE_BYTES, BoundedParser, NatsClient

#: What a server sends.
LINES = (
    b"PING\r\n", b"PONG\r\n", b"+OK\r\n", b"-ERR 'Authorization Violation'\r\n", b'INFO {"a": [1, "x  y"]}\r\n',
    b"MSG s.t 1 3\r\nabc\r\n", b"MSG s\t12  r.u\t0\r\n\r\n", b"MSG s 1 5\r\n\r\n\r\n\0\r\n",
    b"HMSG s 1 4 6\r\nN/1\nab\r\n", b"HMSG s 1 r 4 4\r\nN/1\n\r\n",
)  # fmt: skip


class Client:
    """
    Remembers what it is sent.

    @ivar parsed: each line or message.
    """

    def __init__(self) -> None:
        self.parsed: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        async def tell(*arguments: object) -> None:
            self.parsed.append((name, *arguments))

        return tell


def parsed(kind: type[Parser], pieces: list[bytes]) -> list[tuple[Any, ...]]:
    """What a client hears of these pieces."""
    client = Client()
    parser = kind(client)
    for piece in pieces:
        coroutine = parser.parse(piece)
        try:
            coroutine.send(None)
        except StopIteration:
            continue
        raise AssertionError("the parser waits")
    return client.parsed


class BoundedParserTests(SynchronousTestCase):
    """L{BoundedParser}."""

    @given(st.lists(st.sampled_from(LINES), max_size=8), st.lists(st.integers(1, 40), max_size=20))
    def test_parser_agrees_with_that_of_the_library_however_bytes_are_cut(
        self, lines: list[bytes], cuts: list[int]
    ) -> None:
        stream, pieces = b"".join(lines), []
        for cut in cuts:
            pieces.append(stream[:cut])
            stream = stream[cut:]
        pieces.append(stream)
        self.assertEqual(parsed(BoundedParser, pieces), parsed(Parser, [b"".join(lines)]))

    def test_malformed_and_endless_input_ends_the_connection(self) -> None:
        for wrong in (
            b"HTTP/1.1 400 Bad Request\r\n", b"\r\n", b"MSG\r\n", b"MSG s 1\r\n", b"MSG s x 1\r\n", b"MSG s 1 -1\r\n",
            b"MSG s 1 r q 1\r\n", b"HMSG s 1 5 4\r\n", b"HMSG s 1 4\r\n", b"INFO {\r\n",
            b"INFO " + b"[" * 60_000 + b"\r\n",
            b"MSG s 1 1\r\nabc", b"MSG s 1 %d\r\n" % (MAX_MESSAGE_BYTES + 1), b"MSG s 1 " + b"9" * 5000 + b"\r\n",
            b"INFO " + b" " * MAX_LINE_BYTES, b"x" * (MAX_LINE_BYTES + 1) + b"\r\n", b"info {}\r\n",
        ):  # fmt: skip
            self.assertRaises(ProtocolError, parsed, BoundedParser, [wrong])

    def test_line_of_blanks_is_read_in_linear_time(self) -> None:
        line = b"INFO" + b" " * 60_000 + b"{}\r\n"
        self.assertEqual(
            parsed(BoundedParser, [line[at : at + 10] for at in range(0, len(line), 10)]), [("_process_info", {})]
        )


class PongTests(SynchronousTestCase):
    """The answers to pings of L{NatsClient}."""

    def test_late_answer_to_a_cancelled_ping_leaves_the_next_ping_its_answer(self) -> None:
        loop = asyncio.new_event_loop()
        self.addCleanup(loop.close)
        cancelled, waiting = loop.create_future(), loop.create_future()
        cancelled.cancel()
        client = NatsClient()
        client._pongs = [cancelled, waiting]
        loop.run_until_complete(BoundedParser(client).parse(b"PONG\r\nPONG\r\n"))
        self.assertTrue(waiting.result())
        self.assertEqual(client._pongs, [])
