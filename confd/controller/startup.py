"""From the disk to memory: what a controller does first."""

from __future__ import annotations

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from confd.controller.agents.registry import Registry
from confd.controller.configs.service import Configs
from confd.controller.convergence.tracker import Convergence
from confd.errors import ConfdError

#: Seconds between two attempts, where the storage does not answer.
_PAUSE = 1.0


class Startup(Service):
    """
    Loads agents, their reports and configurations once the reactor runs, and tries again while the storage is unusable.

    The configurations come last: until they are there every path that needs them answers 503.
    """

    log = Logger()

    def __init__(self, clock: IReactorTime, registry: Registry, convergence: Convergence, configs: Configs) -> None:
        self._clock, self._registry, self._convergence, self._configs = clock, registry, convergence, configs
        self._loading: Deferred[None] | None = None

    def startService(self) -> None:
        """Begin to load."""
        super().startService()
        self._loading = Deferred.fromCoroutine(self._load())
        self._loading.addErrback(self._stopped)

    def stopService(self) -> None:
        """Load no more."""
        super().stopService()
        if self._loading is not None:
            self._loading.cancel()

    async def _load(self) -> None:
        while True:
            try:
                await self._registry.load()
                await self._convergence.load()
                await self._configs.load()
                return
            except ConfdError as error:
                self.log.error("cannot load what is in force; trying again: {reason}", reason=error.message)
                await deferLater(self._clock, _PAUSE)

    def _stopped(self, failure: object) -> None:
        failure.trap(CancelledError)  # type: ignore[attr-defined]
