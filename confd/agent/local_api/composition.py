"""Build the API for programs on the machine of the agent."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import frozen
from twisted.application.service import IService

from confd.agent.local_api.applied import AppliedDocument
from confd.agent.local_api.config import MAX_WAITING, ConfigApi
from confd.agent.local_api.ofrep import MAX_CONTEXT_BYTES, OfrepApi
from confd.model import Configuration
from confd.runtime.daemon import in_threads_of, reload_secrets
from confd.runtime.listener import Listener
from confd.runtime.offload import Offload
from confd.runtime.reactor import Reactor
from confd.runtime.settings import AgentSettings
from confd.web.api.dispatch import Dispatcher
from confd.web.auth.basic import IAuthenticator
from confd.web.auth.bearer import BearerAuth, LocalAuth
from confd.web.auth.principals import Principal, Role
from confd.web.auth.throttle import Throttle
from confd.web.server.site import BoundedSite, Limits

#: Connections of all programs; the programs that wait leave enough for the others.
MAX_CONNECTIONS = 4 * MAX_WAITING

#: Wrong tokens of one address in a minute.
MAX_FAILURES_PER_MINUTE = 10


@frozen
class LocalApi:
    """
    The services of the API, and its subscription.

    @ivar listener: the last one of the services.
    @ivar changed: to call after each applied configuration.
    """

    services: list[IService]
    listener: Listener
    changed: Callable[[], None]


def compose_local_api(
    reactor: Reactor,
    settings: AgentSettings,
    environ: Mapping[str, str],
    endpoint: str,
    applied: Callable[[], Configuration | None],
) -> LocalApi:
    """
    Build the API; nothing is opened.

    @param endpoint: where it listens.
    @param applied: returns the applied configuration.
    @raise StartError: if the settings cannot work.
    """
    offload, principal = Offload(in_threads_of(reactor)), Principal.shared("local", Role.AGENT)
    guard: IAuthenticator = LocalAuth(principal)
    secrets: list[IService] = []
    if settings.agent_api_token is not None:
        guard = bearer = BearerAuth.of(principal, settings.agent_api_token, Throttle(reactor, MAX_FAILURES_PER_MINUTE))

        def changed(now: AgentSettings) -> None:
            bearer.renew(now.agent_api_token or "")

        secrets.extend(reload_secrets(reactor, settings, environ, changed, "AGENT_API_TOKEN"))
    document = AppliedDocument(applied, offload)
    config = ConfigApi(reactor, document)
    dispatcher = Dispatcher(guard, offload)
    resource = dispatcher.resource(config, OfrepApi(document, settings.ofrep_pointer))
    limits = Limits(body=MAX_CONTEXT_BYTES, connections=MAX_CONNECTIONS)
    site = BoundedSite(reactor, resource, limits, dispatcher.large, access_log=settings.log_level == "debug")
    listener = Listener(reactor, "AGENT_API_LISTEN", endpoint, site)
    # The requests that wait end before the listener waits for them.
    return LocalApi([*secrets, listener, config], listener, config.changed)
