"""Where the agent is built and joined."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from random import Random
from urllib.parse import urlsplit

from twisted.application.service import IService
from twisted.web.client import HTTPConnectionPool

from confd.agent import plugin
from confd.agent.cache import Cache
from confd.agent.cache_files import CacheFiles
from confd.agent.lifecycle import Agent, Parts
from confd.agent.metrics import agent_metrics
from confd.agent.poller import Poller
from confd.agent.receiver import Receiver
from confd.agent.registration import RegistrationService
from confd.agent.reporter import Reporter, ReportSource
from confd.agent.version_guard import VersionGuard
from confd.agent.worker_sync import RETRY_MAX_SECONDS, Applied, WorkerSync
from confd.client.controller import ControllerClient
from confd.client.forward_proxy import ForwardProxies, read_proxies
from confd.client.http import Http
from confd.client.web_agent import web_agent
from confd.client.worker import WorkerClient
from confd.codec.bodies import HOSTNAME_MAX, METADATA_MAX
from confd.codec.signing import KeyRing
from confd.errors import StartError
from confd.interfaces import POLL, StrategyContext
from confd.model import Configuration, Registration
from confd.runtime.certificate_expiry import CertificateExpiry, InUse
from confd.runtime.daemon import in_threads_of, reload_secrets, utc_now
from confd.runtime.listener import Listener
from confd.runtime.metrics import Metrics
from confd.runtime.offload import Offload, OrderedOffload
from confd.runtime.reactor import Reactor
from confd.runtime.reactor_lag import ReactorLag
from confd.runtime.settings import AgentSettings
from confd.runtime.timing import Backoff
from confd.runtime.tls import ClientTls
from confd.web.api.dispatch import Dispatcher
from confd.web.auth.basic import BasicAuth
from confd.web.health import Health, MetricsEndpoint, Readiness
from confd.web.server.site import BoundedSite, Limits


def compose(reactor: Reactor, settings: AgentSettings, environ: Mapping[str, str]) -> list[IService]:
    """
    Build the agent and join its parts; nothing is opened or connected.

    @param environ: what the settings were read from; the strategy finds its own in it.
    @raise StartError: if the settings cannot work.
    """
    random = Random()
    offload = OrderedOffload(in_threads_of(reactor))
    controllers, worker, reloaded_files, in_use = _clients(reactor, settings, environ, offload)
    registration = Registration(
        hostname=socket.gethostname()[:HOSTNAME_MAX],
        metadata=settings.agent_metadata or _of_worker(settings.worker_url),
        strategy=settings.distribution_strategy,
        namespace=settings.namespace,
    )
    cache = Cache(reactor, CacheFiles(settings.cache_file, settings.namespace), in_threads_of(reactor))
    worker_sync = WorkerSync(
        reactor, worker, Backoff(random, RETRY_MAX_SECONDS), cache.keep, lambda: reporter.changed()
    )

    def deliver(configuration: Configuration) -> None:
        worker_sync.deliver(configuration)
        poller.reconsider()

    version_guard = VersionGuard(deliver, lambda: reporter.changed())
    backoff = partial(Backoff, random, settings.backoff_max)

    def joined() -> None:
        reporter.joined()
        poller.joined()

    registration_service = RegistrationService(
        reactor, controllers, backoff(), registration, cache.keep_id, joined, cache.keep_token
    )
    report_source, session = ReportSource(version_guard, worker_sync), str(uuid.uuid4())
    reporter = Reporter(reactor, controllers, registration_service, backoff(), random, report_source, session)
    context = StrategyContext(
        reactor,
        settings.namespace,
        environ,
        controllers,
        lambda: registration_service.agent_id,
        random,
        settings.backoff_max,
    )
    strategy = plugin.make(settings.distribution_strategy, context)
    receiver = Receiver(settings.namespace, KeyRing(), version_guard, offload, lambda: poller.hint())
    poller = Poller(
        reactor,
        controllers,
        receiver,
        registration_service,
        backoff(),
        random,
        push_is_down=lambda: strategy.pushes and strategy.path() == POLL,
    )
    agent = Agent(Parts(cache, version_guard, worker_sync, registration_service, reporter, poller, receiver, strategy))
    if settings.agent_listen is None:
        watched = [CertificateExpiry(reactor, utc_now, in_use)] if in_use else []
        return [*reloaded_files, *watched, agent]
    checks = {"worker": worker_sync, "controller": poller, "registration": registration_service, "cache": cache}
    readiness = Readiness({**checks, "configuration": Applied(worker_sync)}, {"path": strategy.path})
    metrics = agent_metrics(strategy, receiver, poller, worker_sync, reporter)
    return [*reloaded_files, agent, *_ops(reactor, settings.agent_listen, readiness, metrics, in_use)]


def _of_worker(worker_url: str) -> str:
    """Return what agents of the Go system say of themselves; without credentials, and nothing where it is too long."""
    parts = urlsplit(worker_url)
    told = f"worker_url={parts._replace(netloc=parts.netloc.rpartition('@')[2]).geturl()}"
    return told if len(told) <= METADATA_MAX else ""


def _clients(
    reactor: Reactor, settings: AgentSettings, environ: Mapping[str, str], offload: Offload
) -> tuple[ControllerClient, WorkerClient, list[IService], list[Callable[[], Sequence[InUse]]]]:
    """They, what keeps their certificates and passwords up to date, and what tells the certificates in use."""
    in_thread = in_threads_of(reactor)
    of_controller = ClientTls(
        reactor,
        in_thread,
        "CONTROLLER",
        settings.controller_ca_file,
        settings.controller_cert_file,
        settings.controller_key_file,
    )
    of_worker = ClientTls(reactor, in_thread, "WORKER", settings.worker_ca_file)
    to_controllers = Http(
        reactor,
        web_agent(reactor, HTTPConnectionPool(reactor), of_controller, _proxies(settings, environ)),
        settings.controller_username,
        settings.controller_password,
        "CONTROLLER_URL",
    )
    to_worker = Http(
        reactor,
        web_agent(reactor, HTTPConnectionPool(reactor), of_worker),
        *settings.worker_login,
        "WORKER_URL",
    )

    def changed(now: AgentSettings) -> None:
        to_controllers.present(now.controller_username, now.controller_password)
        to_worker.present(*now.worker_login)

    passwords = reload_secrets(reactor, settings, environ, changed, "CONTROLLER_PASSWORD", "WORKER_PASSWORD")
    return (
        ControllerClient(to_controllers, settings.controller_url, offload, settings.namespace),
        WorkerClient(to_worker, settings.worker_url, Offload(in_thread)),
        [*(each for each in (of_controller, of_worker) if each.changes), *passwords],
        [each.in_use for each in (of_controller, of_worker) if each.changes],
    )


def _proxies(settings: AgentSettings, environ: Mapping[str, str]) -> ForwardProxies:
    """Return the proxies on the way to the controllers; workers are always reached directly."""
    try:
        return read_proxies(environ, settings.controller_proxy)
    except ValueError as error:
        raise StartError(f"{error}.") from None


def _ops(
    reactor: Reactor,
    endpoint: str,
    readiness: Readiness,
    metrics: Metrics,
    in_use: Sequence[Callable[[], Sequence[InUse]]],
) -> list[IService]:
    resource = Dispatcher(BasicAuth(()), Offload(in_threads_of(reactor))).resource(
        Health(), readiness, MetricsEndpoint(metrics, reactor)
    )
    site, lag = BoundedSite(reactor, resource, Limits(connections=64)), ReactorLag(reactor)
    listener = Listener(reactor, "AGENT_LISTEN", endpoint, site)
    expiry = CertificateExpiry(reactor, utc_now, [*in_use, listener.in_use])
    for part in (readiness, lag, expiry, site.request_metrics):
        part.expose(metrics)
    return [lag, expiry, listener]
