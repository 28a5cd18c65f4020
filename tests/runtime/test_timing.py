"""Tests of L{confd.runtime.timing}."""

from __future__ import annotations

import time
from collections import Counter
from itertools import accumulate
from random import Random
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from confd.agent.strategies.factories import RETURN_SPREAD_SECONDS
from confd.errors import ConfdError, Unavailable
from confd.runtime.timing import Backoff, LogLimiter, Periodic, retrying, use_monotonic_clock


class Ceiling(Random):
    """Draws the largest number that it may."""

    def uniform(self, a: float, b: float) -> float:
        """The upper bound."""
        return b


class MonotonicTests(SynchronousTestCase):
    """L{use_monotonic_clock} (promise G11)."""

    def test_timers_run_on_the_monotonic_clock(self) -> None:
        reactor = SimpleNamespace(seconds=time.time)
        use_monotonic_clock(reactor)
        self.assertIs(reactor.seconds, time.monotonic)

    def test_asyncio_is_left_alone(self) -> None:
        reactor = SimpleNamespace(seconds=time.time, _asyncioEventloop=object())
        use_monotonic_clock(reactor)
        self.assertIs(reactor.seconds, time.time)


class BackoffTests(SynchronousTestCase):
    """L{Backoff} (promise G8)."""

    def test_ceilings_grow_up_to_the_cap(self) -> None:
        backoff = Backoff(Ceiling(), cap=8)
        self.assertEqual([backoff.next() for _ in range(7)], [1, 1.5, 2.25, 3.375, 5.0625, 7.59375, 8])

    def test_after_a_reset_the_first_delay_comes_again(self) -> None:
        backoff = Backoff(Ceiling(), cap=30)
        for _ in range(4):
            backoff.next()
        backoff.reset()
        self.assertEqual(backoff.next(), 1)

    @given(st.integers(), st.floats(min_value=1, max_value=300), st.integers(min_value=1, max_value=2000))
    def test_delays_stay_within_the_cap(self, seed: int, cap: float, failures: int) -> None:
        backoff = Backoff(Random(seed), cap)
        self.assertTrue(all(0 <= backoff.next() <= cap for _ in range(failures)))

    def test_a_fleet_spreads_out(self) -> None:
        """After many failures the delays of many agents cover the whole window, none of it thrice the mean."""
        delays = []
        for seed in range(3000):
            backoff = Backoff(Random(seed), cap=30)
            delays.append([backoff.next() for _ in range(8)][-1])
        seconds = [sum(1 for delay in delays if second <= delay < second + 1) for second in range(30)]
        self.assertLess(max(seconds), 3 * len(delays) / 30)

    def test_a_fleet_returns_in_no_wave(self) -> None:
        """However long its controller is gone, most of a fleet is back with no second above thrice the mean."""
        for outage in (0.5, 1, 2, 3, 4, 5, 6, 8, 12, 20, 40):
            back = sorted(
                _first_after(outage, Backoff(Random(seed), base=RETURN_SPREAD_SECONDS)) for seed in range(2000)
            )
            most = [each - back[0] for each in back[: len(back) * 95 // 100]]
            self.assertLess(max(Counter(map(int, most)).values()), 3 * len(most) / max(1, most[-1]), outage)


def _first_after(moment: float, backoff: Backoff) -> float:
    """When somebody tries for the first time after C{moment} who lost what it had at 0."""
    return next(at for at in accumulate(iter(backoff.next, None)) if at > moment)


class RetryingTests(SynchronousTestCase):
    """L{retrying}."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.answers: list[Any] = []
        self.failures: list[ConfdError] = []

    def start(self) -> Deferred[Any]:
        return Deferred.fromCoroutine(
            retrying(self.clock, Backoff(Ceiling()), lambda: self.answers.pop(0), self.failures.append)
        )

    def test_tries_until_it_succeeds(self) -> None:
        error = Unavailable("down", "It is down.")
        self.answers = [fail(error), fail(error), succeed("there")]
        trying = self.start()
        self.assertNoResult(trying)
        self.clock.advance(1)
        self.assertNoResult(trying)
        self.clock.advance(2)
        self.assertEqual(self.successResultOf(trying), "there")
        self.assertEqual(self.failures, [error, error])

    def test_a_defect_ends_it(self) -> None:
        self.answers = [fail(ZeroDivisionError())]
        self.failureResultOf(self.start(), ZeroDivisionError)

    def test_can_be_cancelled_while_it_waits(self) -> None:
        self.answers = [fail(Unavailable("down", "It is down."))]
        trying = self.start()
        trying.cancel()
        self.failureResultOf(trying, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class LogLimiterTests(SynchronousTestCase):
    """L{LogLimiter}."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.seldom = LogLimiter(self.clock, 60.0, 3)

    def test_each_key_is_due_once_in_an_interval(self) -> None:
        self.assertEqual([self.seldom.due(each) for each in "aabab"], [True, False, True, False, False])
        self.clock.advance(59)
        self.assertFalse(self.seldom.due("a"))
        self.clock.advance(1)
        self.assertEqual([self.seldom.due(each) for each in "aab"], [True, False, True])

    def test_the_key_logged_longest_ago_is_forgotten_first(self) -> None:
        self.assertEqual([self.seldom.due(each) for each in "abcd"], [True] * 4)
        self.assertEqual([self.seldom.due(each) for each in "dcba"], [False, False, False, True])


class PeriodicTests(SynchronousTestCase):
    """L{Periodic}."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.rounds: list[Deferred[Any]] = []
        self.synchronous = True
        self.pause = 10.0

    def work(self) -> Deferred[Any]:
        self.rounds.append(succeed(None) if self.synchronous else Deferred())
        return self.rounds[-1]

    def periodic(self, work: Any = None, grace: float = 0) -> Periodic:
        return Periodic(self.clock, work or self.work, lambda: self.pause, grace)

    def test_works_at_once_and_after_each_pause(self) -> None:
        self.periodic().startService()
        self.assertEqual(len(self.rounds), 1)
        self.clock.pump([9.9, 0.1, 10])
        self.assertEqual(len(self.rounds), 3)

    def test_asks_for_each_pause(self) -> None:
        self.periodic().startService()
        self.pause = 1.0
        self.clock.pump([10, 1, 1])
        self.assertEqual(len(self.rounds), 4)

    def test_a_shorter_pause_counts_from_now_on(self) -> None:
        """A shorter one counts from now on, a longer one from the next round on."""
        periodic = self.periodic()
        periodic.startService()
        self.pause = 2.0
        periodic.reconsider()
        self.pause = 20.0
        periodic.reconsider()
        self.clock.advance(2)
        self.assertEqual(len(self.rounds), 2)
        self.assertEqual([call.getTime() for call in self.clock.getDelayedCalls()], [22.0])

    def test_reconsiders_nothing_while_it_works_or_rests(self) -> None:
        self.synchronous = False
        periodic = self.periodic()
        periodic.reconsider()
        periodic.startService()
        periodic.reconsider()
        self.assertEqual((len(self.rounds), self.clock.getDelayedCalls()), (1, []))
        self.rounds[0].callback(None)
        periodic.stopService()
        periodic.reconsider()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_an_error_does_not_end_the_rounds(self) -> None:
        def work() -> None:
            self.rounds.append(succeed(None))
            raise ZeroDivisionError

        self.periodic(work).startService()
        self.clock.advance(10)
        self.assertEqual(len(self.rounds), 2)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_the_work_may_be_a_coroutine(self) -> None:
        async def work() -> None:
            await self.work()

        self.periodic(work).startService()
        self.clock.advance(10)
        self.assertEqual(len(self.rounds), 2)

    def test_rounds_never_overlap(self) -> None:
        self.synchronous = False
        periodic = self.periodic()
        periodic.startService()
        self.clock.advance(100)
        periodic.hurry()
        self.clock.advance(100)
        self.assertEqual(len(self.rounds), 1)

    def test_hurry_ends_the_pause(self) -> None:
        periodic = self.periodic()
        periodic.startService()
        self.clock.advance(1)
        periodic.hurry()
        self.assertEqual(len(self.rounds), 2)
        self.clock.advance(9.5)
        self.assertEqual(len(self.rounds), 2, "the pause began anew")

    def test_hurry_during_a_round_makes_one_more(self) -> None:
        self.synchronous = False
        periodic = self.periodic()
        periodic.startService()
        periodic.hurry()
        periodic.hurry()
        self.rounds[0].callback(None)
        self.clock.advance(0)
        self.assertEqual(len(self.rounds), 2)
        self.rounds[1].callback(None)
        self.clock.advance(0)
        self.assertEqual(len(self.rounds), 2)

    def test_hurry_does_nothing_while_stopped(self) -> None:
        self.periodic().hurry()
        self.assertEqual(self.rounds, [])

    def test_stop_leaves_no_timer(self) -> None:
        periodic = self.periodic()
        periodic.startService()
        self.assertIsNone(periodic.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_cancels_the_round(self) -> None:
        self.synchronous = False
        periodic = self.periodic()
        periodic.startService()
        self.successResultOf(periodic.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_waits_for_a_round_that_has_grace(self) -> None:
        self.synchronous = False
        periodic = self.periodic(grace=8)
        periodic.startService()
        stopping = periodic.stopService()
        self.clock.advance(7)
        self.assertNoResult(stopping)
        self.rounds[0].callback(None)
        self.successResultOf(stopping)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(len(self.rounds), 1)

    def test_a_round_is_cancelled_when_its_grace_is_over(self) -> None:
        self.synchronous = False
        periodic = self.periodic(grace=8)
        periodic.startService()
        stopping = periodic.stopService()
        self.clock.advance(8)
        self.successResultOf(stopping)

    def test_a_stopped_service_can_start_again(self) -> None:
        periodic = self.periodic()
        periodic.startService()
        periodic.stopService()
        periodic.startService()
        self.assertEqual(len(self.rounds), 2)

    def test_starts_again_during_the_grace(self) -> None:
        self.synchronous = False
        periodic = self.periodic(grace=8)
        periodic.startService()
        stopping = periodic.stopService()
        periodic.startService()
        self.clock.advance(20)
        self.assertEqual(len(self.rounds), 1, "the round under way is the first of the new run")
        self.rounds[0].callback(None)
        self.successResultOf(stopping)
        self.clock.advance(10)
        self.assertEqual(len(self.rounds), 2)
