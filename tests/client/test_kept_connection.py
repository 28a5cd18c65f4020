"""Tests of L{confd.client.kept_connection}."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from confd.client.kept_connection import IDLE_SECONDS, MAX_IDLE, ConnectionPool, KeptConnection, StaleConnection
from confd.client.response_head import BadResponse

SERVER = ("http", "a.example", 80)
BODY = bytes(range(256)) * 4
RESPONSES = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY,
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3E8\r\n"
    + BODY[:1000]
    + b"\r\n18\r\n"
    + BODY[1000:]
    + b"\r\n0\r\n\r\n",
    "end": b"HTTP/1.1 200 OK\r\n\r\n" + BODY,
    "interim": b"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY)
    + BODY,
}


class Taken:
    """A sink that keeps everything."""

    def __init__(self) -> None:
        self.body = b""
        self.ends: list[Failure | None] = []

    def write(self, data: bytes) -> None:
        self.body += data

    def ended(self, reason: Failure | None) -> None:
        self.ends.append(reason)


class KeptConnectionTests(SynchronousTestCase):
    """L{KeptConnection} and L{ConnectionPool}."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.pool = ConnectionPool(self.clock)

    def connect(self) -> tuple[KeptConnection, StringTransport]:
        """Return a connection, and its wire."""
        pool, wire = self.pool, StringTransport()
        connection = KeptConnection(lambda each: pool.keep(SERVER, each), lambda each: pool.forget(SERVER, each))
        connection.makeConnection(wire)
        return connection, wire

    def lose(self, connection: KeptConnection, error: Any = ConnectionDone) -> None:
        """End a connection from the other side."""
        connection.connectionLost(Failure(error()))

    @given(st.sampled_from(sorted(RESPONSES)), st.lists(st.integers(1, 1200), max_size=12))
    def test_a_response_arrives_whole_however_it_is_cut(self, kind: str, cuts: list[int]) -> None:
        self.setUp()
        connection, wire = self.connect()
        asking, taken, raw = connection.get(b"GET"), Taken(), RESPONSES[kind]
        bodies: list[bytes] = []

        def began(head: object) -> None:
            if connection.whole:
                bodies.append(connection.body)
            else:
                connection.deliver(taken)

        asking.addCallback(began)
        places = [0, *sorted({cut for cut in cuts if cut < len(raw)}), len(raw)]
        for begin, end in pairwise(places):
            connection.dataReceived(raw[begin:end])
        if kind == "end":
            self.lose(connection)
        self.assertIsNone(self.successResultOf(asking))
        self.assertEqual(b"".join(bodies) + taken.body, BODY)
        self.assertEqual(taken.ends, [] if bodies else [None])
        self.assertIs(self.pool.take(SERVER), None if kind == "end" else connection)
        self.assertEqual(wire.value(), b"GET")

    def test_a_body_that_ends_early_says_why(self) -> None:
        for error in (ConnectionDone, ConnectionLost):
            connection, _ = self.connect()
            asking, taken = connection.get(b"GET"), Taken()
            connection.dataReceived(RESPONSES["length"][:-1])
            self.successResultOf(asking)
            connection.deliver(taken)
            self.lose(connection, error)
            [reason] = taken.ends
            assert reason is not None
            self.assertEqual(len(taken.body), len(BODY) - 1)
            reason.trap(error)

    def test_a_kept_connection_that_ends_before_the_response_is_stale(self) -> None:
        connection, _ = self.connect()
        first = connection.get(b"GET")
        connection.dataReceived(RESPONSES["length"])
        self.successResultOf(first)
        self.assertIs(self.pool.take(SERVER), connection)
        second = connection.get(b"GET")
        self.lose(connection)
        self.failureResultOf(second, StaleConnection)

    def test_a_new_connection_that_ends_before_the_response_is_not_stale(self) -> None:
        connection, _ = self.connect()
        asking = connection.get(b"GET")
        self.lose(connection)
        self.failureResultOf(asking, ConnectionDone)

    def test_a_long_head_closes_the_connection(self) -> None:
        for interim in (0, 3):
            connection, wire = self.connect()
            asking = connection.get(b"GET")
            # Four lines are more than L{MAX_HEAD_BYTES}.
            line = b"A: " + b"x" * 9000 + b"\r\n"
            connection.dataReceived((b"HTTP/1.1 103 Hints\r\n" + line + b"\r\n") * interim)
            connection.dataReceived(b"HTTP/1.1 200 OK\r\n" + line * (4 - interim))
            self.failureResultOf(asking, BadResponse)
            self.assertTrue(wire.disconnecting or wire.disconnected)

    def test_bytes_behind_a_response_or_without_a_request_end_the_connection(self) -> None:
        connection, wire = self.connect()
        connection.get(b"GET")
        connection.dataReceived(RESPONSES["length"] + b"H")
        self.assertTrue(wire.disconnected)
        self.assertIsNone(self.pool.take(SERVER))
        connection, wire = self.connect()
        connection.dataReceived(b"H")
        self.assertTrue(wire.disconnected)

    def test_a_paused_connection_reads_on_with_its_next_request(self) -> None:
        connection, wire = self.connect()
        asking = connection.get(b"GET")
        connection.dataReceived(RESPONSES["length"][:-1])
        self.successResultOf(asking)
        connection.deliver(Taken())
        connection.pauseProducing()
        self.assertEqual(wire.producerState, "paused")
        connection.dataReceived(RESPONSES["length"][-1:])
        self.assertEqual(wire.producerState, "producing")

    def test_idle_connections_are_bounded_and_end(self) -> None:
        wires = []
        for _ in range(MAX_IDLE + 1):
            connection, wire = self.connect()
            self.pool.keep(SERVER, connection)
            wires.append(wire)
        self.assertEqual([wire.disconnected for wire in wires], [False] * MAX_IDLE + [True])
        self.clock.advance(IDLE_SECONDS / 2)
        kept = self.pool.take(SERVER)
        assert kept is not None
        self.pool.keep(SERVER, kept)
        self.clock.advance(IDLE_SECONDS / 2)
        self.assertEqual(sum(not wire.disconnected for wire in wires), 1)
        self.clock.advance(IDLE_SECONDS / 2)
        self.assertEqual(sum(not wire.disconnected for wire in wires), 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_pool_closes_once_its_connections_have_ended(self) -> None:
        connection, wire = self.connect()
        self.pool.keep(SERVER, connection)
        closing = self.pool.close()
        self.assertTrue(wire.disconnected)
        self.assertNoResult(closing)
        self.lose(connection)
        self.successResultOf(closing)
        self.assertEqual(self.clock.getDelayedCalls(), [])
