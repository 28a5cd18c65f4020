"""Drive open rollouts: reports, changes and time make the transitions that are due."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from confd.audit import Attempt
from confd.changes import AGENT, EXPOSED, RETIRED, ROLLOUT, Change, Contents, Lanes
from confd.controller.agents.compact import CompactAgent
from confd.controller.agents.liveness import silent_after
from confd.controller.agents.registry import Registry
from confd.controller.agents.selection import walk_agents
from confd.controller.interfaces import IControllerStore
from confd.controller.rollouts.decide import Clocks, Counts, Surroundings, Transition, count, decide
from confd.controller.rollouts.hearing import Hearing
from confd.controller.rollouts.picking import PoolAgent
from confd.controller.rollouts.transitions import can_add, judge_automatically
from confd.errors import ConfdError
from confd.interfaces import IChangeListener
from confd.reports import AgentRecord
from confd.rollouts.rollout import Member, Rollout
from confd.rollouts.steps import RolloutStep
from confd.runtime.offload import Offload
from confd.runtime.signal import Signal
from confd.runtime.timing import Periodic
from confd.runtime.waiters import Waiters

#: Bytes by which an agent counts for L{Offload}: a thread chooses among a thousand agents and more.
AGENT_BYTES = 10

#: Seconds between two considerations: without news, and with news at least.
ROUND_INTERVAL_SECONDS, NEWS_INTERVAL_SECONDS = 1.0, 0.2


@define(eq=False)
class Watched:
    """
    An open rollout as this controller watches it.

    @ivar step: the step that the feed showed last.
    @ivar since: when the feed showed it, in seconds of the monotonic clock, as all times here.
    @ivar fresh: whether C{rollout} and C{members} equal the store.
    """

    id: int
    step: int
    since: float
    rollout: Rollout | None = None
    members: Sequence[Member] = ()
    fresh: bool = False
    _applied_at: float = field(init=False)
    _most_applied: int | None = field(default=None, init=False)
    #: Times, and the runs that had begun by then at most.
    _runs: deque[tuple[float, int]] = field(factory=deque, init=False)

    @_applied_at.default
    def _begin(self) -> float:
        return self.since

    def sample(self, now: float, counts: Counts, bake: float) -> None:
        """Note counts that were read before C{now}."""
        self._runs.append((now, counts.runs))
        while len(self._runs) > 1 and self._runs[1][0] <= now - bake:
            self._runs.popleft()
        if self._most_applied is None or counts.applied > self._most_applied:
            if self._most_applied is not None:
                self._applied_at = now
            self._most_applied = counts.applied

    def start_over(self, now: float) -> None:
        """Let bake and patience begin now."""
        self.since = self._applied_at = now
        self._runs.clear()

    def clocks(self, now: float, bake: float) -> Clocks:
        """Return what was measured since the step began."""
        first = self._runs[0] if self._runs else None
        before = first[1] if first is not None and first[0] <= now - bake else None
        return Clocks(now - max(self.since, self._applied_at), before)

    def bake_left(self, now: float, bake: float) -> float:
        """Return the seconds until this controller has watched the step for C{bake} seconds."""
        return max(0.0, self.since + bake - now)


@implementer(IChangeListener)
class RolloutDriver(Service):
    """
    Considers each open rollout when something happens, and every second.

    Its clocks start over with each step, and with each start of the controller: that delays a transition, and never
    brings it earlier.

    @ivar considerations: gets C{(namespace,)} after each consideration of a rollout.
    """

    log = Logger()

    def __init__(
        self,
        store: IControllerStore,
        registry: Registry,
        clock: IReactorTime,
        now: Callable[[], datetime],
        offload: Offload,
        frozen_until: Callable[[str], datetime | None] = lambda namespace: None,
    ) -> None:
        """
        @param now: returns the wall-clock time.
        @param offload: chooses among many agents.
        @param frozen_until: returns when the freeze of a namespace ends; C{None} while none is active.
        """
        self._store, self._registry, self._clock, self._now = store, registry, clock, now
        self._offload, self.frozen_until = offload, frozen_until
        self._hearing = Hearing(clock, now, store, lambda: registry.lost_controller)
        self._watched: dict[str, Watched] = {}
        self._not_before = 0.0
        self._news = False
        self._loop = Periodic(clock, lambda: Deferred.fromCoroutine(self._round()), self._pause)
        self._problem: str | None = None
        self._waiters = Waiters(clock)
        self.considerations = Signal()

    def load(self, contents: Contents) -> None:
        self._watched.clear()
        for namespace, lanes in contents.lanes.items():
            self._follow(namespace, lanes)

    def apply(self, change: Change) -> None:
        if change.kind == ROLLOUT:
            self._follow(change.subject, change.value)
        elif change.kind == EXPOSED:
            self._touch(change.subject)
        elif change.kind == AGENT:
            for namespace in self._watched:
                self._touch(namespace)
        elif change.kind == RETIRED:
            self._watched.pop(change.subject, None)

    def startService(self) -> None:
        super().startService()
        self._hearing.begin()
        self._loop.startService()

    def stopService(self) -> Deferred[None] | None:
        """Answer all waits, and fire when the present consideration has ended."""
        super().stopService()
        self._waiters.give_up()
        return self._loop.stopService()

    def agents_changed(self, namespace: str, agent_ids: Iterable[str]) -> None:
        """Note that agents reported, fell silent, were heard of again or left."""
        if namespace in self._watched:
            self._touch(namespace)

    def clocks(self, rollout: Rollout) -> tuple[Clocks, float] | None:
        """
        Return what was measured in the present step of a rollout, and the seconds of its bake that are left.

        @return: C{None} if the rollout is not open, or is at another step.
        """
        watched = self._watched.get(rollout.namespace)
        if watched is None or (watched.id, watched.step) != (rollout.id, rollout.step):
            return None
        now, bake = self._clock.seconds(), rollout.plan.wave(rollout.wave).bake
        return watched.clocks(now, bake), watched.bake_left(now, bake)

    def considered(self, namespace: str) -> tuple[Rollout, Sequence[Member]] | None:
        """Return the open rollout of a namespace and its members; C{None} until its present step was considered."""
        watched = self._watched.get(namespace)
        if watched is None or watched.rollout is None or watched.rollout.step != watched.step:
            return None
        return watched.rollout, watched.members

    def open_rollout(self, namespace: str) -> int | None:
        """Return the id of the open rollout of a namespace, C{None} without one."""
        watched = self._watched.get(namespace)
        return None if watched is None else watched.id

    def over(self, number: int, namespace: str, timeout: float) -> Deferred[bool]:
        """Fire with whether a rollout ends within C{timeout} seconds."""
        return self._waiters.wait(lambda: True if self.open_rollout(namespace) != number else None, timeout)

    def surroundings(self, namespace: str) -> Surroundings:
        """Return what the registry knows of the agents of a namespace now."""
        unheard = frozenset(self._registry.liveness(namespace).silent)
        interval = self._registry.poll_interval(namespace)
        believed = self._hearing.believes(silent_after(interval, self._registry.shared))
        silent = unheard if believed else frozenset[str]()
        return Surroundings(silent, unheard, frozenset(self._registry.duplicates.ids()))

    async def agents(self, namespace: str) -> Sequence[PoolAgent]:
        """Return the agents of a namespace that have reported; let the reactor run in between."""
        around = self.surroundings(namespace)
        labels = self._registry.labels.of
        return [
            PoolAgent(agent, labels, agent.id not in around.unheard, agent.id not in around.duplicates)
            async for agents in walk_agents(self._registry, self._clock, namespace)
            for agent in agents
            if agent.report is not None
        ]

    def is_fit(self, record: AgentRecord) -> bool:
        """Return whether the failure of an agent counts."""
        live = not self._registry.liveness(record.namespace).is_silent(record.id)
        return PoolAgent(CompactAgent.of(record), self._registry.labels.of, live).fit

    def _follow(self, namespace: str, lanes: Lanes) -> None:
        watched = self._watched.get(namespace)
        if not lanes.open:
            self._watched.pop(namespace, None)
        elif watched is None or (watched.id, watched.step) != (lanes.rollout, lanes.step):
            self._watched[namespace] = Watched(lanes.rollout, lanes.step, self._clock.seconds())
        else:
            # The verdict of a check.
            watched.fresh = False
        self._waiters.look()
        self._hint()

    def _touch(self, namespace: str) -> None:
        if namespace in self._watched:
            self._watched[namespace].fresh = False
            self._hint()

    def _hint(self) -> None:
        """Consider soon: at once, but not more often than news are to be considered."""
        self._news = True
        self._loop.reconsider()

    def _pause(self) -> float:
        wait = self._not_before - self._clock.seconds()
        return max(0.0, wait) if self._news else ROUND_INTERVAL_SECONDS

    async def _round(self) -> None:
        self._news = False
        self._hearing.look()
        self._not_before = self._clock.seconds() + NEWS_INTERVAL_SECONDS
        for namespace, watched in list(self._watched.items()):
            try:
                await self._consider(namespace, watched)
            except ConfdError as error:
                if self._problem != error.message:
                    self.log.error("a rollout cannot go on: {reason}", reason=error.message)
                self._problem = error.message
            else:
                self._problem = None

    async def _consider(self, namespace: str, watched: Watched) -> None:
        rollout = watched.rollout
        if not watched.fresh or rollout is None:
            watched.fresh = True
            try:
                rollout, watched.members = await self._store.rollout(watched.id)
            except ConfdError:
                watched.fresh = False
                raise
            watched.rollout = rollout
        if rollout.step != watched.step:
            # The feed is about to show this step.
            watched.fresh = False
            return
        now, bake = self._clock.seconds(), rollout.plan.wave(rollout.wave).bake
        around = self.surroundings(namespace)
        counts, frozen = count(watched.members, rollout, around), self.frozen_until(namespace) is not None
        if frozen and rollout.state == "running":
            watched.start_over(now)
        watched.sample(now, counts, bake)
        self.considerations.notify(namespace)
        clocks = watched.clocks(now, bake)
        due = decide(rollout, counts, clocks, frozen)
        if due is not None:
            await self._attempt(rollout, watched.members, due, around, clocks)

    async def _attempt(
        self, rollout: Rollout, members: Sequence[Member], due: Transition, around: Surroundings, clocks: Clocks
    ) -> None:
        agents = await self.agents(rollout.namespace) if due.to in ("next", "more") else ()
        if due.to == "more" and not await self._offload.run(
            AGENT_BYTES * len(agents), can_add, rollout, members, agents
        ):
            return
        now = self._now()
        attempt = Attempt("confd", "", "rollout", rollout.namespace, "", now)
        judge = judge_automatically(rollout, due, around, clocks, agents)
        step = RolloutStep(rollout.id, judge, now, attempt, delivers=due.to in ("next", "more"))
        stepped = (await self._store.step_rollout(step)).value
        if stepped.done:
            self.log.info(
                "rollout {id} of {namespace}: {state}, wave {wave}",
                id=rollout.id,
                namespace=rollout.namespace,
                state=stepped.rollout.state,
                wave=stepped.rollout.wave,
                reason=stepped.rollout.reason,
            )
        else:
            self._touch(rollout.namespace)
