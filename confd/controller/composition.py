"""Where the controller is built and joined."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from random import Random

from attrs import frozen
from twisted.application.service import IService

from confd.brokers.factory import describe_brokers, follow_passwords, make_brokers
from confd.controller.access.api_tokens import ApiTokens
from confd.controller.access.change_requests import ChangeRequests, PendingChanges
from confd.controller.access.composition import follow_identities, make_dispatcher, make_site
from confd.controller.access.freezes import Freezes
from confd.controller.access.operator_log import OperatorLog
from confd.controller.access.policies import Policies
from confd.controller.access.schedule import ChangeSchedule
from confd.controller.agents.loading import FleetLoading
from confd.controller.agents.registry import Registry
from confd.controller.api.agents import AgentsApi
from confd.controller.api.audit import AuditApi
from confd.controller.api.backup import BackupApi
from confd.controller.api.bodies import agent_item, convergence_body
from confd.controller.api.certificates import CertificatesApi
from confd.controller.api.changes import ChangesApi
from confd.controller.api.cluster import ClusterApi
from confd.controller.api.configs import ConfigsApi
from confd.controller.api.convergence import ConvergenceApi
from confd.controller.api.dashboard import pages
from confd.controller.api.events import EventsApi
from confd.controller.api.freezes import FreezesApi
from confd.controller.api.history import HistoryApi
from confd.controller.api.imports import ImportsApi
from confd.controller.api.namespaces import NamespacesApi
from confd.controller.api.places import Places
from confd.controller.api.plans import PlansApi
from confd.controller.api.policies import PoliciesApi
from confd.controller.api.prometheus import PrometheusApi
from confd.controller.api.proposals import Proposals
from confd.controller.api.publishing import Publishing
from confd.controller.api.reports import ReportsApi
from confd.controller.api.rollout_schemas import whole_rollout
from confd.controller.api.rollout_starts import RolloutStarts
from confd.controller.api.rollouts import RolloutsApi
from confd.controller.api.sessions import SessionsApi
from confd.controller.api.stream import StreamApi
from confd.controller.api.tokens import TokensApi
from confd.controller.api.webhooks import WebhooksApi
from confd.controller.audit_export.composition import make_audit_exports
from confd.controller.audit_log import AuditLog
from confd.controller.configs.herd import HerdBudget
from confd.controller.configs.identity import ClusterIdentity
from confd.controller.configs.publishers import Publishers, make_publishers
from confd.controller.configs.reader import ConfigReader
from confd.controller.configs.schema import Schema
from confd.controller.configs.service import Configs, first_draft
from confd.controller.configs.snapshot import Snapshot
from confd.controller.convergence.certificates import Certificates
from confd.controller.convergence.metrics import PropagationMetrics
from confd.controller.convergence.report_intake import ReportIntake
from confd.controller.convergence.tracker import Convergence
from confd.controller.feed import Eviction, Feed
from confd.controller.interfaces import IControllerStore
from confd.controller.metrics import controller_metrics
from confd.controller.rollouts.doorbell import FEED_LAG_SECONDS, DoorbellRinger
from confd.controller.rollouts.driver import RolloutDriver
from confd.controller.rollouts.metrics import RolloutMetrics
from confd.controller.rollouts.service import Rollouts
from confd.controller.rollouts.views import RolloutViews
from confd.controller.store.factories import copy_of, make_store, watch_database
from confd.controller.streams.config_stream import ConfigStream
from confd.controller.streams.event_feed import EventFeed
from confd.controller.streams.namespace_feed import EventBodies
from confd.controller.streams.stream_ends import StreamEnds
from confd.controller.webhooks.composition import make_webhooks
from confd.interfaces import IBroker, IChangeListener
from confd.runtime.certificate_expiry import CertificateExpiry
from confd.runtime.daemon import in_threads_of, utc_now
from confd.runtime.listener import Listener
from confd.runtime.metrics import Metrics
from confd.runtime.offload import Offload
from confd.runtime.reactor import Reactor
from confd.runtime.reactor_lag import ReactorLag
from confd.runtime.settings import ControllerSettings
from confd.web.auth.basic import BasicAuth
from confd.web.auth.throttle import Throttle
from confd.web.health import Health, MetricsEndpoint, Readiness, ReadReadiness
from confd.web.server.response_cache import ResponseCache
from confd.web.server.site import BoundedSite


@frozen
class Controller:
    """
    The parts of a controller.

    @ivar apis: The objects whose endpoints the site serves.
    @ivar services: All services in the order of their start; they stop in the reverse order.
    """

    store: IControllerStore
    identity: ClusterIdentity
    snapshot: Snapshot
    configs: Configs
    registry: Registry
    convergence: Convergence
    report_intake: ReportIntake
    publishers: Publishers
    config_stream: ConfigStream
    event_feed: EventFeed
    audit_log: AuditLog
    api_tokens: ApiTokens
    driver: RolloutDriver
    change_schedule: ChangeSchedule
    rollouts: Rollouts
    feed: Feed
    metrics: Metrics
    auth: BasicAuth
    apis: Sequence[object]
    site: BoundedSite
    services: list[IService]


def compose(
    reactor: Reactor,
    settings: ControllerSettings,
    environ: Mapping[str, str],
    *,
    store: IControllerStore | None = None,
    brokers: Sequence[IBroker] | None = None,
    now: Callable[[], datetime] = utc_now,
    random: Random | None = None,
) -> Controller:
    """
    Build the controller and join its parts; nothing is opened or connected.

    @param environ: The variables that the settings were read from.
    @param store: The storage; by default the database in the settings. The caller starts and stops its own store.
    @param brokers: The brokers to publish to; by default the brokers that the settings name.
    @param now: Returns the wall-clock time.
    @param random: Spreads the retries of broker publishers.
    @raise StartError: if the settings cannot work.
    """
    schema = Schema.load(settings.config_schema)
    own_store: list[IService] = []
    if store is None:
        first = first_draft(schema, settings.default_config, settings.default_poll_interval, utc_now())
        store, service = make_store(reactor, settings, first)
        own_store = [service]
    identity, random = ClusterIdentity(), random or Random()
    snapshot = Snapshot(identity.keys)
    if brokers is None:
        brokers = make_brokers(reactor, settings, settings.distribution_strategy)
    herd = HerdBudget(reactor, settings.herd_requests, settings.herd_bytes)
    publishers = make_publishers(reactor, store, brokers, snapshot, random, Offload(in_threads_of(reactor)))
    config_stream = ConfigStream(reactor, snapshot, herd.stream)
    registry = Registry(store, reactor, now, snapshot.poll_interval, settings.max_agents)
    convergence = Convergence(store, registry, reactor, lane=snapshot.lane)
    report_intake = ReportIntake(store, registry, convergence, reactor, now)
    policies, throttle = Policies(store), Throttle(reactor, settings.login_failures)
    freezes = Freezes(store, now, policies.is_freeze_exempt)
    offload = Offload(in_threads_of(reactor))
    driver = RolloutDriver(store, registry, reactor, now, offload, freezes.frozen_until)
    views = RolloutViews(store, driver)
    shown = partial(snapshot.only, settings.metrics_namespaces)
    pending = PendingChanges(store, shown)
    bodies = EventBodies(agent_item, convergence_body, partial(whole_rollout, convergence))
    event_feed = EventFeed(reactor, snapshot, registry, convergence, views, bodies)
    speed, lag = PropagationMetrics(registry, shown), ReactorLag(reactor)
    rollout_metrics = RolloutMetrics(views, shown)
    response_cache = None if settings.log_level == "debug" else ResponseCache()
    webhooks = make_webhooks(
        reactor, settings, environ, store, identity, snapshot, registry, convergence, throttle, now, random
    )
    exports = make_audit_exports(reactor, settings, environ, store, identity, now, random)
    # Parts that count come before parts that send: an agent may answer at once.
    api_tokens = ApiTokens(store, reactor, now, throttle, not settings.admin_password)
    wait = 0.0 if settings.database_url is None else FEED_LAG_SECONDS
    backup = BackupApi(copy_of(reactor, store), store, reactor)
    loading = FleetLoading(reactor, [each.load_rows for each in (registry, convergence, policies, freezes, pending)])
    listeners: list[IChangeListener] = [
        OperatorLog(),
        identity,
        api_tokens,
        registry.agent_tokens,
        registry.lookups,
        snapshot,
        loading.before(policies, freezes, pending, registry, convergence, speed, driver, rollout_metrics, event_feed),
        *([] if response_cache is None else [Eviction(response_cache.clear)]),
        config_stream,
        publishers,
        loading.before(*webhooks.listeners),
        *exports.exports,
        loading.before(
            DoorbellRinger(store, snapshot, registry, identity, herd, brokers, in_threads_of(reactor), reactor, wait)
        ),
    ]
    rows = [api_tokens.load_rows, backup.load_rows, loading.prepare]
    feed = Feed(reactor, store, listeners, rows, settings.stale_limit)
    api_tokens.feed = feed
    store.subscribe(feed.hint)
    convergence.changes.add(event_feed.convergence_changed)
    convergence.applications.add(speed.measure)
    for each in publishers.broker_publishers:
        each.broker.watch(each.broker_returned)
    configs, reader = Configs(store, schema, feed, now), ConfigReader(snapshot, feed)
    rollouts = Rollouts(store, driver, views, snapshot, reader, registry, feed, now, offload)
    driver.considerations.add(event_feed.rollout_changed)
    for follower in (convergence, event_feed, driver, rollouts):
        registry.changes.add(follower.agents_changed)
    rollout_starts, places = RolloutStarts(rollouts, convergence), Places(registry, reader, store, store)
    audit_log = AuditLog(store, reactor, now, exports.wake)
    changes = ChangeRequests(store, configs, rollouts, snapshot, feed, offload, now)
    proposals = Proposals(changes, policies, snapshot)
    change_schedule, ends = ChangeSchedule(reactor, pending, changes, now), StreamEnds(reactor, now, feed, random)
    publishing = Publishing(changes, rollouts, rollout_starts, convergence, publishers.published)
    metrics = controller_metrics(
        store,
        snapshot,
        registry,
        convergence,
        speed,
        report_intake,
        config_stream,
        event_feed,
        publishers.broker_publishers,
        shown,
    )
    readiness = Readiness(
        {"store": store, "configurations": snapshot, "agents": loading} | {each.name: each for each in brokers},
        {
            "no_admin": api_tokens.no_admin,
            **describe_brokers(settings, brokers),
            **exports.facts(),
            **watch_database(store, metrics),
        },
    )
    apis = [
        ConfigsApi(
            configs,
            snapshot,
            reader,
            registry,
            rollouts,
            rollout_starts,
            proposals,
            convergence,
            policies,
            publishers.published,
            offload,
        ),
        RolloutsApi(rollouts, rollout_starts, proposals, configs, reader, registry, convergence, offload),
        PlansApi(rollouts),
        HistoryApi(store, store, store, store, reader, offload),
        NamespacesApi(configs, snapshot, reader, registry, offload, reactor),
        ClusterApi(configs, identity, snapshot, registry, herd, store, reactor),
        ImportsApi(configs, reader, publishers.published, offload),
        AgentsApi(registry, reader, feed, convergence, reactor),
        PrometheusApi(registry, snapshot, reader, offload, reactor),
        ReportsApi(report_intake, registry, reader),
        ConvergenceApi(convergence, reader),
        CertificatesApi(Certificates(store, convergence, registry, identity, now, in_threads_of(reactor)), reader),
        AuditApi(store, audit_log.flush),
        TokensApi(api_tokens, feed),
        FreezesApi(freezes, feed),
        PoliciesApi(policies, snapshot, rollouts, feed),
        ChangesApi(changes, proposals, freezes, configs, snapshot, publishing, offload),
        backup,
        WebhooksApi(webhooks.senders, webhooks.events, store),
        StreamApi(config_stream, registry, rollouts, ends),
        Health(loading),
        readiness,
        ReadReadiness({"configurations": snapshot, "feed": feed, "streams": config_stream}),
        EventsApi(event_feed, reader, ends),
        MetricsEndpoint(metrics, reactor),
        *pages(reactor, offload, schema),
    ]
    for part in (
        webhooks.senders,
        exports,
        rollout_metrics,
        pending,
        readiness,
        lag,
        feed,
        api_tokens,
        policies,
        backup,
    ):
        part.expose(metrics)
    auth, sessions, dispatcher = make_dispatcher(
        reactor, settings, metrics, registry, audit_log, places, api_tokens, throttle, herd, feed, identity, now
    )
    apis.append(SessionsApi(sessions))
    site = make_site(reactor, settings, dispatcher, apis, metrics, response_cache)
    api_tokens.ended.add(lambda who: site.cut({who}))
    listener = Listener(
        reactor, "LISTEN" if settings.listen else "PORT", settings.endpoint, site, settings.client_ca_file
    )
    expiry = CertificateExpiry(reactor, now, [listener.in_use])
    expiry.expose(metrics)
    serving = [ends, expiry, listener, *follow_identities(reactor, settings, environ, auth, site, store)]
    serving += follow_passwords(reactor, settings, environ, brokers)
    # A listener that stops waits for what is in flight: streams, and waits for a convergence, are ended before.
    services = [
        lag,
        *own_store,
        *brokers,
        publishers,
        registry,
        report_intake,
        audit_log,
        api_tokens,
        driver,
        change_schedule,
        *webhooks.services,
        *exports.services,
        feed,
        loading,
        *serving,
        convergence,
        config_stream,
        event_feed,
    ]
    return Controller(
        store,
        identity,
        snapshot,
        configs,
        registry,
        convergence,
        report_intake,
        publishers,
        config_stream,
        event_feed,
        audit_log,
        api_tokens,
        driver,
        change_schedule,
        rollouts,
        feed,
        metrics,
        auth,
        apis,
        site,
        services,
    )
