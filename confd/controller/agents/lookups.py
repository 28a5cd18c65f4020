"""Look up single agents in the store while the fleet is being loaded."""

from __future__ import annotations

from collections.abc import Mapping

from zope.interface import implementer

from confd.changes import AGENT, LABELS, REGISTERED, Change, Contents
from confd.controller.agents.polls import Poll, merge_polls
from confd.controller.interfaces import IAgentStore
from confd.errors import Unavailable
from confd.interfaces import IChangeListener
from confd.model import valid_agent_id
from confd.reports import AgentRecord
from confd.runtime.lru import put

#: Look-ups that may wait for the store, and answers on tokens that are remembered.
MAX_WAITING, MAX_TOKENS = 1000, 16_384


def not_loaded() -> Unavailable:
    """Return the error for a question that only the loaded fleet can answer."""
    return Unavailable("starting", "The controller is starting; the agents are not loaded yet.")


@implementer(IChangeListener)
class Lookups:
    """
    Knows the agents that polled since the start. A change of an agent makes the next look-up read its row again.

    @ivar over: whether the fleet is loaded.
    """

    def __init__(self, store: IAgentStore) -> None:
        self._store = store
        self._rows: dict[str, AgentRecord] = {}
        #: The id and the namespace of the agent whose token has a digest; C{None} for a wrong token.
        self._holders: dict[bytes, tuple[str, str] | None] = {}
        self._polls: dict[str, Poll] = {}
        self._waiting = self._changes = 0
        self.over = False

    def load(self, contents: Contents) -> None:
        self._forget()

    def apply(self, change: Change) -> None:
        if change.kind in (AGENT, LABELS, REGISTERED):
            self._rows.pop(change.subject, None)
            self._holders.clear()
            self._changes += 1

    def check(self) -> None:
        """
        Check that the fleet is loaded.

        @raise Unavailable: C{starting}.
        """
        if not self.over:
            raise not_loaded()

    async def find(self, agent_id: str) -> AgentRecord | None:
        """
        Return an agent, C{None} where none has the id.

        @raise Unavailable: C{starting}: too many look-ups wait; C{storage_unavailable}.
        """
        record = self._rows.get(agent_id)
        if record is not None or not valid_agent_id(agent_id):
            return record
        if self._waiting >= MAX_WAITING:
            raise not_loaded()
        self._waiting += 1
        try:
            seen = -1
            while seen != self._changes:
                # The row of a read that a change overtook is old.
                seen = self._changes
                record = await self._store.find(agent_id)
        finally:
            self._waiting -= 1
        if record is not None:
            self._rows[agent_id] = record
        return record

    async def look(self, agent_id: str, digest: bytes) -> None:
        """Compare a digest with the token of an agent; L{holder} knows the result."""
        record = await self.find(agent_id)
        holder = None if record is None or record.token != digest else (record.id, record.namespace)
        put(self._holders, digest, holder, MAX_TOKENS)

    def holder(self, digest: bytes) -> tuple[str, str] | None:
        """
        Return the id and the namespace of the agent whose token has this digest, C{None} for a wrong token.

        @raise Unavailable: C{starting}: nobody asked the store, or its answer is out of date.
        """
        if digest not in self._holders:
            raise not_loaded()
        return self._holders[digest]

    def polled(self, agent_id: str, poll: Poll) -> bool:
        """Note a poll; return whether the agent is known."""
        if agent_id not in self._rows:
            return False
        before = self._polls.get(agent_id)
        self._polls[agent_id] = poll if before is None else merge_polls(before, poll)
        return True

    def take(self) -> Mapping[str, Poll]:
        """Return all polls, and forget everything: the fleet is loaded."""
        self.over, polls, self._polls = True, self._polls, {}
        self._forget()
        return polls

    def _forget(self) -> None:
        self._rows.clear()
        self._holders.clear()
        self._changes += 1
