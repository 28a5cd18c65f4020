"""Tests of L{confd.brokers.link}."""

from __future__ import annotations

import gc
from random import Random
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from confd.brokers.link import (
    ANSWER_TIMEOUT_SECONDS,
    CONNECT_TIMEOUT_SECONDS,
    OPEN_TIMEOUT_SECONDS,
    PING_INTERVAL_SECONDS,
    RETRY_MAX_SECONDS,
    CommandRefused,
    Link,
    Lost,
    one_line,
)
from confd.errors import Unavailable
from confd.runtime.timing import Backoff


class Ceiling(Random):
    """Draws the largest number that it may."""

    def uniform(self, a: float, b: float) -> float:
        """The upper bound."""
        return b


@define(eq=False)
class FakeConnection:
    """A connection that answers when the test says so."""

    lost: bool = field(default=False, init=False)
    pings: list[Deferred[None]] = field(factory=list, init=False)
    _waiting: list[Deferred[None]] = field(factory=list, init=False)

    def when_lost(self) -> Deferred[None]:
        if self.lost:
            return succeed(None)
        self._waiting.append(Deferred())
        return self._waiting[-1]

    async def prove(self) -> None:
        self.pings.append(Deferred())
        await self.pings[-1]

    def cut(self) -> None:
        self.lost = True
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)


class LinkTests(SynchronousTestCase):
    """L{Link}."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.attempts: list[Deferred[FakeConnection]] = []
        self.opened = self.returned = 0
        backoff = Backoff(Ceiling(), RETRY_MAX_SECONDS)
        self.link: Link[Any] = Link(self.clock, "X_ADDRESS: there", self.open, backoff, self.count, returned=self.back)

    def tearDown(self) -> None:
        """Stop it; an unhandled error is logged when its Deferred is collected."""
        if self.link.running:
            self.link.stopService()
            self.clock.advance(1)
        gc.collect()

    async def open(self) -> FakeConnection:
        self.attempts.append(Deferred())
        return await self.attempts[-1]

    def count(self) -> None:
        self.opened += 1

    def back(self) -> None:
        self.returned += 1

    def connect(self) -> FakeConnection:
        """Let the attempt that is under way succeed."""
        connection = FakeConnection()
        self.attempts[-1].callback(connection)
        return connection

    def fail(self, words: str = "X_ADDRESS: refused.") -> None:
        """Let the attempt that is under way fail."""
        self.attempts[-1].errback(Unavailable("broker_unavailable", words))

    def use(self, answer: Deferred[str]) -> Deferred[str]:
        """Do what gives this answer."""

        async def operation(connection: FakeConnection) -> str:
            return await answer

        return Deferred.fromCoroutine(self.link.use(operation))

    def test_link_that_is_not_started_refuses_calls(self) -> None:
        self.assertIsNone(self.link.problem())
        self.failureResultOf(self.use(succeed("x")), Unavailable)

    def test_started_link_connects(self) -> None:
        self.link.startService()
        self.assertIn("not connected yet", self.link.problem() or "")
        self.connect()
        self.assertEqual((self.link.problem(), self.opened), (None, 1))
        self.assertEqual(self.successResultOf(self.use(succeed("x"))), "x")

    def test_pauses_grow_up_to_the_longest(self) -> None:
        self.link.startService()
        for pause in (1.0, 1.5, 2.25, 3.375, RETRY_MAX_SECONDS, RETRY_MAX_SECONDS):
            self.fail()
            self.assertEqual(self.link.problem(), "X_ADDRESS: refused.")
            made = len(self.attempts)
            self.clock.advance(pause - 0.001)
            self.assertEqual(len(self.attempts), made)
            self.clock.advance(0.001)
            self.assertEqual(len(self.attempts), made + 1)
        self.connect()
        self.assertIsNone(self.link.problem())

    def test_returned_is_called_after_a_loss_or_a_failed_attempt(self) -> None:
        self.link.startService()
        connection = self.connect()
        self.assertEqual((self.opened, self.returned), (1, 0))
        for returned in (1, 2):
            connection.cut()
            self.clock.advance(RETRY_MAX_SECONDS)
            self.fail()
            self.clock.advance(RETRY_MAX_SECONDS)
            connection = self.connect()
            self.assertEqual((self.opened, self.returned), (returned + 1, returned))

    def test_defect_does_not_end_the_attempts(self) -> None:
        self.link.startService()
        self.attempts[-1].errback(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.clock.advance(RETRY_MAX_SECONDS)
        self.connect()
        self.assertIsNone(self.link.problem())

    def test_lost_connection_is_opened_again(self) -> None:
        self.link.startService()
        self.connect().cut()
        self.assertIn("lost the connection", self.link.problem() or "")
        self.clock.advance(RETRY_MAX_SECONDS)
        self.connect()
        self.assertEqual((self.link.problem(), self.opened), (None, 2))

    def test_pauses_are_reset_only_by_an_answered_ping(self) -> None:
        self.link.startService()
        for pause in (1.0, 1.5, 2.25):
            self.connect().cut()
            self.clock.advance(pause - 0.001)
            self.assertTrue(self.attempts[-1].called)
            self.clock.advance(0.001)
            self.assertFalse(self.attempts[-1].called)
        connection = self.connect()
        self.clock.advance(PING_INTERVAL_SECONDS)
        connection.pings[-1].callback(None)
        connection.cut()
        self.clock.advance(1)
        self.assertFalse(self.attempts[-1].called)

    def test_slow_opening_is_a_problem(self) -> None:
        self.link.startService()
        self.clock.advance(OPEN_TIMEOUT_SECONDS)
        self.assertIn("within 5 seconds", self.link.problem() or "")

    def test_unanswered_ping_cuts_the_connection(self) -> None:
        self.link.startService()
        connection = self.connect()
        for number in range(1, 4):
            self.clock.advance(PING_INTERVAL_SECONDS)
            self.assertEqual(len(connection.pings), number)
            connection.pings[-1].callback(None)
        self.assertFalse(connection.lost)
        self.clock.advance(PING_INTERVAL_SECONDS)
        self.clock.advance(ANSWER_TIMEOUT_SECONDS)
        self.assertTrue(connection.lost)

    def test_refused_ping_cuts_the_connection(self) -> None:
        self.link.startService()
        connection = self.connect()
        self.clock.advance(PING_INTERVAL_SECONDS)
        connection.pings[-1].errback(CommandRefused("no"))
        self.assertTrue(connection.lost)

    def test_missing_answer_cuts_the_connection(self) -> None:
        self.link.startService()
        connection = self.connect()
        answer = self.use(Deferred())
        self.clock.advance(ANSWER_TIMEOUT_SECONDS)
        self.failureResultOf(answer, Unavailable)
        self.assertTrue(connection.lost)

    def test_call_waits_for_the_connection(self) -> None:
        self.link.startService()
        answer = self.use(succeed("x"))
        self.assertNoResult(answer)
        self.connect()
        self.assertEqual(self.successResultOf(answer), "x")

    def test_call_fails_with_the_attempt(self) -> None:
        self.link.startService()
        answer = self.use(succeed("x"))
        self.fail()
        self.assertEqual(self.failureResultOf(answer, Unavailable).value.message, "X_ADDRESS: refused.")

    def test_call_waits_for_a_bounded_time(self) -> None:
        self.link.startService()
        answer = self.use(succeed("x"))
        self.clock.advance(CONNECT_TIMEOUT_SECONDS)
        self.failureResultOf(answer, Unavailable)
        self.connect()
        self.assertIsNone(self.link.problem())

    def test_limits_keep_the_promise_of_the_interface(self) -> None:
        self.assertLessEqual(CONNECT_TIMEOUT_SECONDS + ANSWER_TIMEOUT_SECONDS, 5)

    def test_refusal_is_a_problem_until_a_call_succeeds(self) -> None:
        self.link.startService()
        connection, answer = self.connect(), Deferred[str]()
        failed = self.use(answer)
        answer.errback(CommandRefused("NOPERM"))
        self.assertIn("NOPERM", self.failureResultOf(failed, Unavailable).value.message)
        self.assertIn("NOPERM", self.link.problem() or "")
        self.assertFalse(connection.lost)
        self.successResultOf(self.use(succeed("x")))
        self.assertIsNone(self.link.problem())

    def test_connection_lost_before_the_answer_fails_the_call(self) -> None:
        self.link.startService()
        self.connect()
        answer: Deferred[str] = Deferred()
        failed = self.use(answer)
        answer.errback(Lost())
        self.failureResultOf(failed, Unavailable)
        self.assertIsNone(self.link.problem())

    def test_link_stops_while_connected(self) -> None:
        self.link.startService()
        connection = self.connect()
        stopped = self.link.stopService()
        self.successResultOf(stopped or succeed(None))
        self.assertEqual((connection.lost, self.link.problem(), self.clock.getDelayedCalls()), (True, None, []))

    def test_link_stops_while_it_connects(self) -> None:
        self.link.startService()
        waiting = self.use(succeed("x"))
        stopped = self.link.stopService()
        self.failureResultOf(waiting, Unavailable)
        self.clock.advance(1)
        self.successResultOf(stopped or succeed(None))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_link_stops_between_two_attempts(self) -> None:
        self.link.startService()
        self.fail()
        self.assertIsNone(self.link.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_callback_may_stop_and_restart_the_link(self) -> None:
        self.link.startService()
        stopped: list[Any] = []
        self.use(succeed("x")).addCallback(lambda _: stopped.append(self.link.stopService()))
        connection = self.connect()
        self.clock.advance(1)
        self.successResultOf(stopped[0])
        self.assertTrue(connection.lost)
        self.link.startService()
        self.connect()
        self.assertIsNone(self.link.problem())


class OneLineTests(SynchronousTestCase):
    """L{one_line}."""

    def test_words_become_one_short_line(self) -> None:
        self.assertEqual(one_line("a\r\nb\x1b[31m  c."), r"a b\x1b[31m c")
        self.assertEqual(len(one_line("x" * 10_000)), 300)
        self.assertEqual(one_line(TimeoutError()), "TimeoutError")
