"""The plug-in C{twistd confd-worker}, loaded before twistd has a reactor."""

from __future__ import annotations

from twisted.application.service import IService

from confd.runtime.daemon import Daemon, make_daemon, quick_imports
from confd.runtime.options import RoleOptions
from confd.runtime.reactor import Reactor
from confd.runtime.settings import WorkerSettings, all_roles


class Options(RoleOptions[WorkerSettings]):
    """Options of C{twistd confd-worker}."""

    role = WorkerSettings
    siblings = staticmethod(all_roles)


def makeService(options: RoleOptions[WorkerSettings]) -> Daemon:
    """The service that twistd runs."""
    with quick_imports():
        # Imported late: the options may have asked for another reactor than the default.
        from confd.worker.composition import compose

    def services(reactor: Reactor, settings: WorkerSettings) -> list[IService]:
        return compose(reactor, settings, options.effective).services

    return make_daemon("confd-worker", options, services)
