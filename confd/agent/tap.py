"""The C{twistd confd-agent} command."""

from __future__ import annotations

from twisted.application.service import IService

from confd.runtime.daemon import Daemon, make_daemon, quick_imports
from confd.runtime.options import RoleOptions
from confd.runtime.reactor import Reactor
from confd.runtime.settings import AgentSettings, all_roles


class Options(RoleOptions[AgentSettings]):
    """Options of C{twistd confd-agent}."""

    role = AgentSettings
    siblings = staticmethod(all_roles)


def makeService(options: RoleOptions[AgentSettings]) -> Daemon:
    """Return the service that twistd runs."""
    with quick_imports():
        # Imported late: the options may have asked for another reactor than the default.
        from confd.agent.composition import compose

    def services(reactor: Reactor, settings: AgentSettings) -> list[IService]:
        return compose(reactor, settings, options.effective).services

    return make_daemon("confd-agent", options, services)
