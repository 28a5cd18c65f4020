"""How late the reactor is: whatever holds it up holds up everybody (promise G9)."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from confd.runtime.metrics import Histogram, Metrics
from confd.runtime.timing import Periodic

#: Seconds between two looks: what holds the reactor up for longer is always seen.
CHECK_INTERVAL_SECONDS = 0.25


class ReactorLag(Periodic):
    """Asks to be called at a time, and looks how much later it is."""

    def __init__(self, clock: IReactorTime) -> None:
        """
        @param clock: the reactor, monotonic.
        """
        super().__init__(clock, self._look, lambda: CHECK_INTERVAL_SECONDS)
        self._due: float | None = None
        self._late = Histogram()

    def expose(self, metrics: Metrics) -> None:
        """Show the figures."""
        help = f"How much later than asked for the reactor ran a timer, of {CHECK_INTERVAL_SECONDS} s."
        metrics.histogram("confd_reactor_lag_seconds", help, self._late)

    def startService(self) -> None:
        """Begin to look."""
        self._due = None
        super().startService()

    def _look(self) -> None:
        now = self._clock.seconds()
        if self._due is not None:
            self._late.observe(max(0.0, now - self._due))
        self._due = now + CHECK_INTERVAL_SECONDS
