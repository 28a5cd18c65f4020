"""Prepare a database for use: create it where that is asked for, bring it up to date, refuse a foreign one."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import psycopg
from psycopg.rows import TupleRow
from twisted.logger import Logger

from confd.controller.store.postgres.cursor import PostgresCursor
from confd.controller.store.postgres.errors import StorageRefusal
from confd.controller.store.queries import configs, keys
from confd.model import Draft

log = Logger()

#: The oldest release of PostgreSQL that confd is tested with, as the server numbers it.
OLDEST_SERVER = 140000

#: Key of the lock that one migration at a time takes; of the transaction, as poolers strand locks of a session.
_MIGRATION_LOCK = 4850185


def prepare_database(
    connection: psycopg.Connection[TupleRow], migrations: Sequence[str], cluster_id: str | None, first: Draft | None
) -> None:
    """
    Check a database before its use, and bring it up to date.

    @param migrations: the steps of its schema.
    @param cluster_id: C{CLUSTER_ID}; C{None} accepts any cluster.
    @param first: version 1 of an empty database, with its poll interval; C{None} refuses an empty database.
    @raise StorageRefusal: if this controller must not use it.
    """
    if connection.info.server_version < OLDEST_SERVER:
        release = connection.info.server_version // 10000
        raise StorageRefusal(f"the server is PostgreSQL {release}; upgrade it to 14 or newer")
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise StorageRefusal(f"its encoding is {encoding}, which cannot hold all texts; create it with ENCODING 'UTF8'")
    unsafe = connection.execute(
        "SELECT name FROM pg_settings WHERE name IN ('fsync', 'full_page_writes') AND setting = 'off'"
    ).fetchall()
    for (name,) in unsafe:
        log.error("{name} of the PostgreSQL server is off: a crash of its machine may lose changes", name=name)
    reached = _schema_number(connection)
    if reached:
        check_schema(connection, len(migrations))
    if reached == 0 and first is None:
        raise StorageRefusal("it holds no confd; run confdctl database init")
    if reached < len(migrations):
        _migrate(connection, migrations, first)
    found = connection.execute("SELECT cluster_id FROM head").fetchone()
    if found is None:
        raise StorageRefusal("it has lost its identity; restore it from a backup")
    if cluster_id is not None and found[0] != cluster_id:
        raise StorageRefusal(
            f"it belongs to the cluster {found[0]}, and CLUSTER_ID is {cluster_id}; correct one of them"
        )


def _schema_number(connection: psycopg.Connection[TupleRow]) -> int:
    """
    Return the number of the schema, 0 for an empty database.

    @raise StorageRefusal: for a database of another program or of a newer release.
    """
    rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = ANY (current_schemas(false))")
    tables = {name for (name,) in rows}
    if not tables:
        return 0
    if not {"schema_version", "head", "revisions"} <= tables:
        raise StorageRefusal("it is the database of another program; name another database")
    row = connection.execute("SELECT version, readable_by FROM schema_version").fetchone()
    if row is None:
        raise StorageRefusal("it has lost the number of its schema; restore it from a backup")
    return int(row[0])


def check_schema(connection: psycopg.Connection[TupleRow], known: int) -> None:
    """
    Refuse a database that only a newer release can use.

    @param known: the number of the schema of this release.
    @raise StorageRefusal: if so.
    """
    outdated = why_outdated(connection, known)
    if outdated is not None:
        raise StorageRefusal(outdated)


def why_outdated(database: psycopg.Connection[TupleRow] | PostgresCursor, known: int) -> str | None:
    """
    Return why this release must not use a database any more; C{None} if it may.

    @param known: the number of the schema of this release.
    """
    row = database.execute("SELECT version FROM schema_version WHERE readable_by > %s", (known,)).fetchone()
    if row is None:
        return None
    return f"it needs schema {row[0]}, and this release knows {known}; install a newer release"


def is_empty(connection: psycopg.Connection[TupleRow]) -> bool:
    """
    Return whether a database has no table.

    @raise StorageRefusal: for a database of another program.
    """
    return _schema_number(connection) == 0


def create_schema(connection: psycopg.Connection[TupleRow], migrations: Sequence[str]) -> None:
    """Create all tables in the transaction of the caller."""
    for number, script in enumerate(migrations, 1):
        _run_step(connection, number, script)


def _migrate(connection: psycopg.Connection[TupleRow], migrations: Sequence[str], first: Draft | None) -> None:
    """Run the steps that are missing, each with its number in one transaction; the first one makes the identity."""
    for number, script in enumerate(migrations, 1):
        with connection.transaction():
            # The next commit of the controller waits for the standby, which has this step before that.
            connection.execute("SET LOCAL synchronous_commit = local")
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_MIGRATION_LOCK,))
            if _schema_number(connection) >= number:
                continue
            _run_step(connection, number, script)
            if number == 1 and first is not None:
                create_cluster(connection, first)


def _run_step(connection: psycopg.Connection[TupleRow], number: int, script: str) -> None:
    connection.execute(script)
    connection.execute(
        "INSERT INTO schema_version VALUES (1, %s, %s) ON CONFLICT (one) DO UPDATE SET version = excluded.version",
        (number, number),
    )


def create_cluster(connection: psycopg.Connection[TupleRow], first: Draft) -> None:
    """Write the identity of a new cluster, its first key and version 1."""
    connection.execute("INSERT INTO head (one, cluster_id, epoch) VALUES (1, %s, 1)", (str(uuid.uuid4()),))
    cursor = PostgresCursor(connection)
    configs.create_namespace(cursor, first)
    keys.add_key(cursor)
