"""The polls of agents, on their way to the store."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from confd.controller.interfaces import IAgentStore
from confd.runtime.write_behind import WriteBehind

#: Seconds in which polls gather for one transaction.
WRITE_INTERVAL_SECONDS = 1.0

#: Polls that one turn of the reactor shows: a few milliseconds.
POLLS_PER_TURN = 500

#: The time of a poll, and whether the agent showed its own token.
Poll = tuple[datetime, bool]


def write_polls_behind(clock: IReactorTime, store: IAgentStore) -> WriteBehind[str, Poll]:
    """Return what gathers polls by the id of the agent, and writes all of them with L{IAgentStore.touch}."""

    def write(polls: Mapping[str, Poll]) -> Deferred[None]:
        shared = [agent_id for agent_id, (_, by_token) in polls.items() if not by_token]
        written: Deferred[None] = store.touch({agent_id: at for agent_id, (at, _) in polls.items()}, shared)
        return written

    return WriteBehind(clock, WRITE_INTERVAL_SECONDS, write, "times of the last polls", merge_polls)


def merge_polls(older: Poll, newer: Poll) -> Poll:
    """Return the newer poll; one of the two with a token is enough."""
    return newer if newer[1] or not older[1] else (newer[0], True)
