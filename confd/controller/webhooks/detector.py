"""Detect events besides the events of changes: the fate of a version, rollouts, and addresses that are locked out."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import datetime

from attrs import define
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from confd.changes import RETIRED, REVISION, ROLLOUT, Change, Contents
from confd.controller.agents.registry import Registry
from confd.controller.configs.snapshot import Snapshot
from confd.controller.convergence.metrics import CONVERGED_PERCENT
from confd.controller.convergence.tracker import Convergence
from confd.controller.interfaces import IRolloutStore
from confd.controller.webhooks.events import MAX_AGENTS, Events
from confd.errors import ConfdError
from confd.interfaces import IChangeListener
from confd.interfaces.webhooks import IWebhookStore, Occurrence
from confd.runtime.timing import LogLimiter
from confd.web.auth.throttle import Buckets

#: Seconds in which the first failures of a version gather, and between two events of failures after that.
GATHER_SECONDS, FAILED_AGAIN_SECONDS = 10.0, 60.0

#: Seconds between two events about one address, and events about all addresses per minute.
LOCKOUT_SECONDS, LOCKOUTS_PER_MINUTE = 600.0, 10


@define(eq=False)
class _Watch:
    """
    What was seen of one version.

    @ivar converged: whether it has converged.
    @ivar stalled: whether its stall was sent.
    @ivar failed: agents on which it failed, as of the last event.
    """

    version: int
    converged: bool = False
    stalled: bool = False
    applied: int = 0
    failed: int = 0
    failed_at: float | None = None
    stall: IDelayedCall | None = None
    gathering: IDelayedCall | None = None

    def end(self) -> None:
        """Cancel the timers."""
        self.hold_stall()
        if self.gathering is not None and self.gathering.active():
            self.gathering.cancel()

    def hold_stall(self) -> None:
        """Cancel the timer of the stall."""
        if self.stall is not None and self.stall.active():
            self.stall.cancel()
        self.stall = None


@implementer(IChangeListener)
class Detector(Service):
    """Queues events that no change of the store stands for. An event is lost if the store cannot be written."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        now: Callable[[], datetime],
        store: IWebhookStore,
        rollouts: IRolloutStore,
        snapshot: Snapshot,
        registry: Registry,
        convergence: Convergence,
        events: Events,
        stalled_after: int,
        queued: Callable[[], None],
    ) -> None:
        """
        @param stalled_after: seconds without a newly applied agent.
        @param queued: called after an event was queued.
        """
        self._clock, self._now, self._store, self._rollouts = clock, now, store, rollouts
        self._snapshot, self._registry, self._convergence = snapshot, registry, convergence
        self._events, self._stalled_after, self._queued = events, stalled_after, queued
        self._current: dict[str, _Watch] = {}
        self._candidates: dict[str, _Watch] = {}
        self._addresses = LogLimiter(clock, LOCKOUT_SECONDS)
        self._lockouts = Buckets(clock, LOCKOUTS_PER_MINUTE, 1)

    def load(self, contents: Contents) -> None:
        for watch in (*self._current.values(), *self._candidates.values()):
            watch.end()
        self._candidates = {}
        names = [each.configuration.namespace for each in contents.revisions]
        self._current = {name: self._seen(name) for name in names}
        for name in names:
            self.convergence_changed(name)

    def apply(self, change: Change) -> None:
        if change.kind in (REVISION, RETIRED) and change.subject in self._current:
            self._current.pop(change.subject).end()
        if change.kind == REVISION:
            self._current[change.subject] = _Watch(change.value.version.tag.version)
            self.convergence_changed(change.subject)
        elif change.kind == ROLLOUT:
            self._start(self._rollout(change.value.rollout))

    def convergence_changed(self, namespace: str) -> None:
        """Look at the versions of a namespace."""
        watch, lane = self._current.get(namespace), self._snapshot.lane(namespace)
        candidate = self._candidates.pop(namespace, None)
        if lane is not None:
            version = lane.encoded.configuration.version
            if candidate is None or candidate.version != version:
                candidate = _Watch(version)
            self._candidates[namespace] = candidate
            self._look_for_failures(namespace, candidate)
        elif candidate is not None:
            candidate.end()
            self._gathered(namespace, candidate)
        if watch is not None:
            self._look_for_failures(namespace, watch)
            if lane is None and not watch.converged:
                self._look_for_convergence(namespace, watch)

    def locked_out(self, address: str) -> None:
        """Note that an address sent too many wrong credentials."""
        if not self._lockouts.wait("") and self._addresses.due(address):
            self._lockouts.take("")
            self._start(self._queue(self._events.login_lockout(address), None))

    def stopService(self) -> None:
        super().stopService()
        for watch in (*self._current.values(), *self._candidates.values()):
            watch.end()

    def _seen(self, namespace: str) -> _Watch:
        """Return the watch of a version that was current before the start: its convergence was sent then."""
        watch = _Watch(self._snapshot.require(namespace).configuration.version)
        watch.converged = self._converged(namespace, watch.version)
        return watch

    def _converged(self, namespace: str, version: int) -> bool:
        progress, targeted = self._convergence.progress(namespace, version), self._registry.count(namespace)
        return progress is not None and targeted > 0 and 100 * progress.applied >= CONVERGED_PERCENT * targeted

    def _look_for_convergence(self, namespace: str, watch: _Watch) -> None:
        progress = self._convergence.progress(namespace, watch.version)
        if self._converged(namespace, watch.version):
            watch.converged = True
            watch.hold_stall()
            self._start(self._send_convergence(namespace, watch.version))
        elif progress is not None and self._registry.count(namespace):
            if progress.applied > watch.applied:
                watch.applied = progress.applied
                watch.hold_stall()
            if watch.stall is None and not watch.stalled:
                watch.stall = self._clock.callLater(self._stalled_after, self._stalled, namespace, watch)

    def _look_for_failures(self, namespace: str, watch: _Watch) -> None:
        progress = self._convergence.progress(namespace, watch.version)
        if progress is None or progress.failed <= watch.failed or watch.gathering is not None:
            return
        delay = GATHER_SECONDS
        if watch.failed_at is not None:
            delay = max(delay, watch.failed_at + FAILED_AGAIN_SECONDS - self._clock.seconds())
        watch.gathering = self._clock.callLater(delay, self._gathered, namespace, watch)

    def _gathered(self, namespace: str, watch: _Watch) -> None:
        watch.gathering = None
        progress = self._convergence.progress(namespace, watch.version)
        if progress is not None and progress.failed > watch.failed:
            watch.failed, watch.failed_at = progress.failed, self._clock.seconds()
            self._start(self._send_failures(namespace, watch.version, progress.failed))

    def _stalled(self, namespace: str, watch: _Watch) -> None:
        watch.stall = None
        if self._registry.count(namespace):
            watch.stalled = True
            self._start(self._send_stall(namespace, watch.version))

    async def _send_convergence(self, namespace: str, version: int) -> None:
        summary = await self._convergence.summary(namespace, version)
        await self._queue(self._events.converged(summary), Occurrence("converged", namespace, version))

    async def _send_failures(self, namespace: str, version: int, count: int) -> None:
        summary = await self._convergence.summary(namespace, version)
        agents = await self._convergence.laggards(namespace, version, MAX_AGENTS)
        await self._queue(self._events.failed(summary, agents), Occurrence("failed", namespace, version, count))

    async def _send_stall(self, namespace: str, version: int) -> None:
        summary = await self._convergence.summary(namespace, version)
        agents = await self._convergence.laggards(namespace, version, MAX_AGENTS)
        body = self._events.stalled(summary, agents, self._stalled_after)
        await self._queue(body, Occurrence("stalled", namespace, version))

    async def _rollout(self, number: int) -> None:
        rollout, _ = await self._rollouts.rollout(number)
        once = Occurrence("rollout", rollout.namespace, rollout.id, rollout.step)
        await self._queue(self._events.rollout(rollout), once)

    async def _queue(self, body: bytes | None, once: Occurrence | None) -> None:
        if body is not None and await self._store.queue_event(body, self._now(), once):
            self._queued()

    def _start(self, work: Coroutine[Deferred[object], object, None]) -> None:
        Deferred.fromCoroutine(work).addErrback(self._lost)

    def _lost(self, failure: Failure) -> None:
        error = failure.value
        if isinstance(error, ConfdError):
            self.log.warn("an event for webhooks is lost: {reason}", reason=error.message)
        else:
            self.log.failure("an event for webhooks is lost", failure)
