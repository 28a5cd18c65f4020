"""C{twistd confd-controller}: what twistd needs to know before it has a reactor."""

from __future__ import annotations

from functools import partial

from confd.runtime.daemon import GC_THRESHOLDS, Daemon, make_daemon
from confd.runtime.options import RoleOptions
from confd.runtime.settings import ROLES, ControllerSettings


class Options(RoleOptions[ControllerSettings]):
    """Options of C{twistd confd-controller}."""

    role = ControllerSettings
    siblings = ROLES


def makeService(options: RoleOptions[ControllerSettings]) -> Daemon:
    """The service that twistd runs."""
    # Imported late: Klein installs the default reactor, and the options may have asked for another.
    from confd.controller.composition import compose

    return make_daemon("confd-controller", options, partial(compose, environ=options.effective), GC_THRESHOLDS)
