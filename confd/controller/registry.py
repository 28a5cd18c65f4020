"""The agents, live in memory; what they do is written behind, one transaction for all of them."""

from __future__ import annotations

import uuid
from bisect import bisect_right
from collections.abc import Callable
from datetime import datetime

from attrs import evolve
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from confd.interfaces import IAgentStore
from confd.model import AgentRecord, ConfdError, NotFound, Registration
from confd.timing import Periodic

#: Seconds between two writes of what agents did.
WRITE_BEHIND = 1.0

#: Poll intervals without a word after which an agent is silent.
SILENT_AFTER = 3

SILENT = "silent"


class Registry(Service):
    """
    Who registered, and who was heard of when.

    When an agent was last heard of is judged by the monotonic clock; wall clock times are for people (G11). After a
    restart every known agent counts as heard of at the start, so that nobody is called silent who had no chance to
    speak.
    """

    log = Logger()

    def __init__(
        self,
        store: IAgentStore,
        clock: IReactorTime,
        now: Callable[[], datetime],
        poll_interval: Callable[[str], float],
    ) -> None:
        """
        @param poll_interval: seconds between two polls in a namespace.
        """
        self._store, self._clock, self._now, self._poll_interval = store, clock, now, poll_interval
        self._records: dict[str, AgentRecord] = {}
        self._ids: list[str] = []
        self._heard: dict[str, float] = {}
        self._unwritten: dict[str, AgentRecord] = {}
        self._writer = Periodic(clock, lambda: Deferred.fromCoroutine(self._flush()), lambda: WRITE_BEHIND)

    async def load(self) -> None:
        """Begin with what the store has."""
        records = await self._store.load_agents()
        self._records = {record.id: record for record in records}
        self._ids = sorted(self._records)
        self._heard = dict.fromkeys(self._records, self._clock.seconds())

    def startService(self) -> None:
        """Begin to write behind."""
        super().startService()
        self._writer.startService()

    def stopService(self) -> Deferred[None]:
        """Fires when all that was heard is on disk."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await (self._writer.stopService() or succeed(None))
        await self._flush()
        if self._unwritten:
            self.log.error("the last polls of {count} agents were not written down", count=len(self._unwritten))

    async def register(self, registration: Registration) -> AgentRecord:
        """
        Take an agent in; with the id that it was given before it keeps its row.

        @return: what is on disk by then.
        """
        agent_id = registration.agent_id or str(uuid.uuid4())
        known = self._records.get(agent_id)
        record = AgentRecord(
            id=agent_id,
            namespace=registration.namespace,
            hostname=registration.hostname,
            metadata=registration.metadata,
            strategy=registration.strategy,
            registered_at=known.registered_at if known else self._now(),
            last_poll=known.last_poll if known else None,
        )
        await self._store.save_agents([record])
        polled = self._records.get(agent_id, record).last_poll
        self._add(evolve(record, last_poll=polled))
        return record

    def polled(self, agent_id: str) -> None:
        """An agent asked for its configuration; one that is not known is nobody's business here."""
        record = self._records.get(agent_id)
        if record is not None:
            self._heard[agent_id] = self._clock.seconds()
            self._records[agent_id] = self._unwritten[agent_id] = record.polled(self._now())

    async def forget(self, agent_id: str) -> None:
        """
        Delete an agent.

        @raise NotFound: C{unknown_agent}.
        """
        self.get(agent_id)
        await self._store.forget_agent(agent_id)
        self._unwritten.pop(agent_id, None)
        self._heard.pop(agent_id, None)
        if self._records.pop(agent_id, None) is not None:
            self._ids.remove(agent_id)

    def get(self, agent_id: str) -> AgentRecord:
        """
        One agent.

        @raise NotFound: C{unknown_agent}.
        """
        try:
            return self._records[agent_id]
        except KeyError:
            raise NotFound("unknown_agent", f"There is no agent {agent_id[:64]!r}; it may have to register.") from None

    def state(self, record: AgentRecord) -> str | None:
        """C{silent} for an agent not heard of in three intervals, C{None} for one that is."""
        quiet = self._clock.seconds() - self._heard[record.id]
        return SILENT if quiet > SILENT_AFTER * self._poll_interval(record.namespace) else None

    def page(self, namespace: str, limit: int, after: str, state: str | None) -> list[AgentRecord]:
        """At most C{limit} agents of a namespace, and in a state if one is named, by id, beginning after C{after}."""
        found: list[AgentRecord] = []
        for agent_id in self._ids[bisect_right(self._ids, after) :]:
            record = self._records[agent_id]
            if record.namespace == namespace and (state is None or self.state(record) == state):
                found.append(record)
                if len(found) == limit:
                    break
        return found

    def count(self, namespace: str) -> int:
        """How many agents of a namespace are known."""
        return sum(record.namespace == namespace for record in self._records.values())

    def live(self, namespace: str) -> int:
        """How many agents of a namespace were heard of lately."""
        return sum(record.namespace == namespace and self.state(record) != SILENT for record in self._records.values())

    def _add(self, record: AgentRecord) -> None:
        if record.id not in self._records:
            self._ids.insert(bisect_right(self._ids, record.id), record.id)
        self._records[record.id] = record
        self._heard[record.id] = self._clock.seconds()

    async def _flush(self) -> None:
        taken = {agent_id: record for agent_id, record in self._unwritten.items() if agent_id in self._records}
        self._unwritten = {}
        if not taken:
            return
        try:
            await self._store.save_agents(list(taken.values()))
        except Exception as error:
            # For the next round; what came in meanwhile is newer. The store tells of its own trouble.
            self._unwritten = taken | self._unwritten
            if not isinstance(error, ConfdError):
                raise
