"""The states of all agents of a namespace, in one turn of the reactor: C code counts bytes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from heapq import nsmallest
from itertools import compress, islice

from attrs import frozen
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from confd.controller.agents.members import Members
from confd.controller.convergence.outcomes import STATES, Outcomes

#: The states of agents by their bytes; the first is of a number that no agent has.
_NAMES = ("", "pending", "silent", *(state.value for state in STATES if state is not None))
_BYTES = {name: byte for byte, name in enumerate(_NAMES)}

#: Turns the bytes of L{Outcomes.states} into these.
_TABLE = bytes(_BYTES["pending" if state is None else state.value] for state in STATES).ljust(256, b"\0")

#: Tables that turn the byte of a state into 1, and all others into 0.
_ONLY = {name: bytes(byte == each for each in range(256)) for name, byte in _BYTES.items()}

#: Agents of a state of which all are sorted; of more agents the first are found in the order of the ids.
MAX_SORTED_IDS = 2000


@frozen
class AgentStates:
    """
    The states of the agents of a namespace at one moment.

    @ivar states: a byte for each number of a member.
    """

    _members: Members
    _states: bytearray

    @classmethod
    def of(cls, outcomes: Outcomes, members: Members, silent: Collection[str]) -> AgentStates:
        """
        Return the states of the agents by the newest version.

        @param silent: ids of silent agents.
        """
        states = outcomes.states.translate(_TABLE).ljust(len(members.ids), _TABLE[:1])
        for number in members.free:
            states[number] = _BYTES[""]
        for agent_id in silent:
            silent_one = members.number_of(agent_id)
            if silent_one is not None and _NAMES[states[silent_one]] in ("pending", "applying"):
                states[silent_one] = _BYTES["silent"]
        return cls(members, states)

    def count(self, state: str) -> int:
        """Return the number of agents in a state."""
        return self._states.count(_BYTES[state])

    async def first(self, state: str, limit: int, clock: IReactorTime, per_turn: int) -> Sequence[str]:
        """
        Return the ids of the first agents in a state; let the reactor run in between.

        @param limit: agents at most.
        @param per_turn: agents that are looked at in one turn of the reactor.
        """
        count = self.count(state)
        if count <= MAX_SORTED_IDS:
            return nsmallest(limit, compress(self._members.ids, self._states.translate(_ONLY[state]))) if count else []
        found, after = list[str](), ""
        while len(found) < limit:
            agent_ids = list(islice(self._members.in_order.after(after), per_turn))
            found += [each for each in agent_ids if self._state_of(each) == state]
            if len(agent_ids) < per_turn:
                break
            after = agent_ids[-1]
            await deferLater(clock, 0)
        return found[:limit]

    def _state_of(self, agent_id: str) -> str:
        number = self._members.number_of(agent_id)
        # Other agents may have come since.
        return "" if number is None or number >= len(self._states) else _NAMES[self._states[number]]
