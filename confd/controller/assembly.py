"""Where the controller is built and joined."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from twisted.application.service import IService

from confd import jsontext
from confd.brokerage import make_brokers
from confd.controller.agents_api import AgentsApi
from confd.controller.configs import Configs
from confd.controller.configs_api import ConfigsApi
from confd.controller.outbox import RETRY_MAX, Courier, Outbox
from confd.controller.recovery import Recovery
from confd.controller.registry import Registry
from confd.controller.schema import Schema
from confd.controller.snapshot import Snapshot
from confd.controller.store.sql import SqliteStore
from confd.controller.stream import Hub
from confd.controller.stream_api import StreamApi
from confd.daemon import Listener, in_threads_of, utc_now
from confd.metrics import Metrics
from confd.model import DEFAULT_NAMESPACE, ConfdError, Draft, StartError
from confd.settings import ControllerSettings
from confd.timing import Backoff
from confd.web.endpoint import Edge
from confd.web.guard import BasicGuard, Credential, Role
from confd.web.ops import Figures, Health, Readiness
from confd.web.site import BoundedSite, Limits


def compose(reactor: Any, settings: ControllerSettings) -> list[IService]:
    """
    Build the controller and join its parts; nothing is opened or connected.

    @return: the services, in the order in which they start; they stop in the opposite one.
    @raise StartError: if the settings cannot work.
    """
    schema = Schema.load(settings.config_schema)
    store = SqliteStore(reactor, settings.db_path, _first(schema, settings))
    snapshot = Snapshot(lambda: store.keys)
    brokers = make_brokers(reactor, settings, settings.distribution_strategy)
    in_thread = in_threads_of(reactor)
    couriers = [Courier(reactor, broker, Backoff(Random(), RETRY_MAX), in_thread) for broker in brokers]
    outbox = Outbox(reactor, couriers)
    hub = Hub(reactor, snapshot)
    configs = Configs(store, snapshot, schema, utc_now, [hub.announce, outbox.announce])
    registry = Registry(store, reactor, utc_now, snapshot.poll_interval)
    for broker in brokers:
        broker.answer(snapshot.announcement)
    checks = {"store": store, "configurations": snapshot} | {broker.name: broker for broker in brokers}
    resource = Edge(_guard(settings), in_thread).resource(
        ConfigsApi(configs, snapshot, registry, outbox.published),
        AgentsApi(registry, snapshot),
        StreamApi(hub, registry),
        Health(),
        Readiness(checks),
        Figures(_metrics(snapshot, registry, hub, couriers)),
    )
    site = BoundedSite(reactor, resource, Limits(body=settings.max_config_bytes))
    listener = Listener(reactor, "LISTEN" if settings.listen else "PORT", settings.endpoint, site)
    # The hub comes last: a listener that stops waits for what is in flight, and streams do not end by themselves.
    return [store, *brokers, outbox, registry, Recovery(reactor, registry, configs), listener, hub]


def _metrics(snapshot: Snapshot, registry: Registry, hub: Hub, couriers: Sequence[Courier]) -> Metrics:
    metrics = Metrics()
    metrics.gauge(
        "confd_config_version",
        "The version in force.",
        lambda: {(name,): snapshot.get(name).configuration.version for name in snapshot.namespaces()},
        "namespace",
    )
    metrics.gauge(
        "confd_agents",
        "Agents that are known.",
        lambda: {(name,): registry.count(name) for name in snapshot.namespaces()},
        "namespace",
    )
    metrics.gauge("confd_stream_readers", "Streams that are open.", lambda: {(): len(hub)})
    metrics.gauge(
        "confd_broker_up",
        "Whether a broker can be used.",
        lambda: {(each.broker.name,): each.broker.trouble() is None for each in couriers},
        "broker",
    )
    metrics.gauge(
        "confd_unpublished_namespaces",
        "Namespaces whose newest announcement a broker does not have.",
        lambda: {(each.broker.name,): each.waiting() for each in couriers},
        "broker",
    )
    return metrics


def _guard(settings: ControllerSettings) -> BasicGuard:
    return BasicGuard(
        [
            Credential.of(settings.agent_username, settings.agent_password, Role.AGENT),
            Credential.of(settings.admin_username, settings.admin_password, Role.ADMIN),
        ]
    )


def _first(schema: Schema, settings: ControllerSettings) -> Draft:
    """Version 1 of a new database."""
    try:
        schema.check(settings.default_config)
        document = jsontext.document(settings.default_config)
    except ConfdError as error:
        raise StartError(f"DEFAULT_CONFIG: {error.message}") from None
    return Draft(DEFAULT_NAMESPACE, document, "confd", utc_now(), settings.default_poll_interval, "the first version")
