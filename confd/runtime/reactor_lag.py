"""Measure the lag of the reactor: work that blocks it delays every request (promise G9)."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from confd.runtime.histogram import Histogram
from confd.runtime.metrics import Metrics
from confd.runtime.timing import Periodic

#: Seconds between two measurements. A measurement sees every block that is longer than this, and of shorter ones as
#: many as their share of the time. A timer of 0.25 s was half of the processor time of an idle worker.
CHECK_INTERVAL_SECONDS = 1.0


class ReactorLag(Periodic):
    """Schedules a timer again and again, and observes how late it runs."""

    def __init__(self, clock: IReactorTime) -> None:
        """
        @param clock: the reactor, monotonic.
        """
        super().__init__(clock, self._measure, lambda: CHECK_INTERVAL_SECONDS)
        self._due: float | None = None
        self._late = Histogram()

    def expose(self, metrics: Metrics) -> None:
        """Add the metric."""
        help = f"Delay with which the reactor ran a timer of {CHECK_INTERVAL_SECONDS:g} s."
        metrics.histogram("confd_reactor_lag_seconds", help, self._late)

    def startService(self) -> None:
        """Start measuring; the first round has no reference and observes nothing."""
        self._due = None
        super().startService()

    def _measure(self) -> None:
        now = self._clock.seconds()
        if self._due is not None:
            self._late.observe(max(0.0, now - self._due))
        self._due = now + CHECK_INTERVAL_SECONDS
