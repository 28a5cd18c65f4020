"""The controller's store in SQLite."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from zope.interface import implementer

from confd.controller.store import agents, configs, keys
from confd.controller.store.engines import Engine
from confd.controller.store.migrate import shipped_ladder
from confd.controller.store.opening import open_database
from confd.interfaces import IAgentStore, IConfigStore, IHealth
from confd.model import AgentRecord, Draft, Revision
from confd.signing import SigningKey
from confd.timing import Periodic

#: Seconds between two probes: while all is well, and while nothing can be written.
PROBE_PAUSE, PROBE_PAUSE_IN_TROUBLE = 5.0, 1.0


@implementer(IConfigStore, IAgentStore, IHealth)
class SqliteStore(Service):
    """
    Configurations and agents in one SQLite database.

    It goes on working after L{stopService}, for those that flush what they have while they stop: the threads end with
    the reactor, or by L{close}.
    """

    cluster_id: str
    epoch: int
    keys: tuple[SigningKey, ...]
    _engine: Engine

    def __init__(self, reactor: Any, path: str, first: Draft, *, busy_timeout: float = 5.0) -> None:
        """
        Open nothing.

        @param reactor: its timers and its threads are used.
        @param path: C{DB_PATH}.
        @param first: version 1 of a new database, with its poll interval.
        @param busy_timeout: seconds that a write waits for another process's lock.
        """
        self._path, self._first = path, first
        self._reactor, self._busy_timeout = reactor, busy_timeout
        self._probes = Periodic(reactor, lambda: self._engine.probe(), self._pause)

    def startService(self) -> None:
        """
        Open the database, or make it.

        @raise StartError: in one line that begins with C{DB_PATH}.
        """
        opened = open_database(self._path, self._first, shipped_ladder())
        self._marker = opened.marker
        self.cluster_id, self.epoch, self.keys = opened.cluster_id, opened.epoch, opened.keys
        self._engine = Engine(opened.path, self._reactor, self._busy_timeout)
        super().startService()
        self._probes.startService()
        if not opened.checked:
            self._engine.look_for_damage()

    def stopService(self) -> Deferred[None]:
        """Fires when every write that was asked for is on disk."""
        super().stopService()
        return maybeDeferred(self._probes.stopService).addCallback(lambda _: self._engine.drain())

    def close(self) -> None:
        """End the threads and give the database free; where the reactor ends, that happens by itself."""
        self._engine.close()
        self._marker.release()

    def trouble(self) -> str | None:
        """L{IHealth.trouble}."""
        return self._engine.trouble()

    def in_force(self) -> Deferred[Sequence[Revision]]:
        """L{IConfigStore.in_force}."""
        return self._engine.read(configs.in_force)

    def publish(self, draft: Draft) -> Deferred[Revision]:
        """L{IConfigStore.publish}."""
        return self._engine.write(partial(configs.publish, draft=draft))

    def create_namespace(self, draft: Draft) -> Deferred[Revision]:
        """L{IConfigStore.create_namespace}."""
        return self._engine.write(partial(configs.create_namespace, draft=draft))

    def retire_namespace(self, name: str) -> Deferred[None]:
        """L{IConfigStore.retire_namespace}."""
        return self._engine.write(partial(configs.retire_namespace, name=name))

    def history(self, namespace: str, limit: int, before: int | None) -> Deferred[Sequence[Revision]]:
        """L{IConfigStore.history}."""
        return self._engine.read(partial(configs.history, namespace=namespace, limit=limit, before=before))

    def revision(self, namespace: str, version: int) -> Deferred[Revision]:
        """L{IConfigStore.revision}."""
        return self._engine.read(partial(configs.revision, namespace=namespace, version=version))

    def load_agents(self) -> Deferred[Sequence[AgentRecord]]:
        """L{IAgentStore.load_agents}."""
        return self._engine.read(agents.load_agents)

    def save_agents(self, records: Sequence[AgentRecord]) -> Deferred[None]:
        """L{IAgentStore.save_agents}."""
        return self._engine.write(partial(agents.save_agents, records=records))

    def forget_agent(self, agent_id: str) -> Deferred[None]:
        """L{IAgentStore.forget_agent}."""
        return self._engine.write(partial(agents.forget_agent, agent_id=agent_id))

    def rotate_keys(self) -> Deferred[None]:
        """L{IConfigStore.rotate_keys}."""
        return self._engine.write(keys.add_key).addCallback(partial(setattr, self, "keys"))

    def _pause(self) -> float:
        return PROBE_PAUSE if self.trouble() is None else PROBE_PAUSE_IN_TROUBLE
