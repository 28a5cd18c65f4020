"""Look at many agents, and let the reactor run in between."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from confd.codec.selectors import Selector, matches
from confd.controller.agents.compact import CompactAgent
from confd.controller.agents.registry import Registry
from confd.reports import AgentRecord

#: Agents that one turn of the reactor looks at: a few milliseconds, where it compares each with a selector.
AGENTS_PER_TURN = 500


async def walk_agents(
    registry: Registry,
    clock: IReactorTime,
    namespace: str,
    after: str = "",
    per_turn: int = AGENTS_PER_TURN,
    pause: float = 0.0,
) -> AsyncIterator[Sequence[CompactAgent]]:
    """
    Yield the agents of a namespace in slices, each in a turn of the reactor: see L{KnownAgents.slices}.

    A small namespace takes the present turn only.

    @param pause: seconds between two turns.
    """
    for agents in registry.rows.slices(namespace, per_turn, after):
        yield agents
        if len(agents) == per_turn:
            await deferLater(clock, pause)


async def select_agents(
    registry: Registry,
    clock: IReactorTime,
    namespace: str,
    selector: Selector,
    limit: int | None = None,
    after: str = "",
    state: str | None = None,
) -> list[AgentRecord]:
    """
    Return agents of a namespace that match a selector, by id; let the reactor run in between.

    @param limit: agents at most; C{None} for all.
    @param after: the id before the first one.
    @param state: leaves out agents in other states.
    """
    found: list[AgentRecord] = []
    async for agents in walk_agents(registry, clock, namespace, after):
        state_of = registry.liveness(namespace).state_of
        for agent in agents:
            if state is not None and state_of(agent.id, agent.report) != state:
                continue
            record = agent.record()
            if matches(registry.labels.of(record), selector):
                found.append(record)
                if len(found) == limit:
                    return found
    return found
