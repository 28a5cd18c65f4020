"""Ids that two agents share: a copied state folder or image, or a cloned machine."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from confd.changes import ReceivedReport
from confd.controller.agents.compact import CompactAgent
from confd.runtime.lru import put
from confd.runtime.timing import LogLimiter

#: Seconds that an id counts as shared after its reports went back to an earlier session, and between two warnings.
REMINDER_SECONDS = 3600.0

#: Ids to remember, and sessions of each id.
MAX_IDS, MAX_SESSIONS = 16_384, 4


@define(eq=False)
class Duplicates:
    """
    Knows an id by whose reports go back and forth between sessions.

    An agent makes a new session at each start, and never returns to one: if its reports do, two agents share the id.
    Neither is refused, for nobody can tell which of them is the right one. Memory is bounded: the id that changed its
    session longest ago is forgotten first.
    """

    log = Logger()

    _clock: IReactorTime
    #: Earlier sessions of each id, the newest first.
    _left: dict[str, tuple[str, ...]] = field(factory=dict, init=False)
    #: When each id was last found to be shared.
    _found: dict[str, float] = field(factory=dict, init=False)
    _warnings: LogLimiter = field(init=False)

    @_warnings.default
    def _limit_warnings(self) -> LogLimiter:
        return LogLimiter(self._clock, REMINDER_SECONDS, MAX_IDS)

    def __len__(self) -> int:
        """Return the number of shared ids."""
        return sum(agent_id in self for agent_id in self._found)

    def ids(self) -> Iterator[str]:
        """Yield the ids that are shared."""
        return (agent_id for agent_id in self._found if agent_id in self)

    def __contains__(self, agent_id: str) -> bool:
        """Return whether an id is shared."""
        return agent_id in self._found and self._clock.seconds() - self._found[agent_id] < REMINDER_SECONDS

    def reported(self, agent: CompactAgent, received: ReceivedReport) -> None:
        """Note a report, before its agent holds it."""
        before, session = agent.session, received.report.session
        if "" != before != session != "":
            last = agent.reported_at
            # The agent may hold this report, and later ones, since before the change was heard of.
            if last is None or received.at > last:
                self.turned(agent.id, before, session)

    def turned(self, agent_id: str, before: str, session: str) -> None:
        """Note that the reports of an id come from another session than before."""
        left = self._left.get(agent_id, ())
        sessions = (before, *(each for each in left if each != before))[:MAX_SESSIONS]
        put(self._left, agent_id, sessions, MAX_IDS)
        if session in left:
            put(self._found, agent_id, self._clock.seconds(), MAX_IDS)
            if self._warnings.due(agent_id):
                self.log.warn(
                    "two agents share the id {agent_id}, and each overwrites the state of the other: stop one of them,"
                    " remove its CACHE_FILE with .id and .token, and start it again",
                    agent_id=agent_id,
                )

    def forget(self, agent_id: str) -> None:
        """Forget an agent."""
        self._left.pop(agent_id, None)
        self._found.pop(agent_id, None)
