"""Look up single agents in the store while the fleet is being loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hmac import compare_digest

from zope.interface import implementer

from confd.changes import AGENT, LABELS, REGISTERED, Change, Contents
from confd.controller.agents.compact import CompactAgent
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
    Knows the agents that the load has read so far, and the agents that it asked the store for.

    A change of an agent makes the next look-up read its row again.

    @ivar over: whether the fleet is loaded.
    """

    def __init__(self, store: IAgentStore, loaded: Callable[[str], CompactAgent | None]) -> None:
        """
        @param loaded: returns an agent that the load has read, C{None} for another id.
        """
        self._store, self._loaded = store, loaded
        self._rows: dict[str, CompactAgent] = {}
        #: Agents that changed since the load began: it may have read their rows before.
        self._changed: set[str] = set()
        #: Digests of wrong tokens.
        self._wrong: dict[bytes, None] = {}
        self._polls: dict[str, Poll] = {}
        self._waiting = self._changes = 0
        self.over = False

    def load(self, contents: Contents) -> None:
        self._forget()

    def apply(self, change: Change) -> None:
        if change.kind in (AGENT, LABELS, REGISTERED):
            self._rows.pop(change.subject, None)
            self._changed.add(change.subject)
            self._wrong.clear()
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
        there = self._row(agent_id)
        return await self._ask(agent_id) if there is None else there.record()

    async def look(self, agent_id: str, digest: bytes) -> None:
        """Compare a digest with the token of an agent in the store; L{holder} knows the result."""
        record = await self._ask(agent_id)
        if record is None or record.token != digest:
            put(self._wrong, digest, None, MAX_TOKENS)

    def holder(self, agent_id: str, digest: bytes) -> tuple[str, str] | None:
        """
        Return the id and the namespace of an agent whose token has this digest, C{None} for a wrong token.

        @raise Unavailable: C{starting}: the store was not asked, or its answer is out of date.
        """
        if digest in self._wrong:
            return None
        there = self._row(agent_id)
        if there is None or not compare_digest(there.token, digest):
            raise not_loaded()
        return there.id, there.namespace

    def polled(self, agent_id: str, poll: Poll) -> bool:
        """Note a poll; return whether the agent is known."""
        if self._row(agent_id) is None:
            return False
        before = self._polls.get(agent_id)
        self._polls[agent_id] = poll if before is None else merge_polls(before, poll)
        return True

    def take(self) -> Mapping[str, Poll]:
        """Return all polls, and forget everything: the fleet is loaded."""
        self.over, polls, self._polls = True, self._polls, {}
        self._forget()
        return polls

    def _row(self, agent_id: str) -> CompactAgent | None:
        """Return an agent from memory, C{None} where only the store may know it."""
        there = self._rows.get(agent_id)
        return self._loaded(agent_id) if there is None and agent_id not in self._changed else there

    async def _ask(self, agent_id: str) -> AgentRecord | None:
        """Return an agent from the store, and remember it."""
        if not valid_agent_id(agent_id):
            return None
        if self._waiting >= MAX_WAITING:
            raise not_loaded()
        self._waiting += 1
        try:
            seen, record = -1, None
            while seen != self._changes:
                # The row of a read that a change overtook is old.
                seen = self._changes
                record = await self._store.find(agent_id)
        finally:
            self._waiting -= 1
        if record is not None:
            self._rows[agent_id] = CompactAgent.of(record)
        return record

    def _forget(self) -> None:
        self._rows.clear()
        self._changed.clear()
        self._wrong.clear()
        self._changes += 1
