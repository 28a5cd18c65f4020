"""Summaries of the convergence of one version, and the agents that are behind on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from attrs import define, evolve, field, frozen
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from confd.controller.agents.compact import CompactAgent
from confd.controller.agents.registry import Registry
from confd.controller.agents.selection import AGENTS_PER_TURN, walk_agents
from confd.controller.convergence.columns import AgentStates
from confd.controller.convergence.outcomes import TIMES
from confd.controller.convergence.progress import ConvergenceSummary, LaggingAgent, OpenRollout
from confd.controller.convergence.times import CollectedTimes, RankedTimes, curve, percentiles
from confd.controller.convergence.version import VersionProgress

#: Agents of each state that L{Counted.behind} has at most.
MAX_BEHIND = 100

#: States of agents that are behind, the most urgent first.
_BEHIND = ("failed", "silent", "applying", "pending")


@frozen
class Counted:
    """
    The convergence of a version.

    @ivar behind: agents that are behind, the most urgent first, then by id.
    """

    summary: ConvergenceSummary
    behind: Sequence[LaggingAgent]


@define(eq=False)
class Count:
    """
    Counts the agents of a namespace by their results of a version, one after the other.

    @ivar current: whether no newer version exists that an agent may have gone on to.
    @ivar wanted: returns whether an agent counts; C{None} for all agents.
    """

    _namespace: str
    _progress: VersionProgress
    _current: bool
    _registry: Registry
    _wanted: Callable[[str], bool] | None = None
    _states: Counter[str] = field(factory=Counter, init=False)
    _behind: dict[str, list[LaggingAgent]] = field(factory=lambda: {state: [] for state in _BEHIND}, init=False)
    #: Of the agents so far that count, where not all do.
    _times: dict[str, CollectedTimes] = field(factory=lambda: {what: CollectedTimes() for what in TIMES}, init=False)

    def visit(self, agents: Sequence[CompactAgent]) -> None:
        """Count agents as of now; their ids ascend from call to call."""
        registry, wanted, current = self._registry, self._wanted, self._current
        is_silent, applied = registry.liveness(self._namespace).is_silent, list[int]()
        outcomes, states = self._progress.outcomes, self._states
        for agent in agents:
            agent_id = agent.id
            if wanted is not None and not wanted(agent_id):
                continue
            known = outcomes.state_of(agent_id)
            if known is not None and known.final:
                state = known.value
            elif not current and self._went_on(agent):
                state = "passed"
            elif is_silent(agent_id):
                state = "silent"
            else:
                state = "pending" if known is None else "applying"
            states[state] += 1
            if state == "applied":
                applied.append(outcomes.number_of(agent_id))
            elif state != "passed" and len(self._behind[state]) < MAX_BEHIND:
                error = "" if known is None else outcomes[agent_id].error
                self._behind[state].append(LaggingAgent(agent.record(), state, error))
        if wanted is not None:
            for what, times in outcomes.times_of(applied).items():
                self._times[what].add(times)

    def result(self) -> Counted:
        """Return the convergence among the agents so far."""
        every = self._wanted is None
        times = self._progress.times.ranked() if every else {what: each.ranked() for what, each in self._times.items()}
        behind = [each for state in _BEHIND for each in self._behind[state]]
        return Counted(_summary(self._namespace, self._progress, self._states, times), behind)

    def _went_on(self, agent: CompactAgent) -> bool:
        report, tag = agent.report, self._progress.tag
        return report is not None and (report.tag.epoch, report.tag.version) > (tag.epoch, tag.version)


async def count_agents(
    namespace: str,
    progress: VersionProgress,
    current: bool,
    registry: Registry,
    clock: IReactorTime,
    wanted: Callable[[str], bool] | None = None,
    per_turn: int = AGENTS_PER_TURN,
    pause: float = 0.0,
) -> Counted:
    """
    Count the agents of a namespace by their results of a version.

    All agents count as of one turn, where a version is current and for all agents. Otherwise the reactor runs in
    between: each agent counts once, as of the turn that looks at it. An agent that leaves before counts nowhere, and
    an agent that comes meanwhile may count.

    @param current: whether no newer version exists that an agent may have gone on to.
    @param wanted: returns whether an agent counts; C{None} for all agents.
    @param per_turn: agents that are looked at in one turn of the reactor.
    @param pause: seconds between two turns.
    """
    newest = current and wanted is None
    count = Count(namespace, progress, current, registry, wanted)
    if not newest:
        async for agents in walk_agents(registry, clock, namespace, per_turn=per_turn, pause=pause):
            count.visit(agents)
    while progress.times.gather(per_turn):
        await deferLater(clock, pause)
    return await _count_at_once(namespace, progress, registry, clock, per_turn) if newest else count.result()


async def _count_at_once(
    namespace: str, progress: VersionProgress, registry: Registry, clock: IReactorTime, per_turn: int
) -> Counted:
    outcomes = progress.outcomes
    states = AgentStates.of(registry.rows.members_of(namespace), registry.liveness(namespace), outcomes)
    counts = Counter(applied=progress.applied, failed=progress.failed)
    counts.update({state: states.count(state) for state in ("silent", "applying")})
    counts["pending"] = registry.count(namespace) - counts.total()
    summary = _summary(namespace, progress, counts, progress.times.ranked())
    behind = list[LaggingAgent]()
    for state in _BEHIND:
        for agent_id in await states.first(state, MAX_BEHIND, walk_agents(registry, clock, namespace, "", per_turn)):
            record, known = registry.find(agent_id), outcomes.get(agent_id)
            if record is not None:
                behind.append(LaggingAgent(record, state, "" if known is None else known.error))
    return Counted(summary, behind)


def _summary(
    namespace: str, progress: VersionProgress, states: Mapping[str, int], times: Mapping[str, RankedTimes]
) -> ConvergenceSummary:
    tag, total = progress.tag, percentiles(times["took"])
    return ConvergenceSummary(
        total.p50_ms,
        total.p99_ms,
        total.max_ms,
        namespace=namespace,
        version=tag.version,
        epoch=tag.epoch,
        tag=str(tag),
        published_at=progress.published_at,
        applied=states["applied"],
        failed=states["failed"],
        applying=states["applying"],
        silent=states["silent"],
        pending=states["pending"],
        passed=states["passed"],
        hops={what: percentiles(each) for what, each in times.items() if what != "took"},
        curve_ms=curve(times["took"]),
    )


def repeat(summary: ConvergenceSummary, progress: VersionProgress) -> ConvergenceSummary:
    """Return a summary for the version that follows: no agent reported of either version, and no agent changed."""
    tag = progress.tag
    return evolve(summary, version=tag.version, epoch=tag.epoch, tag=str(tag), published_at=progress.published_at)


def with_rollout(counted: Counted, rollout: OpenRollout | None) -> ConvergenceSummary:
    """Return the summary with the open rollout of the namespace."""
    return counted.summary if rollout is None else evolve(counted.summary, rollout=rollout)
