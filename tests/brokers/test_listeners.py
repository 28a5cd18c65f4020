"""Tests of L{confd.brokers.listeners}; how listeners are called, the suite of all brokers tells."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from confd.brokers.listeners import Listeners
from confd.codec.bodies import MAX_ANSWER_BYTES


class ListenersTests(SynchronousTestCase):
    """L{Listeners}."""

    def setUp(self) -> None:
        self.heard: list[int] = []
        self.listeners = Listeners()
        self.listeners.add("topic", lambda message: self.heard.append(len(message)), lambda: None)

    def test_oversized_message_is_dropped_and_counted(self) -> None:
        for size in (0, MAX_ANSWER_BYTES, MAX_ANSWER_BYTES + 1):
            self.listeners.deliver("topic", bytes(size))
        self.assertEqual((self.heard, self.listeners.dropped), ([0, MAX_ANSWER_BYTES], 1))

    def test_message_without_a_listener_is_ignored(self) -> None:
        self.listeners.deliver("another", b"x")
        self.assertEqual((self.heard, self.listeners.topics), ([], ["topic"]))

    def test_failing_listener_does_not_stop_the_others(self) -> None:
        connected: list[int] = []
        self.listeners.add("topic", print, lambda: [].remove(1))
        self.listeners.add("topic", print, lambda: connected.append(1))
        self.listeners.connected()
        self.assertEqual((connected, len(self.flushLoggedErrors(ValueError))), ([1], 1))
