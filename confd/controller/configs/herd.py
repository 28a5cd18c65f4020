"""The budget for what a change makes the whole fleet do at the same time."""

from __future__ import annotations

import math

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from confd.codec.retry_after import MAX_SECONDS
from confd.errors import ConfdError

#: Milliseconds over which agents spread a request without a budget.
DEFAULT_SPREAD_MS = 1000

#: Digits of a second that count when it is rounded up.
_DIGITS = 6

#: Slices of a second in which a paced stream is written.
_SLICES_PER_SECOND = 10


@define(eq=False)
class Pacer:
    """
    Keeps amounts within a rate.

    @ivar rate: per second; 0 sets no limit.
    """

    _clock: IReactorTime
    rate: int = 0
    _free_at: float = field(default=0.0, init=False)

    def book(self, amount: float) -> float:
        """Add an amount, and return the seconds until the rate allows more."""
        if self.rate:
            self._free_at = max(self._free_at, self._clock.seconds()) + amount / self.rate
        return self.wait()

    def wait(self) -> float:
        """Return the seconds until all that is booked has passed."""
        return max(0.0, self._free_at - self._clock.seconds()) if self.rate else 0.0

    @property
    def slice(self) -> float:
        """The amount to book at once, so that the rate is even."""
        return max(1, self.rate / _SLICES_PER_SECOND) if self.rate else math.inf


class HerdBudget:
    """
    The limits of one controller.

    @ivar requests: invited requests per second; 0 sets no limit.
    @ivar stream: paces the bytes of a change on open streams.
    """

    def __init__(self, clock: IReactorTime, requests: int = 0, bytes_per_second: int = 0) -> None:
        """
        @param bytes_per_second: 0 sets no limit.
        """
        self.requests, self.stream = requests, Pacer(clock, bytes_per_second)
        self._refused = Pacer(clock, requests)

    @property
    def limited(self) -> bool:
        """Whether any limit is set."""
        return bool(self.requests or self.stream.rate)

    def spread_ms(self, members: int, size: int, controllers: int = 1) -> int:
        """
        Return the milliseconds over which agents are to spread one request each.

        @param members: agents that are invited.
        @param size: bytes of an answer.
        @param controllers: live controllers that share the requests.
        """
        if not self.limited:
            return DEFAULT_SPREAD_MS
        by_requests = 1 / self.requests if self.requests else 0.0
        by_bytes = size / self.stream.rate if self.stream.rate else 0.0
        return math.ceil(members * 1000 * max(by_requests, by_bytes) / controllers)

    def defer(self, error: ConfdError, from_agent: bool) -> None:
        """
        Give each agent that is refused while the controller starts a turn of its own to come back.

        @param from_agent: whether the request names an agent.
        """
        if self.requests and from_agent and error.code == "starting":
            error.retry_after = min(MAX_SECONDS, math.ceil(round(self._refused.book(1), _DIGITS)))
