"""Tests of L{confd.runtime.certificate_expiry}."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from confd.runtime.certificate_expiry import REMINDER_SECONDS, CertificateExpiry, InUse
from confd.runtime.metrics import Metrics
from tests.runtime.test_metrics import samples

START = datetime(2026, 11, 29, 12, 0, 0, tzinfo=UTC)


def days(*counts: float) -> list[datetime]:
    """So many days after the start."""
    return [START + timedelta(days=each) for each in counts]


class ExpiryTests(SynchronousTestCase):
    """L{InUse.expiry}."""

    def test_an_expired_authority_beside_a_current_one_does_not_count(self) -> None:
        """A chain breaks with any of its certificates; an expired authority beside a current one does no harm."""
        for expiries, alternatives, expected in (
            ((40,), False, 40),
            ((40, 7), False, 7),
            ((40, -7), False, -7),
            ((40, 7), True, 7),
            ((40, -7), True, 40),
            ((-40, -7), True, -7),
            ((0, 7), True, 7),
        ):
            with self.subTest(expiries=expiries, alternatives=alternatives):
                found = InUse("CA", "ca.pem", days(*expiries), alternatives).expiry(START)
                self.assertEqual(found, days(expected)[0])


class WatchTests(SynchronousTestCase):
    """L{CertificateExpiry}."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.in_use: list[InUse] = []
        self.events: list[LogEvent] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)
        self.metrics = Metrics()
        self.watch = CertificateExpiry(self.clock, self.now, [lambda: self.in_use, lambda: ()])
        self.watch.expose(self.metrics)

    def now(self) -> datetime:
        """Let the wall clock go with the injected one."""
        return START + timedelta(seconds=self.clock.seconds())

    def watched(self, *found: InUse) -> None:
        """Begin with these."""
        self.in_use[:] = found
        self.watch.startService()
        self.addCleanup(self.watch.stopService)

    def said(self) -> Sequence[str]:
        """The warnings since the last call."""
        said = [
            formatEvent(each)
            for each in self.events
            if each["log_namespace"].startswith("confd.runtime.certificate_expiry")
        ]
        self.events.clear()
        return said

    def test_the_gauge_is_computed_at_each_scrape(self) -> None:
        self.watched(InUse("LISTEN", "a.pem", days(2)), InUse("WORKER_CA_FILE", "b.pem", days(-1), True))
        self.clock.advance(60)
        shown = samples(self.metrics.exposition())
        name = "confd_certificate_expiry_seconds"
        self.assertEqual(shown[name, (("certificate", "LISTEN"),)], 2 * 86400 - 60)
        self.assertEqual(shown[name, (("certificate", "WORKER_CA_FILE"),)], -86400 - 60)

    def test_without_certificates_nothing_is_exposed_or_logged(self) -> None:
        self.watched()
        self.assertFalse([name for name, _ in samples(self.metrics.exposition()) if "expiry" in name])
        self.assertEqual(self.said(), [])

    def test_the_log_warns_once_a_day_from_30_days_before_the_expiry(self) -> None:
        self.watched(InUse("LISTEN", "a.pem", days(31.5)))
        self.clock.advance(REMINDER_SECONDS)
        self.assertEqual(self.said(), [])
        self.clock.advance(REMINDER_SECONDS)
        expected = "LISTEN: a certificate in a.pem expires at 2026-12-31T00:00:00Z; renew it"
        self.assertEqual(self.said(), [expected])
        self.clock.advance(REMINDER_SECONDS / 2)
        self.assertEqual(self.said(), [])
        self.clock.advance(REMINDER_SECONDS / 2)
        self.assertEqual(self.said(), [expected])
        self.in_use[:] = [InUse("LISTEN", "a.pem", days(365))]
        self.clock.advance(REMINDER_SECONDS)
        self.assertEqual(self.said(), [])

    def test_an_expiry_within_minutes_is_logged_at_the_start(self) -> None:
        self.watched(InUse("LISTEN", "a.pem", [START + timedelta(minutes=10)]), InUse("X", "b.pem", days(-1)))
        self.assertEqual(
            self.said(),
            [
                "LISTEN: a certificate in a.pem expires at 2026-11-29T12:10:00Z; renew it",
                "X: a certificate in b.pem expired at 2026-11-28T12:00:00Z; renew it",
            ],
        )

    def test_a_stopped_watch_leaves_no_timer(self) -> None:
        self.watched()
        self.watch.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])
