"""Ids that two agents go by: a state folder or an image that was copied, or a machine that was cloned."""

from __future__ import annotations

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from confd.runtime.lru import put
from confd.runtime.timing import LogLimiter

#: Seconds that an id counts as shared after its reports last went back to a session; and until that is said again.
REMINDER_SECONDS = 3600.0

#: Ids that are remembered, and sessions of each of them.
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
    #: The sessions that each id had before the present one, the newest first.
    _left: dict[str, tuple[str, ...]] = field(factory=dict, init=False)
    #: When an id was last found to be shared.
    _found: dict[str, float] = field(factory=dict, init=False)
    _told: LogLimiter = field(init=False)

    @_told.default
    def _tell_seldom(self) -> LogLimiter:
        return LogLimiter(self._clock, REMINDER_SECONDS, MAX_IDS)

    def __len__(self) -> int:
        """How many ids are shared."""
        return sum(agent_id in self for agent_id in self._found)

    def __contains__(self, agent_id: str) -> bool:
        """Whether an id is shared."""
        return agent_id in self._found and self._clock.seconds() - self._found[agent_id] < REMINDER_SECONDS

    def turned(self, agent_id: str, before: str, session: str) -> None:
        """Note that the reports of an id come from another session than before."""
        left = self._left.get(agent_id, ())
        sessions = (before, *(each for each in left if each != before))[:MAX_SESSIONS]
        put(self._left, agent_id, sessions, MAX_IDS)
        if session in left:
            put(self._found, agent_id, self._clock.seconds(), MAX_IDS)
            if self._told.due(agent_id):
                self.log.warn(
                    "two agents share the id {agent_id}, and each overwrites the state of the other: stop one of them,"
                    " remove its CACHE_FILE with .id and .token, and start it again",
                    agent_id=agent_id,
                )

    def forget(self, agent_id: str) -> None:
        """Forget an agent."""
        self._left.pop(agent_id, None)
        self._found.pop(agent_id, None)
