"""C{twistd confd-controller}: what twistd needs to know before it has a reactor."""

from __future__ import annotations

from twisted.application.service import IService

from confd.runtime.daemon import GC_THRESHOLDS, Daemon, make_daemon, quick_imports
from confd.runtime.options import RoleOptions
from confd.runtime.reactor import Reactor
from confd.runtime.settings import ControllerSettings, all_roles


class Options(RoleOptions[ControllerSettings]):
    """Options of C{twistd confd-controller}."""

    role = ControllerSettings
    siblings = staticmethod(all_roles)


def makeService(options: RoleOptions[ControllerSettings]) -> Daemon:
    """The service that twistd runs."""
    with quick_imports():
        # Imported late: the options may have asked for another reactor than the default.
        from confd.controller.composition import compose

    def services(reactor: Reactor, settings: ControllerSettings) -> list[IService]:
        return compose(reactor, settings, options.effective).services

    return make_daemon("confd-controller", options, services, GC_THRESHOLDS)
