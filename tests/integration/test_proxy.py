"""Tests of L{tests.integration.proxy}: it does the requested harm, and no other."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.fleet import eventually
from tests.integration.proxy import NATS_MESSAGE, REDIS_MESSAGE, Faults, Proxy


class Speaker:
    """A server of one connection at a time, which sends the bytes of the test."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.accepted: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        try:
            while True:
                self.accepted.append(self._listening.accept()[0])
        except OSError:
            return

    def say(self, words: bytes) -> None:
        """Send bytes to the last client."""
        eventually(lambda: self.accepted)
        self.accepted[-1].sendall(words)

    def close(self) -> None:
        """Close the server; more calls do nothing."""
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        for each in (self._listening, *self.accepted):
            each.close()


def redis_message(payload: bytes) -> bytes:
    """Return a payload as a subscriber of Redis receives it."""
    return b"*3\r\n$7\r\nmessage\r\n$13\r\nconfig:global\r\n$%d\r\n%s\r\n" % (len(payload), payload)


def nats_message(payload: bytes) -> bytes:
    """Return a payload as a subscriber of NATS receives it."""
    return b"MSG config.worker.update 1 %d\r\n%s\r\n" % (len(payload), payload)


class ProxyTests(SynchronousTestCase):
    """L{Proxy}."""

    def build(self, message: re.Pattern[bytes] | None = None) -> None:
        """Start a speaker and a proxy, and connect."""
        self.speaker = Speaker()
        self.addCleanup(self.speaker.close)
        self.proxy = Proxy(self.speaker.port, Random(1), message).start()
        self.addCleanup(self.proxy.close)
        self.listener = self.connect()

    def connect(self) -> socket.socket:
        """Open another connection through the proxy."""
        made = socket.create_connection(("127.0.0.1", self.proxy.port), timeout=10)
        self.addCleanup(made.close)
        return made

    def hears(self, count: int) -> bytes:
        """Return the next bytes that pass."""
        heard = b""
        while len(heard) < count:
            heard += (piece := self.listener.recv(count - len(heard)))
            self.assertTrue(piece, "the proxy closed the connection")
        return heard

    def through(self, faults: Faults, said: bytes, expected: int) -> bytes:
        """Return the bytes that pass of C{said}; an end without a fault shows that no more follow."""
        self.proxy.faults = faults
        self.speaker.say(said)
        heard = self.hears(expected)
        self.proxy.heal()
        self.speaker.say(b"the end")
        self.assertEqual(self.hears(7), b"the end")
        return heard

    def test_passes_and_cuts(self) -> None:
        self.build()
        said = bytes(range(256)) * 100
        self.assertEqual(self.through(Faults(), said, len(said)), said)
        self.assertEqual(self.through(Faults(cut=True), said, len(said)), said)

    def test_messages(self) -> None:
        """Faults meet the messages of both protocols; other bytes pass, and so do messages in two pieces."""
        for pattern, message in ((REDIS_MESSAGE, redis_message), (NATS_MESSAGE, nats_message)):
            self.build(pattern)
            first, second = message(b"one\r\n"), message(b"two" * 50000)
            said = b"+OK\r\n" + first + b"PONG\r\n" + second + b"PING\r\n"
            self.assertEqual(self.through(Faults(), said, len(said)), said)
            rest = b"+OK\r\nPONG\r\nPING\r\n"
            self.assertEqual(self.through(Faults(drop=1), said, len(rest)), rest)
            doubled = said.replace(first, first * 2).replace(second, second * 2)
            self.assertEqual(self.through(Faults(double=1), said, len(doubled)), doubled)

    def test_flips_one_bit_of_the_payload(self) -> None:
        self.build(NATS_MESSAGE)
        said = nats_message(b"payload")
        heard = self.through(Faults(flip=1), said, len(said))
        different = [a ^ b for a, b in zip(said, heard, strict=True) if a != b]
        self.assertEqual([each.bit_count() for each in different], [1])
        self.assertEqual(heard[:-9], said[:-9])
        self.assertEqual(self.proxy.harmed, 1)

    def test_reorders(self) -> None:
        """Delays differ, so messages overtake each other, and none is lost."""
        self.build(NATS_MESSAGE)
        messages = [nats_message(b"%02d" % number) for number in range(50)]
        self.proxy.faults = Faults(delay=0.5)
        self.speaker.say(b"".join(messages))
        heard = self.hears(len(messages[0]) * 50)
        self.assertNotEqual(heard, b"".join(messages))
        self.assertEqual(sorted(re.findall(rb"\r\n(\d\d)\r\n", heard)), [b"%02d" % number for number in range(50)])

    def test_blackhole(self) -> None:
        """A blackhole holds all bytes back with the connection open; afterwards all bytes pass."""
        self.build()
        self.speaker.say(b"before")
        self.hears(6)
        self.proxy.blackhole()
        self.speaker.say(b"meanwhile")
        self.listener.settimeout(0.2)
        self.assertRaises(TimeoutError, self.listener.recv, 1)
        self.listener.settimeout(10)
        self.proxy.heal()
        self.assertEqual(self.hears(9), b"meanwhile")

    def test_breaks_off_and_refuses(self) -> None:
        self.build()
        self.speaker.say(b"before")
        self.hears(6)
        self.proxy.refuses = True
        self.proxy.drop()
        for each in (self.listener, self.connect()):
            self.assertEqual(self.ended(each), b"")
        self.proxy.heal()
        self.listener = self.connect()
        eventually(lambda: len(self.speaker.accepted) == 2)
        self.speaker.say(b"after")
        self.assertEqual(self.hears(5), b"after")

    def ended(self, connection: socket.socket) -> bytes:
        """Return the bytes before the end of a connection, closed or reset."""
        try:
            return connection.recv(1)
        except ConnectionResetError:
            return b""

    def test_a_target_that_is_down(self) -> None:
        self.build()
        self.speaker.say(b"up")
        self.hears(2)
        self.speaker.close()
        self.assertEqual(self.ended(self.listener), b"")
        self.assertEqual(self.ended(self.connect()), b"")
