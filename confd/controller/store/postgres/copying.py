"""Copy a SQLite database of confd into an empty PostgreSQL database."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import psycopg
from attrs import frozen
from psycopg import sql
from psycopg.rows import TupleRow

from confd.audit import AuditEntry, verify
from confd.codec import strict_json
from confd.controller.store.migrations import shipped_migrations
from confd.controller.store.postgres.bootstrap import create_schema, is_empty
from confd.controller.store.postgres.errors import StorageRefusal
from confd.controller.store.sqlite.bootstrap import open_database

#: Tables of SQLite whose rows are in other places here, or of no use.
_ELSEWHERE = {"meta", "probe"}

#: Tables that others refer to.
_FIRST = ("clusters", "namespaces")


@frozen
class CopiedDatabase:
    """
    The result of a copy.

    @ivar rows: number of rows by table.
    """

    cluster_id: str
    epoch: int
    rows: Mapping[str, int]


def copy_file(file: str, target: psycopg.Connection[TupleRow]) -> CopiedDatabase:
    """
    Copy a SQLite database that no controller uses; see L{copy_database}.

    @param file: its path; a database of an older release is brought up to date.
    @raise StartError: if a controller uses it, or it is no database of confd.
    """
    opened = open_database(file, None, shipped_migrations())
    try:
        with closing(sqlite3.connect(f"{Path(opened.path).as_uri()}?mode=ro", uri=True)) as source:
            return copy_database(source, target, shipped_migrations("postgres"))
    finally:
        opened.identity_file.release()


def copy_database(
    source: sqlite3.Connection, target: psycopg.Connection[TupleRow], migrations: Sequence[str]
) -> CopiedDatabase:
    """
    Copy all rows in one transaction, and verify the copy before its commit.

    @param source: a database with the newest schema that no controller uses.
    @param migrations: the steps of the schema in PostgreSQL.
    @raise StorageRefusal: if C{target} is not empty, or the copy differs.
    """
    if not is_empty(target):
        raise StorageRefusal("it is not empty; name an empty database")
    cluster_id, epoch = source.execute("SELECT cluster_id, epoch FROM meta").fetchone()
    with target.transaction():
        create_schema(target, migrations)
        rows = {}
        for table in _tables(source):
            rows[table] = _copy_table(source, target, table)
            if table == "clusters":
                target.execute("INSERT INTO head (one, cluster_id, epoch) VALUES (1, %s, %s)", (cluster_id, epoch))
        _verify(target)
    return CopiedDatabase(cluster_id, epoch, rows)


def _tables(source: sqlite3.Connection) -> Sequence[str]:
    rows = source.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    found = {name for (name,) in rows}
    return [*_FIRST, *sorted(found - _ELSEWHERE - {*_FIRST})]


def _copy_table(source: sqlite3.Connection, target: psycopg.Connection[TupleRow], table: str) -> int:
    """Copy the rows of a table; return their number."""
    types: dict[str, str] = dict(
        target.execute(
            "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = %s", (table,)
        ).fetchall()
    )
    columns = [name for _, name, *_ in source.execute(f"PRAGMA table_info({table})")]
    truths = [types[name] == "boolean" for name in columns]
    # The audit takes its entries in their order.
    selected = source.execute(f"SELECT {', '.join(columns)} FROM {table} ORDER BY 1")
    copy = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    count = 0
    with target.cursor() as cursor, cursor.copy(copy) as copying:
        for row in selected:
            copying.write_row([_value(value, truth) for value, truth in zip(row, truths, strict=True)])
            count += 1
    if types.get("id") == "bigint" and (maximum := _newest_id(target, table)):
        target.execute("SELECT setval(pg_get_serial_sequence(%s, 'id'), %s)", (table, maximum))
    return count


def _newest_id(target: psycopg.Connection[TupleRow], table: str) -> int | None:
    """Return the highest id that a sequence of the table gave, C{None} where it has none."""
    row = target.execute(
        sql.SQL("SELECT max(id) FROM {} WHERE pg_get_serial_sequence({}, 'id') IS NOT NULL").format(
            sql.Identifier(table), sql.Literal(table)
        )
    ).fetchone()
    return None if row is None else row[0]


def _value(value: object, truth: bool) -> object:
    if truth:
        return bool(value)
    # Text in PostgreSQL holds no U+0000.
    return value.replace("\x00", "\ufffd") if isinstance(value, str) else value


def _verify(target: psycopg.Connection[TupleRow]) -> None:
    """
    Read the documents and the audit back.

    @raise StorageRefusal: if a checksum or a hash is wrong.
    """
    with target.cursor(name="documents") as cursor:
        for namespace, version, document, checksum in cursor.execute(
            "SELECT namespace, version, document, checksum FROM revisions"
        ):
            if strict_json.document(strict_json.decode(document.encode())).checksum != checksum:
                raise StorageRefusal(f"version {version} of {namespace} was damaged before or while it was copied")
    columns = sql.SQL(", ").join(map(sql.Identifier, AuditEntry.__match_args__))
    with target.cursor(name="entries") as cursor:
        found = verify(
            AuditEntry(*row) for row in cursor.execute(sql.SQL("SELECT {} FROM audit ORDER BY number").format(columns))
        )
    if found.wrong is not None:
        raise StorageRefusal(f"the audit was damaged before or while it was copied: {found.reason.rstrip('.')}")
