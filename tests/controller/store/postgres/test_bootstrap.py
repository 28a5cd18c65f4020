"""Databases that a controller must not use, and what it says of each."""

from __future__ import annotations

import uuid
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from twisted.internet import reactor
from twisted.logger import LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase, TestCase

from confd.controller.store.migrations import shipped_migrations
from confd.controller.store.postgres.bootstrap import prepare_database
from confd.controller.store.postgres.store import PostgresStore
from confd.controller.store.postgres.url import DatabaseUrl
from confd.errors import StartError
from tests.controller.store.postgres.fixtures import FIRST, ended, started
from tests.controller.store.postgres.server import shared_server


class PrepareTests(TestCase):
    """L{prepare_database}, and the sentence of a start that it ends."""

    def setUp(self) -> None:
        self.database = shared_server().new_database()
        self.url = shared_server().url(self.database)

    def connect(self) -> psycopg.Connection[Any]:
        """Open a connection of the test's own."""
        connection = DatabaseUrl.parse(self.url).connect()
        self.addCleanup(connection.close)
        return connection

    def refusal(self, **rest: Any) -> str:
        """Return what a start says of the database, without its name."""
        url = DatabaseUrl.parse(self.url)
        store = PostgresStore(reactor, url, **rest)
        self.addCleanup(store.close)
        with self.assertRaises(StartError) as caught:
            store.startService()
        (reason,) = caught.exception.reasons
        before = f"DATABASE_URL: {url.name} cannot be used: "
        self.assertTrue(reason.startswith(before), reason)
        return reason.removeprefix(before)

    def initialize(self) -> None:
        """Make the database one of confd."""
        prepare_database(self.connect(), shipped_migrations("postgres"), None, FIRST)

    async def test_initializes_an_empty_database(self) -> None:
        store = PostgresStore(reactor, DatabaseUrl.parse(self.url), FIRST)
        self.addCleanup(ended, store)
        store.startService()
        (revision,) = await store.current()
        self.assertEqual(revision.configuration.document, FIRST.document)
        await ended(store)
        again = started(self, self.url)
        self.assertEqual(await again.current(), [revision])

    def test_empty_database(self) -> None:
        self.assertEqual(self.refusal(), "it holds no confd; run confdctl database init.")
        self.assertEqual(
            self.connect().execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone(), (0,)
        )

    def test_database_of_another_program(self) -> None:
        self.connect().execute("CREATE TABLE agents (id int)")
        for rest in ({}, {"first": FIRST}):
            self.assertEqual(self.refusal(**rest), "it is the database of another program; name another database.")

    def test_schema_of_a_newer_release(self) -> None:
        self.initialize()
        known = len(shipped_migrations("postgres"))
        self.connect().execute("UPDATE schema_version SET version = 900, readable_by = %s", (known,))
        prepare_database(self.connect(), shipped_migrations("postgres"), None, None)
        self.connect().execute("UPDATE schema_version SET readable_by = 900")
        self.assertEqual(
            self.refusal(), f"it needs schema 900, and this release knows {known}; install a newer release."
        )

    def test_other_cluster(self) -> None:
        self.initialize()
        other = str(uuid.uuid4())
        (own,) = self.connect().execute("SELECT cluster_id FROM head").fetchone() or ("",)
        prepare_database(self.connect(), shipped_migrations("postgres"), own, None)
        self.assertEqual(
            self.refusal(cluster_id=other),
            f"it belongs to the cluster {own}, and CLUSTER_ID is {other}; correct one of them.",
        )

    def test_a_step_that_fails_leaves_the_schema_as_it_was(self) -> None:
        self.initialize()
        broken = [*shipped_migrations("postgres"), "CREATE TABLE half (id int); SELECT no_such_function()"]
        self.assertRaises(psycopg.Error, prepare_database, self.connect(), broken, None, None)
        tables = self.connect().execute("SELECT count(*) FROM pg_tables WHERE tablename = 'half'").fetchone()
        self.assertEqual(tables, (0,))
        whole = [*shipped_migrations("postgres"), "CREATE TABLE half (id int)"]
        prepare_database(self.connect(), whole, None, None)
        self.assertEqual(self.connect().execute("SELECT version FROM schema_version").fetchone(), (len(whole),))

    def test_server_that_may_lose_changes(self) -> None:
        events: list[Any] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        self.initialize()
        # The servers of tests have to be quick.
        self.assertIn("fsync", [each.get("name") for each in events if each["log_level"] is LogLevel.error])

    def test_encoding_that_cannot_hold_all_texts(self) -> None:
        for encoding in ("LATIN1", "SQL_ASCII"):
            with shared_server().connect("postgres") as connection:
                connection.execute(f"CREATE DATABASE {encoding} TEMPLATE template0 ENCODING '{encoding}'")  # type: ignore[call-overload]
            self.url = shared_server().url(encoding.lower())
            self.assertEqual(
                self.refusal(first=FIRST),
                f"its encoding is {encoding}, which cannot hold all texts; create it with ENCODING 'UTF8'.",
            )

    def test_no_such_database(self) -> None:
        self.url = shared_server().url("nowhere")
        self.assertEqual(self.refusal(), "the server has no such database; create it, or correct the name.")

    def test_no_such_user(self) -> None:
        self.url = self.url.replace("confd@", "stranger@", 1)
        self.assertEqual(self.refusal(), "the server refuses this user; check the user name and pg_hba.conf.")


class UrlTests(SynchronousTestCase):
    """L{DatabaseUrl}."""

    def test_name_has_no_secret(self) -> None:
        for url, name in (
            ("postgresql://confd:pa55@h1,h2:5433/db", "h1:5432,h2:5433/db"),
            ("postgresql://confd:pa55@h1/db?sslmode=verify-full", "h1:5432/db"),
            ("postgresql:///db?host=/run/postgresql&password=pa55", "/run/postgresql:5432/db"),
            ("postgresql://confd@[::1]:99", "::1:99/confd"),
        ):
            parsed = DatabaseUrl.parse(url)
            self.assertEqual(parsed.name, name)
            self.assertNotIn("pa55", repr(parsed))

    def test_hosts(self) -> None:
        for url, hosts in (
            ("postgresql://confd@h1/db", []),
            ("postgresql://confd@h1:1,h2:2/db", [("h1", "1"), ("h2", "2")]),
            ("postgresql://confd@/db?host=/a,/b&port=7", [("/a", "7"), ("/b", "7")]),
        ):
            found = [conninfo_to_dict(each.conninfo) for each in DatabaseUrl.parse(url).hosts()]
            self.assertEqual([(each["host"], each["port"]) for each in found], hosts)
            self.assertEqual({each["target_session_attrs"] for each in found} - {"primary"}, set())

    def test_connects_to_a_primary_only(self) -> None:
        self.assertIn("target_session_attrs=primary", DatabaseUrl.parse("postgresql://h/db").conninfo)
        for wanted in ("any", "read-write", "standby"):
            with self.assertRaisesRegex(StartError, "target_session_attrs must be primary"):
                DatabaseUrl.parse(f"postgresql://h/db?target_session_attrs={wanted}")

    def test_the_url_wins_over_defaults(self) -> None:
        conninfo = DatabaseUrl.parse("postgresql://h/db?connect_timeout=9&application_name=mine").conninfo
        self.assertIn("connect_timeout=9", conninfo)
        self.assertIn("application_name=mine", conninfo)

    def test_parameters_that_cannot_work(self) -> None:
        for rest, sentence in (
            ("h:notaport/db", "a port must be a whole number from 1 to 65535."),
            ("h1:1,h2:99999/db", "a port must be a whole number from 1 to 65535."),
            ("h/db?sslmode=bogus", "sslmode must be one of disable, allow, prefer, require, verify-ca, verify-full."),
            ("h/db?sslrootcert=/nope", "the file that sslrootcert names cannot be read; correct its path or mode."),
        ):
            with self.assertRaises(StartError) as caught:
                DatabaseUrl.parse(f"postgresql://u:pa55@{rest}")
            self.assertEqual(str(caught.exception), f"DATABASE_URL: {sentence}")

    def test_rubbish(self) -> None:
        for url in ("postgresql://h/db?nonsense=1", "postgresql://a%zz"):
            with self.assertRaises(StartError) as caught:
                DatabaseUrl.parse(url)
            self.assertIn("DATABASE_URL: is not a URL of PostgreSQL", str(caught.exception))
