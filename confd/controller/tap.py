"""C{twistd confd-controller}: where the controller is built and joined."""

from __future__ import annotations

from typing import Any

from twisted.application.service import IService

from confd import jsontext
from confd.controller.agents_api import AgentsApi
from confd.controller.configs import Configs
from confd.controller.configs_api import ConfigsApi
from confd.controller.recovery import Recovery
from confd.controller.registry import Registry
from confd.controller.schema import Schema
from confd.controller.snapshot import Snapshot
from confd.controller.store.sql import SqliteStore
from confd.daemon import Daemon, Listener, in_threads_of, make_daemon, utc_now
from confd.model import DEFAULT_NAMESPACE, ConfdError, Draft, StartError
from confd.options import RoleOptions
from confd.settings import ROLES, ControllerSettings
from confd.web.endpoint import Edge
from confd.web.guard import BasicGuard, Credential, Role
from confd.web.ops import Health, Readiness
from confd.web.site import BoundedSite, Limits


class Options(RoleOptions):
    """Options of C{twistd confd-controller}."""

    role = ControllerSettings
    siblings = ROLES


def makeService(options: RoleOptions) -> Daemon:
    """The service that twistd runs."""
    return make_daemon("confd-controller", options, compose)


def compose(reactor: Any, settings: ControllerSettings) -> list[IService]:
    """
    Build the controller and join its parts; nothing is opened or connected.

    @return: the services, in the order in which they start; they stop in the opposite one.
    @raise StartError: if the settings cannot work.
    """
    schema = Schema.load(settings.config_schema)
    snapshot = Snapshot()
    store = SqliteStore(reactor, settings.db_path, _first(schema, settings))
    configs = Configs(store, snapshot, schema, utc_now)
    registry = Registry(store, reactor, utc_now, lambda namespace: snapshot.get(namespace).configuration.poll_interval)
    guard = BasicGuard(
        [
            Credential.of(settings.agent_username, settings.agent_password, Role.AGENT),
            Credential.of(settings.admin_username, settings.admin_password, Role.ADMIN),
        ]
    )
    edge = Edge(guard, in_threads_of(reactor))
    resource = edge.resource(
        ConfigsApi(configs, snapshot, registry),
        AgentsApi(registry, snapshot),
        Health(),
        Readiness({"store": store, "configurations": snapshot}),
    )
    site = BoundedSite(reactor, resource, Limits(body=settings.max_config_bytes))
    return [
        store,
        registry,
        Recovery(reactor, registry, configs),
        Listener(reactor, "LISTEN" if settings.listen else "PORT", settings.endpoint, site),
    ]


def _first(schema: Schema, settings: ControllerSettings) -> Draft:
    """Version 1 of a new database."""
    try:
        schema.check(settings.default_config)
        document = jsontext.document(settings.default_config)
    except ConfdError as error:
        raise StartError(f"DEFAULT_CONFIG: {error.message}") from None
    return Draft(DEFAULT_NAMESPACE, document, "confd", utc_now(), settings.default_poll_interval, "the first version")
