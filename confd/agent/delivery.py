"""One configuration on its way to the worker."""

from __future__ import annotations

from attrs import define, field

from confd.model import Configuration
from confd.reports import ReportState, Timings


@define(eq=False)
class Delivery:
    """
    A configuration that the worker is to have, and what became of it. Times are in seconds of the monotonic clock.

    @ivar received: when it came.
    @ivar error: why it failed.
    """

    configuration: Configuration
    received: float
    state: ReportState = field(default=ReportState.APPLYING, init=False)
    error: str = field(default="", init=False)
    _handed: float | None = field(default=None, init=False)
    _ended: float | None = field(default=None, init=False)
    _was_applied: bool = field(default=False, init=False)

    def hand_over(self, at: float) -> None:
        """The worker is offered it, for the first time or again."""
        if self._handed is None:
            self._handed = at

    def end(self, state: ReportState, at: float, error: str = "") -> None:
        """
        Record that the worker has it, or will not have it. Of the times of several ends the first counts at which it
        had it; until then, the first of those with the same outcome: the same refusal again is no news.
        """
        if not self._was_applied and (state, error) != (self.state, self.error):
            self._ended = at
            self._was_applied = state is ReportState.APPLIED
        self.state, self.error = state, error

    def spent(self, now: float) -> Timings:
        """Where the time went until now."""
        return Timings(
            _between(self.received, self._handed), _between(self._handed, self._ended), _between(self._ended, now)
        )


def _between(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else 1000 * (end - start)
