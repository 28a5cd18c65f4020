"""Choose the database that the settings name."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from twisted.application.service import IService
from twisted.internet.defer import Deferred

from confd.controller.interfaces import IControllerStore
from confd.controller.store.database import DatabaseStore
from confd.controller.store.sqlite.backup import Backup
from confd.controller.store.sqlite.store import SqliteStore
from confd.errors import StartError
from confd.interfaces.controllers import AgreedSettings
from confd.model import Draft
from confd.runtime.daemon import in_threads_of
from confd.runtime.metrics import Metrics
from confd.runtime.reactor import Reactor
from confd.runtime.settings import ControllerSettings

if TYPE_CHECKING:
    from confd.controller.store.postgres.url import DatabaseUrl


def make_store(reactor: Reactor, settings: ControllerSettings, first: Draft) -> tuple[IControllerStore, IService]:
    """
    Return the store that the settings name, twice: as a store and as a service.

    @param first: version 1 of a new database, with its poll interval.
    @raise StartError: if the settings cannot work.
    """
    if settings.database_url is None:
        sqlite = SqliteStore(reactor, settings.db_path, first, settings.history_keep)
        return sqlite, sqlite
    url = parse_database_url(settings.database_url)
    from confd.controller.store.postgres.raising import RAISE_AFTER_SECONDS
    from confd.controller.store.postgres.store import PostgresStore

    postgres = PostgresStore(
        reactor,
        url,
        first if settings.database_init else None,
        settings.history_keep,
        cluster_id=settings.cluster_id,
        address=f"{socket.gethostname()}, {settings.endpoint}",
        replicated=settings.database_durability == "replicated",
        raise_after=RAISE_AFTER_SECONDS if settings.on_storage_behind == "raise" else None,
    )
    postgres.agree(_agreed_settings(settings))
    return postgres, postgres


def _agreed_settings(settings: ControllerSettings) -> AgreedSettings:
    """Return the settings that all controllers on a database must agree on; reads the file of C{CONFIG_SCHEMA}."""
    schema = "" if settings.config_schema is None else Path(settings.config_schema).read_text("utf-8", "replace")
    values = {
        "CONFIG_SCHEMA": schema,
        "HISTORY_KEEP": str(settings.history_keep),
        "MAX_CONFIG_BYTES": str(settings.max_config_bytes),
        "DISTRIBUTION_STRATEGY": ",".join(sorted(settings.distribution_strategy)),
    }
    return AgreedSettings(values, shared_passwords(settings))


def shared_passwords(settings: ControllerSettings) -> Mapping[str, str]:
    """Return the passwords that all controllers on a database must have, by the names of their settings."""
    return {"ADMIN_PASSWORD": settings.admin_password, "AGENT_PASSWORD": settings.agent_password}


def watch_database(store: IControllerStore, metrics: Metrics) -> Mapping[str, Callable[[], str]]:
    """Add the metrics of a database server; return facts about the server for C{/ready}, by name."""
    if not isinstance(store, DatabaseStore):
        return {}
    store.expose(metrics)
    return store.facts


def copy_of(reactor: Reactor, store: IControllerStore) -> Callable[[], Deferred[Backup]] | None:
    """Return a function that copies the database in a thread; C{None} for a database with its own backup tools."""
    return partial(in_threads_of(reactor), store.copy) if isinstance(store, SqliteStore) else None


def parse_database_url(url: str) -> DatabaseUrl:
    """
    Return what C{DATABASE_URL} names.

    @raise StartError: if it is no URL of PostgreSQL, or the extra is not installed.
    """
    try:
        from confd.controller.store.postgres.url import DatabaseUrl
    except ImportError:
        raise StartError("DATABASE_URL: install confd[postgres].") from None
    return DatabaseUrl.parse(url)
