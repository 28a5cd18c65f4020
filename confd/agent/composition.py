"""Build the agent and subscribe its parts to each other."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from random import Random
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from attrs import evolve, frozen
from twisted.application.service import IService
from twisted.web.client import HTTPConnectionPool

from confd.agent import plugin
from confd.agent.cache import Cache
from confd.agent.cache_files import CacheFiles
from confd.agent.doorbell import DoorbellListener
from confd.agent.lifecycle import Agent, Parts
from confd.agent.outputs.composed import Outputs
from confd.agent.outputs.health import HealthMonitor
from confd.agent.poller import Poller
from confd.agent.receiver import Receiver
from confd.agent.registration import RegistrationService
from confd.agent.reporter import Reporter, ReportSource
from confd.agent.version_guard import VersionGuard
from confd.agent.worker_sync import RETRY_MAX_SECONDS, WorkerSync
from confd.client.controller import ControllerClient
from confd.client.forward_proxy import ForwardProxies, read_proxies
from confd.client.http import Http
from confd.client.web_agent import web_agent
from confd.client.worker import WorkerClient
from confd.codec.bodies import HOSTNAME_MAX, METADATA_MAX
from confd.codec.labels import own_labels
from confd.codec.signing import KeyRing
from confd.errors import StartError
from confd.interfaces import POLL, IControllerClient, IStrategy, IWorkerClient, StrategyContext
from confd.model import Registration
from confd.runtime.certificate_expiry import CertificateExpiry, InUse
from confd.runtime.daemon import in_threads_of, reload_secrets, utc_now
from confd.runtime.offload import Offload, OrderedOffload, RunInThread
from confd.runtime.reactor import Reactor
from confd.runtime.settings import AgentSettings
from confd.runtime.signal import Signal
from confd.runtime.timing import Backoff

if TYPE_CHECKING:
    from confd.runtime.tls import ClientTls


@frozen
class Clients:
    """
    The clients of an agent.

    @ivar offload: Decodes answers and what strategies bring, in one order.
    @ivar services: Reload the certificates and passwords of the clients.
    @ivar in_use: Return the certificates that the clients use.
    """

    controllers: IControllerClient
    worker: IWorkerClient
    offload: OrderedOffload
    services: Sequence[IService] = ()
    in_use: Sequence[Callable[[], Sequence[InUse]]] = ()


@frozen
class ComposedAgent:
    """
    An agent as L{compose} builds it.

    @ivar services: All services in the order of their start; they stop in the reverse order.
    """

    parts: Parts
    services: list[IService]


def compose(
    reactor: Reactor,
    settings: AgentSettings,
    environ: Mapping[str, str],
    *,
    clients: Clients | None = None,
    in_thread: RunInThread | None = None,
    make_strategy: Callable[[str, StrategyContext], IStrategy] = plugin.make,
    random: Random | None = None,
) -> ComposedAgent:
    """
    Build the agent and join its parts; nothing is opened or connected.

    @param environ: The variables that the settings were read from; the strategy finds its own settings there.
    @param clients: The clients; by default those of the URLs in the settings.
    @param in_thread: Runs the work of the cache; by default in the threads of the reactor.
    @param make_strategy: Makes the strategy with the given name.
    @param random: Source of jitter; by default a new one.
    @raise StartError: if the settings cannot work.
    """
    clients = clients or _clients(reactor, settings, environ)
    controllers = clients.controllers
    random = random or Random()
    accepted, applied, changed, hinted, identified, authorized, registered, judged = (Signal() for _ in range(8))
    backoff = partial(Backoff, random, settings.backoff_max)
    blocking = in_thread or in_threads_of(reactor)
    cache = Cache(reactor, CacheFiles(settings.cache_file, settings.namespace), blocking)
    if settings.only_worker:
        outputs, monitored, several = Outputs(clients.worker), [], False
    else:
        # An agent whose only output is the worker loads neither formats of files nor commands.
        from confd.agent.outputs.factories import build_outputs, monitored_outputs, read_plan

        plan = read_plan(settings, environ)
        outputs = build_outputs(reactor, blocking, plan, settings, environ, clients.worker, random)
        monitored = monitored_outputs(outputs, plan, blocking, lambda: worker_sync.checksum)
        several = plan.count > 1
    worker_sync = WorkerSync(
        reactor,
        outputs.worker,
        Backoff(random, RETRY_MAX_SECONDS),
        applied.notify,
        changed.notify,
        outputs.explain,
        outputs.subject,
        retags=outputs.set is None,
    )
    health = HealthMonitor(
        reactor,
        monitored,
        worker_sync.report,
        judged.notify,
        several=several,
    )
    version_guard = VersionGuard(accepted.notify, changed.notify)
    registration_service = RegistrationService(
        reactor,
        controllers,
        backoff(),
        _registration(settings),
        identified.notify,
        registered.notify,
        authorized.notify,
    )
    report_source, session = ReportSource(version_guard, worker_sync, health.amend), str(uuid.uuid4())
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
    strategy = make_strategy(settings.distribution_strategy, context)
    registration, keys = _registration(settings), KeyRing()
    doorbell = DoorbellListener(
        reactor,
        settings.namespace,
        keys,
        version_guard,
        lambda: own_labels(evolve(registration, agent_id=registration_service.agent_id)),
        random,
        hinted.notify,
    )
    receiver = Receiver(
        settings.namespace, keys, version_guard, clients.offload, hinted.notify, doorbell, cache.keep_keys
    )
    poller = Poller(
        reactor,
        controllers,
        receiver,
        registration_service,
        backoff(),
        random,
        push_is_down=lambda: strategy.pushes and strategy.path() == POLL,
    )
    for signal, observer in (
        (accepted, worker_sync.deliver),
        (accepted, lambda _: outputs.supersede()),
        (accepted, poller.reconsider),
        (applied, cache.keep),
        (changed, health.refresh),
        (changed, reporter.changed),
        (judged, reporter.changed),
        (hinted, poller.hint),
        (identified, cache.keep_id),
        (authorized, cache.keep_token),
        (registered, reporter.registered),
        (registered, poller.registered),
    ):
        signal.add(observer)
    parts = Parts(
        cache,
        version_guard,
        worker_sync,
        registration_service,
        reporter,
        poller,
        receiver,
        strategy,
        outputs,
        health,
    )
    api_services: list[IService] = []
    # An agent without a port loads no web server.
    if settings.agent_api_listen is not None:
        from confd.agent.local_api.composition import compose_local_api

        api = compose_local_api(reactor, settings, environ, settings.agent_api_listen, lambda: worker_sync.applied)
        applied.add(lambda _: api.changed())
        clients = evolve(clients, in_use=[*clients.in_use, api.listener.in_use])
        api_services = api.services
    if settings.agent_listen is not None:
        from confd.agent.local_api.composition import compose_port

        others = compose_port(reactor, settings.agent_listen, parts, clients.in_use)
    else:
        others = [CertificateExpiry(reactor, utc_now, clients.in_use)] if clients.in_use else []
    return ComposedAgent(parts, [*clients.services, Agent(parts), *api_services, *others])


def _registration(settings: AgentSettings) -> Registration:
    return Registration(
        hostname=socket.gethostname()[:HOSTNAME_MAX],
        metadata=settings.agent_metadata or (_go_metadata(settings.worker_url) if "HTTP" in settings.outputs else ""),
        strategy=settings.distribution_strategy,
        namespace=settings.namespace,
        advertise=settings.agent_advertise or "",
    )


def _go_metadata(worker_url: str) -> str:
    """Return the metadata of an agent of the Go system: the URL of its worker, without credentials."""
    parts = urlsplit(worker_url)
    metadata = f"worker_url={parts._replace(netloc=parts.netloc.rpartition('@')[2]).geturl()}"
    return metadata if len(metadata) <= METADATA_MAX else ""


def _clients(reactor: Reactor, settings: AgentSettings, environ: Mapping[str, str]) -> Clients:
    """Return the clients of the URLs in the settings."""
    in_thread = in_threads_of(reactor)
    controller_tls, worker_tls = _tls(reactor, in_thread, settings) if settings.tls else (None, None)
    watched = [each for each in (controller_tls, worker_tls) if each is not None and each.changes]
    to_controllers = Http(
        reactor,
        web_agent(reactor, HTTPConnectionPool(reactor), controller_tls, _proxies(settings, environ)),
        settings.controller_username,
        settings.controller_password,
        "CONTROLLER_URL",
    )
    to_worker = Http(
        reactor,
        web_agent(reactor, HTTPConnectionPool(reactor), worker_tls),
        *settings.worker_login,
        "WORKER_URL",
    )

    def changed(now: AgentSettings) -> None:
        to_controllers.present(now.controller_username, now.controller_password)
        to_worker.present(*now.worker_login)

    passwords = reload_secrets(reactor, settings, environ, changed, "CONTROLLER_PASSWORD", "WORKER_PASSWORD")
    offload = OrderedOffload(in_thread)
    return Clients(
        ControllerClient(to_controllers, settings.controller_url, offload, settings.namespace),
        WorkerClient(to_worker, settings.worker_url, Offload(in_thread)),
        offload,
        [*watched, *passwords],
        [each.in_use for each in watched],
    )


def _tls(reactor: Reactor, in_thread: RunInThread, settings: AgentSettings) -> tuple[ClientTls, ClientTls]:
    """Return the TLS of the clients of the controller and the worker."""
    # An agent without TLS loads none of it.
    from confd.runtime.tls import ClientTls

    controller = (settings.controller_ca_file, settings.controller_cert_file, settings.controller_key_file)
    return (
        ClientTls(reactor, in_thread, "CONTROLLER", *controller),
        ClientTls(reactor, in_thread, "WORKER", settings.worker_ca_file),
    )


def _proxies(settings: AgentSettings, environ: Mapping[str, str]) -> ForwardProxies:
    """Return the proxies for the controllers; the worker is always reached directly."""
    try:
        return read_proxies(environ, settings.controller_proxy)
    except ValueError as error:
        raise StartError(f"{error}.") from None
