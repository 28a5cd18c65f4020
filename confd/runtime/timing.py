"""Time: back-off, periodic work, and a reactor whose timers no wall clock can move (promises G8 and G11)."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, TypeVar

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from confd.errors import ConfdError
from confd.runtime.lru import put

T = TypeVar("T")


def use_monotonic_clock(reactor: Any) -> None:
    """
    Put the timers of a reactor on the monotonic clock: Twisted's run on the wall clock, so that one set back by an hour
    stops every LoopingCall for an hour. Call it before anything is scheduled. The asyncio reactor is monotonic already.
    """
    if not hasattr(reactor, "_asyncioEventloop"):
        reactor.seconds = time.monotonic


#: By how much a delay may be longer than the one before. With 2, the last of a fleet come back so late that those who
#: come first are a wave; what a few more attempts cost a controller that is not there is nothing.
_GROWTH = 1.5


#: Share by which a wait that a peer asks for is lengthened at random, at most: its callers must not return together.
RETRY_AFTER_JITTER = 0.25


@define(eq=False)
class Backoff:
    """
    Exponential back-off with full jitter, so that a fleet that lost its controller does not come back in one wave.

    @ivar random: where jitter comes from.
    @ivar cap: seconds that one delay takes at most.
    @ivar base: seconds that the first delay takes at most.
    """

    random: Random
    cap: float = 30.0
    base: float = 1.0
    _failures: int = field(default=0, init=False)

    def next(self, at_least: float | None = None) -> float:
        """
        Return the seconds to wait after one more failure.

        @param at_least: seconds that the peer asks for (C{Retry-After}); jitter is added to them.
        """
        ceiling = min(self.cap, self.base * _GROWTH ** min(self._failures, 32))
        self._failures += 1
        delay = self.random.uniform(0, ceiling)
        if at_least is None:
            return delay
        return max(delay, at_least * self.random.uniform(1, 1 + RETRY_AFTER_JITTER))

    def reset(self) -> None:
        """Start over: something succeeded."""
        self._failures = 0


class Progress:
    """
    A deadline for a transfer that moves when bytes come: it is cut after a silence, and below a least rate.

    @ivar late: whether the deadline has passed.
    """

    def __init__(self, clock: IReactorTime, silence: float, rate: float, cut: Callable[[], None]) -> None:
        """
        @param silence: seconds without a byte at most; also what the rate does not count.
        @param rate: bytes a second at least.
        @param cut: called once when the deadline passes.
        """
        self._clock, self._silence, self._rate, self._cut = clock, silence, rate, cut
        self.late = False
        self._timer = clock.callLater(silence, self._expire)
        self.restart()

    def restart(self, owed: int = 0) -> None:
        """
        Begin to count anew.

        @param owed: bytes that the peer has to take before it can answer.
        """
        self._since, self._moved = self._clock.seconds(), owed
        self._allow(self._silence + owed // self._rate)

    def moved(self, size: int) -> None:
        """Count bytes that have come."""
        self._moved += size
        left = self._since + self._silence + self._moved // self._rate - self._clock.seconds()
        self._allow(min(self._silence, max(left, 0.0)))

    def end(self) -> None:
        """Stop counting: all has come, or nobody waits for it."""
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
    When a thing may be said again that is so again and again.

    @ivar pause: seconds until then.
    @ivar most: things that are remembered; what was said longest ago is forgotten first.
    """

    _clock: IReactorTime
    _pause: float
    _most: int = 1024
    _said: dict[str, float] = field(factory=dict, init=False)

    def due(self, what: str = "") -> bool:
        """Whether to say it now; then it is said."""
        now, said = self._clock.seconds(), self._said.get(what)
        if said is not None and now - said < self._pause:
            return False
        put(self._said, what, now, self._most)
        return True


async def retrying(
    clock: IReactorTime, backoff: Backoff, attempt: Callable[[], Awaitable[T]], failed: Callable[[ConfdError], None]
) -> T:
    """
    Try until it succeeds; to be cancelled by whoever no longer wants it.

    @param failed: told of each L{ConfdError}; any other error ends it.
    @return: what the attempt that succeeded gave.
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
    Work that is done again and again, and that no error of its own ends for good.

    Unlike L{twisted.application.internet.TimerService} it outlives its errors; unlike a LoopingCall each pause is asked
    for anew, so that intervals can change and be jittered. Rounds never overlap: the work sees to it that none hangs.
    """

    log = Logger()

    def __init__(
        self, clock: IReactorTime, work: Callable[[], Any], pause: Callable[[], float], grace: float = 0
    ) -> None:
        """
        @param work: called at once at the start, and then after each pause; may return a L{Deferred} or a coroutine.
        @param pause: seconds to wait, asked after each round.
        @param grace: seconds that the round under way gets to end by itself when the service stops.
        """
        self._clock = clock
        self._work = work
        self._pause = pause
        self._grace = grace
        self._timer: IDelayedCall | None = None
        self._round: Deferred[Any] | None = None
        self._again = False
        self._ended: Deferred[None] | None = None

    def startService(self) -> None:
        """Begin with the first round, at once."""
        super().startService()
        self._cancel_timer()
        if self._round is None:
            self._run()

    def hurry(self) -> None:
        """Start the next round now, or directly after the one under way."""
        if self._round is not None:
            self._again = True
        elif self.running:
            self._cancel_timer()
            self._run()

    def reconsider(self) -> None:
        """Ask for the pause anew: if it has become shorter, the next round comes sooner."""
        if self.running and self._timer is not None:
            pause = self._pause()
            if pause < self._timer.getTime() - self._clock.seconds():
                self._timer.reset(pause)

    def stopService(self) -> Deferred[None] | None:
        """Fires when the round under way has ended, by itself or, once its grace is over, cancelled."""
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
        self._again = False
        self._round = started = maybeDeferred(self._work)
        started.addErrback(self._failed)
        started.addCallback(self._finish)

    def _failed(self, failure: Failure) -> None:
        if self.running:
            self.log.failure("periodic work failed; it goes on", failure)

    def _finish(self, _: object) -> None:
        self._round = None
        self._cancel_timer()
        ended, self._ended = self._ended, None
        if self.running:
            self._timer = self._clock.callLater(0 if self._again else self._pause(), self._run)
        if ended is not None:
            ended.callback(None)
