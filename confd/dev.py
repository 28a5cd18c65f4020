"""C{twistd confd-dev}: try a controller, an agent and a worker in one process, without a broker or any set-up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.application.service import IService, MultiService, Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

import confd.agent.composition
import confd.controller.composition
import confd.worker.composition
from confd.errors import StartError
from confd.runtime.daemon import GC_THRESHOLDS, Daemon, make_daemon
from confd.runtime.options import RoleOptions, read
from confd.runtime.reactor import Reactor
from confd.runtime.settings import AgentSettings, ControllerSettings, DevSettings, WorkerSettings, all_roles

#: Seconds between two looks at the controller, whose agent waits for it.
LOOK_SECONDS = 0.02

_WELCOME = """
confd is running: a controller on port {port}, an agent, and a worker on port {worker_port}.
The dashboard: http://127.0.0.1:{port}/ (user admin, password admin123). Or in another terminal:
fetch the configured URL, publish another URL, and fetch that:

  curl http://127.0.0.1:{worker_port}/hit
  curl -u admin:admin123 -H 'Content-Type: application/json' -d '{{"url": "http://127.0.0.1:{worker_port}/health"}}' \\
      http://127.0.0.1:{port}/api/v1/config
  curl http://127.0.0.1:{worker_port}/hit

Ctrl-C stops all three. The published configurations are kept in {data_dir}.
"""


class Options(RoleOptions[DevSettings]):
    """Options of C{twistd confd-dev}."""

    role = DevSettings
    siblings = staticmethod(all_roles)


def makeService(options: RoleOptions[DevSettings]) -> Daemon:
    """Return the service that twistd runs."""
    return make_daemon("confd-dev", options, compose, GC_THRESHOLDS)


def compose(reactor: Reactor, settings: DevSettings) -> list[IService]:
    """
    Compose the three roles as their own daemons do, on loopback and with the built-in credentials.

    @raise StartError: if the settings cannot work.
    """
    folder = Path(settings.data_dir)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StartError(f"DATA_DIR: {folder} cannot be created: {error.strerror}; name another folder.") from None
    controller = {
        "PORT": str(settings.port),
        "DB_PATH": str(folder / "controller.db"),
        "DEFAULT_POLL_INTERVAL": str(settings.default_poll_interval),
        "DEFAULT_CONFIG": f'{{"url": "http://127.0.0.1:{settings.port}/health"}}',
    }
    agent = {
        "CONTROLLER_URL": f"http://127.0.0.1:{settings.port}",
        "WORKER_URL": f"http://127.0.0.1:{settings.worker_port}",
        "CACHE_FILE": str(folder / "agent_config.cache"),
        "DISTRIBUTION_STRATEGY": "STREAM",
    }
    worker = {"PORT": str(settings.worker_port)}
    of_controller = evolve(read(ControllerSettings, controller, {}), allowed_hosts=settings.allowed_hosts)
    made = confd.controller.composition.compose(reactor, of_controller, environ={})
    follower = StartedOnceReady(reactor, made.snapshot.problem)
    for each in confd.agent.composition.compose(reactor, read(AgentSettings, agent, {}), environ={}).services:
        follower.addService(each)
    return [
        *made.services,
        *confd.worker.composition.compose(reactor, read(WorkerSettings, worker, {}), environ={}).services,
        follower,
        Welcome(settings),
    ]


class StartedOnceReady(MultiService):
    """Starts its services once another part is ready, so that they find it at their first try."""

    def __init__(self, clock: IReactorTime, problem: Callable[[], str | None]) -> None:
        """
        @param problem: returns why the other part is not ready; C{None} once it is.
        """
        super().__init__()
        self._clock, self._problem = clock, problem
        self._look: IDelayedCall | None = None

    def startService(self) -> None:
        Service.startService(self)
        self._start()

    def stopService(self) -> Any:
        if self._look is None:
            return super().stopService()
        self._look.cancel()
        return Service.stopService(self)

    def _start(self) -> None:
        self._look = None
        if self._problem() is not None:
            self._look = self._clock.callLater(LOOK_SECONDS, self._start)
            return
        for each in self:
            each.startService()


class Welcome(Service):
    """Log commands for a newcomer to try."""

    log = Logger()

    def __init__(self, settings: DevSettings) -> None:
        self._settings = settings

    def startService(self) -> None:
        """Log the commands, now that all ports are open."""
        super().startService()
        self.log.info(
            _WELCOME,
            port=self._settings.port,
            worker_port=self._settings.worker_port,
            data_dir=self._settings.data_dir,
        )
