"""A controller's API over real HTTP in memory, on the memory store."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from confd.controller.agents_api import AgentsApi
from confd.controller.configs import Configs
from confd.controller.configs_api import ConfigsApi
from confd.controller.outbox import Courier, Outbox
from confd.controller.recovery import Recovery
from confd.controller.registry import Registry
from confd.controller.schema import Schema
from confd.controller.snapshot import Snapshot
from confd.controller.stream import Hub
from confd.controller.stream_api import StreamApi
from confd.interfaces import IBroker
from confd.testing.examples import a_draft
from confd.testing.memory import MemoryStore
from confd.timing import Backoff
from confd.web.guard import BasicGuard, Credential, Role
from confd.web.ops import Health, Readiness
from tests.conversation import Conversation, serve

ADMIN, AGENT = ("admin", "admin123"), ("agent", "secret123")

GUARD = BasicGuard([Credential.of(*AGENT, Role.AGENT), Credential.of(*ADMIN, Role.ADMIN)])

START = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)


class House:
    """The parts of a controller, joined as in its composition root."""

    def __init__(self, store: Any = None, started: bool = True, brokers: Sequence[IBroker] = ()) -> None:
        self.clock = Clock()
        self.store: Any = store or MemoryStore(a_draft(poll_interval=30))
        self.snapshot = Snapshot(lambda: self.store.keys)
        self.hub = Hub(self.clock, self.snapshot)
        self.outbox = Outbox(self.clock, [Courier(self.clock, broker, Backoff(Random(1), 4.0)) for broker in brokers])
        listeners = [self.hub.announce, self.outbox.announce]
        self.configs = Configs(self.store, self.snapshot, Schema.load(None), self.now, listeners)
        self.registry = Registry(self.store, self.clock, self.now, self.snapshot.poll_interval)
        self.recovery = Recovery(self.clock, self.registry, self.configs)
        self.site = serve(
            self.clock,
            GUARD,
            ConfigsApi(self.configs, self.snapshot, self.registry, self.outbox.published),
            AgentsApi(self.registry, self.snapshot),
            StreamApi(self.hub, self.registry),
            Health(),
            Readiness({"store": self.store, "configurations": self.snapshot}),
        )
        if started:
            self.outbox.startService()
            self.hub.startService()
            self.registry.startService()
            self.recovery.startService()

    def now(self) -> datetime:
        """The wall clock of the house."""
        return START + timedelta(seconds=self.clock.seconds())

    def caller(self) -> Conversation:
        """A new connection."""
        return Conversation(self.site, self.clock)

    def join(self, **fields: Any) -> str:
        """Register an agent; return its id."""
        agent_id: str = self.caller().post("/api/v1/register", json=fields, auth=AGENT).json["agent_id"]
        return agent_id

    def tag(self, namespace: str = "default") -> str:
        """The tag in force."""
        return str(self.snapshot.get(namespace).configuration.tag)

    def stop(self) -> Deferred[None]:
        """Stop what writes behind."""
        self.hub.stopService()
        self.outbox.stopService()
        self.recovery.stopService()
        return self.registry.stopService()
