"""Tests of C{import}."""

import json
import os
import sqlite3
from contextlib import closing

from twisted.trial.unittest import SynchronousTestCase

from confd.cli.errors import CommandError, Exit
from confd.cli.go_database import read_go_database
from tests.cli.go_files import go_database, url
from tests.cli.harness import CliHarness, answer, current_config, published, publisher, refusal

PATH = "POST /api/v1/config/import"


class ReadTests(SynchronousTestCase):
    """The databases of the Go system."""

    def refused(self, path):
        """Return the sentence with which a file is refused."""
        return self.assertRaises(CommandError, read_go_database, path).sentence

    def made(self, *statements):
        """Write a database with these statements."""
        path = self.mktemp()
        with closing(sqlite3.connect(path)) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()
        return path

    def test_reads_document_number_interval_and_history(self):
        found = read_go_database(go_database(self.mktemp(), 4))
        self.assertEqual((found.current.version, found.current.config, found.poll_interval), (4, url(4), 10))
        self.assertEqual([(each.version, each.config) for each in found.past], [(2, url(2)), (3, url(3))])
        self.assertEqual({each.created_at for each in found.past}, {"2025-03-04T05:06:07.123456+02:00"})

    def test_leaves_the_file_and_its_folder_unchanged(self):
        path = go_database(self.mktemp(), 4)
        with open(path, "rb") as file:
            before = file.read()
        os.chmod(path, 0o400)
        read_go_database(path)
        with open(path, "rb") as file:
            self.assertEqual(file.read(), before)
        self.assertFalse(os.path.exists(f"{path}-wal"))

    def test_reads_the_log_of_a_running_controller(self):
        path = go_database(self.mktemp(), 4)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("UPDATE active_config SET version = 5, poll_interval_seconds = 7")
            connection.commit()
            found = read_go_database(path)
        self.assertEqual((found.current.version, found.poll_interval, len(found.past)), (5, 7, 3))

    def test_leaves_out_versions_before_a_gap_or_a_damaged_row(self):
        found = read_go_database(go_database(self.mktemp(), 9, history=[2, 3, 6, 7, 8, 9]))
        self.assertEqual([each.version for each in found.past], [6, 7, 8])
        path = go_database(self.mktemp(), 9)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("UPDATE configurations SET config_data = 'x' WHERE version = 7")
            connection.commit()
        self.assertEqual([each.version for each in read_go_database(path).past], [8])

    def test_ignores_an_interval_that_confd_does_not_accept(self):
        for interval in (0, -5, 9999999999, "abc", None):
            self.assertIsNone(read_go_database(go_database(self.mktemp(), 3, interval)).poll_interval, interval)

    def test_finds_tables_by_their_content(self):
        path = self.made(
            "CREATE TABLE configs (version INTEGER, data BLOB, poll_interval INTEGER, created_at TEXT)",
            "INSERT INTO configs VALUES (1, '{\"url\": \"a\"}', 5, '2025-01-01 00:00:00')",
            "INSERT INTO configs VALUES (2, CAST('{\"url\": \"b\"}' AS BLOB), 6, 'then')",
        )
        found = read_go_database(path)
        self.assertEqual((found.current.version, found.current.config), (2, {"url": "b"}))
        self.assertEqual((found.poll_interval, found.current.created_at), (6, ""))

    def test_refusal_names_the_file_and_its_problem(self):
        text = self.mktemp()
        with open(text, "w") as file:
            file.write("not a database, but long enough to be read as one" * 50)
        for path, expected in (
            ("/nowhere/x.db", "is not a file"), (os.path.dirname(os.path.abspath(text)), "is not a file"),
            (text, "cannot be read as a SQLite database"), (self.made("CREATE TABLE t (a)"), "has no table"),
            (self.made("CREATE TABLE configurations (version INTEGER, config_data TEXT)"), "has no version"),
        ):  # fmt: skip
            self.assertIn(expected, self.refused(path))

    def test_takes_a_damaged_current_document_from_the_history(self):
        path = go_database(self.mktemp(), 3)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("UPDATE active_config SET config_data = '[1]'")
            connection.commit()
        found = read_go_database(path)
        self.assertEqual((found.current.version, found.current.config, found.poll_interval), (3, url(3), None))


class ImportTests(SynchronousTestCase):
    """The command C{import}."""

    def setUp(self):
        self.cli = CliHarness()
        self.table = self.cli.controller.table
        self.table[PATH] = answer({"version": 4, "epoch": 1, "message": "m", "published": True})

    def test_import_says_what_was_found_and_the_next_version(self):
        path = go_database(self.mktemp(), 4)
        ended = self.cli.type("import", "--from", "go-database", path, "-y")
        self.assertEqual(ended.status, Exit.OK, ended)
        self.assertIn("version 4, a poll interval of 10 s and 2 older versions", ended.err)
        self.assertIn("the next publish is 5", ended.out)
        (sent,) = self.cli.controller.asked
        self.assertEqual([each["version"] for each in sent.body["versions"]], [2, 3, 4])
        self.assertEqual(sent.body["versions"][2]["config"], url(4))
        self.assertEqual(sent.body["poll_interval_seconds"], 10)
        self.assertEqual(sent.query, {"namespace": "default"})
        self.assertEqual(
            json.loads(self.cli.type("import", "--from", "go-database", path, "-y", "-o", "json").out)["version"], 4
        )

    def test_reason_for_break_glass_goes_with_each_call(self):
        dump = self.mktemp()
        with open(dump, "w", encoding="utf-8") as file:
            json.dump(url(4), file)
        self.table["GET /api/v1/config"] = current_config({})
        self.table["POST /api/v1/config"] = publisher(published())
        why = ("--break-glass", "down", "-y")
        self.assertEqual(self.cli.type("import", "--from", "json", dump, *why).status, Exit.OK)
        self.assertEqual(
            self.cli.type("import", "--from", "go-database", go_database(self.mktemp(), 4), *why).status, 0
        )
        sent = [each for each in self.cli.controller.asked if each.method == "POST"]
        self.assertEqual([each.query["break_glass"] for each in sent], ["down"] * 3)
        ended = self.cli.type("import", "--from", "json", dump, *why, "--to", self.mktemp())
        self.assertEqual(ended.status, Exit.USAGE)

    def test_import_sends_nothing_without_consent(self):
        path = go_database(self.mktemp(), 4)
        self.assertEqual(self.cli.type("import", "--from", "go-database", path).status, Exit.USAGE)
        self.assertEqual(self.cli.type("import", "--from", "go-database", path, answers="n\n").status, Exit.FAILED)
        self.assertEqual(self.cli.controller.asked, [])
        self.assertEqual(self.cli.type("import", "--from", "go-database", path, answers="y\n").status, Exit.OK)

    def test_import_reports_refusals_and_wrong_arguments(self):
        path = go_database(self.mktemp(), 4)
        self.table[PATH] = refusal(409, "already_published", "The namespace is at version 3.")
        self.assertEqual(self.cli.type("import", "--from", "go-database", path, "-y").status, Exit.CONFLICT)
        self.cli.type("import", "--from", "go-database", path, "-y", "--force")
        self.assertEqual(self.cli.controller.asked[-1].query["force"], "true")
        self.assertEqual(self.cli.type("import", "--from", "zookeeper", path, "-y").status, Exit.USAGE)
        self.assertEqual(self.cli.type("import", path, "-y").status, Exit.USAGE)
        self.assertEqual(self.cli.type("import", "--from", "go-database", "/nowhere", "-y").status, Exit.USAGE)
