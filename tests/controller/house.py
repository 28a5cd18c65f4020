"""A controller's API over real HTTP in memory, on the memory store."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock

from confd.controller.agents_api import AgentsApi
from confd.controller.audit_api import AuditApi
from confd.controller.cluster_api import ClusterApi
from confd.controller.configs import Configs
from confd.controller.configs_api import ConfigsApi
from confd.controller.convergence import Convergence
from confd.controller.convergence_api import ConvergenceApi
from confd.controller.dashboard_api import dashboard
from confd.controller.documents import Documents
from confd.controller.events import Events
from confd.controller.events_api import EventsApi
from confd.controller.figures import figures
from confd.controller.history_api import HistoryApi
from confd.controller.imports_api import ImportsApi
from confd.controller.intake import GATHER, Intake
from confd.controller.namespaces_api import NamespacesApi
from confd.controller.outbox import Courier, Outbox
from confd.controller.recovery import Recovery
from confd.controller.refusals import Refusals
from confd.controller.registry import Registry
from confd.controller.reports_api import ReportsApi
from confd.controller.schema import Schema
from confd.controller.snapshot import Snapshot
from confd.controller.speed import Speed
from confd.controller.stream import Hub
from confd.controller.stream_api import StreamApi
from confd.interfaces import IBroker
from confd.testing.examples import a_draft
from confd.testing.memory import MemoryStore
from confd.timing import Backoff
from confd.web.edge import Edge
from confd.web.guard import BasicGuard, Credential, Role
from confd.web.memo import Memo
from confd.web.ops import Figures, Health, Readiness
from confd.web.site import Limits
from confd.web.throttle import Throttle
from tests.conversation import Conversation, Reply, site_on

ADMIN, AGENT = ("admin", "admin123"), ("agent", "secret123")

START = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)


class House:
    """The parts of a controller, joined as in its composition root."""

    def __init__(
        self,
        store: Any = None,
        started: bool = True,
        brokers: Sequence[IBroker] = (),
        in_thread: Any = maybeDeferred,
        limits: Limits | None = None,
        max_agents: int = 0,
    ) -> None:
        self.clock = Clock()
        self.store: Any = store or MemoryStore(a_draft(poll_interval=30))
        self.snapshot = Snapshot(lambda: self.store.keys)
        self.hub = Hub(self.clock, self.snapshot)
        couriers = [Courier(self.clock, broker, Backoff(Random(1), 4.0)) for broker in brokers]
        self.outbox = Outbox(self.clock, couriers)
        listeners = [self.hub.announce, self.outbox.announce]
        self.configs = Configs(self.store, self.snapshot, Schema.load(None), self.clock, self.now, listeners)
        self.registry = Registry(self.store, self.clock, self.now, self.snapshot.poll_interval, max_agents)
        self.convergence = Convergence(self.store, self.registry, self.clock)
        self.configs.publications.add(self.convergence.published)
        self.configs.retirements.add(self.convergence.retired)
        self.intake = Intake(self.store, self.registry, self.convergence, self.clock, self.now)
        self.recovery = Recovery(self.clock, self.registry, self.convergence, self.configs)
        self.refusals = Refusals(self.store, self.clock, self.now)
        self.events = Events(self.clock, self.store, self.snapshot, self.configs, self.registry, self.convergence)
        self.speed = Speed(self.configs, self.registry, self.convergence, self.snapshot.namespaces)
        self.metrics = figures(
            self.store,
            self.snapshot,
            self.registry,
            self.convergence,
            self.speed,
            self.intake,
            self.hub,
            self.events,
            couriers,
        )
        readiness = Readiness({"store": self.store, "configurations": self.snapshot})
        documents = Documents(in_thread)
        self.apis: Sequence[object] = (
            ConfigsApi(self.configs, self.snapshot, self.registry, self.convergence, self.outbox.published, documents),
            HistoryApi(self.store, self.snapshot, documents),
            NamespacesApi(self.configs, self.snapshot, self.registry, documents, self.clock),
            ClusterApi(self.configs, self.store, self.snapshot, self.registry),
            ImportsApi(self.configs, self.snapshot, self.outbox.published, documents),
            AgentsApi(self.registry, self.snapshot, self.convergence),
            ReportsApi(self.intake, self.registry, self.snapshot),
            ConvergenceApi(self.convergence, self.snapshot),
            AuditApi(self.store, self.refusals.flush),
            StreamApi(self.hub, self.registry),
            EventsApi(self.events),
            Health(),
            readiness,
            Figures(self.metrics, self.clock),
            dashboard(self.clock),
        )
        self.registry.departures.add(self.hub.part)
        shared = [Credential.of(*AGENT, Role.AGENT), Credential.of(*ADMIN, Role.ADMIN)]
        throttle = Throttle(self.clock, 10)
        self.guard = BasicGuard(shared, throttle, self.registry.admission.holder)
        self.edge = Edge(self.guard, in_thread, self.refusals)
        self.site = site_on(self.clock, self.edge, *self.apis, limits=limits, memo=Memo())
        for part in (readiness, throttle, self.site.traffic):
            part.expose(self.metrics)
        if started:
            self.outbox.startService()
            self.hub.startService()
            self.events.startService()
            self.registry.startService()
            self.convergence.startService()
            self.intake.startService()
            self.refusals.startService()
            self.recovery.startService()

    def now(self) -> datetime:
        """The wall clock of the house."""
        return START + timedelta(seconds=self.clock.seconds())

    def caller(self) -> Conversation:
        """A new connection."""
        return Conversation(self.site, self.clock)

    def join(self, **fields: Any) -> str:
        """Register an agent; return its id."""
        caller = self.caller()
        agent_id: str = caller.post("/api/v1/register", json=fields, auth=AGENT).json["agent_id"]
        caller.hang_up()
        return agent_id

    def report(self, agent_id: str, version: str | int, state: str = "applied", **fields: Any) -> Reply:
        """Report, and let the report be written."""
        body = {"agent_id": agent_id, "version": version, "state": state} | fields
        caller = self.caller()
        caller.ask("POST", "/api/v1/report", json=body, auth=AGENT, headers={"X-Agent-ID": agent_id})
        self.clock.advance(GATHER)
        reply = caller.answer()
        assert reply is not None, "no answer yet to a report"
        return reply

    def tag(self, namespace: str = "default") -> str:
        """The tag in force."""
        return str(self.snapshot.get(namespace).configuration.tag)

    def stop(self) -> Deferred[None]:
        """Stop what writes behind."""
        self.hub.stopService()
        self.events.stopService()
        self.outbox.stopService()
        self.recovery.stopService()
        stopped = self.convergence.stopService().addCallback(lambda _: self.intake.stopService())
        stopped.addCallback(lambda _: self.refusals.stopService())
        return stopped.addCallback(lambda _: self.registry.stopService())
