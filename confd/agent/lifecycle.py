"""
The life cycle of an agent::

    idle --start--> loading --loaded--> running --stop--> draining --drained--> idle
                       |                                     ^
                       +---------------stop------------------+

The cache comes first, so that a worker is configured although no controller answers. Then registration, the first poll
and the strategy start in the background; none of them waits for another.
"""

from __future__ import annotations

from typing import Protocol

from attrs import frozen
from automat import TypeMachineBuilder
from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger

from confd.agent.cache import Cache
from confd.agent.cache_files import CacheContents
from confd.agent.outputs.composed import Outputs
from confd.agent.outputs.health import HealthMonitor
from confd.agent.poller import Poller
from confd.agent.receiver import Receiver
from confd.agent.registration import RegistrationService
from confd.agent.reporter import Reporter
from confd.agent.version_guard import VersionGuard
from confd.agent.worker_sync import WorkerSync
from confd.interfaces import IStrategy

log = Logger()


@frozen(eq=False)
class Parts:
    """The parts of an agent."""

    cache: Cache
    version_guard: VersionGuard
    worker_sync: WorkerSync
    registration_service: RegistrationService
    reporter: Reporter
    poller: Poller
    receiver: Receiver
    strategy: IStrategy
    outputs: Outputs
    health: HealthMonitor

    def run(self, contents: CacheContents) -> None:
        """Start all parts, beginning with the contents of the cache."""
        self.registration_service.resume(contents.agent_id, contents.token)
        self.cache.startService()
        self.worker_sync.startService()
        self.health.startService()
        self.receiver.trust(contents.keys)
        if contents.configuration is not None:
            self.version_guard.offer(contents.configuration)
        self.reporter.startService()
        self.registration_service.startService()
        self.poller.startService()
        self.strategy.start(self.receiver)

    async def drain(self) -> None:
        """Stop receiving, finish the delivery in progress, then send the last report and write the cache."""
        await self.strategy.stop()
        self.receiver.stop()
        self.outputs.supersede()
        for part in (self.registration_service, self.poller, self.health, self.worker_sync):
            await maybeDeferred(part.stopService)
        self.outputs.stop()
        reported = self.reporter.stopService()
        await self.cache.stopService()
        await reported


class Lifecycle(Protocol):
    """The inputs of the state machine."""

    def start(self) -> None:
        """Start to run."""

    def loaded(self, contents: CacheContents) -> None:
        """Handle the contents of the cache."""

    def stop(self, ended: Deferred[None]) -> None:
        """End, and fire C{ended} afterwards."""

    def drained(self, ended: Deferred[None]) -> None:
        """Note that all parts have stopped."""


_builder = TypeMachineBuilder(Lifecycle, Parts)
_idle = _builder.state("idle")
_loading = _builder.state("loading")
_running = _builder.state("running")
_draining = _builder.state("draining")


@_idle.upon(Lifecycle.start).to(_loading)
def _load(life: Lifecycle, parts: Parts) -> None:
    loading = Deferred.fromCoroutine(parts.cache.load())
    loading.addCallback(life.loaded)
    loading.addErrback(lambda failure: log.failure("the agent did not start", failure))


@_loading.upon(Lifecycle.loaded).to(_running)
def _run(life: Lifecycle, parts: Parts, contents: CacheContents) -> None:
    parts.run(contents)


@_loading.upon(Lifecycle.stop).to(_draining)
def _give_up(life: Lifecycle, parts: Parts, ended: Deferred[None]) -> None:
    life.drained(ended)


@_running.upon(Lifecycle.stop).to(_draining)
def _drain(life: Lifecycle, parts: Parts, ended: Deferred[None]) -> None:
    draining = Deferred.fromCoroutine(parts.drain())
    draining.addErrback(lambda failure: log.failure("the agent did not stop cleanly", failure))
    draining.addCallback(lambda _: life.drained(ended))


@_draining.upon(Lifecycle.drained).to(_idle)
def _end(life: Lifecycle, parts: Parts, ended: Deferred[None]) -> None:
    parts.cache.release()
    ended.callback(None)


# The cache is loaded after the agent was stopped.
_draining.upon(Lifecycle.loaded).loop().returns(None)
_idle.upon(Lifecycle.loaded).loop().returns(None)

_machine = _builder.build()


class Agent(Service):
    """The service that starts and stops an agent."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._life = _machine(parts)

    def startService(self) -> None:
        """
        Lock the cache, and start.

        @raise StartError: if the cache cannot be used; see L{Cache.claim}.
        """
        self._parts.cache.claim()
        super().startService()
        self._life.start()

    def reload(self) -> None:
        """Reload the files of the strategy, if it reads files."""
        reload = getattr(self._parts.strategy, "reload", None)
        if reload is not None:
            reload()

    def stopService(self) -> Deferred[None]:
        """Finish the delivery in progress and write the cache; fires within 10 seconds."""
        super().stopService()
        ended: Deferred[None] = Deferred()
        self._life.stop(ended)
        return ended
