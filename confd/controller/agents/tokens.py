"""The tokens of agents, and the blocked agents."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from hmac import compare_digest

from zope.interface import implementer

from confd.changes import AGENT, Change, Contents
from confd.controller.agents.compact import CompactAgent
from confd.controller.agents.liveness import silent_after
from confd.errors import Forbidden, Malformed
from confd.interfaces import IChangeListener
from confd.model import valid_agent_id
from confd.reports import agent_alive, agent_blocked
from confd.web.auth.basic import digest_of
from confd.web.auth.principals import Principal

#: Random bytes of a token.
_TOKEN_BYTES = 32


def bad_agent_id() -> Malformed:
    """Return the error for an id that no path can carry."""
    sentence = "agent_id must be 1 to 64 letters, digits and the characters . _ : -, and not . or .. alone"
    return Malformed("bad_agent_id", sentence, [{"pointer": "/agent_id", "message": sentence}])


@implementer(IChangeListener)
class AgentTokens:
    """
    Authenticates agents by their tokens.

    An agent registers with the shared identity and receives a token. It then authenticates with its id and the token,
    and has an identity of its own. A new registration with the shared identity replaces the token. Memory and disk keep
    only a digest.

    A token dies with its agent's row. An agent that still has the shared password then joins again, as it would after
    a controller lost its memory. Who is to stay out, such as a machine that was stolen, is blocked: its row goes, and
    its id is refused everywhere until it is unblocked. It may know the shared password, too, and come
    back by another id: change that as well. Agents that have their tokens do not notice.

    While an agent uses its token, nobody replaces it with the shared identity. A token that was never used is replaced
    freely: its agent may not have received it.

    @ivar blocked: the ids of blocked agents.
    """

    def __init__(self, seconds: Callable[[], float], find: Callable[[str], CompactAgent | None]) -> None:
        """
        @param seconds: the monotonic clock.
        @param find: returns an agent, C{None} if it is unknown.
        """
        self._seconds, self._find = seconds, find
        self.blocked: set[str] = set()
        self._loaded_at = 0.0

    def load(self, contents: Contents) -> None:
        self.blocked = set(contents.blocked)

    def apply(self, change: Change) -> None:
        if change.kind == AGENT and change.value.what == "blocked":
            self.blocked.add(change.subject)
        elif change.kind == AGENT and change.value.what == "unblocked":
            self.blocked.discard(change.subject)

    def agents_loaded(self) -> None:
        """Count the tokens that were used before the load of the fleet as used now."""
        self._loaded_at = self._seconds()

    def use(self, agent_id: str) -> None:
        """Note that an agent used its token."""
        agent = self._find(agent_id)
        if agent is not None:
            agent.used_token(self._seconds())

    def check_replacement(self, agent_id: str, poll_interval: float, shared: bool) -> None:
        """
        Check that the shared identity may replace the token of an agent: it was never used, or its agent is silent.

        @param poll_interval: of its namespace, in seconds.
        @param shared: whether other controllers use the store.
        @raise Conflict: C{agent_alive}.
        """
        since, agent = self._seconds() - silent_after(poll_interval, shared), self._find(agent_id)
        used = None if agent is None else agent.token_used
        if used is not None and max(used, self._loaded_at) >= since:
            raise agent_alive(agent_id, poll_interval)

    def issue(self, agent_id: str) -> tuple[str, bytes]:
        """Return a new token and its digest; it is valid once its agent is recorded with the digest."""
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        return token, digest_of(agent_id.encode(), token.encode())

    def holder(self, agent_id: str, digest: bytes) -> tuple[str, str] | None:
        """
        Return the id and the namespace of an agent.

        @param digest: of its id and its token.
        @return: C{None} for an unknown agent, and for another digest.
        """
        agent = self._find(agent_id)
        token = b"" if agent is None else agent.token
        if agent is None or not token or not compare_digest(token, digest):
            return None
        return agent.id, agent.namespace

    def sender(self, principal: Principal, claimed: str) -> str:
        """
        Return the id of the agent that a request counts for.

        @param claimed: the id that is named in it; empty where none is.
        @return: its id; empty where that stays open, as with the Go agents.
        @raise Malformed: C{bad_agent_id}.
        @raise Forbidden: C{other_agent}, C{agent_blocked}.
        """
        if claimed and principal.agent_id and claimed != principal.agent_id:
            raise Forbidden("other_agent", "This token is another agent's; an agent speaks for itself.")
        if claimed and not valid_agent_id(claimed):
            raise bad_agent_id()
        agent_id = claimed or principal.agent_id
        self.check(agent_id)
        return agent_id

    def check(self, agent_id: str) -> None:
        """
        Check that an id is not blocked.

        @raise Forbidden: C{agent_blocked}.
        """
        if agent_id in self.blocked:
            raise agent_blocked(agent_id)
