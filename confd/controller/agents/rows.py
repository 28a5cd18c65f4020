"""The rows of agents in memory, and how they come there: in pages, so that the reactor answers requests in between."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import TypeVar

from attrs import define, field

from confd.controller.agents.compact import BEFORE_LOAD, CompactAgent
from confd.controller.agents.members import Members
from confd.controller.interfaces import IResidentStore
from confd.reports import AgentRecord, Report

K = TypeVar("K")
R = TypeVar("R")

#: Rows of a page: some milliseconds of work.
PAGE_ROWS = 2000


@define(eq=False)
class KnownAgents:
    """
    Agents by id, and by namespace in the order of their ids.

    @ivar members: the agents of each namespace that has, or had, any.
    """

    _agents: dict[str, CompactAgent] = field(factory=dict)
    members: dict[str, Members] = field(factory=dict)

    def __len__(self) -> int:
        return len(self._agents)

    def find(self, agent_id: str) -> AgentRecord | None:
        """Return an agent, C{None} if it is unknown."""
        agent = self._agents.get(agent_id)
        return None if agent is None else agent.record()

    def namespace_of(self, agent_id: str) -> str | None:
        """Return the namespace of an agent, C{None} if it is unknown."""
        agent = self._agents.get(agent_id)
        return None if agent is None else agent.namespace

    def compact(self, agent_id: str) -> CompactAgent | None:
        """Return an agent as it is kept, C{None} if it is unknown."""
        return self._agents.get(agent_id)

    def all(self) -> Collection[CompactAgent]:
        """Return all agents."""
        return self._agents.values()

    def namespaces(self) -> Collection[str]:
        """Return the namespaces that have agents, or had some."""
        return list(self.members)

    def polled(self, agent_id: str, at: datetime, token_used: float | None = None) -> CompactAgent | None:
        """
        Note a poll, and return the agent; C{None} if it is unknown.

        @param token_used: see L{CompactAgent.polled}.
        """
        agent = self._agents.get(agent_id)
        if agent is not None:
            agent.polled(at, token_used)
        return agent

    def reported(self, agent: CompactAgent, report: Report, at: datetime) -> None:
        """Put a report in the place of the last one of an agent."""
        self._agents[agent.id] = agent.with_report(report, at)

    def members_of(self, namespace: str) -> Members:
        """Return the agents of a namespace, now and later."""
        members = self.members.get(namespace)
        if members is None:
            members = self.members[namespace] = Members(namespace, self._agents)
        return members

    def put(self, record: AgentRecord) -> CompactAgent:
        """Add an agent, or put its record in the place of another one; return it as it is kept."""
        before = self._agents.get(record.id)
        if before is not None and before.namespace == record.namespace:
            number = before.number
        else:
            if before is not None:
                self.members[before.namespace].remove(before)
            number = self.members_of(record.namespace).add(record.id)
        used = before.token_used if before is not None and before.token == record.token else None
        agent = self._agents[record.id] = CompactAgent.of(record, number, used)
        return agent

    def remove(self, agent_id: str) -> AgentRecord | None:
        """Remove an agent; return its record, C{None} if it was unknown."""
        agent = self._agents.pop(agent_id, None)
        if agent is None:
            return None
        self.members[agent.namespace].remove(agent)
        return agent.record()

    def slices(self, namespace: str, size: int, after: str = "") -> Iterator[Sequence[CompactAgent]]:
        """
        Yield the agents of a namespace by id, in slices; the last slice is smaller than the others, or empty.

        Agents may change between two slices. An agent that stays comes once; an agent that comes or leaves may be left
        out.

        @param size: agents of a slice.
        @param after: the id before the first one.
        """
        found: Sequence[CompactAgent] = list(islice(self.after(namespace, after), size))
        yield found
        while len(found) == size:
            found = list(islice(self.after(namespace, found[-1].id), size))
            yield found

    def after(self, namespace: str, agent_id: str) -> Iterator[CompactAgent]:
        """Yield the agents of a namespace, by id, that follow an id."""
        members = self.members.get(namespace)
        return map(self._agents.__getitem__, () if members is None else members.in_order.after(agent_id))


@define(eq=False)
class LoadedAgents:
    """
    All agents.

    @ivar unproven: ids of the agents that never polled or reported.
    """

    rows: KnownAgents = field(factory=KnownAgents)
    unproven: list[str] = field(factory=list)

    async def load(self, store: IResidentStore) -> None:
        """Read all agents; the pages so far are there in between."""
        await read_pages(store.load_agents, self.add, lambda record: record.id, "")

    def add(self, page: Sequence[AgentRecord]) -> None:
        """Add the agents of a page."""
        for record in page:
            agent = self.rows.put(record)
            silent = record.last_poll is None and record.report is None
            if silent:
                self.unproven.append(record.id)
            if record.token and not silent:
                agent.used_token(BEFORE_LOAD)


async def read_pages(
    read: Callable[[K, int], Awaitable[Sequence[R]]],
    take: Callable[[Sequence[R]], object],
    key: Callable[[R], K],
    after: K,
) -> None:
    """
    Read all rows of a table, a page after the other.

    A row that changes meanwhile may be that of before or after the change: the feed brings each such change later.

    @param read: returns the rows above a key, in the order of their keys: so many at most.
    @param take: called with each page.
    @param key: returns the key of a row.
    @param after: below the key of every row.
    """
    while True:
        page = await read(after, PAGE_ROWS)
        take(page)
        if len(page) < PAGE_ROWS:
            return
        after = key(page[-1])
