"""Which agents are live."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from attrs import define, field

from confd.reports import AgentRecord

#: Poll intervals without a sign of life until an agent is silent.
SILENT_AFTER_INTERVALS = 3

#: Seconds without a sign of life until an agent is silent, at least, where controllers share a store: the end of a
#: controller, whose agents are on their way to another one, is noticed before.
SHARED_SILENT_AFTER_SECONDS = 5.0

#: The state of a silent agent.
SILENT = "silent"


def silent_after(poll_interval: float, shared: bool) -> float:
    """
    Return the seconds without a sign of life until an agent is silent.

    @param shared: whether other controllers use the store.
    """
    return max(SILENT_AFTER_INTERVALS * poll_interval, SHARED_SILENT_AFTER_SECONDS if shared else 0.0)


@define(eq=False)
class Liveness:
    """
    The agents of one namespace, in the order in which they were last heard of: who falls silent is found without a look
    at the others.
    """

    _live: OrderedDict[str, float] = field(factory=OrderedDict)
    _silent: set[str] = field(factory=set)

    def __len__(self) -> int:
        return len(self._live) + len(self._silent)

    def __iter__(self) -> Iterator[str]:
        yield from self._live
        yield from self._silent

    @property
    def live(self) -> int:
        """Return the number of agents that are not silent."""
        return len(self._live)

    @property
    def silent(self) -> set[str]:
        """Silent agents; read only."""
        return self._silent

    def heard(self, agent_id: str, at: float) -> bool:
        """
        Note a sign of life.

        @param at: when, in monotonic seconds, never before the last call.
        @return: whether that is a change: it is new here, or was silent.
        """
        new = agent_id not in self._live
        self._live[agent_id] = at
        self._live.move_to_end(agent_id)
        self._silent.discard(agent_id)
        return new

    def state_of(self, record: AgentRecord) -> str | None:
        """Return L{SILENT}, or the state of the last report of an agent; C{None} before its first report."""
        if record.id in self._silent:
            return SILENT
        return None if record.report is None else record.report.state.value

    def left(self, agent_id: str) -> None:
        """Remove an agent."""
        self._live.pop(agent_id, None)
        self._silent.discard(agent_id)

    def sweep(self, before: float) -> list[str]:
        """Return the agents that fall silent: not heard of since C{before}."""
        fallen = []
        for agent_id, at in self._live.items():
            if at >= before:
                break
            fallen.append(agent_id)
        for agent_id in fallen:
            del self._live[agent_id]
        self._silent.update(fallen)
        return fallen
