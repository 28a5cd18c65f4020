"""Tests of L{confd.runtime.reactor_lag}."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from confd.runtime.metrics import Metrics
from confd.runtime.reactor_lag import CHECK_INTERVAL_SECONDS, ReactorLag
from tests.runtime.test_metrics import samples


class ReactorLagTests(SynchronousTestCase):
    """L{ReactorLag}."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.metrics = Metrics()
        self.lag = ReactorLag(self.clock)
        self.lag.expose(self.metrics)
        self.lag.startService()

    def seen(self) -> tuple[float, float]:
        """How many looks there were, and how late they were together."""
        found = samples(self.metrics.exposition())
        return found["confd_reactor_lag_seconds_count", ()], found["confd_reactor_lag_seconds_sum", ()]

    def test_an_idle_reactor_has_no_lag(self) -> None:
        self.assertEqual(self.seen(), (0, 0))
        self.clock.pump([CHECK_INTERVAL_SECONDS] * 4)
        self.assertEqual(self.seen(), (4, 0))

    def test_a_blocked_reactor_is_observed_once(self) -> None:
        self.clock.advance(CHECK_INTERVAL_SECONDS + 3)
        self.clock.advance(CHECK_INTERVAL_SECONDS)
        self.assertEqual(self.seen(), (2, 3))

    def test_time_while_the_service_is_stopped_is_not_lag(self) -> None:
        self.lag.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.clock.advance(100)
        self.lag.startService()
        self.clock.advance(CHECK_INTERVAL_SECONDS)
        self.assertEqual(self.seen(), (1, 0))
