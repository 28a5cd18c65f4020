"""The commands on the PostgreSQL database of controllers: C{init} and C{copy}; they need no controller."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from confd.cli.command import Group
from confd.cli.commands.completing import complete_file
from confd.cli.errors import CommandError, Exit
from confd.cli.session import Session, pass_session
from confd.cli.text import plural
from confd.codec.text import printable

if TYPE_CHECKING:
    import psycopg
    from psycopg.rows import TupleRow

    from confd.runtime.settings import ControllerSettings


@click.group("database", cls=Group, short_help="Initialize a PostgreSQL database, or copy a SQLite database into it.")
def database() -> None:
    """
    Prepare the PostgreSQL database of a controller.

    These commands read the settings of the controller from the environment: DATABASE_URL or DATABASE_URL_FILE names the
    database.
    """


@database.command(
    "init",
    short_help="Create the tables and the cluster in an empty database.",
    examples=[
        ("DATABASE_URL=postgresql://confd@db1/confd confdctl database init", "initialize the database confd on db1"),
    ],
)
@pass_session
def init(session: Session) -> None:
    """
    Create the tables, a new cluster, its first key and version 1 of the namespace default, which is DEFAULT_CONFIG.

    A database with other tables is refused; a database of confd stays as it is.
    """
    from confd.controller.configs.schema import Schema
    from confd.controller.configs.service import first_draft
    from confd.controller.store.migrations import shipped_migrations
    from confd.runtime.daemon import utc_now

    with _database(session) as (settings, name, connection):
        from confd.controller.store.postgres.bootstrap import is_empty, prepare_database

        schema = Schema.load(settings.config_schema)
        first = first_draft(schema, settings.default_config, settings.default_poll_interval, utc_now())
        new = is_empty(connection)
        prepare_database(connection, shipped_migrations("postgres"), settings.cluster_id, first)
        row = connection.execute("SELECT cluster_id FROM head").fetchone()
        assert row is not None
        verb = "is initialized" if new else "was initialized before"
        session.screen.line(f"The database {name} {verb}; its cluster is {row[0]}.")


@database.command(
    "copy",
    short_help="Copy a SQLite database into an empty PostgreSQL database.",
    examples=[
        ("confdctl database copy --from controller.db", "copy, and rename the file to controller.db.copied"),
        ("confdctl database copy --from controller.db --keep", "copy, and leave the file for a trial"),
    ],
)
@click.option(
    "--from",
    "file",
    metavar="FILE",
    required=True,
    shell_complete=complete_file,
    help="DB_PATH of the controller; stop it first.",
)
@click.option("--keep", is_flag=True, help="Leave FILE in place. A controller that starts on it forks the history.")
@pass_session
def copy(session: Session, file: str, keep: bool) -> None:
    """
    Copy the cluster in FILE: its history, tags, keys, tokens, audit, agents and rollouts. Nothing copies back.

    The copy is verified before it is committed. Then FILE is renamed, so that no controller starts on it by mistake.
    """
    if not os.path.isfile(file):
        raise CommandError(Exit.NOT_FOUND, f"{printable(file)} is no file; name the database of the controller.")
    with _database(session) as (_, name, connection):
        from confd.controller.store.postgres.copying import copy_file

        copied = copy_file(file, connection)
        if not keep:
            os.rename(file, f"{file}.copied")
    session.screen.line(f"Copied the cluster {copied.cluster_id} to {name}: {_counts(copied.rows)}.")
    if not keep:
        session.screen.line(f"{printable(file)} is now {printable(file)}.copied.")


def _counts(rows: Mapping[str, int]) -> str:
    entries = rows["audit"]
    audit = f"{entries} audit {'entry' if entries == 1 else 'entries'}"
    return f"{plural(rows['revisions'], 'revision')}, {plural(rows['agents'], 'agent')}, {audit}"


@contextmanager
def _database(session: Session) -> Iterator[tuple[ControllerSettings, str, psycopg.Connection[TupleRow]]]:
    """
    Connect to C{DATABASE_URL}; yield the settings, the name of the database and the connection.

    @raise CommandError: if a setting is wrong, or the database cannot be used.
    """
    from confd.controller.store.factories import parse_database_url
    from confd.errors import StartError
    from confd.runtime.options import read
    from confd.runtime.settings import ControllerSettings

    try:
        settings = read(ControllerSettings, {}, session.environ)
        if settings.database_url is None:
            raise StartError("DATABASE_URL: is not set; set it to the URL of the PostgreSQL database.")
        url = parse_database_url(settings.database_url)
        from confd.controller.store.postgres.errors import explain

        try:
            with url.connect() as connection:
                yield settings, url.name, connection
        except Exception as error:
            reason = explain(error)
            if reason is None:
                raise
            raise StartError(f"DATABASE_URL: {url.name} cannot be used: {reason}.") from None
    except StartError as error:
        raise CommandError(Exit.USAGE, error.reasons[0], error.reasons[1:]) from None
