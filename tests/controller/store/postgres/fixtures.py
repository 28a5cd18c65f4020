"""Databases in PostgreSQL, and stores of them."""

from __future__ import annotations

from functools import cache
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.trial.unittest import TestCase

from confd.model import Draft
from confd.testing import a_draft
from tests.controller.store.postgres.server import shared_server

#: Version 1 of the databases here.
FIRST = a_draft(1, poll_interval=30)


#: Databases that no test uses; to empty one is ten times as fast as to create one.
_free: list[str] = []


def new_database(test: TestCase) -> str:
    """Return the name of a database with the schema, and without rows until L{started}."""
    server = shared_server()
    name = _free.pop() if _free else server.new_database(_template())
    test.addCleanup(_empty, name)
    return name


def new_url(test: TestCase) -> str:
    """Return the URL of a L{new_database}."""
    return shared_server().url(new_database(test))


def _empty(name: str) -> None:
    with shared_server().connect(name) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(_EMPTY)
    _free.append(name)


_EMPTY = """
    DO $$ DECLARE names text; BEGIN
        SELECT string_agg(quote_ident(tablename), ', ') INTO names FROM pg_tables
        WHERE schemaname = 'public' AND tablename <> 'schema_version';
        EXECUTE 'TRUNCATE ' || names || ' RESTART IDENTITY CASCADE';
    END $$
"""


@cache
def _template() -> str:
    from confd.controller.store.migrations import shipped_migrations

    server = shared_server()
    name = server.new_database()
    with server.connect(name) as connection:
        for number, script in enumerate(shipped_migrations("postgres"), 1):
            connection.execute(script)
            connection.execute("DELETE FROM schema_version")
            connection.execute("INSERT INTO schema_version VALUES (1, %s, %s)", (number, number))
    return name


def started(test: TestCase, url: str, **rest: Any) -> Any:
    """Return a store that runs until the test is over, or L{ended}."""
    from confd.controller.store.postgres.bootstrap import create_cluster
    from confd.controller.store.postgres.store import PostgresStore
    from confd.controller.store.postgres.url import DatabaseUrl

    first: Draft = rest.pop("first", FIRST)
    with DatabaseUrl.parse(url).connect() as connection:
        if connection.execute("SELECT 1 FROM head").fetchone() is None:
            with connection.transaction():
                create_cluster(connection, first)
    store = PostgresStore(rest.pop("reactor", reactor), DatabaseUrl.parse(url), first, **rest)
    test.addCleanup(ended, store)
    store.startService()
    return store


def ended(store: Any) -> Deferred[None]:
    """End a store as the end of its process would."""
    stopped = maybeDeferred(store.stopService) if store.running else maybeDeferred(lambda: None)
    return stopped.addBoth(lambda _: store.close())
