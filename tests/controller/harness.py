"""A controller on the memory store, whose API is called over real HTTP in memory."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred

from confd.changes import Batch, Change, IdentityRecord
from confd.controller.agents.loading import FleetLoading
from confd.controller.composition import compose
from confd.controller.convergence.report_intake import GATHER_SECONDS
from confd.controller.streams.stream_ends import StreamEnds
from confd.interfaces import IBroker
from confd.runtime.options import read
from confd.runtime.settings import ControllerSettings
from confd.testing.examples import a_draft
from confd.testing.memory import MemoryStore
from tests.conversation import Conversation, Reply
from tests.reactors import InstantReactor

ADMIN, AGENT = ("admin", "admin123"), ("agent", "secret123")

START = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)


class ControllerHarness:
    """
    The parts of L{compose}, without a port.

    @ivar clock: The reactor; time passes when a test advances it.
    @ivar wall_offset: By how much the wall clock has been set.
    """

    def __init__(
        self,
        store: Any = None,
        started: bool = True,
        brokers: Sequence[IBroker] = (),
        clock: InstantReactor | None = None,
        **settings: str,
    ) -> None:
        """
        @param store: A started store; by default a new L{MemoryStore} with one version.
        @param started: Whether to start all parts that need no port.
        @param brokers: Started brokers to publish to.
        @param clock: The reactor; by default a new one.
        @param settings: Settings that differ from their defaults, by name.
        """
        self.clock: Any = clock or InstantReactor()
        self.wall_offset = timedelta()
        self.store: Any = store or MemoryStore(a_draft(poll_interval=30), seconds=self.clock.seconds)
        parts = compose(
            self.clock,
            read(ControllerSettings, settings, {}),
            {},
            store=self.store,
            brokers=brokers,
            now=self.now,
            random=Random(1),
        )
        self._identity = parts.identity
        self.snapshot, self.configs, self.feed = parts.snapshot, parts.configs, parts.feed
        self.loading = next(each for each in parts.services if isinstance(each, FleetLoading))
        self.registry, self.convergence, self.report_intake = parts.registry, parts.convergence, parts.report_intake
        self.config_stream, self.event_feed, self.publishers = parts.config_stream, parts.event_feed, parts.publishers
        self.stream_ends = next(each for each in parts.services if isinstance(each, StreamEnds))
        self.auth, self.apis, self.site = parts.auth, parts.apis, parts.site
        self.audit_log, self.metrics = parts.audit_log, parts.metrics
        self.api_tokens = parts.api_tokens
        self.driver, self.rollouts, self.change_schedule = parts.driver, parts.rollouts, parts.change_schedule
        if started:
            self.start()

    def start(self) -> None:
        """Start all parts that need no port; the configurations are loaded last."""
        for part in (
            self.publishers,
            self.config_stream,
            self.event_feed,
            self.registry,
            self.convergence,
            self.report_intake,
            self.audit_log,
            self.api_tokens,
            self.driver,
            self.change_schedule,
            self.feed,
            self.stream_ends,
        ):
            part.startService()

    def stop(self) -> Deferred[None]:
        """Stop these parts; return a L{Deferred} that fires when all is written."""
        streams = self.config_stream, self.event_feed
        for part in (*streams, self.stream_ends, self.publishers, self.feed, self.driver, self.change_schedule):
            part.stopService()
        self.loading.stopService()
        stopped: Deferred[None] = maybeDeferred(self.convergence.stopService)
        for writer in (self.report_intake, self.audit_log, self.api_tokens, self.registry):
            stopped.addCallback(lambda _, stop: stop(), writer.stopService)
        return stopped

    def now(self) -> datetime:
        """Return the wall-clock time, which passes with L{clock}."""
        return START + timedelta(seconds=self.clock.seconds()) + self.wall_offset

    @property
    def identity(self) -> IdentityRecord:
        """The identity of the cluster."""
        return self._identity.current()

    def changes(self, after: int = 0) -> Sequence[Change]:
        """
        Return the changes in the store.

        @param after: The number of the change before the first.
        """
        batches: list[Batch] = []
        self.store.changes(after).addCallback(batches.append)
        return batches[0].changes

    def caller(self) -> Conversation:
        """Return a new connection to the site."""
        return Conversation(self.site, self.clock)

    def join(self, **fields: Any) -> str:
        """
        Register an agent.

        @param fields: Of the request's body.
        @return: the agent's id.
        """
        caller = self.caller()
        agent_id: str = caller.post("/api/v1/register", json=fields, auth=AGENT).json["agent_id"]
        caller.hang_up()
        return agent_id

    def report(self, agent_id: str, version: str | int, state: str = "applied", **fields: Any) -> Reply:
        """
        Send a report, and wait until it is written.

        @param fields: More fields of the request's body.
        """
        body = {"agent_id": agent_id, "version": version, "state": state} | fields
        caller = self.caller()
        caller.ask("POST", "/api/v1/report", json=body, auth=AGENT, headers={"X-Agent-ID": agent_id})
        self.clock.advance(GATHER_SECONDS)
        reply = caller.answer()
        assert reply is not None, "no answer yet to a report"
        return reply

    def tag(self, namespace: str = "default") -> str:
        """Return the current tag of a namespace."""
        return str(self.snapshot.require(namespace).configuration.tag)
