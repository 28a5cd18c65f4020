"""Where the controller is built and joined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from random import Random
from typing import Any

from twisted.application.service import IService

from confd.brokers.factory import follow_passwords, make_brokers
from confd.codec import strict_json
from confd.controller.agents.registry import Registry
from confd.controller.api.agents import AgentsApi
from confd.controller.api.audit import AuditApi
from confd.controller.api.cluster import ClusterApi
from confd.controller.api.configs import ConfigsApi
from confd.controller.api.convergence import ConvergenceApi
from confd.controller.api.dashboard import dashboard
from confd.controller.api.events import EventsApi
from confd.controller.api.history import HistoryApi
from confd.controller.api.imports import ImportsApi
from confd.controller.api.namespaces import NamespacesApi
from confd.controller.api.reports import ReportsApi
from confd.controller.api.stream import StreamApi
from confd.controller.audit_log import Refusals
from confd.controller.configs.publishers import RETRY_MAX, Courier, Outbox
from confd.controller.configs.schema import BUILT_IN, Schema
from confd.controller.configs.service import Configs
from confd.controller.configs.snapshot import Snapshot
from confd.controller.convergence.metrics import Speed
from confd.controller.convergence.report_intake import Intake
from confd.controller.convergence.tracker import Convergence
from confd.controller.metrics import figures
from confd.controller.startup import Recovery
from confd.controller.store.sqlite.store import SqliteStore
from confd.controller.streams.config_stream import Hub
from confd.controller.streams.event_feed import Events
from confd.errors import ConfdError, StartError
from confd.interfaces import IBroker
from confd.model import DEFAULT_NAMESPACE, Draft
from confd.runtime.certificate_expiry import CertificateExpiry
from confd.runtime.daemon import follow, in_threads_of, utc_now
from confd.runtime.listener import Listener, room_for
from confd.runtime.metrics import Metrics
from confd.runtime.offload import Documents
from confd.runtime.reactor_lag import ReactorLag
from confd.runtime.settings import ControllerSettings
from confd.runtime.timing import Backoff
from confd.web.api.dispatch import Edge
from confd.web.auth.basic import BasicGuard, Credential, Role
from confd.web.auth.throttle import Allowance, Throttle
from confd.web.health import Figures, Health, Readiness
from confd.web.openapi.pages import documented
from confd.web.server.proxies import Proxies
from confd.web.server.response_cache import Memo
from confd.web.server.site import BoundedSite, Limits


def compose(reactor: Any, settings: ControllerSettings, environ: Mapping[str, str]) -> list[IService]:
    """
    Build the controller and join its parts; nothing is opened or connected.

    @param environ: what the settings were read from.
    @return: the services, in the order in which they start; they stop in the opposite one.
    @raise StartError: if the settings cannot work.
    """
    schema = Schema.load(settings.config_schema)
    store = SqliteStore(reactor, settings.db_path, _first(schema, settings), settings.history_keep)
    snapshot = Snapshot(lambda: store.keys)
    couriers, brokers = _couriers(reactor, settings, snapshot)
    outbox, hub = Outbox(reactor, couriers), Hub(reactor, snapshot)
    registry = Registry(store, reactor, utc_now, snapshot.poll_interval, settings.max_agents)
    registry.departures.add(hub.part)
    convergence = Convergence(store, registry, reactor)
    intake = Intake(store, registry, convergence, reactor, utc_now)
    configs = Configs(store, snapshot, schema, reactor, utc_now, [hub.announce, outbox.announce])
    configs.publications.add(convergence.published)
    configs.retirements.add(convergence.retired)
    events = Events(reactor, store, snapshot, configs, registry, convergence)
    shown = partial(snapshot.only, settings.metrics_namespaces)
    speed, lag = Speed(configs, registry, convergence, shown), ReactorLag(reactor)
    metrics = figures(store, snapshot, registry, convergence, speed, intake, hub, events, couriers, shown)
    documents, refusals = Documents(in_threads_of(reactor)), Refusals(store, reactor, utc_now)
    readiness = Readiness({"store": store, "configurations": snapshot} | {each.name: each for each in brokers})
    apis = [
        ConfigsApi(configs, snapshot, registry, convergence, outbox.published, documents),
        HistoryApi(store, snapshot, documents),
        NamespacesApi(configs, snapshot, registry, documents, reactor),
        ClusterApi(configs, store, snapshot, registry),
        ImportsApi(configs, snapshot, outbox.published, documents),
        AgentsApi(registry, snapshot, convergence),
        ReportsApi(intake, registry, snapshot),
        ConvergenceApi(convergence, snapshot),
        AuditApi(store, refusals.flush),
        StreamApi(hub, registry),
        Health(snapshot),
        readiness,
        EventsApi(events),
        Figures(metrics, reactor),
        dashboard(reactor),
    ]
    for part in (readiness, lag):
        part.expose(metrics)
    guard, edge = _edge(reactor, settings, metrics, registry, refusals)
    site = _site(reactor, settings, edge, apis, metrics, configs)
    listener = Listener(
        reactor, "LISTEN" if settings.listen else "PORT", settings.endpoint, site, settings.client_ca_file
    )
    expiry = CertificateExpiry(reactor, utc_now, [listener.in_use])
    expiry.expose(metrics)
    serving = [expiry, listener, *_passwords(reactor, settings, environ, guard, site)]
    serving += follow_passwords(reactor, settings, environ, brokers)
    recovery = Recovery(reactor, registry, convergence, configs)
    # A listener that stops waits for what is in flight: streams, and waits for a convergence, are ended before.
    return [lag, store, *brokers, outbox, registry, intake, refusals, recovery, *serving, convergence, hub, events]


def _couriers(reactor: Any, settings: ControllerSettings, snapshot: Snapshot) -> tuple[list[Courier], list[IBroker]]:
    """One for each broker that the settings name, and those."""
    brokers, in_thread = make_brokers(reactor, settings, settings.distribution_strategy), in_threads_of(reactor)
    for broker in brokers:
        broker.answer(snapshot.announcement)
    backoff = partial(Backoff, Random(), RETRY_MAX)
    return [Courier(reactor, broker, backoff(), in_thread, snapshot.published) for broker in brokers], brokers


def _edge(
    reactor: Any, settings: ControllerSettings, metrics: Metrics, registry: Registry, refusals: Refusals
) -> tuple[BasicGuard, Edge]:
    """Who may come in, and how often; and where."""
    throttle = Throttle(reactor, settings.login_failures)
    throttle.expose(metrics)
    guard = BasicGuard(_shared(settings), throttle, registry.admission.holder)
    return guard, Edge(guard, in_threads_of(reactor), refusals, Allowance(reactor, settings.changes_per_minute))


def _site(
    reactor: Any,
    settings: ControllerSettings,
    edge: Edge,
    apis: Sequence[object],
    metrics: Metrics,
    configs: Configs,
) -> BoundedSite:
    document = BUILT_IN if settings.config_schema is None else {"type": "object"}
    resource = edge.resource(*documented(reactor, "confd controller", apis, document))
    memo = None if settings.log_level == "debug" else Memo()
    if memo is not None:
        # Agents name what they have in each poll: what was remembered of the version before is not asked for again.
        configs.publications.add(lambda _: memo.clear())
    limits = Limits(
        body=settings.max_config_bytes,
        connections=room_for(settings.max_connections),
        from_one=settings.max_connections_per_address,
    )
    site = BoundedSite(reactor, resource, limits, edge.large, memo, Proxies(settings.trusted_proxies), settings.hosts)
    site.traffic.expose(metrics)
    return site


def _shared(settings: ControllerSettings) -> list[Credential]:
    """The identities that many share."""
    return [
        Credential.of(settings.agent_username, settings.agent_password, Role.AGENT),
        Credential.of(settings.admin_username, settings.admin_password, Role.ADMIN),
    ]


def _passwords(
    reactor: Any,
    settings: ControllerSettings,
    environ: Mapping[str, str],
    guard: BasicGuard,
    site: BoundedSite,
) -> Sequence[IService]:
    """
    What has those in files taken as they change.

    @param site: ends the streams that a replaced password opened.
    """

    def changed(now: ControllerSettings) -> None:
        site.cut(guard.renew(_shared(now), reactor.seconds()))
        site.allow_hosts(now.hosts)

    return follow(reactor, settings, environ, changed, "AGENT_PASSWORD", "ADMIN_PASSWORD")


def _first(schema: Schema, settings: ControllerSettings) -> Draft:
    """Version 1 of a new database."""
    try:
        schema.check(settings.default_config)
        document = strict_json.document(settings.default_config)
    except ConfdError as error:
        raise StartError(f"DEFAULT_CONFIG: {error.message}") from None
    return Draft(DEFAULT_NAMESPACE, document, "confd", utc_now(), settings.default_poll_interval, "the first version")
