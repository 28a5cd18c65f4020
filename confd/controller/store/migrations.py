"""The ladder of numbered schema steps, climbed on C{PRAGMA user_version}."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from importlib import resources


class NewerSchema(Exception):
    """The database was written by a newer release, which this one must not touch."""


def shipped_migrations(database: str = "sqlite") -> Sequence[str]:
    """
    Return the migrations of this release: C{schema/0001.sql} is the first.

    @param database: the package of the store.
    """
    folder = resources.files(f"confd.controller.store.{database}") / "schema"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    return [file.read_text("utf-8") for file in files]


def migrate(connection: sqlite3.Connection, migrations: Sequence[str]) -> None:
    """
    Bring a database up to date, each step with its number in one transaction.

    @param connection: in autocommit mode (C{isolation_level=None}).
    @raise NewerSchema: if the database is above the ladder.
    @raise sqlite3.Error: if a step fails; the database is then as the step before it left it.
    """
    (reached,) = connection.execute("PRAGMA user_version").fetchone()
    if reached > len(migrations):
        raise NewerSchema(f"its schema is number {reached}, and this release knows {len(migrations)}")
    for number, script in enumerate(migrations[reached:], reached + 1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in statements(script):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
            connection.execute("COMMIT")
        except BaseException:
            connection.rollback()
            raise


def statements(script: str) -> Iterator[str]:
    """Split a script; C{executescript} would commit the transaction that it is run in."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        yield statement
