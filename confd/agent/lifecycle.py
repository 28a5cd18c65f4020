"""
The life of an agent::

    idle --start--> loading --loaded--> running --stop--> draining --drained--> idle
                       |                                     ^
                       +---------------stop------------------+

What the disk remembers comes first, so that a worker is configured although no controller answers; then registration,
the first poll and the strategy, all in the background and none waiting for another.
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
    """What an agent is made of."""

    cache: Cache
    version_guard: VersionGuard
    worker_sync: WorkerSync
    registration_service: RegistrationService
    reporter: Reporter
    poller: Poller
    receiver: Receiver
    strategy: IStrategy

    def run(self, kept: CacheContents) -> None:
        """Start all of them, beginning with what the disk remembers."""
        self.registration_service.resume(kept.agent_id, kept.token)
        self.cache.startService()
        self.worker_sync.startService()
        if kept.configuration is not None:
            self.version_guard.offer(kept.configuration)
        self.reporter.startService()
        self.registration_service.startService()
        self.poller.startService()
        self.strategy.start(self.receiver)

    async def drain(self) -> None:
        """Stop listening and asking, then finish the delivery under way, then report and write what it changed."""
        await self.strategy.stop()
        self.receiver.stop()
        for part in (self.registration_service, self.poller, self.worker_sync):
            await maybeDeferred(part.stopService)
        reported = self.reporter.stopService()
        await self.cache.stopService()
        await reported


class Life(Protocol):
    """What can happen to an agent."""

    def start(self) -> None:
        """It shall run."""

    def loaded(self, kept: CacheContents) -> None:
        """The disk was read."""

    def stop(self, ended: Deferred[None]) -> None:
        """It shall end, and fire C{ended} when it has."""

    def drained(self, ended: Deferred[None]) -> None:
        """Nothing is under way any more."""


_builder = TypeMachineBuilder(Life, Parts)
_idle = _builder.state("idle")
_loading = _builder.state("loading")
_running = _builder.state("running")
_draining = _builder.state("draining")


@_idle.upon(Life.start).to(_loading)
def _load(life: Life, parts: Parts) -> None:
    loading = Deferred.fromCoroutine(parts.cache.load())
    loading.addCallback(life.loaded)
    loading.addErrback(lambda failure: log.failure("the agent did not start", failure))


@_loading.upon(Life.loaded).to(_running)
def _run(life: Life, parts: Parts, kept: CacheContents) -> None:
    parts.run(kept)


@_loading.upon(Life.stop).to(_draining)
def _give_up(life: Life, parts: Parts, ended: Deferred[None]) -> None:
    life.drained(ended)


@_running.upon(Life.stop).to(_draining)
def _drain(life: Life, parts: Parts, ended: Deferred[None]) -> None:
    draining = Deferred.fromCoroutine(parts.drain())
    draining.addErrback(lambda failure: log.failure("the agent did not end in order", failure))
    draining.addCallback(lambda _: life.drained(ended))


@_draining.upon(Life.drained).to(_idle)
def _end(life: Life, parts: Parts, ended: Deferred[None]) -> None:
    parts.cache.release()
    ended.callback(None)


# The disk answers after the agent was told to stop.
_draining.upon(Life.loaded).loop().returns(None)
_idle.upon(Life.loaded).loop().returns(None)

_machine = _builder.build()


class Agent(Service):
    """An agent, from start to stop."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._life = _machine(parts)

    def startService(self) -> None:
        """
        Begin.

        @raise StartError: if there is no place for the cache, or another agent has it.
        """
        self._parts.cache.claim()
        super().startService()
        self._life.start()

    def reload(self) -> None:
        """Have a strategy that reads files read them again."""
        reload = getattr(self._parts.strategy, "reload", None)
        if reload is not None:
            reload()

    def stopService(self) -> Deferred[None]:
        """Fires when the delivery under way is finished and all is on disk, after 10 seconds at most."""
        super().stopService()
        ended: Deferred[None] = Deferred()
        self._life.stop(ended)
        return ended
