"""The agents of the fleet, kept in memory; polls are written behind, one transaction for all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime

from attrs import evolve
from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from zope.interface import implementer

from confd.audit import Attempt
from confd.changes import AGENT, LABELS, REGISTERED, Change, Committed, Contents, ReceivedReport, TakenReport
from confd.controller.agents.duplicates import Duplicates
from confd.controller.agents.labels import LabelReader
from confd.controller.agents.liveness import FleetLiveness, Liveness
from confd.controller.agents.lookups import Lookups
from confd.controller.agents.members import Members
from confd.controller.agents.newcomers import Newcomers
from confd.controller.agents.polls import POLLS_PER_TURN, Poll, write_polls_behind
from confd.controller.agents.rounds import Rounds
from confd.controller.agents.rows import KnownAgents, LoadedAgents
from confd.controller.agents.tokens import AgentTokens
from confd.controller.interfaces import IControllerStore
from confd.errors import NotFound
from confd.interfaces import IChangeListener
from confd.model import Registration
from confd.reports import AgentRecord, AgentStatus, HeardElsewhere, unknown_agent
from confd.runtime.signal import Signal
from confd.runtime.timing import Periodic
from confd.web.auth.throttle import HERE

#: Seconds between two looks for agents that fell silent or expired.
ROUND_INTERVAL_SECONDS = 1.0

#: Reports that a namespace may send to a controller in a second.
REPORTS_PER_SECOND = 4000

#: Seconds over which a namespace spreads its reports at most, without other controllers and with some.
WINDOW_MAX_SECONDS = 30.0, 60.0


@implementer(IChangeListener)
class Registry(Service):
    """
    Who registered, and who was heard of when.

    When an agent was last heard of is judged by the monotonic clock (promise G11). After a restart
    every known agent counts as heard of at the start: none is called silent that had no chance to speak.

    @ivar changes: gets C{(namespace, agent_ids)} when agents came, went, reported, fell silent or were heard of again;
        for an agent that moved, in both namespaces. Polls fire nothing.
    @ivar rows: the agents; read only for other parts.
    @ivar agent_tokens: who of them may come in.
    @ivar duplicates: which of them are two.
    @ivar newcomers: how many new ones may come in, and which expire.
    @ivar lookups: the agents that poll while the others are being loaded.
    @ivar lost_controller: whether another controller ended lately without a stop; its agents may not be back yet.
    """

    log = Logger()

    def __init__(
        self,
        store: IControllerStore,
        clock: IReactorTime,
        now: Callable[[], datetime],
        poll_interval: Callable[[str], float],
        most: int = 0,
    ) -> None:
        """
        @param poll_interval: seconds between two polls in a namespace.
        @param most: agents at a time; 0 sets no limit.
        """
        self._store, self._clock, self._now, self.poll_interval = store, clock, now, poll_interval
        self.rows, self._read = KnownAgents(), LoadedAgents()
        self.lookups = Lookups(store, lambda agent_id: self._read.rows.compact(agent_id))
        self._polls = write_polls_behind(clock, store)
        self.changes = Signal()
        self.agent_tokens = AgentTokens(clock.seconds, lambda agent_id: self.rows.compact(agent_id))
        self.shared = store.interval is not None
        self._liveness = FleetLiveness(clock.seconds, poll_interval, self.shared, self.changes)
        self.duplicates, self.newcomers = Duplicates(clock), Newcomers(clock, most)
        self._round = Rounds(store, self.newcomers, self._liveness.sweep, self._heard_elsewhere, self.forget)
        self._rounds = Periodic(clock, self._look, lambda: ROUND_INTERVAL_SECONDS)
        self.labels, self.lost_controller, self._controllers = LabelReader(), False, 1
        #: Polls of agents that registered while the fleet was loaded, and whose rows come with a later change.
        self._early: dict[str, Poll] = {}
        #: New agents whose row is being written.
        self._joining = 0

    async def load_rows(self) -> None:
        """Read all agents; L{load} shows them."""
        self._read = LoadedAgents()
        await self._read.load(self._store)

    def read_members(self, namespace: str) -> Members:
        """Return the agents of a namespace that L{load_rows} found."""
        return self._read.rows.members_of(namespace)

    def load(self, contents: Contents) -> None:
        read, self._read = self._read, LoadedAgents()
        self.rows = read.rows
        self._liveness.load(read.rows)
        self.agent_tokens.agents_loaded()
        self.newcomers.load(read.unproven)
        polls = self.lookups.take()
        self._early = {each: poll for each, poll in polls.items() if self.rows.compact(each) is None}
        showing = Deferred.fromCoroutine(self._show_polls(polls))
        showing.addErrback(lambda failure: self.log.failure("cannot show the polls of the start", failure))

    def apply(self, change: Change) -> None:
        self._liveness.apply(change)
        there = self.rows.find(change.subject)
        if change.kind == LABELS and there is not None:
            self.rows.put(evolve(there, labels_set=change.value))
            self.changes.notify(there.namespace, [there.id])
        elif change.kind == REGISTERED:
            self._add(change.value)
        if change.kind != AGENT:
            return
        agent_id, what = change.subject, change.value.what
        if what in ("forgotten", "blocked"):
            self._drop(agent_id)
        elif what in ("moved", "token") and there is not None:
            pending = self._polls.get(agent_id)
            if what == "token" and pending is not None:
                # A poll with the old token says nothing about the new one.
                self._polls.discard(agent_id)
                self._polls.put(agent_id, (pending[0], False))
            # The rest of the row comes with the next change.
            self._add(evolve(there, namespace=change.value.namespace, token=b"" if what == "token" else there.token))

    def startService(self) -> None:
        super().startService()
        self._polls.startService()
        self._rounds.startService()

    def stopService(self) -> Deferred[None]:
        super().stopService()
        return maybeDeferred(self._rounds.stopService).addCallback(lambda _: self._polls.stopService())

    async def register(
        self, registration: Registration, token: bytes = b"", source: str = HERE
    ) -> Committed[AgentRecord]:
        """
        Register an agent: see L{IAgentStore.register}.

        @param source: its address, which limits how many new agents come from there.
        @raise Forbidden: C{agent_blocked}.
        @raise Conflict: C{agent_alive}.
        @raise TooMany: C{too_many_agents}, C{too_many_registrations}.
        """
        agent_id = registration.agent_id
        new = (there := self.rows.find(agent_id)) is None
        if there is not None and there.token:
            if token:
                self.agent_tokens.check_replacement(agent_id, self.poll_interval(there.namespace), self.shared)
            else:
                self.agent_tokens.use(agent_id)
        if new:
            self.newcomers.admit(source, len(self.rows) + self._joining)
        self._joining += new
        try:
            committed: Committed[AgentRecord] = await self._store.register(registration, token, self._now())
        finally:
            self._joining -= new
        self.agent_tokens.check(agent_id)
        return committed

    def polled(self, agent_id: str, by_token: bool = False) -> bool:
        """
        Note a poll of an agent; an unknown agent changes nothing.

        @param by_token: whether it showed its own token.
        @return: whether it is known.
        """
        poll = self._now(), by_token
        known = self._show_poll(agent_id, *poll) if self.lookups.over else self.lookups.polled(agent_id, poll)
        if known:
            self._polls.put(agent_id, poll)
        return known

    def reported(self, taken: Iterable[TakenReport]) -> list[TakenReport]:
        """Show reports that are on disk; return those of agents that are still in the namespaces of their reports."""
        shown = [each for each in taken if self._show_report(each[0])]
        agent_ids: dict[str, list[str]] = {}
        for received, _ in shown:
            agent_ids.setdefault(received.namespace, []).append(received.agent_id)
        for namespace, changed in agent_ids.items():
            self.changes.notify(namespace, changed)
        return shown

    async def forget(self, agent_id: str, attempt: Attempt | None = None) -> Committed[None]:
        """
        Delete an agent; its token is refused from now on.

        @raise NotFound: C{unknown_agent}.
        """
        self.get(agent_id)
        return await self._store.forget(agent_id, attempt)

    async def reset_token(self, agent_id: str, attempt: Attempt | None = None) -> Committed[None]:
        """Remove the token of an agent: see L{IAgentStore.reset_token}."""
        return await self._store.reset_token(agent_id, attempt)

    async def block(self, agent_id: str, attempt: Attempt | None = None) -> Committed[None]:
        """Delete an agent, where one has the id, and refuse the id from now on."""
        return await self._store.block(agent_id, attempt)

    async def unblock(self, agent_id: str, attempt: Attempt | None = None) -> Committed[None]:
        """
        Accept the id of a blocked agent again.

        @raise NotFound: C{not_blocked}.
        """
        if agent_id not in self.agent_tokens.blocked:
            raise NotFound("not_blocked", f"The agent {agent_id[:64]!r} is not blocked.")
        return await self._store.unblock(agent_id, attempt)

    async def set_labels(
        self, agent_id: str, changes: Mapping[str, str | None], attempt: Attempt | None = None
    ) -> Committed[Mapping[str, str]]:
        """
        Change the labels that operators set on an agent: see L{IAgentStore.set_labels}.

        @raise NotFound: C{unknown_agent}.
        """
        self.get(agent_id)
        return await self._store.set_labels(agent_id, changes, attempt)

    def find(self, agent_id: str) -> AgentRecord | None:
        """Return an agent, C{None} if it is unknown."""
        return self.rows.find(agent_id)

    async def look_up(self, agent_id: str) -> AgentRecord | None:
        """
        Return an agent, C{None} if it is unknown; while the agents are being loaded, from the store.

        @raise Unavailable: C{starting}, C{storage_unavailable}.
        """
        return self.rows.find(agent_id) if self.lookups.over else await self.lookups.find(agent_id)

    def get(self, agent_id: str) -> AgentRecord:
        """
        Return an agent.

        @raise NotFound: C{unknown_agent}.
        """
        record = self.rows.find(agent_id)
        if record is None:
            raise unknown_agent(agent_id)
        return record

    def records(self) -> Iterator[AgentRecord]:
        """Yield all agents."""
        return (each.record() for each in self.rows.all())

    def status(self, record: AgentRecord) -> AgentStatus:
        """Return what people see of an agent."""
        state = self.liveness(record.namespace).state_of(record.id, record.report)
        return AgentStatus(record, state, record.id in self.duplicates, self.labels.of(record))

    def liveness(self, namespace: str) -> Liveness:
        """Return the liveness of the agents of a namespace, as of now."""
        return self._liveness.of(namespace)

    @property
    def unwritten(self) -> int:
        """Return the number of agents whose last poll is not on disk."""
        return len(self._polls)

    def count(self, namespace: str) -> int:
        """Return the number of agents of a namespace."""
        return self._liveness.count(namespace)

    def live(self, namespace: str) -> int:
        """Return the number of agents of a namespace that polled or reported lately."""
        return self.liveness(namespace).live

    def report_window(self, namespace: str) -> float:
        """Return the seconds over which the agents of a namespace spread their reports."""
        return min(WINDOW_MAX_SECONDS[self.shared], self.count(namespace) / (REPORTS_PER_SECOND * self._controllers))

    def _look(self) -> Deferred[None] | None:
        return Deferred.fromCoroutine(self._round.run()) if self.lookups.over else None

    async def _heard_elsewhere(self, heard: HeardElsewhere) -> None:
        self.lost_controller, self._controllers = heard.lost, heard.controllers
        await self._show_polls({agent_id: (at, agent_id in heard.by_token) for agent_id, at in heard.polls.items()})

    async def _show_polls(self, polls: Mapping[str, Poll]) -> None:
        """Show polls of known agents; let the reactor run in between."""
        for number, (agent_id, poll) in enumerate(polls.items(), 1):
            self._show_poll(agent_id, *poll)
            if number % POLLS_PER_TURN == 0:
                await deferLater(self._clock, 0)

    def _show_report(self, received: ReceivedReport) -> bool:
        """Show a report; return whether its agent is still in its namespace."""
        agent = self.rows.compact(received.agent_id)
        if agent is None or agent.namespace != received.namespace:
            return False
        self.duplicates.reported(agent, received)
        self.rows.reported(agent, received.report, received.at)
        self.newcomers.proven(agent.id)
        self._liveness.heard(agent)
        return True

    def _show_poll(self, agent_id: str, at: datetime, by_token: bool) -> bool:
        """Show a poll; return whether its agent is known."""
        agent = self.rows.polled(agent_id, at, self._clock.seconds() if by_token else None)
        if agent is None:
            return False
        self.newcomers.proven(agent.id)
        if self._liveness.heard(agent):
            self.changes.notify(agent.namespace, [agent.id])
        return True

    def _add(self, record: AgentRecord) -> None:
        """Show a row; its last poll may be known, and not be written yet."""
        there = self.rows.find(record.id)
        if there is not None and there.last_poll is not None:
            record = record.polled(there.last_poll)
        agent = self.rows.put(record)
        if record.last_poll is None and record.report is None:
            self.newcomers.registered(record.id)
        if there is not None and there.namespace != record.namespace:
            self.changes.notify(there.namespace, [record.id])
        self._liveness.heard(agent)
        self.changes.notify(record.namespace, [record.id])
        if record.id in self._early:
            self._show_poll(record.id, *self._early.pop(record.id))

    def _drop(self, agent_id: str) -> None:
        record = self.rows.remove(agent_id)
        self._polls.discard(agent_id)
        self._early.pop(agent_id, None)
        self.duplicates.forget(agent_id)
        self.newcomers.proven(agent_id)
        if record is not None:
            self.changes.notify(record.namespace, [agent_id])
