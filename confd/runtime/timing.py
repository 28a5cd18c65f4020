"""Back-off, deadlines, rate-limited log lines and periodic work, all on the monotonic clock (promises G8 and G11)."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from random import Random
from typing import TypeVar

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from confd.errors import ConfdError
from confd.runtime.lru import put
from confd.runtime.reactor import Reactor

T = TypeVar("T")


def use_monotonic_clock(reactor: Reactor) -> None:
    """
    Run the timers of a reactor on the monotonic clock; call this before anything is scheduled.

    Twisted's timers run on the wall clock: setting the clock back by an hour stops every LoopingCall for an hour. The
    asyncio reactor is monotonic already.
    """
    if not hasattr(reactor, "_asyncioEventloop"):
        reactor.seconds = time.monotonic  # type: ignore[method-assign]


#: Factor by which the longest possible delay grows with each failure. With 2, the last agents of a fleet reconnect so
#: late that the first ones form a wave; a few more attempts cost an unreachable controller nothing.
_GROWTH_FACTOR = 1.5

#: Largest random extension of the delay that a peer asks for, as a share of it, so that clients do not return together.
RETRY_AFTER_JITTER = 0.25


@define(eq=False)
class Backoff:
    """
    Exponential back-off with full jitter, so that a fleet does not reconnect in one wave.

    @ivar random: source of the jitter.
    @ivar cap: longest delay in seconds.
    @ivar base: longest first delay in seconds.
    """

    random: Random
    cap: float = 30.0
    base: float = 1.0
    _failures: int = field(default=0, init=False)

    def next(self, at_least: float | None = None) -> float:
        """
        Count a failure; return the seconds to wait.

        @param at_least: seconds that the peer asks for (C{Retry-After}); jitter makes them longer.
        """
        ceiling = min(self.cap, self.base * _GROWTH_FACTOR ** min(self._failures, 32))
        self._failures += 1
        delay = self.random.uniform(0, ceiling)
        if at_least is None:
            return delay
        return max(delay, at_least * self.random.uniform(1, 1 + RETRY_AFTER_JITTER))

    def reset(self) -> None:
        """Start again with the first delay."""
        self._failures = 0


class Progress:
    """
    The deadline of a transfer, which every byte extends. A silence or a rate that is too low ends the transfer.

    @ivar late: whether the deadline has passed.
    """

    def __init__(self, clock: IReactorTime, silence: float, rate: float, cut: Callable[[], None]) -> None:
        """
        @param silence: longest time without a byte in seconds; the rate counts from its end.
        @param rate: lowest rate in bytes per second.
        @param cut: called once when the deadline passes.
        """
        self._clock, self._silence, self._rate, self._cut = clock, silence, rate, cut
        self.late = False
        self._timer = clock.callLater(silence, self._expire)
        self.restart()

    def restart(self, owed: int = 0) -> None:
        """
        Count from zero again.

        @param owed: bytes that the peer must receive before it can answer.
        """
        self._since, self._moved = self._clock.seconds(), owed
        self._allow(self._silence + owed // self._rate)

    def moved(self, size: int) -> None:
        """Count received bytes."""
        self._moved += size
        left = self._since + self._silence + self._moved // self._rate - self._clock.seconds()
        self._allow(min(self._silence, max(left, 0.0)))

    def end(self) -> None:
        """Remove the deadline."""
        if self._timer.active():
            self._timer.cancel()

    def _allow(self, seconds: float) -> None:
        if self._timer.active():
            self._timer.reset(seconds)

    def _expire(self) -> None:
        self.late = True
        self._cut()


@define(eq=False)
class LogLimiter:
    """
    Limit how often the same line is logged.

    @ivar interval: seconds between two lines with the same key.
    @ivar max_keys: keys to remember; the key that was logged longest ago is evicted first.
    """

    _clock: IReactorTime
    _interval: float
    _max_keys: int = 1024
    _logged: dict[str, float] = field(factory=dict, init=False)

    def due(self, key: str = "") -> bool:
        """Return whether to log a line with this key now; the caller then does."""
        now, logged = self._clock.seconds(), self._logged.get(key)
        if logged is not None and now - logged < self._interval:
            return False
        put(self._logged, key, now, self._max_keys)
        return True


async def retrying(
    clock: IReactorTime, backoff: Backoff, attempt: Callable[[], Awaitable[T]], failed: Callable[[ConfdError], None]
) -> T:
    """
    Retry an operation until it succeeds or the caller cancels it.

    @param failed: called with each L{ConfdError}; any other error ends the retries.
    @return: the result of the successful attempt.
    """
    while True:
        try:
            return await attempt()
        except ConfdError as error:
            failed(error)
            asked = error.retry_after
        await deferLater(clock, backoff.next(asked))


class Periodic(Service):
    """
    Run work again and again, with a pause between two rounds.

    Unlike L{twisted.application.internet.TimerService}, the service survives errors of the work. Unlike a LoopingCall,
    it computes each pause, so that pauses can change and have jitter. Rounds never overlap; the work must not hang.
    """

    log = Logger()

    def __init__(
        self, clock: IReactorTime, work: Callable[[], object], pause: Callable[[], float], grace: float = 0
    ) -> None:
        """
        @param work: called at the start and after each pause; may return a L{Deferred} or a coroutine.
        @param pause: returns the seconds to wait; called after each round.
        @param grace: seconds that the current round may still take when the service stops.
        """
        self._clock = clock
        self._work = work
        self._pause = pause
        self._grace = grace
        self._timer: IDelayedCall | None = None
        self._round: Deferred[object] | None = None
        self._hurried = False
        self._ended: Deferred[None] | None = None

    def startService(self) -> None:
        """Start the first round at once."""
        super().startService()
        self._cancel_timer()
        if self._round is None:
            self._run()

    def hurry(self) -> None:
        """Start the next round now, or directly after the current round."""
        if self._round is not None:
            self._hurried = True
        elif self.running:
            self._cancel_timer()
            self._run()

    def reconsider(self) -> None:
        """Compute the pause again; if it has become shorter, start the next round sooner."""
        if self.running and self._timer is not None:
            pause = self._pause()
            if pause < self._timer.getTime() - self._clock.seconds():
                self._timer.reset(pause)

    def stopService(self) -> Deferred[None] | None:
        """Fire when the current round has ended; cancel it when its grace is over."""
        super().stopService()
        self._cancel_timer()
        if self._round is None:
            return None
        ended = self._ended = Deferred()
        if self._grace:
            self._timer = self._clock.callLater(self._grace, self._round.cancel)
        else:
            self._round.cancel()
        return ended

    def _cancel_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _run(self) -> None:
        self._timer = None
        self._hurried = False
        # The round may end before these lines do, and _finish then clears _round again.
        self._round = started = maybeDeferred(self._work)
        started.addErrback(self._failed)
        started.addCallback(self._finish)

    def _failed(self, failure: Failure) -> None:
        if self.running:
            self.log.failure("periodic work failed; the next round comes as usual", failure)

    def _finish(self, _: object) -> None:
        self._round = None
        self._cancel_timer()
        ended, self._ended = self._ended, None
        if self.running:
            self._timer = self._clock.callLater(0 if self._hurried else self._pause(), self._run)
        if ended is not None:
            ended.callback(None)
