"""A controller's API over real HTTP in memory, on the memory store."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock

from confd.controller.agents.registry import Registry
from confd.controller.api.agents import AgentsApi
from confd.controller.api.audit import AuditApi
from confd.controller.api.cluster import ClusterApi
from confd.controller.api.configs import ConfigsApi
from confd.controller.api.convergence import ConvergenceApi
from confd.controller.api.dashboard import dashboard
from confd.controller.api.events import EventsApi
from confd.controller.api.history import HistoryApi
from confd.controller.api.imports import ImportsApi
from confd.controller.api.namespaces import NamespacesApi
from confd.controller.api.reports import ReportsApi
from confd.controller.api.stream import StreamApi
from confd.controller.audit_log import AuditLog
from confd.controller.configs.publishers import BrokerPublisher, Publishers
from confd.controller.configs.schema import Schema
from confd.controller.configs.service import Configs
from confd.controller.configs.snapshot import Snapshot
from confd.controller.convergence.metrics import PropagationMetrics
from confd.controller.convergence.report_intake import GATHER_SECONDS, ReportIntake
from confd.controller.convergence.tracker import Convergence
from confd.controller.metrics import controller_metrics
from confd.controller.startup import Startup
from confd.controller.streams.config_stream import ConfigStream
from confd.controller.streams.event_feed import EventFeed
from confd.interfaces import IBroker
from confd.runtime.offload import Offload
from confd.runtime.timing import Backoff
from confd.testing.examples import a_draft
from confd.testing.memory import MemoryStore
from confd.web.api.dispatch import Dispatcher
from confd.web.auth.basic import BasicAuth, Credential, Role
from confd.web.auth.throttle import Throttle
from confd.web.health import Health, MetricsEndpoint, Readiness
from confd.web.server.response_cache import ResponseCache
from confd.web.server.site import Limits
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
        self.config_stream = ConfigStream(self.clock, self.snapshot)
        broker_publishers = [BrokerPublisher(self.clock, broker, Backoff(Random(1), 4.0)) for broker in brokers]
        self.publishers = Publishers(self.clock, broker_publishers)
        listeners = [self.config_stream.announce, self.publishers.announce]
        self.configs = Configs(self.store, self.snapshot, Schema.load(None), self.clock, self.now, listeners)
        self.registry = Registry(self.store, self.clock, self.now, self.snapshot.poll_interval, max_agents)
        self.convergence = Convergence(self.store, self.registry, self.clock)
        self.configs.publications.add(self.convergence.published)
        self.configs.retirements.add(self.convergence.retired)
        self.report_intake = ReportIntake(self.store, self.registry, self.convergence, self.clock, self.now)
        self.startup = Startup(self.clock, self.registry, self.convergence, self.configs)
        self.audit_log = AuditLog(self.store, self.clock, self.now)
        self.events = EventFeed(self.clock, self.store, self.snapshot, self.configs, self.registry, self.convergence)
        self.speed = PropagationMetrics(self.configs, self.registry, self.convergence, self.snapshot.namespaces)
        self.metrics = controller_metrics(
            self.store,
            self.snapshot,
            self.registry,
            self.convergence,
            self.speed,
            self.report_intake,
            self.config_stream,
            self.events,
            broker_publishers,
        )
        readiness = Readiness({"store": self.store, "configurations": self.snapshot})
        offload = Offload(in_thread)
        self.apis: Sequence[object] = (
            ConfigsApi(
                self.configs, self.snapshot, self.registry, self.convergence, self.publishers.published, offload
            ),
            HistoryApi(self.store, self.snapshot, offload),
            NamespacesApi(self.configs, self.snapshot, self.registry, offload, self.clock),
            ClusterApi(self.configs, self.store, self.snapshot, self.registry),
            ImportsApi(self.configs, self.snapshot, self.publishers.published, offload),
            AgentsApi(self.registry, self.snapshot, self.convergence),
            ReportsApi(self.report_intake, self.registry, self.snapshot),
            ConvergenceApi(self.convergence, self.snapshot),
            AuditApi(self.store, self.audit_log.flush),
            StreamApi(self.config_stream, self.registry),
            EventsApi(self.events),
            Health(),
            readiness,
            MetricsEndpoint(self.metrics, self.clock),
            dashboard(self.clock),
        )
        self.registry.departures.add(self.config_stream.part)
        shared = [Credential.of(*AGENT, Role.AGENT), Credential.of(*ADMIN, Role.ADMIN)]
        throttle = Throttle(self.clock, 10)
        self.guard = BasicAuth(shared, throttle, self.registry.agent_tokens.holder)
        self.dispatcher = Dispatcher(self.guard, offload, self.audit_log)
        self.site = site_on(self.clock, self.dispatcher, *self.apis, limits=limits, response_cache=ResponseCache())
        for part in (readiness, throttle, self.site.request_metrics):
            part.expose(self.metrics)
        if started:
            self.publishers.startService()
            self.config_stream.startService()
            self.events.startService()
            self.registry.startService()
            self.convergence.startService()
            self.report_intake.startService()
            self.audit_log.startService()
            self.startup.startService()

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
        self.clock.advance(GATHER_SECONDS)
        reply = caller.answer()
        assert reply is not None, "no answer yet to a report"
        return reply

    def tag(self, namespace: str = "default") -> str:
        """The tag in force."""
        return str(self.snapshot.get(namespace).configuration.tag)

    def stop(self) -> Deferred[None]:
        """Stop what writes behind."""
        self.config_stream.stopService()
        self.events.stopService()
        self.publishers.stopService()
        self.startup.stopService()
        stopped = self.convergence.stopService().addCallback(lambda _: self.report_intake.stopService())
        stopped.addCallback(lambda _: self.audit_log.stopService())
        return stopped.addCallback(lambda _: self.registry.stopService())
