"""Which agents are live."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from heapq import heappop, heappush
from itertools import chain, islice
from math import ceil, floor, inf

from attrs import define, field

from confd.changes import RETIRED, REVISION, ROLLOUT, Change
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
    """

    _live: dict[str, float] = field(factory=dict)
    _silent: set[str] = field(factory=set)
    #: Groups of agents, by a time before which none of them was last heard of. Each live agent is in a group; an agent
    #: that left may be in a group, too.
    _groups: dict[float, list[str]] = field(factory=dict)
    #: No live agent was last heard of before this time.
    _oldest: float = inf

    @classmethod
    def loaded(cls, agent_ids: Iterable[str], now: float, together: int = LOADED_TOGETHER) -> Liveness:
        """
        Return the liveness of agents that count as heard of now.

        @param together: agents of a group: the groups are looked at in different turns of the reactor.
        """
        live = dict.fromkeys(agent_ids, now)
        ids, count = iter(live), max(1, ceil(len(live) / together))
        # The last group has the time of the load; the others are looked at earlier than necessary.
        times = (now - LOADED_SECONDS * (1 - number / count) for number in range(1, count + 1))
        groups = {time: list(islice(ids, together)) for time in times}
        return cls(live, set(), groups, min(groups))

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
    def oldest(self) -> float | None:
        """Return a time before which no live agent was last heard of; C{None} without live agents."""
        return self._oldest if self._live else None

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
        if new:
            self._silent.discard(agent_id)
            self._put(agent_id, at)
            self._oldest = min(self._oldest, floor(at))
        return new

    def state_of(self, agent_id: str, report: Report | None) -> str | None:
        """
        Return L{SILENT}, or the state of the last report of an agent; C{None} before its first report.

        @param report: the last report.
        """
        if agent_id in self._silent:
            return SILENT
        return None if report is None else report.state.value

    def left(self, agent_id: str) -> None:
        """Remove an agent."""
        self._live.pop(agent_id, None)
        self._silent.discard(agent_id)

    def sweep(self, before: float) -> list[str]:
        """Return the agents that fall silent: not heard of since C{before}."""
        fallen: list[str] = []
        if before < self._oldest:
            return fallen
        groups = [self._groups.pop(time) for time in [each for each in self._groups if each <= before]]
        # An agent that left and came back may be in several groups.
        for agent_id in dict.fromkeys(chain.from_iterable(groups)):
            at = self._live.get(agent_id)
            if at is not None and at < before:
                fallen.append(agent_id)
                del self._live[agent_id]
            elif at is not None:
                self._put(agent_id, at)
        self._silent.update(fallen)
        self._oldest = self._bound()
        return fallen

    def _put(self, agent_id: str, at: float) -> None:
        self._groups.setdefault(floor(at), []).append(agent_id)

    def _bound(self) -> float:
        """Return a time before which no live agent was last heard of."""
        first = min(self._groups, default=inf)
        second = min((each for each in self._groups if each != first), default=inf)
        there = (self._live[each] for each in self._groups.get(first, ()) if each in self._live)
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
        @param changes: gets C{(namespace, agent_id)} when an agent falls silent.
        """
        self._seconds, self._poll_interval, self._shared, self._changes = seconds, poll_interval, shared, changes
        self._namespaces: dict[str, Liveness] = {}
        #: When L{sweep} looks at a namespace, and the poll interval that this time is based on. No live agent of it
        #: falls silent earlier.
        self._due: dict[str, tuple[float, float]] = {}
        #: The same times as a heap; a time that is not in C{_due} has no meaning.
        self._looks: list[tuple[float, str]] = []
        self._default_interval = 0.0

    def load(self, ids: Mapping[str, Iterable[str]]) -> None:
        """
        Put other agents in the place of all; they count as heard of now.

        @param ids: of the agents, by namespace.
        """
        now = self._seconds()
        self._namespaces = {each: Liveness.loaded(agents, now) for each, agents in ids.items()}
        self._due, self._looks = {}, []
        for namespace in self._namespaces:
            self._look_soon(namespace)

    def heard(self, namespace: str, agent_id: str) -> bool:
        """
        Note a sign of life of an agent.

        @return: whether that is a change: it is new here, or was silent.
        """
        liveness = self._namespaces.get(namespace)
        if liveness is None:
            liveness = self._namespaces[namespace] = Liveness()
        changed = liveness.heard(agent_id, self._seconds())
        if changed and namespace not in self._due:
            self._look_soon(namespace)
        return changed

    def left(self, namespace: str, agent_id: str) -> None:
        """Remove an agent."""
        liveness = self._namespaces.get(namespace)
        if liveness is not None:
            liveness.left(agent_id)
            if not liveness:
                del self._namespaces[namespace]

    def count(self, namespace: str) -> int:
        """Return the number of agents of a namespace."""
        return len(self._namespaces.get(namespace, ()))

    def of(self, namespace: str) -> Liveness:
        """
        Return the liveness of the agents of a namespace, as of now.

        @raise Unavailable: C{starting}: the poll interval is not loaded yet.
        """
        liveness = self._namespaces.get(namespace)
        if liveness is None:
            return Liveness()
        fallen = liveness.sweep(self._seconds() - silent_after(self._poll_interval(namespace), self._shared))
        for agent_id in fallen:
            self._changes.notify(namespace, agent_id)
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
