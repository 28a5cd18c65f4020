"""The plug-in C{twistd confd-worker}, loaded before twistd has a reactor."""

from __future__ import annotations

from functools import partial

from confd.runtime.daemon import Daemon, make_daemon
from confd.runtime.options import RoleOptions
from confd.runtime.settings import ROLES, WorkerSettings


class Options(RoleOptions[WorkerSettings]):
    """Options of C{twistd confd-worker}."""

    role = WorkerSettings
    siblings = ROLES


def makeService(options: RoleOptions[WorkerSettings]) -> Daemon:
    """The service that twistd runs."""
    # Imported late: Klein installs the default reactor, and the options may have asked for another.
    from confd.worker.composition import compose

    return make_daemon("confd-worker", options, partial(compose, environ=options.effective))
