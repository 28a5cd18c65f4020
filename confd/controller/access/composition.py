"""Where the guard and the site of a controller are built."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from twisted.application.service import IService
from twisted.internet.defer import Deferred

from confd.controller.access.api_tokens import ApiTokens
from confd.controller.agents.registry import Registry
from confd.controller.audit_log import AuditLog
from confd.controller.configs.herd import HerdBudget
from confd.controller.configs.identity import ClusterIdentity
from confd.controller.configs.schema import BUILT_IN
from confd.controller.feed import Feed
from confd.controller.store.factories import shared_passwords
from confd.interfaces.controllers import IControllers
from confd.runtime.daemon import in_threads_of, reload_secrets
from confd.runtime.listener import raise_fd_limit
from confd.runtime.metrics import Metrics
from confd.runtime.offload import Offload
from confd.runtime.reactor import Reactor
from confd.runtime.settings import ControllerSettings
from confd.web.api.dispatch import Dispatcher
from confd.web.api.places import IPlaces
from confd.web.auth.basic import BasicAuth, Credential
from confd.web.auth.principals import Role
from confd.web.auth.sessions import SessionAuth
from confd.web.auth.throttle import Allowance, Throttle
from confd.web.openapi.pages import documented
from confd.web.server.proxies import Proxies
from confd.web.server.response_cache import ResponseCache
from confd.web.server.site import BoundedSite, Limits


def make_dispatcher(
    reactor: Reactor,
    settings: ControllerSettings,
    metrics: Metrics,
    registry: Registry,
    audit_log: AuditLog,
    places: IPlaces,
    api_tokens: ApiTokens,
    throttle: Throttle,
    herd: HerdBudget,
    feed: Feed,
    identity: ClusterIdentity,
    now: Callable[[], datetime],
) -> tuple[BasicAuth, SessionAuth, Dispatcher]:
    """Return the guard of passwords and tokens, the guard of sessions around it, and the dispatcher that asks both."""
    throttle.expose(metrics)

    def holder(agent_id: str, digest: bytes) -> tuple[str, str] | None:
        feed.check_fresh()
        tokens = registry.agent_tokens if registry.lookups.over else registry.lookups
        return tokens.holder(agent_id, digest)

    def look(agent_id: str, digest: bytes) -> Deferred[None] | None:
        feed.check_fresh()
        if not registry.lookups.over:
            return Deferred.fromCoroutine(registry.lookups.look(agent_id, digest))
        return feed.refresh() if feed.shared else None

    guard = BasicAuth(_shared(settings), throttle, holder, api_tokens, look)
    sessions = SessionAuth(guard, api_tokens, identity.session_keys, now)
    dispatcher = Dispatcher(
        sessions,
        Offload(in_threads_of(reactor)),
        audit_log,
        Allowance(reactor, settings.changes_per_minute),
        places,
        herd.defer,
        registry.lookups.check,
    )
    return guard, sessions, dispatcher


def _shared(settings: ControllerSettings) -> list[Credential]:
    """Return the identities that many callers share; an empty password closes one."""
    agent = Credential.of(settings.agent_username, settings.agent_password, Role.AGENT, settings.agent_namespaces)
    admin = Credential.of(settings.admin_username, settings.admin_password, Role.ADMIN)
    passwords = (settings.agent_password, settings.admin_password)
    return [each for each, password in zip((agent, admin), passwords, strict=True) if password]


def follow_identities(
    reactor: Reactor,
    settings: ControllerSettings,
    environ: Mapping[str, str],
    guard: BasicAuth,
    site: BoundedSite,
    store: IControllers,
) -> Sequence[IService]:
    """
    Return the services that take passwords from files as the files change.

    @param site: ends the streams that a replaced password opened.
    @param store: shows other controllers which passwords this one has.
    """

    def changed(now: ControllerSettings) -> None:
        site.cut(guard.renew(_shared(now), reactor.seconds()))
        site.allow_hosts(now.hosts)
        if now.database_url is not None:
            store.show_passwords(shared_passwords(now))

    return reload_secrets(reactor, settings, environ, changed, "AGENT_PASSWORD", "ADMIN_PASSWORD")


def make_site(
    reactor: Reactor,
    settings: ControllerSettings,
    dispatcher: Dispatcher,
    apis: Sequence[object],
    metrics: Metrics,
    response_cache: ResponseCache | None,
) -> BoundedSite:
    """Return the site that serves the endpoints, and their description."""
    document = BUILT_IN if settings.config_schema is None else {"type": "object"}
    offload = Offload(in_threads_of(reactor))
    resource = dispatcher.resource(*documented(reactor, "confd controller", apis, document, offload))
    limits = Limits(
        body=settings.max_config_bytes,
        connections=raise_fd_limit(settings.max_connections),
        from_one=settings.max_connections_per_address,
    )
    site = BoundedSite(
        reactor,
        resource,
        limits,
        dispatcher.large,
        response_cache,
        Proxies(settings.trusted_proxies),
        settings.hosts,
        settings.log_level == "debug",
    )
    site.request_metrics.expose(metrics)
    return site
