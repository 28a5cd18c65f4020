"""The agents that a selector matches."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from confd.codec.selectors import Selector, matches
from confd.controller.agents.registry import Registry
from confd.reports import AgentRecord

#: Agents that are compared with a selector in one turn of the reactor: a few milliseconds.
AGENTS_PER_TURN = 500


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
    if not selector.requirements and limit is not None:
        return registry.page(namespace, limit, after, state)
    found: list[AgentRecord] = []
    while True:
        page = registry.page(namespace, AGENTS_PER_TURN, after, state)
        found += [each for each in page if matches(registry.labels.of(each), selector)]
        if len(page) < AGENTS_PER_TURN or (limit is not None and len(found) >= limit):
            return found[:limit]
        after = page[-1].id
        await deferLater(clock, 0)
