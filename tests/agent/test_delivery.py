"""Tests of L{confd.agent.delivery}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from confd.agent.delivery import Delivery
from confd.reports import ReportState, Timings
from tests.agent.fakes import configuration


class DeliveryTests(SynchronousTestCase):
    """L{Delivery}, received at second 10."""

    def setUp(self) -> None:
        self.delivery = Delivery(configuration(1), 10.0)

    def test_a_new_delivery_is_applying(self) -> None:
        self.assertEqual((self.delivery.state, self.delivery.error), (ReportState.APPLYING, ""))
        self.assertEqual(self.delivery.timings(11.0), Timings())

    def test_timings_split_at_the_first_attempt_and_the_outcome(self) -> None:
        self.delivery.begin(10.5)
        self.assertEqual(self.delivery.timings(11.0), Timings(500.0))
        self.delivery.end(ReportState.APPLIED, 12.5)
        self.assertEqual(self.delivery.timings(13.0), Timings(500.0, 2000.0, 500.0))

    def test_later_attempts_do_not_move_the_start(self) -> None:
        for handed in (10.5, 20.0):
            self.delivery.begin(handed)
        self.delivery.end(ReportState.APPLIED, 20.5)
        self.assertEqual(self.delivery.timings(20.5), Timings(500.0, 10_000.0, 0.0))

    def test_the_first_success_counts(self) -> None:
        """Refused, taken by the next process, refused by the one after, and taken again."""
        self.delivery.begin(10.0)
        for state, at in (("failed", 11.0), ("applied", 12.0), ("failed", 13.0), ("applied", 14.0)):
            self.delivery.end(ReportState(state), at, "no" if state == "failed" else "")
        self.assertEqual((self.delivery.state, self.delivery.error), (ReportState.APPLIED, ""))
        self.assertEqual(self.delivery.timings(14.0), Timings(0.0, 2000.0, 2000.0))
