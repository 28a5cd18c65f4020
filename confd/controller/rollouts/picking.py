"""Choose the agents of a wave: the same agents on every machine, and more of them with a larger target."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from attrs import frozen

from confd.codec.ranks import rank
from confd.codec.selectors import Selector, matches, parse_selector
from confd.controller.agents.compact import CompactAgent
from confd.reports import AgentRecord, ReportState
from confd.rollouts.plan import RolloutPlan, Wave
from confd.rollouts.steps import Exposure


@frozen
class PoolAgent:
    """
    An agent that can become a member.

    @ivar live: heard of within three intervals.
    @ivar usable: not a duplicate.
    """

    agent: CompactAgent
    _labels: Callable[[AgentRecord], Mapping[str, str]]
    live: bool
    usable: bool = True

    @property
    def id(self) -> str:
        """The id of the agent."""
        return self.agent.id

    @property
    def fit(self) -> bool:
        """Whether the agent is live, and its last report says C{applied}."""
        report = self.agent.report
        return self.live and report is not None and report.state is ReportState.APPLIED

    def meets(self, selectors: Sequence[Selector]) -> bool:
        """Return whether the labels of the agent match all selectors."""
        if not any(selector.requirements for selector in selectors):
            return True
        labels = self._labels(self.agent.record())
        return all(matches(labels, selector) for selector in selectors)


def salt_of(plan: RolloutPlan, namespace: str, rollout: int) -> str:
    """Return what makes the ranks of a rollout differ from those of others."""
    return namespace if plan.salt == "namespace" else str(rollout)


def target(wave: Wave, pool: int) -> int:
    """
    Return the members that a wave with a size needs among its pool.

    @param pool: agents in the pool.
    """
    if wave.count is not None:
        return wave.count
    assert wave.percent is not None
    return max(1, -(-wave.percent * pool // 100))


def choose(
    plan: RolloutPlan,
    wave: Wave,
    agents: Iterable[PoolAgent],
    members: Collection[str],
    salt: str,
    pending: int = 0,
) -> Exposure:
    """
    Choose the agents of a wave that has a size.

    @param agents: the agents of the namespace that have reported.
    @param members: ids of all members.
    @param pending: members that have not applied yet.
    @return: the pool, and how many of it are to be members.
    """
    pool = pool_of(plan, wave, agents, members)
    ranked = sorted(pool, key=lambda each: rank(salt, each.id))
    at_once = max(0, wave.parallel - pending) if wave.parallel else None
    return Exposure(tuple((each.id, each.fit) for each in ranked), target(wave, len(pool)), at_once)


def pool_of(plan: RolloutPlan, wave: Wave, agents: Iterable[PoolAgent], members: Collection[str]) -> list[PoolAgent]:
    """
    Return the agents from which a wave is picked, its members included, in no order.

    @param agents: the agents of the namespace that have reported.
    @param members: ids of all members.
    """
    selectors = [parse_selector(plan.select), parse_selector(wave.select)]
    matching = [each for each in agents if each.meets(selectors)]
    able = [each for each in matching if each.live and each.usable]
    if any(each.fit for each in able):
        able = [each for each in able if each.fit]
    eligible = {each.id for each in able}
    return [each for each in matching if each.id in members or each.id in eligible]


def next_wave(
    plan: RolloutPlan,
    after: int,
    agents: Sequence[PoolAgent],
    members: Collection[str],
    salt: str,
    pending: int = 0,
) -> tuple[int, Exposure] | None:
    """
    Return the number and the agents of the next wave that adds a member.

    @param after: number of the wave before; 0 at the start.
    @param pending: members that have not applied yet.
    @return: C{None} if a wave misses its target and no agent is eligible.
    """
    for number, wave in enumerate(plan.waves[after:], after + 1):
        exposure = choose(plan, wave, agents, members, salt, pending)
        here = sum(agent_id in members for agent_id, _ in exposure.ranked)
        if here >= exposure.members:
            continue
        return (number, exposure) if here < len(exposure.ranked) else None
    return plan.last_number, all_reported(agents)


def all_reported(agents: Iterable[PoolAgent]) -> Exposure:
    """Return the agents of the last wave: all that have reported."""
    ranked = tuple(sorted((each.id, each.fit) for each in agents))
    return Exposure(ranked, len(ranked))
