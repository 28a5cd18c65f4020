"""Tests of L{confd.brokers.redis.protocol}, over a transport in memory."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from confd.brokers.link import CommandRefused, Lost, Misplaced
from confd.brokers.redis.protocol import RedisConnection
from confd.codec.bodies import MAX_ANSWER_BYTES


def array(*items: bytes) -> bytes:
    """A RESP array of bulk strings."""
    return b"*%d\r\n" % len(items) + b"".join(b"$%d\r\n%s\r\n" % (len(item), item) for item in items)


class RedisConnectionTests(SynchronousTestCase):
    """L{RedisConnection}."""

    def setUp(self) -> None:
        self.connect()

    def connect(self) -> None:
        """Begin anew."""
        self.heard: list[tuple[str, bytes]] = []
        self.connection = RedisConnection(lambda channel, message: self.heard.append((channel, message)))
        self.transport = StringTransport()
        self.connection.makeConnection(self.transport)

    def ask(self, *command: object) -> Deferred[Any]:
        """Send a command."""
        return Deferred.fromCoroutine(self.connection.ask(*command))

    def test_command_returns_its_reply(self) -> None:
        answer = self.ask("SET", "key", b"\xff\r\n")
        self.assertEqual(self.transport.value(), array(b"SET", b"key", b"\xff\r\n"))
        self.connection.dataReceived(b"+OK\r\n")
        self.assertEqual(self.successResultOf(answer), "OK")

    def test_values_stay_bytes(self) -> None:
        for raw in (b"42", b"-1.5", b"\xff", b"", b"\r\n"):
            answer = self.ask("GET", "key")
            self.connection.dataReceived(b"$%d\r\n%s\r\n" % (len(raw), raw))
            self.assertEqual(self.successResultOf(answer), raw)
        answer = self.ask("GET", "key")
        self.connection.dataReceived(b"$-1\r\n")
        self.assertIsNone(self.successResultOf(answer))

    @given(st.lists(st.binary(max_size=50), max_size=5), st.lists(st.integers(1, 30)))
    def test_messages_arrive_between_replies_however_bytes_are_cut(
        self, messages: list[bytes], cuts: list[int]
    ) -> None:
        self.connect()
        self.connection.subscribed = True
        subscribed, proved = self.ask("SUBSCRIBE", "c"), Deferred.fromCoroutine(self.connection.prove())
        stream = b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n"
        stream += b"".join(array(b"message", b"c", message) for message in messages) + array(b"pong", b"")
        for cut in cuts:
            self.connection.dataReceived(stream[:cut])
            stream = stream[cut:]
        self.connection.dataReceived(stream)
        self.assertEqual(self.heard, [("c", message) for message in messages])
        self.assertEqual(self.successResultOf(subscribed), [b"subscribe", b"c", 1])
        self.successResultOf(proved)

    def prove(self, *replies: bytes) -> Deferred[Any]:
        """Prove that it is of use, while the server answers this."""
        proved = Deferred.fromCoroutine(self.connection.prove())
        for reply in replies:
            self.connection.dataReceived(reply)
        return proved

    def test_primary_that_became_a_replica_is_misplaced(self) -> None:
        primary, replica = b"$11\r\nrole:master\r\n", b"$10\r\nrole:slave\r\n"
        for role in (replica, primary, primary, b"-NOPERM no\r\n"):
            self.successResultOf(self.prove(b"+PONG\r\n", role))
        self.failureResultOf(self.prove(b"+PONG\r\n", replica), Misplaced)

    def test_error_reply_is_a_refusal(self) -> None:
        answer = self.ask("GET", "key")
        self.connection.dataReceived(b"-NOPERM you may\x1b not\r\n")
        self.assertEqual(str(self.failureResultOf(answer, CommandRefused).value), "NOPERM you may\\x1b not")

    def test_refusal_repeats_no_secret(self) -> None:
        answer = self.ask("AUTH", "hunter2")
        self.connection.dataReceived(b"-ERR unknown command `AUTH`, with args beginning with: `hunter2`, \r\n")
        self.assertEqual(str(self.failureResultOf(answer, CommandRefused).value), "ERR unknown command `AUTH`")

    def test_lost_connection_fails_waiting_commands(self) -> None:
        answer, lost = self.ask("GET", "key"), self.connection.when_lost()
        self.connection.connectionLost()
        self.failureResultOf(answer, Lost)
        self.successResultOf(lost)
        self.successResultOf(self.connection.when_lost())
        self.failureResultOf(self.ask("GET", "key"), Lost)

    def test_oversized_value_is_not_kept(self) -> None:
        size = 3 * MAX_ANSWER_BYTES
        self.connection.dataReceived(b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$%d\r\n" % size)
        for _ in range(24):
            self.connection.dataReceived(b"x" * (size // 24))
            self.assertLessEqual(len(self.connection.bulk_buffer), MAX_ANSWER_BYTES + 3)
        self.connection.dataReceived(b"\r\n" + array(b"message", b"c", b"next"))
        self.assertGreater(len(self.heard[0][1]), MAX_ANSWER_BYTES)
        self.assertEqual(self.heard[1], ("c", b"next"))

    def test_unexpected_replies_are_dropped(self) -> None:
        self.connection.dataReceived(b"+OK\r\n" * 1000)
        answer = self.ask("GET", "key")
        self.assertNoResult(answer)

    def test_another_protocol_ends_the_connection_without_a_traceback(self) -> None:
        for rubbish in (b"\xff\xfe\r\n", b"*10\r\n", b"*2\r\n*2\r\n", b"x" * 100_000):
            self.connect()
            self.connection.dataReceived(rubbish)
            self.assertTrue(self.transport.disconnecting or self.transport.disconnected, rubbish[:20])

    @given(st.binary())
    def test_no_input_raises(self, rubbish: bytes) -> None:
        self.connect()
        self.connection.dataReceived(rubbish)
        self.connection.dataReceived(b"\r\n")
        self.assertTrue(all(isinstance(message, bytes) for _, message in self.heard))
