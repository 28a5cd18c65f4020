"""The one path of a change: from the store, in order, to each part of the controller that keeps something in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from confd.changes import KINDS, REVISION, Batch, Change, Committed, Contents
from confd.errors import ConfdError, Unavailable
from confd.interfaces import IChangeListener, IChangeStore, IHealth
from confd.runtime.metrics import Metrics

T = TypeVar("T")

#: Seconds until the next read after a read that failed.
RETRY_SECONDS = 1.0

#: Seconds from one read for L{Feed.refresh} to the next, at least.
REFRESH_INTERVAL_SECONDS = 0.05

#: Seconds without a successful read after which other controllers are to answer agents, by default.
STALE_LIMIT_SECONDS = 300.0

#: Seconds that the answer to a write waits, at most, until its change is applied.
APPLY_WAIT_SECONDS = 1.0


@implementer(IHealth)
class Feed(Service):
    """
    Applies each change of the store to the listeners, in their order. Their memory changes in no other way.

    It begins with the contents of the store, and loads them again if it fell too far behind.

    @ivar applied: number of the last change that all listeners have applied.
    @ivar unknown: changes that were skipped, by kind.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        store: IChangeStore,
        listeners: Sequence[IChangeListener],
        preparations: Sequence[Callable[[], Awaitable[None]]] = (),
        stale_limit: float = STALE_LIMIT_SECONDS,
    ) -> None:
        """
        @param listeners: parts that count come before parts that send, as an agent may answer at once.
        @param preparations: reads of listeners that are due before each load.
        @param stale_limit: seconds without a successful read after which tokens cannot be checked; 0 for no limit.
        """
        self._clock, self._store = clock, store
        self._listeners, self._preparations, self._stale_limit = listeners, preparations, stale_limit
        self.applied = 0
        self.unknown: Counter[str] = Counter()
        self._loaded = False
        #: Whether a read is under way, and whether another one is due after it.
        self._busy = self._again = False
        self._reading: Deferred[None] | None = None
        self._began_at = self._read_at = clock.seconds()
        self._timer: IDelayedCall | None = None
        self._refreshing: list[Deferred[None]] = []
        self._waiting: list[tuple[int, Deferred[None]]] = []
        self._problem: str | None = None

    def expose(self, metrics: Metrics) -> None:
        """Add the metrics of the feed."""
        metrics.counter(
            "confd_feed_unknown",
            "Changes of a kind that this release does not know; they were skipped.",
            lambda: self.unknown,
            "kind",
        )
        if self._store.interval is not None:
            metrics.gauge(
                "confd_feed_age_seconds",
                "Seconds since the controller last read the changes of its database.",
                lambda: {(): self.age()},
            )

    def startService(self) -> None:
        super().startService()
        self._read()

    def stopService(self) -> None:
        super().stopService()
        self._stop_timer()
        if self._reading is not None:
            self._reading.cancel()
        refreshing, self._refreshing = self._refreshing, []
        for each in refreshing:
            each.errback(Unavailable("stopping", "The controller is stopping; come back in a moment."))

    def hint(self) -> None:
        """Read the next changes now. The store calls this when there may be some."""
        if self._busy:
            self._again = True
        elif self.running:
            self._read()

    def reached(self, seq: int) -> Deferred[None]:
        """Return a L{Deferred} that fires once change C{seq} is applied, or after L{APPLY_WAIT_SECONDS}."""
        if self.applied >= seq:
            return succeed(None)
        reached: Deferred[None] = Deferred()
        self._waiting.append((seq, reached))
        reached.addTimeout(APPLY_WAIT_SECONDS, self._clock, lambda result, _: None)
        return reached

    async def follow(self, write: Awaitable[Committed[T]]) -> T:
        """Return the value of a write, once the changes of its transaction are applied: see L{reached}."""
        committed = await write
        await self.reached(committed.seq)
        return committed.value

    def refresh(self) -> Deferred[None]:
        """
        Read the newest changes, before a caller gets a 404.

        @return: fires after a read that began after this call. Fires at once for a store that hints at each change.
        @raise Unavailable: the store cannot be read, or the controller is stopping.
        """
        if self._store.interval is None:
            return succeed(None)
        refreshed: Deferred[None] = Deferred()
        self._refreshing.append(refreshed)
        if not self._busy:
            self._schedule()
        return refreshed

    @property
    def shared(self) -> bool:
        """Return whether other controllers write to the store, too."""
        return self._store.interval is not None

    def age(self) -> float:
        """Return the seconds since the last successful read; 0 for a store that hints at each change."""
        return 0.0 if self._store.interval is None else self._clock.seconds() - self._read_at

    def problem(self) -> str | None:
        age = self.age()
        if not self._stale_limit or age <= self._stale_limit:
            return None
        return f"The controller last read its storage {age:.0f} seconds ago; what it serves may be old."

    def check_fresh(self) -> None:
        """
        Check that memory follows the store, so that a revocation elsewhere is known here.

        @raise Unavailable: C{controller_stale}.
        """
        if self.problem() is not None:
            raise Unavailable(
                "controller_stale",
                f"This controller lost its database {self.age():.0f} s ago and cannot check tokens; ask another"
                " controller.",
            )

    def _read(self) -> None:
        self._stop_timer()
        self._busy, self._again = True, False
        self._began_at = self._clock.seconds()
        refreshing, self._refreshing = self._refreshing, []
        if self._loaded:
            # The changes of this process are there at once, and need no coroutine.
            self._reading = self._store.changes(self.applied).addCallback(self._take)
        else:
            self._reading = Deferred.fromCoroutine(self._catch_up())
        self._reading.addCallbacks(self._caught_up, self._failed, callbackArgs=(refreshing,), errbackArgs=(refreshing,))

    async def _catch_up(self) -> None:
        while True:
            if not self._loaded:
                await self._load()
            self._apply(batch := await self._store.changes(self.applied))
            if self._loaded and not batch.more:
                break

    def _take(self, batch: Batch) -> Deferred[None] | None:
        """Apply changes; read on if others follow, or if they are kept no longer."""
        self._apply(batch)
        return Deferred.fromCoroutine(self._catch_up()) if batch.more or not self._loaded else None

    async def _load(self) -> None:
        contents = await self._store.contents()
        for prepare in self._preparations:
            await prepare()
        self._call([each.load for each in self._listeners], contents)
        self.applied = contents.seq

    def _apply(self, batch: Batch) -> None:
        self._loaded = batch.complete
        acts = [each.apply for each in self._listeners]
        for change in batch.changes:
            if change.kind in KINDS:
                self._call(acts, change)
            else:
                self.unknown[change.kind] += 1
            self.applied = change.seq
        self._fire_reached()

    def _call(self, acts: Iterable[Callable[[T], None]], value: T) -> None:
        for act in acts:
            try:
                act(value)
            except Exception:
                self.log.failure("a listener failed to follow the change feed: {act}", act=act)

    def _fire_reached(self) -> None:
        fired = [reached for seq, reached in self._waiting if seq <= self.applied]
        self._waiting = [each for each in self._waiting if each[0] > self.applied]
        for reached in fired:
            reached.callback(None)

    def _caught_up(self, _: None, refreshing: Sequence[Deferred[None]]) -> None:
        self._read_at, self._problem = self._began_at, None
        self._end_read()
        for each in refreshing:
            each.callback(None)

    def _failed(self, failure: Failure, refreshing: Sequence[Deferred[None]]) -> None:
        if failure.check(CancelledError):
            error: Exception = Unavailable("stopping", "The controller is stopping; come back in a moment.")
        elif failure.check(ConfdError):
            error = failure.value  # type: ignore[assignment]
            self._report(error.message)  # type: ignore[attr-defined]
        else:
            error = Unavailable("storage_unavailable", "The changes of the store could not be read.")
            self.log.failure("cannot read the changes of the store", failure)
        self._end_read(RETRY_SECONDS)
        for each in refreshing:
            each.errback(error)

    def _report(self, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            self.log.error("cannot read the changes of the store; trying again: {reason}", reason=problem)

    def _end_read(self, pause: float | None = None) -> None:
        self._busy = False
        if self.running:
            self._schedule(pause)

    def _schedule(self, pause: float | None = None) -> None:
        """
        Read again when it is due.

        @param pause: seconds until then; C{None} for a hint, a refresh or the interval of the store to decide.
        """
        delay = self._store.interval
        if pause is not None:
            delay = pause
        elif self._again:
            delay = 0.0
        elif self._refreshing:
            delay = max(0.0, self._began_at + REFRESH_INTERVAL_SECONDS - self._clock.seconds())
        self._stop_timer()
        if delay == 0:
            self._read()
        elif delay is not None:
            self._timer = self._clock.callLater(delay, self._read)

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None


@implementer(IChangeListener)
@frozen
class Eviction:
    """Frees a cache whose entries are of no more use once another revision is current."""

    _clear: Callable[[], None]

    def load(self, contents: Contents) -> None:
        self._clear()

    def apply(self, change: Change) -> None:
        if change.kind == REVISION:
            self._clear()
