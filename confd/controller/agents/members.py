"""The agents of a namespace by small numbers: their values fit into columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol
from weakref import WeakSet

from attrs import define, field

from confd.controller.agents.compact import CompactAgent
from confd.controller.agents.sorted_ids import SortedIds


class ByNumber(Protocol):
    """Values of agents by their numbers."""

    def clear(self, number: int) -> None:
        """Remove the value of an agent that leaves; another agent may get its number."""


@define(eq=False)
class Members:
    """
    The agents of one namespace. Each has a number from its arrival until it leaves.

    @ivar in_order: their ids, sorted.
    @ivar ids: their ids by number; empty where no agent has the number.
    @ivar free: the numbers that no agent has.
    @ivar columns: are cleared where an agent leaves; their owners keep them alive.
    """

    _namespace: str
    #: The agents of all namespaces.
    _agents: Mapping[str, CompactAgent]
    in_order: SortedIds = field(factory=SortedIds, init=False)
    ids: list[str] = field(factory=list, init=False)
    free: list[int] = field(factory=list, init=False)
    columns: WeakSet[ByNumber] = field(factory=WeakSet, init=False)

    def number_of(self, agent_id: str) -> int | None:
        """Return the number of an agent, C{None} if it is not here."""
        agent = self._agents.get(agent_id)
        return None if agent is None or agent.namespace != self._namespace else agent.number

    def add(self, agent_id: str) -> int:
        """Give a number to an agent that is not here."""
        self.in_order.add(agent_id)
        if self.free:
            number = self.free.pop()
            self.ids[number] = agent_id
            return number
        self.ids.append(agent_id)
        return len(self.ids) - 1

    def remove(self, agent: CompactAgent) -> None:
        """Take the number of an agent that leaves, and clear it in all columns."""
        number = agent.number
        for column in self.columns:
            column.clear(number)
        self.in_order.remove(agent.id)
        self.ids[number] = ""
        self.free.append(number)
