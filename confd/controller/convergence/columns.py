"""The states of all agents of a namespace, in one turn of the reactor: C code counts bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from heapq import nsmallest

from attrs import frozen

from confd.controller.agents.compact import CompactAgent
from confd.controller.agents.liveness import LIVE_BYTE, SILENT, SILENT_BYTE, Liveness
from confd.controller.agents.members import Members
from confd.controller.convergence.outcomes import STATES, Outcomes
from confd.reports import ReportState

#: The states of agents by their bytes; the first is of a number that no agent has.
_NAMES = ("", "pending", SILENT, *(state.value for state in STATES if state is not None))


def _byte(liveness: int, outcome: ReportState | None) -> int:
    """Return the byte for the state of an agent."""
    if outcome is not None and outcome.final:
        return _NAMES.index(outcome.value)
    return _NAMES.index(SILENT if liveness == SILENT_BYTE else "pending" if outcome is None else outcome.value)


#: Turns the bytes of L{Liveness.states} and L{Outcomes.states} together into these.
_TABLE = bytearray(256)
for _liveness in (LIVE_BYTE, SILENT_BYTE):
    for _number, _outcome in enumerate(STATES):
        _TABLE[_liveness | _number] = _byte(_liveness, _outcome)

#: Up to this number, all agents in a state are sorted. Beyond it, the first are found in the order of the ids.
MAX_SORTED_IDS = 2000


@frozen
class AgentStates:
    """The states of the agents of a namespace at one moment."""

    _members: Members
    #: A byte for each number of a member.
    _states: bytes

    @classmethod
    def of(cls, members: Members, liveness: Liveness, outcomes: Outcomes) -> AgentStates:
        """Return the states of the agents by the outcomes of the newest version."""
        # Python has no other way to combine two columns without a look at each byte.
        both = int.from_bytes(liveness.states, "little") | int.from_bytes(outcomes.states, "little")
        return cls(members, both.to_bytes(len(members.ids), "little").translate(_TABLE))

    def count(self, state: str) -> int:
        """Return the number of agents in a state."""
        return self._states.count(_NAMES.index(state))

    async def first(self, state: str, limit: int, walk: AsyncIterator[Sequence[CompactAgent]]) -> Sequence[str]:
        """
        Return the ids of the first agents in a state.

        @param limit: agents at most.
        @param walk: the agents of the namespace, from L{walk_agents}.
        """
        if self.count(state) <= MAX_SORTED_IDS:
            return nsmallest(limit, self._all(state))
        found = list[str]()
        async for agents in walk:
            found += [each.id for each in agents if self._state_of(each.number) == state]
            if len(found) >= limit:
                break
        return found[:limit]

    def _all(self, state: str) -> Iterator[str]:
        byte, number = _NAMES.index(state), -1
        while (number := self._states.find(byte, number + 1)) >= 0:
            yield self._members.ids[number]

    def _state_of(self, number: int) -> str:
        # Other agents may have come since.
        return _NAMES[self._states[number]] if number < len(self._states) else ""
