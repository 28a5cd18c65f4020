"""Whether the silence of agents can be believed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from confd.controller.feed import STALE_LIMIT_SECONDS
from confd.interfaces import IHealth

#: Seconds between two looks, after which agents may be late, and after which they may have given up.
LATE_GAP_SECONDS, MAX_GAP_SECONDS = 2.5, 5.0

#: Seconds by which the wall clock and the monotonic clock may differ between two looks.
MAX_CLOCK_STEP_SECONDS = 1.0

#: Seconds in which agents return to a controller that was away. No agent waits longer between two attempts.
RETURN_SECONDS = STALE_LIMIT_SECONDS


@define(eq=False)
class Hearing:
    """
    Tells silent agents from a controller that could not hear them.

    A controller that was away hears most agents late, as they wait between their attempts. It was away before its
    start, and while its process stood still. An outage of the store, a step of the wall clock and the
    death of another controller make silence doubtful, too.
    """

    _clock: IReactorTime
    _now: Callable[[], datetime]
    _store: IHealth
    #: Whether the agents of a controller that ended may not be back yet.
    _lost_controller: Callable[[], bool] = field(default=lambda: False)
    #: Since when this controller hears all agents; all times are seconds of the monotonic clock.
    _since: float = field(init=False)
    _looked_at: float = field(init=False)
    _wall: datetime = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Start over, as after a time without ears."""
        self._looked_at, self._wall = self._clock.seconds(), self._now()
        self._since = self._looked_at + RETURN_SECONDS

    def look(self) -> None:
        """Note what makes silence doubtful; call this every second."""
        now, wall = self._clock.seconds(), self._now()
        passed = now - self._looked_at
        step = abs((wall - self._wall).total_seconds() - passed)
        self._looked_at, self._wall = now, wall
        deaf = self._store.problem() or self._lost_controller()
        if passed > MAX_GAP_SECONDS:
            self._since = now + RETURN_SECONDS
        elif passed > LATE_GAP_SECONDS or step > MAX_CLOCK_STEP_SECONDS or deaf:
            self._since = max(self._since, now)

    def believes(self, seconds: float) -> bool:
        """Return whether agents could be heard for so many seconds without interruption."""
        self.look()
        return self._clock.seconds() - self._since >= seconds
