"""The delivery of one configuration to the worker."""

from __future__ import annotations

from attrs import define, field

from confd.model import Configuration
from confd.reports import ReportState, Timings


@define(eq=False)
class Delivery:
    """
    A configuration for the worker, and the progress of its delivery. Times are in seconds of the monotonic clock.

    @ivar received: Time at which the agent received the configuration.
    @ivar error: Why the delivery failed, in one sentence; empty unless it did.
    """

    configuration: Configuration
    received: float
    state: ReportState = field(default=ReportState.APPLYING, init=False)
    error: str = field(default="", init=False)
    _begun: float | None = field(default=None, init=False)
    _ended: float | None = field(default=None, init=False)
    _was_applied: bool = field(default=False, init=False)

    def begin(self, at: float) -> None:
        """Record an attempt; the first attempt counts."""
        if self._begun is None:
            self._begun = at

    def end(self, state: ReportState, at: float, error: str = "") -> None:
        """
        Record the outcome of an attempt.

        The time of the first success counts. Until then, the first of equal outcomes counts: a repeated refusal does
        not move the time.
        """
        if not self._was_applied and (state, error) != (self.state, self.error):
            self._ended = at
            self._was_applied = state is ReportState.APPLIED
        self.state, self.error = state, error

    def timings(self, now: float) -> Timings:
        """Return the milliseconds until the first attempt, from there to the outcome, and since the outcome."""
        return Timings(
            _between(self.received, self._begun), _between(self._begun, self._ended), _between(self._ended, now)
        )


def _between(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else 1000 * (end - start)
