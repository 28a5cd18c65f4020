"""C{twistd confd-agent}: what twistd needs to know before it has a reactor."""

from __future__ import annotations

from functools import partial

from confd.runtime.daemon import Daemon, make_daemon
from confd.runtime.options import RoleOptions
from confd.runtime.settings import ROLES, AgentSettings


class Options(RoleOptions[AgentSettings]):
    """Options of C{twistd confd-agent}."""

    role = AgentSettings
    siblings = ROLES


def makeService(options: RoleOptions[AgentSettings]) -> Daemon:
    """The service that twistd runs."""
    # Imported late: Klein installs the default reactor, and the options may have asked for another.
    from confd.agent.composition import compose

    return make_daemon("confd-agent", options, partial(compose, environ=options.effective))
