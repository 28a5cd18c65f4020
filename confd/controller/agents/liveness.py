"""Which agents are live."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Set
from heapq import heappop, heappush
from itertools import chain, compress
from math import ceil, floor, inf

from attrs import define, field

from confd.changes import RETIRED, REVISION, ROLLOUT, Change
from confd.controller.agents.compact import CompactAgent
from confd.controller.agents.members import Members
from confd.controller.agents.rows import KnownAgents
from confd.errors import Unavailable
from confd.model import DEFAULT_NAMESPACE
from confd.reports import Report
from confd.runtime.signal import Signal

#: Poll intervals without a sign of life until an agent is silent.
SILENT_AFTER_INTERVALS = 3

#: Seconds without a sign of life until an agent is silent, at least, where controllers share a store: the end of a
#: controller, whose agents are on their way to another one, is noticed before.
SHARED_SILENT_AFTER_SECONDS = 5.0

#: Agents that one turn of the reactor looks at after a load, and seconds over which these turns are spread.
LOADED_TOGETHER, LOADED_SECONDS = 2000, 30.0

#: The state of a silent agent.
SILENT = "silent"

#: Bytes of L{Liveness.states}; 0 is the byte of a number that no agent has.
LIVE_BYTE, SILENT_BYTE = 0x10, 0x20

#: Turns the byte of a silent agent into 1, and all others into 0.
_SILENT = bytes(byte == SILENT_BYTE for byte in range(256))


def silent_after(poll_interval: float, shared: bool) -> float:
    """
    Return the seconds without a sign of life until an agent is silent.

    @param shared: whether other controllers use the store.
    """
    return max(SILENT_AFTER_INTERVALS * poll_interval, SHARED_SILENT_AFTER_SECONDS if shared else 0.0)


@define(eq=False)
class Liveness:
    """
    The agents of one namespace, grouped by when they were last heard of: who falls silent is found without a look at
    all others.

    A sign of life moves no agent to another group. A group is looked at when one of its agents may have fallen silent;
    an agent that was heard of since goes to a later group then.

    @ivar states: by number of the agent; read only.
    """

    _members: Members
    states: bytearray = field(factory=bytearray, init=False)
    #: When each live agent was last heard of, by its number.
    _heard: array[float] = field(factory=lambda: array("d"), init=False)
    _live: int = field(default=0, init=False)
    _silent: int = field(default=0, init=False)
    #: Groups of numbers, by a time before which no agent of the group was last heard of. Each live agent is in a group;
    #: a number that no live agent has may be in a group, too.
    _groups: dict[float, array[int]] = field(factory=dict, init=False)
    #: No live agent was last heard of before this time.
    _oldest: float = field(default=inf, init=False)

    def __attrs_post_init__(self) -> None:
        self._members.columns.add(self)

    @classmethod
    def loaded(cls, members: Members, now: float, together: int = LOADED_TOGETHER) -> Liveness:
        """
        Return the liveness of agents that count as heard of now.

        @param together: agents of a group: the groups are looked at in different turns of the reactor.
        """
        there, end = cls(members), len(members.ids)
        there.states, there._heard, there._live = bytearray([LIVE_BYTE]) * end, array("d", [now]) * end, end
        for number in members.free:
            there.clear(number)
        count = max(1, ceil(end / together))
        for each in range(count):
            # The last group has the time of the load; the others are looked at earlier than necessary.
            time = now - LOADED_SECONDS * (1 - (each + 1) / count)
            there._groups[time] = array("I", range(each * together, min(end, (each + 1) * together)))
        there._oldest = min(there._groups)
        return there

    def __len__(self) -> int:
        return self._live + self._silent

    @property
    def live(self) -> int:
        """Return the number of agents that are not silent."""
        return self._live

    @property
    def oldest(self) -> float | None:
        """Return a time before which no live agent was last heard of; C{None} without live agents."""
        return self._oldest if self._live else None

    @property
    def silent(self) -> Set[str]:
        """Return the ids of all silent agents."""
        return set(compress(self._members.ids, self.states.translate(_SILENT))) if self._silent else frozenset()

    def is_silent(self, agent_id: str) -> bool:
        """Return whether an agent is silent."""
        number = self._members.number_of(agent_id) if self._silent else None
        return number is not None and self._state(number) == SILENT_BYTE

    def heard(self, number: int, at: float) -> bool:
        """
        Note a sign of life.

        @param number: of the agent.
        @param at: when, in monotonic seconds, never before the last call.
        @return: whether that is a change: it is new here, or was silent.
        """
        try:
            before = self.states[number]
        except IndexError:
            before = 0
        if before == LIVE_BYTE:
            self._heard[number] = at
            return False
        missing = number + 1 - len(self.states)
        if missing > 0:
            self.states.extend(bytes(missing))
            self._heard.extend([at] * missing)
        self._silent -= before == SILENT_BYTE
        self._live += 1
        self.states[number], self._heard[number] = LIVE_BYTE, at
        self._put(number, at)
        self._oldest = min(self._oldest, floor(at))
        return True

    def state_of(self, agent_id: str, report: Report | None) -> str | None:
        """
        Return L{SILENT}, or the state of the last report of an agent; C{None} before its first report.

        @param report: the last report.
        """
        if self.is_silent(agent_id):
            return SILENT
        return None if report is None else report.state.value

    def clear(self, number: int) -> None:
        """Remove an agent."""
        before = self._state(number)
        self._live -= before == LIVE_BYTE
        self._silent -= before == SILENT_BYTE
        if before:
            self.states[number] = 0

    def sweep(self, before: float) -> list[str]:
        """Return the agents that fall silent: not heard of since C{before}."""
        if before < self._oldest:
            return []
        fallen = list[int]()
        groups = [self._groups.pop(time) for time in [each for each in self._groups if each <= before]]
        # An agent that left and came back may be in several groups.
        for number in dict.fromkeys(chain.from_iterable(groups)):
            if self.states[number] == LIVE_BYTE:
                if self._heard[number] < before:
                    self.states[number] = SILENT_BYTE
                    fallen.append(number)
                else:
                    self._put(number, self._heard[number])
        self._live -= len(fallen)
        self._silent += len(fallen)
        self._oldest = self._bound()
        return [self._members.ids[number] for number in fallen]

    def _state(self, number: int) -> int:
        return self.states[number] if number < len(self.states) else 0

    def _put(self, number: int, at: float) -> None:
        group = self._groups.get(floor(at))
        if group is None:
            group = self._groups[floor(at)] = array("I")
        group.append(number)

    def _bound(self) -> float:
        """Return a time before which no live agent was last heard of."""
        first = min(self._groups, default=inf)
        second = min((each for each in self._groups if each != first), default=inf)
        there = (self._heard[each] for each in self._groups.get(first, ()) if self.states[each] == LIVE_BYTE)
        return min(second, min(there, default=inf))


class FleetLiveness:
    """
    The liveness of all agents, by namespace.

    L{sweep} looks only at namespaces where an agent may have fallen silent: an idle fleet costs nothing.
    """

    def __init__(
        self, seconds: Callable[[], float], poll_interval: Callable[[str], float], shared: bool, changes: Signal
    ) -> None:
        """
        @param seconds: the monotonic clock.
        @param poll_interval: seconds between two polls in a namespace.
        @param shared: whether other controllers use the store.
        @param changes: gets C{(namespace, agent_ids)} when agents fall silent.
        """
        self._seconds, self._poll_interval, self._shared, self._changes = seconds, poll_interval, shared, changes
        self._agents = KnownAgents()
        self._namespaces: dict[str, Liveness] = {}
        #: When L{sweep} looks at a namespace, and the poll interval that this time is based on. No live agent of it
        #: falls silent earlier.
        self._due: dict[str, tuple[float, float]] = {}
        #: The same times as a heap; a time that is not in C{_due} has no meaning.
        self._looks: list[tuple[float, str]] = []
        self._default_interval = 0.0

    def load(self, agents: KnownAgents) -> None:
        """Put other agents in the place of all; they count as heard of now."""
        now, self._agents = self._seconds(), agents
        self._namespaces = {each: Liveness.loaded(members, now) for each, members in agents.members.items()}
        self._due, self._looks = {}, []
        for namespace in self._namespaces:
            self._look_soon(namespace)

    def heard(self, agent: CompactAgent) -> bool:
        """
        Note a sign of life of an agent.

        @return: whether that is a change: it is new here, or was silent.
        """
        namespace = agent.namespace
        liveness = self._namespaces.get(namespace)
        if liveness is None:
            liveness = self._namespaces[namespace] = Liveness(self._agents.members_of(namespace))
        changed = liveness.heard(agent.number, self._seconds())
        if changed and namespace not in self._due:
            self._look_soon(namespace)
        return changed

    def count(self, namespace: str) -> int:
        """Return the number of agents of a namespace."""
        liveness = self._namespaces.get(namespace)
        return 0 if liveness is None else len(liveness)

    def of(self, namespace: str) -> Liveness:
        """
        Return the liveness of the agents of a namespace, as of now.

        @raise Unavailable: C{starting}: the poll interval is not loaded yet.
        """
        liveness = self._namespaces.get(namespace)
        if liveness is None:
            return Liveness(Members(namespace, {}))
        fallen = liveness.sweep(self._seconds() - silent_after(self._poll_interval(namespace), self._shared))
        if fallen:
            self._changes.notify(namespace, fallen)
        return liveness

    def apply(self, change: Change) -> None:
        """Note a change after which agents may fall silent earlier."""
        if change.kind not in (REVISION, ROLLOUT, RETIRED):
            return
        interval = self._poll_interval(change.subject)
        if change.subject == DEFAULT_NAMESPACE and interval != self._default_interval:
            # The agents of a retired namespace have this interval, too.
            self._default_interval = interval
            for namespace in self._due:
                self._look_soon(namespace)
        elif change.subject in self._due and interval != self._due[change.subject][1]:
            self._look_soon(change.subject)

    def sweep(self) -> None:
        """
        Find the agents that fell silent.

        @raise Unavailable: C{starting}: a poll interval is not loaded yet.
        """
        now = self._seconds()
        while self._looks and self._looks[0][0] < now:
            due, namespace = look = heappop(self._looks)
            if namespace in self._due and self._due[namespace][0] == due:
                try:
                    self._look(namespace, now)
                except Unavailable:
                    heappush(self._looks, look)
                    raise

    def _look(self, namespace: str, now: float) -> None:
        oldest = self.of(namespace).oldest
        if oldest is None:
            del self._due[namespace]
        else:
            interval = self._poll_interval(namespace)
            self._look_at(namespace, max(now, oldest + silent_after(interval, self._shared)), interval)

    def _look_soon(self, namespace: str) -> None:
        self._look_at(namespace, self._seconds(), 0.0)

    def _look_at(self, namespace: str, at: float, interval: float) -> None:
        self._due[namespace] = at, interval
        heappush(self._looks, (at, namespace))
