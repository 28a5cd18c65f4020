"""Limits on new agents, per source and in total, and the expiry of agents that never poll."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import takewhile

from twisted.internet.interfaces import IReactorTime

from confd.errors import TooMany
from confd.runtime.metrics import Metrics
from confd.web.auth.throttle import HERE, MAX_FAILING_ADDRESSES, Buckets

#: New agents of one source at once, and in each minute that follows: a fleet behind one router joins at once.
NEW_PER_MINUTE = 6000

#: Seconds from a registration until an agent expires that neither polled nor reported.
EXPIRES_AFTER_SECONDS = 3600.0

#: Agents that expire in one round, at most.
_EXPIRED_PER_ROUND = 500

#: Seconds to wait where the controller is full.
_FULL_RETRY_SECONDS = 60


class Newcomers:
    """
    Counts new agents; an agent with a known id is not new.

    @ivar refused: registrations answered with 429.
    """

    def __init__(self, clock: IReactorTime, most: int = 0) -> None:
        """
        @param most: agents in total; 0 sets no limit.
        """
        self._clock, self._most = clock, most
        self._sources = Buckets(clock, NEW_PER_MINUTE, MAX_FAILING_ADDRESSES)
        #: Agents without a sign of life since their registration: its time in seconds of the clock, the oldest first.
        self._unproven: dict[str, float] = {}
        self.refused = 0

    def expose(self, metrics: Metrics) -> None:
        """Add the metrics of registrations."""
        metrics.counter(
            "confd_registrations_refused",
            "Registrations answered with 429: too many agents, in total or from one address.",
            lambda: {(): self.refused},
        )

    def admit(self, source: str, there: int) -> None:
        """
        Accept a new agent.

        @param source: where it is; this machine has no limit, since a proxy on it serves many callers.
        @param there: agents that are there already.
        @raise TooMany: C{too_many_agents}, C{too_many_registrations}.
        """
        if self._most and there >= self._most:
            self.refused += 1
            raise TooMany(
                "too_many_agents",
                f"The controller has {there} agents, and MAX_AGENTS allows no more; forget retired agents, or"
                " raise it.",
                retry_after=_FULL_RETRY_SECONDS,
            )
        if source == HERE:
            return
        wait = self._sources.wait(source)
        if wait:
            self.refused += 1
            raise TooMany(
                "too_many_registrations",
                f"More than {NEW_PER_MINUTE} new agents came from this address in a minute; try again in {wait}"
                " seconds.",
                retry_after=wait,
            )
        self._sources.take(source)

    def load(self, agent_ids: Iterable[str]) -> None:
        """Begin the time of agents that sent nothing yet."""
        self._unproven = dict.fromkeys(agent_ids, self._clock.seconds())

    def registered(self, agent_id: str) -> None:
        """Begin the time of an agent that must still poll or report, or begin it again."""
        self._unproven.pop(agent_id, None)
        self._unproven[agent_id] = self._clock.seconds()

    def proven(self, agent_id: str) -> None:
        """Note that an agent polled or reported, or is gone: it does not expire."""
        self._unproven.pop(agent_id, None)

    def expired(self) -> list[str]:
        """Return the ids of agents to forget in this round."""
        before = self._clock.seconds() - EXPIRES_AFTER_SECONDS
        old: Iterator[str] = takewhile(lambda agent_id: self._unproven[agent_id] <= before, self._unproven)
        return [agent_id for agent_id, _ in zip(old, range(_EXPIRED_PER_ROUND), strict=False)]
