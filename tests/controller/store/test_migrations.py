"""The ladder of schema steps."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from confd.controller.store.migrations import NewerSchema, migrate, shipped_migrations, statements
from confd.controller.store.queries import configs
from confd.testing import a_draft
from tests.controller.store.fixtures import connect, make_database, new_path

ONE = "CREATE TABLE a (x);\nINSERT INTO a VALUES (1);\n"
TWO = "-- A step.\nALTER TABLE a ADD COLUMN y;\nCREATE TABLE b (x);\n-- Its end."


class MigrateTests(SynchronousTestCase):
    """L{migrate}."""

    def setUp(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.addCleanup(self.connection.close)

    def state(self) -> tuple[int, list[str]]:
        """The number that was reached, and the tables."""
        (reached,) = self.connection.execute("PRAGMA user_version").fetchone()
        return reached, [name for (name,) in self.connection.execute("SELECT name FROM sqlite_master ORDER BY name")]

    def test_climbs_from_the_ground(self) -> None:
        migrate(self.connection, [ONE, TWO])
        self.assertEqual(self.state(), (2, ["a", "b"]))

    def test_climbs_on(self) -> None:
        migrate(self.connection, [ONE])
        migrate(self.connection, [ONE, TWO])
        migrate(self.connection, [ONE, TWO])
        self.assertEqual(self.state(), (2, ["a", "b"]))
        self.assertEqual(self.connection.execute("SELECT * FROM a").fetchall(), [(1, None)])

    def test_broken_step_leaves_no_trace(self) -> None:
        broken = "CREATE TABLE c (x);\nINSERT INTO a VALUES (2);\nINSERT INTO nowhere VALUES (1);"
        self.assertRaises(sqlite3.OperationalError, migrate, self.connection, [ONE, TWO, broken])
        self.assertEqual(self.state(), (2, ["a", "b"]))
        self.assertFalse(self.connection.in_transaction)
        self.assertEqual(self.connection.execute("SELECT count(*) FROM a").fetchone(), (1,))

    def test_refuses_the_future(self) -> None:
        migrate(self.connection, [ONE, TWO])
        error = self.assertRaises(NewerSchema, migrate, self.connection, [ONE])
        self.assertEqual(str(error), "its schema is number 2, and this release knows 1")
        self.assertEqual(self.state(), (2, ["a", "b"]))

    def test_shipped_ladder(self) -> None:
        migrate(self.connection, shipped_migrations())
        reached, names = self.state()
        self.assertEqual(reached, len(shipped_migrations()))
        self.assertIn("revisions", names)


class OldDatabaseTests(SynchronousTestCase):
    """A database of an earlier release goes on where it was."""

    def test_of_schema_two(self) -> None:
        path = new_path(self)
        cluster_id = "9b9b9b9b-5e6f-4a7b-8c9d-0e1f2a3b4c5d"
        with closing(sqlite3.connect(path, isolation_level=None)) as old:
            migrate(old, shipped_migrations()[:2])
            old.execute("INSERT INTO meta VALUES (1, ?, 3)", (cluster_id,))
            old.execute("INSERT INTO namespaces VALUES ('default', 0)")
            for version in (1, 2):
                old.execute(
                    "INSERT INTO revisions VALUES (NULL, 'default', ?, ?, '{}', 'sum', 30, 'ann', '', NULL, ?)",
                    (version, version + 1, "2026-11-24T12:00:00.000Z"),
                )
        opened = make_database(path)
        self.assertEqual((opened.cluster_id, opened.epoch), (cluster_id, 3))
        cursor = connect(self, path).cursor()
        tags = [str(each.tag) for each in configs.history(cursor, "default", 9, None)]
        self.assertEqual(tags, ["9b9b9b9b.3.2", "9b9b9b9b.2.1"])
        made = configs.publish(cursor, a_draft(3)).value.configuration
        self.assertEqual((str(made.tag), made.poll_interval), ("9b9b9b9b.3.3", 30))


class StatementsTests(SynchronousTestCase):
    """L{statements}."""

    def test_trigger_is_one_statement(self) -> None:
        trigger = "CREATE TRIGGER t BEFORE UPDATE ON a\nBEGIN\n    SELECT 1;\n    SELECT 2;\nEND;\n"
        self.assertEqual(list(statements(ONE + trigger))[2:], [trigger])

    @given(st.lists(st.sampled_from(["SELECT 1;\n", "SELECT ';\n';\n", "-- a; b\nSELECT\n2;\n", "\nSELECT 3;\n"])))
    def test_nothing_is_lost(self, parts: list[str]) -> None:
        self.assertEqual(list(statements("".join(parts))), parts)
