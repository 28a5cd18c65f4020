"""The composition of the worker: its parts, and how they are connected."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from attrs import frozen
from twisted.application.service import IService

from confd.client.address_policy import AddressPolicy, Rules
from confd.errors import StartError
from confd.runtime.certificate_expiry import CertificateExpiry
from confd.runtime.daemon import in_threads_of, reload_secrets, utc_now
from confd.runtime.listener import Listener, raise_fd_limit
from confd.runtime.offload import Offload
from confd.runtime.reactor import Reactor
from confd.runtime.reactor_lag import ReactorLag
from confd.runtime.settings import WorkerSettings
from confd.runtime.timing import LogLimiter
from confd.web.api.dispatch import Dispatcher
from confd.web.auth.basic import BasicAuth, Credential, IAuthenticator, LoopbackAuth
from confd.web.auth.principals import Principal, Role
from confd.web.auth.throttle import Throttle
from confd.web.health import MetricsEndpoint, Readiness
from confd.web.openapi.pages import documented
from confd.web.server.proxies import Proxies
from confd.web.server.site import BoundedSite, Limits
from confd.worker.api import DOCUMENT, WorkerApi
from confd.worker.current import CurrentConfig
from confd.worker.metrics import worker_metrics
from confd.worker.upstream import Upstream

#: Seconds between two log lines about refused configurations of the same peer.
_REMINDER_SECONDS = 3600.0

#: Bytes of a configuration: more than any controller accepts.
_MAX_CONFIG_BYTES = 4 * 1048576


@frozen
class Worker:
    """
    The parts of a worker.

    @ivar services: All services in the order of their start; they stop in the reverse order.
    """

    current: CurrentConfig
    upstream: Upstream
    site: BoundedSite
    services: list[IService]


def compose(
    reactor: Reactor,
    settings: WorkerSettings,
    environ: Mapping[str, str],
    *,
    upstream: Upstream | None = None,
    now: Callable[[], datetime] = utc_now,
) -> Worker:
    """
    Build the worker and join its parts; nothing is opened or connected.

    @param environ: The variables that the settings were read from.
    @param upstream: Fetches from upstreams; by default within the limits of the settings.
    @param now: Returns the wall-clock time.
    @raise StartError: if the settings cannot work.
    """
    current = CurrentConfig(now)
    if upstream is None:
        policy = AddressPolicy(_rules("HIT_ALLOW", settings.hit_allow), _rules("HIT_DENY", settings.hit_deny))
        upstream = Upstream(reactor, policy, settings.hit_timeout, settings.hit_max_bytes)
    throttle = Throttle(reactor, settings.login_failures)
    guard: IAuthenticator = LoopbackAuth(
        Principal.shared("loopback", Role.AGENT), LogLimiter(reactor, _REMINDER_SECONDS)
    )
    passwords: Sequence[IService] = ()
    if settings.worker_username is not None:
        guard = known = BasicAuth(_agent(settings), throttle)

        def changed(current: WorkerSettings) -> None:
            known.renew(_agent(current), reactor.seconds())

        passwords = reload_secrets(reactor, settings, environ, changed, "WORKER_PASSWORD")
    offload = Offload(in_threads_of(reactor))
    dispatcher = Dispatcher(guard, offload)
    metrics, lag = worker_metrics(current, upstream), ReactorLag(reactor)
    readiness = Readiness({"configuration": current})
    apis = [
        WorkerApi(current, upstream, str(uuid.uuid4())),
        readiness,
        MetricsEndpoint(metrics, reactor),
    ]
    resource = dispatcher.resource(*documented(reactor, "confd worker", apis, DOCUMENT, offload))
    limits = Limits(body=_MAX_CONFIG_BYTES, connections=raise_fd_limit(12000))
    site = BoundedSite(
        reactor,
        resource,
        limits,
        dispatcher.large,
        proxies=Proxies(settings.trusted_proxies),
        access_log=settings.log_level == "debug",
    )
    for part in (readiness, lag, throttle, site.request_metrics):
        part.expose(metrics)
    listener = Listener(reactor, "LISTEN" if settings.listen else "PORT", settings.endpoint, site)
    expiry = CertificateExpiry(reactor, now, [listener.in_use])
    expiry.expose(metrics)
    return Worker(current, upstream, site, [lag, expiry, *passwords, upstream, listener])


def _agent(settings: WorkerSettings) -> list[Credential]:
    """Return the credentials of the agent, which may replace the configuration."""
    return [Credential.of(settings.worker_username or "", settings.worker_password or "", Role.AGENT)]


def _rules(name: str, text: str) -> Rules:
    try:
        return Rules.parse(text)
    except ValueError as error:
        raise StartError(f"{name}: {error}.") from None
