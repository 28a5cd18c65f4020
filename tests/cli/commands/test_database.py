"""C{confdctl database}: commands that need a database and no controller."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from confd.controller.store.postgres.url import DatabaseUrl
from tests.cli.harness import CliHarness
from tests.controller.store import fixtures as sqlite_fixtures
from tests.controller.store.postgres.server import shared_server


class DatabaseTests(SynchronousTestCase):
    """Over a real server."""

    def setUp(self) -> None:
        url = shared_server().url(shared_server().new_database())
        self.url = DatabaseUrl.parse(url)
        self.cli = CliHarness(environ={"DATABASE_URL": url, "DEFAULT_CONFIG": '{"url": "https://a.example"}'})

    def test_init(self) -> None:
        done = self.cli.type("database", "init")
        self.assertRegex(done.out, rf"The database {self.url.name} is initialized; its cluster is [0-9a-f-]{{36}}\.\n")
        with self.url.connect() as connection:
            self.assertEqual(
                connection.execute("SELECT document FROM revisions").fetchall(), [('{"url":"https://a.example"}',)]
            )
        again = self.cli.type("database", "init")
        self.assertEqual((done.status, again.status), (0, 0))
        self.assertEqual(again.out, done.out.replace("is initialized", "was initialized before"))

    def test_init_of_the_database_of_another_program(self) -> None:
        with self.url.connect() as connection:
            connection.execute("CREATE TABLE orders (id int)")
        done = self.cli.type("database", "init")
        self.assertEqual((done.status, done.out), (2, ""))
        self.assertIn(f"DATABASE_URL: {self.url.name} cannot be used: it is the database of another program", done.err)

    def test_wrong_settings(self) -> None:
        for environ, sentence in (
            ({}, "DATABASE_URL: is not set; set it to the URL of the PostgreSQL database."),
            ({"DATABASE_URL": "mysql://x"}, "DATABASE_URL: must begin with postgresql://."),
            ({"DATABASE_URL": "postgresql://a%zz"}, "DATABASE_URL: is not a URL of PostgreSQL; write postgresql://"),
            ({**self.cli.environ, "DB_PATH": "/x"}, "DATABASE_URL: set it or DB_PATH, not both."),
            ({"DATABASE_INIT": "true"}, "DATABASE_INIT: has no effect without DATABASE_URL; set that, too."),
            ({**self.cli.environ, "CLUSTER_ID": "x"}, "CLUSTER_ID: must be a UUID such as"),
        ):
            done = CliHarness(environ=environ).type("database", "init")
            self.assertEqual(done.status, 2)
            self.assertIn(sentence, done.err)

    def test_copy_renames_the_file(self) -> None:
        path = sqlite_fixtures.new_path(self)
        opened = sqlite_fixtures.make_database(path)
        done = self.cli.type("database", "copy", "--from", path)
        self.assertEqual((done.status, done.err), (0, ""))
        self.assertEqual(
            done.out,
            f"Copied the cluster {opened.cluster_id} to {self.url.name}: 1 revision, 0 agents, 0 audit entries.\n"
            f"{path} is now {path}.copied.\n",
        )
        self.assertEqual((os.path.exists(path), os.path.exists(f"{path}.copied")), (False, True))

    def test_copy_keeps_the_file(self) -> None:
        path = sqlite_fixtures.new_path(self)
        sqlite_fixtures.make_database(path)
        self.assertEqual(self.cli.type("database", "copy", "--from", path, "--keep").status, 0)
        self.assertTrue(os.path.exists(path))

    def test_copy_of_a_database_in_use(self) -> None:
        path = sqlite_fixtures.new_path(self)
        missing = self.cli.type("database", "copy", "--from", path)
        self.assertEqual((missing.status, os.path.exists(path)), (5, False))
        opened = sqlite_fixtures.open_database(path, sqlite_fixtures.FIRST, sqlite_fixtures.shipped_migrations())
        self.addCleanup(opened.identity_file.release)
        done = self.cli.type("database", "copy", "--from", path)
        self.assertEqual(done.status, 2)
        self.assertIn("is in use by another controller; stop that one first", done.err)
        self.assertTrue(os.path.exists(path))

    def test_copy_of_an_empty_file(self) -> None:
        path = sqlite_fixtures.new_path(self)
        with open(path, "wb"):
            pass
        done = self.cli.type("database", "copy", "--from", path)
        self.assertIn(f"{path} is empty; name the database of a controller.", done.err)
