"""Two controllers on one store, without their APIs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, maybeDeferred

from confd.controller.agents.registry import Registry
from confd.controller.configs.identity import ClusterIdentity
from confd.controller.configs.snapshot import Snapshot
from confd.controller.convergence.report_intake import ReportIntake
from confd.controller.convergence.tracker import Convergence
from confd.controller.feed import Feed

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


@define(eq=False, slots=False)
class Memory:
    """
    What one of several controllers keeps in memory.

    @ivar clock: the reactor.
    @ivar store: its own.
    """

    clock: Any
    store: Any
    at: datetime = field(default=NOON)

    def __attrs_post_init__(self) -> None:
        identity = ClusterIdentity()
        self.snapshot = Snapshot(identity.keys)
        self.registry = Registry(self.store, self.clock, lambda: self.at, self.snapshot.poll_interval)
        self.convergence = Convergence(self.store, self.registry, self.clock)
        self.intake = ReportIntake(self.store, self.registry, self.convergence, self.clock, lambda: self.at)
        rows = [self.registry.load_rows, self.convergence.load_rows]
        listeners = [identity, self.registry.agent_tokens, self.snapshot, self.registry, self.convergence]
        self.feed = Feed(self.clock, self.store, listeners, rows)
        self.store.subscribe(self.feed.hint)
        self.registry.changes.add(self.convergence.agents_changed)
        self.services = (self.registry, self.intake, self.convergence, self.feed)
        for each in self.services:
            each.startService()

    def stop(self) -> Deferred[None]:
        """Fire once all is written."""
        stopped: Deferred[None] = maybeDeferred(self.feed.stopService)
        for each in (self.convergence, self.intake, self.registry):
            stopped.addCallback(lambda _, stop: stop(), each.stopService)
        return stopped

    def shown(self) -> dict[str, object]:
        """Return all that memory holds, in a form to compare."""
        records = list(self.registry.records())
        outcomes = {
            (record.namespace, tag.version, record.id): outcome
            for record in records
            for tag, outcome in self.convergence.reports_of(record)
        }
        return {
            "agents": {each.id: each for each in records},
            "holders": {
                each.token: self.registry.agent_tokens.holder(each.id, each.token) for each in records if each.token
            },
            "blocked": self.registry.agent_tokens.blocked,
            "outcomes": outcomes,
            "current": {name: str(self.snapshot.require(name).tag) for name in self.snapshot.namespaces()},
        }


async def stored(store: Any) -> dict[str, object]:
    """Return what memory is to hold, in the form of L{Memory.shown}."""
    records = await store.load_agents()
    contents = await store.contents()
    return {
        "agents": {each.id: each for each in records},
        "holders": {each.token: (each.id, each.namespace) for each in records if each.token},
        "blocked": set(contents.blocked),
        "outcomes": {(name, version, agent): each for name, version, agent, each in await store.load_outcomes()},
        "current": {each.configuration.namespace: str(each.configuration.tag) for each in contents.revisions},
    }
