"""The verbs of rollouts, and the version that each caller is served."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime

import msgspec
from attrs import define, evolve, frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from confd.audit import Attempt
from confd.codec.headers import entity_tags
from confd.codec.strict_json import JsonObject
from confd.controller.agents.registry import Registry
from confd.controller.configs.reader import ConfigReader
from confd.controller.configs.snapshot import EncodedConfig, Snapshot
from confd.controller.feed import Feed
from confd.controller.interfaces import IRolloutStore
from confd.controller.rollouts import transitions
from confd.controller.rollouts.driver import AGENT_BYTES, RolloutDriver
from confd.controller.rollouts.picking import PoolAgent, next_wave, salt_of
from confd.controller.rollouts.plans import BUILT_IN, PlanSpec, check_name, parse_plan, plan_body, resolve
from confd.controller.rollouts.views import RolloutView, RolloutViews
from confd.controller.store.rollout_rules import pick
from confd.errors import ConfdError
from confd.model import Draft
from confd.rollouts.errors import no_eligible_agent, rollout_active, unknown_plan
from confd.rollouts.plan import SUPERSEDE, RolloutPlan
from confd.rollouts.rollout import CheckVerdict, Rollout
from confd.rollouts.steps import Exposure, Judge, RolloutStep, Start, Stepped
from confd.runtime.offload import Offload

#: Agents of a wave that a preview names.
SAMPLE = 5


@frozen
class Wish:
    """
    What a person wants of a rollout, beside the verb.

    @ivar expected: C{If-Match}; C{None} if any step will do.
    @ivar comment: for the audit log.
    """

    expected: str | None
    attempt: Attempt
    comment: str = ""


@frozen
class Preview:
    """
    What a rollout would do.

    @ivar waves: members after each wave, and ids of some that it adds.
    @ivar unfit: agents whose failure would not count.
    @ivar cannot_report: agents that have not reported yet; no wave picks them.
    """

    waves: Sequence[tuple[int, Sequence[str]]]
    unfit: int
    cannot_report: int


@define(eq=False)
class Rollouts:
    """
    Starts and changes rollouts for people, and serves each caller its lane.

    @ivar now: returns the wall-clock time.
    @ivar offload: chooses among many agents.
    """

    log = Logger()

    _store: IRolloutStore
    _driver: RolloutDriver
    _views: RolloutViews
    _snapshot: Snapshot
    _reader: ConfigReader
    _registry: Registry
    _feed: Feed
    _now: Callable[[], datetime]
    _offload: Offload

    async def served(self, namespace: str, header: str | None, agent_id: str) -> EncodedConfig:
        """
        Return the configuration that a caller is served.

        An agent that names a version above the base becomes a member first: it is never served less than it names.

        @param header: the C{If-None-Match} or C{Last-Event-ID} of the caller.
        @param agent_id: empty for a caller that is no agent.
        @raise NotFound: C{unknown_namespace}.
        @raise Unavailable: C{starting}; C{storage_unavailable}: the agent could not be made a member, or a look at the
            store for an unknown agent failed.
        """
        current = await self._reader.require_named(namespace, header)
        home = self._registry.rows.namespace_of(agent_id) if agent_id else None
        if agent_id and home is None:
            current = await self._reader.newest(namespace)
            record = await self._registry.look_up(agent_id)
            home = None if record is None else record.namespace
        if home != namespace or self._snapshot.lane(namespace) is None:
            return current
        if header:
            await self._detect(namespace, agent_id, entity_tags(header))
        return self._snapshot.select(namespace, agent_id) or current

    def still_served(self, namespace: str, agent_id: str, header: str | None, answered: EncodedConfig | None) -> bool:
        """Return whether L{served} would still return C{answered} at once."""
        found = self._snapshot.select(namespace, agent_id)
        if found is None or found is not answered:
            return False
        if self._snapshot.lane(namespace) is None or not (agent_id and header):
            return True
        return self._snapshot.detects(namespace, agent_id, entity_tags(header)) is None

    def agents_changed(self, namespace: str, agent_ids: Iterable[str]) -> None:
        """Make those agents members whose reports name a version above the base."""
        if self._snapshot.lane(namespace) is not None:
            for agent_id in agent_ids:
                self._agent_changed(namespace, agent_id)

    def _agent_changed(self, namespace: str, agent_id: str) -> None:
        agent = self._registry.rows.compact(agent_id)
        if agent is None or agent.report is None:
            return
        named = {str(tag) for tag in (agent.report.tag, agent.report.holds) if tag is not None}
        if agent.namespace == namespace and self._snapshot.detects(namespace, agent_id, named):
            detected = Deferred.fromCoroutine(self._detect(namespace, agent_id, named))
            # The next poll or report of the agent tries again.
            detected.addErrback(lambda failure: failure.trap(ConfdError))

    def open_rollout(self, namespace: str) -> int | None:
        """Return the id of the open rollout of a namespace, C{None} without one."""
        return self._driver.open_rollout(namespace)

    def refuse_while_open(self, draft: Draft) -> None:
        """
        Refuse a draft that an open rollout forbids, as the store does.

        @raise Conflict: C{rollout_active}.
        """
        number = self.open_rollout(draft.namespace)
        if number is not None and draft.rollout != SUPERSEDE:
            raise rollout_active(draft.namespace, number)

    async def preview(self, draft: Draft, spec: PlanSpec) -> Preview:
        """
        Return what a rollout of a draft would do if no agent changed.

        @raise Conflict: C{no_eligible_agent}.
        @raise Unprocessable: C{plan_too_hasty}.
        """
        plan, _ = resolve(spec, self._interval(draft))
        agents, number = await self._driver.agents(draft.namespace), await self._store.next_rollout()
        salt = salt_of(plan, draft.namespace, number)
        waves = await self._offload.run(AGENT_BYTES * len(agents), _preview, plan, agents, salt)
        unfit = sum(not each.fit for each in agents)
        return Preview(waves, unfit, self._registry.count(draft.namespace) - len(agents))

    async def start(self, draft: Draft, spec: PlanSpec) -> tuple[Stepped, Sequence[str]]:
        """
        Start a rollout: see L{IRolloutStore.start_rollout}; return it with warnings for people.

        @raise Unprocessable: C{plan_too_hasty}.
        """
        plan, warnings = resolve(spec, self._interval(draft))
        agents = await self._driver.agents(draft.namespace)

        def prepare(number: int) -> tuple[int, Exposure]:
            found = next_wave(plan, 0, agents, (), salt_of(plan, draft.namespace, number))
            if found is None:
                raise no_eligible_agent()
            return found

        return await self._feed.follow(self._store.start_rollout(Start(draft, plan, prepare))), warnings

    async def pause(self, number: int, wish: Wish) -> RolloutView:
        """Pause an open rollout; members keep the candidate."""
        return await self._step(number, transitions.pause(wish.expected), wish)

    async def resume(self, number: int, wish: Wish) -> RolloutView:
        """Resume a paused rollout, and accept its present failures."""
        around = self._driver.surroundings(await self._namespace(number))
        return await self._step(number, transitions.resume(wish.expected, around), wish, delivers=True)

    async def promote(
        self, number: int, to_all: bool, wish: Wish, unless_held: ConfdError | None = None
    ) -> RolloutView:
        """
        Start the next wave, or the last one, without waiting for the gate.

        @param unless_held: raised if the rollout is not paused in a wave that holds; C{None} for no such condition.
        """
        namespace = await self._namespace(number)
        around, agents = self._driver.surroundings(namespace), await self._driver.agents(namespace)
        judge = transitions.promote(wish.expected, to_all, around, agents)
        if unless_held is not None:
            judge = transitions.only_held(judge, unless_held)
        return await self._step(number, judge, wish, delivers=True)

    async def replace(self, number: int, draft: Draft, wish: Wish) -> RolloutView:
        """Give an open rollout another candidate."""
        return await self._step(number, transitions.replace(wish.expected, draft), wish, delivers=True)

    async def abort(self, number: int, wish: Wish) -> RolloutView:
        """Abort an open rollout: all agents get the document of the base as a new version."""
        return await self._step(number, transitions.abort(wish.expected), wish)

    async def post_check(self, number: int, name: str, passed: bool, wish: Wish) -> RolloutView:
        """Record the verdict of a check on an open rollout; a failed check stops the rollout at once."""
        around = self._driver.surroundings(await self._namespace(number))
        verdict = CheckVerdict(name, passed, wish.attempt.who, wish.comment, wish.attempt.made_at)
        return await self._step(number, transitions.post_check(wish.expected, verdict, around), wish)

    async def find(self, number: int) -> RolloutView:
        """Return a rollout: see L{RolloutViews.find}."""
        return await self._views.find(number)

    def page(
        self, namespace: str, states: Sequence[str], limit: int, before: int | None
    ) -> Deferred[Sequence[Rollout]]:
        """Return rollouts without members: see L{IRolloutStore.rollouts}."""
        found: Deferred[Sequence[Rollout]] = self._store.rollouts(namespace, states, limit, before)
        return found

    async def plan(self, name: str) -> PlanSpec:
        """
        Return a plan by its name.

        @raise NotFound: C{unknown_plan}.
        """
        plans = await self.plans()
        if name not in plans:
            raise unknown_plan(name)
        return plans[name]

    async def plans(self) -> dict[str, PlanSpec]:
        """Return all plans by name, the built-in ones first."""
        saved = await self._store.plans()
        return dict(BUILT_IN) | {name: parse_plan(msgspec.json.decode(body)) for name, body in saved.items()}

    async def save_plan(self, value: JsonObject, attempt: Attempt | None) -> PlanSpec:
        """
        Save a plan, in place of a plan with its name.

        @raise Unprocessable: C{bad_plan}.
        @raise Conflict: C{plan_built_in}.
        """
        spec = parse_plan(value)
        check_name(spec.name)
        await self._store.save_plan(spec.name, msgspec.json.encode(plan_body(spec)).decode(), attempt)
        return spec

    async def remove_plan(self, name: str, attempt: Attempt | None) -> None:
        """
        Remove a plan; open rollouts keep their copy.

        @raise NotFound: C{unknown_plan}.
        @raise Conflict: C{plan_built_in}.
        """
        check_name(name)
        await self._store.remove_plan(name, attempt)

    def over(self, number: int, namespace: str, timeout: float) -> Deferred[bool]:
        """Wait for the end of a rollout, at most C{timeout} seconds; fire with whether it has ended."""
        return self._driver.over(number, namespace, timeout)

    def _interval(self, draft: Draft) -> int:
        there = self._snapshot.require(draft.namespace).configuration.poll_interval
        return max(there, draft.poll_interval or 0)

    async def _namespace(self, number: int) -> str:
        rollout, _ = await self._store.rollout(number)
        return str(rollout.namespace)

    async def _step(self, number: int, judge: Judge, wish: Wish, delivers: bool = False) -> RolloutView:
        step = RolloutStep(number, transitions.commented(judge, wish.comment), self._now(), wish.attempt, delivers)
        stepped: Stepped = await self._feed.follow(self._store.step_rollout(step))
        return self._views.view(stepped.rollout, stepped.members)

    async def _detect(self, namespace: str, agent_id: str, named: Collection[str]) -> None:
        lane = self._snapshot.detects(namespace, agent_id, named)
        record = await self._registry.look_up(agent_id)
        if lane is None or record is None:
            return
        committed = await self._store.detect(lane.rollout, agent_id, self._driver.is_fit(record), self._now())
        await self._feed.reached(committed.seq)


def _preview(plan: RolloutPlan, agents: Sequence[PoolAgent], salt: str) -> Sequence[tuple[int, Sequence[str]]]:
    """
    Return the members after each wave, and some of the agents that the wave adds.

    @raise Conflict: C{no_eligible_agent}.
    """
    members: dict[str, bool] = {}
    waves: list[tuple[int, Sequence[str]]] = []
    while len(waves) < plan.last_number:
        found = next_wave(plan, len(waves), agents, members, salt)
        if found is None:
            raise no_eligible_agent()
        wave, exposure = found
        waves += [(len(members), ())] * (wave - 1 - len(waves))
        kept = sum(agent_id in members for agent_id, _ in exposure.ranked)
        whole = evolve(exposure, members=exposure.members - kept, at_once=None)
        added, _ = pick(whole, [], {agent_id for agent_id, _ in exposure.ranked if agent_id not in members})
        members |= added
        waves.append((len(members), list(added)[:SAMPLE]))
    return waves
