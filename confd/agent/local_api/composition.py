"""Build the ports of an agent: the API for programs on its machine, and health checks and metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from attrs import frozen
from twisted.application.service import IService

from confd.agent.lifecycle import Parts
from confd.agent.local_api.applied import AppliedDocument, AppliedEndpoint
from confd.agent.local_api.config import MAX_WAITING, ConfigApi
from confd.agent.local_api.ofrep import MAX_CONTEXT_BYTES, OfrepApi
from confd.agent.metrics import agent_metrics
from confd.agent.outputs.composed import output_metrics
from confd.agent.worker_sync import Applied
from confd.model import Configuration
from confd.runtime.certificate_expiry import CertificateExpiry, InUse
from confd.runtime.daemon import in_threads_of, reload_secrets, utc_now
from confd.runtime.listener import Listener
from confd.runtime.offload import Offload
from confd.runtime.reactor import Reactor
from confd.runtime.reactor_lag import ReactorLag
from confd.runtime.settings import AgentSettings
from confd.web.api.dispatch import Dispatcher
from confd.web.auth.basic import BasicAuth, IAuthenticator
from confd.web.auth.bearer import BearerAuth, LocalAuth
from confd.web.auth.principals import Principal, Role
from confd.web.auth.throttle import Throttle
from confd.web.health import Health, MetricsEndpoint, Readiness
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


def compose_port(
    reactor: Reactor, endpoint: str, parts: Parts, in_use: Sequence[Callable[[], Sequence[InUse]]]
) -> list[IService]:
    """
    Return the services of the port.

    @param endpoint: C{AGENT_LISTEN}.
    @param in_use: return the certificates that the clients use.
    """
    worker_sync, strategy = parts.worker_sync, parts.strategy
    checks = {
        "worker": worker_sync,
        "controller": parts.poller,
        "registration": parts.registration_service,
        "cache": parts.cache,
        "configuration": Applied(worker_sync),
        **{f"output {each.name}": each for each in parts.outputs.checked},
        **({"health": parts.health} if parts.health.outputs else {}),
    }
    readiness = Readiness(checks, {"path": strategy.path, "token": parts.registration_service.notice})
    metrics = agent_metrics(strategy, parts.receiver, parts.poller, worker_sync, parts.reporter)
    output_metrics(metrics, parts.outputs, parts.health)
    resource = Dispatcher(BasicAuth(()), Offload(in_threads_of(reactor))).resource(
        Health(), readiness, AppliedEndpoint(lambda: worker_sync.applied), MetricsEndpoint(metrics, reactor)
    )
    site, lag = BoundedSite(reactor, resource, Limits(connections=64)), ReactorLag(reactor)
    listener = Listener(reactor, "AGENT_LISTEN", endpoint, site)
    expiry = CertificateExpiry(reactor, utc_now, [*in_use, listener.in_use])
    for part in (readiness, lag, expiry, site.request_metrics):
        part.expose(metrics)
    return [lag, expiry, listener]
