"""Old revisions are given up at once, and their rows go a slice at a time."""

from __future__ import annotations

import sqlite3

from twisted.trial.unittest import SynchronousTestCase, TestCase

from confd.controller.store.queries import configs, pruning
from confd.errors import Gone, NotFound
from confd.model import DEFAULT_NAMESPACE
from confd.testing import a_draft
from tests.controller.store.fixtures import connect, ended, make_database, new_path, started, until

#: More than two slices.
MANY = 2 * pruning.SLICE + 10


def fill(connection: sqlite3.Connection, newest: int, namespace: str = DEFAULT_NAMESPACE) -> None:
    """A long history, by short cut."""
    connection.executemany(
        """INSERT INTO revisions
            (namespace, version, epoch, document, checksum, poll_interval, author, comment, created_at)
        VALUES (?, ?, 1, '{}', '', 30, '', '', '2026-11-24T12:00:00.000Z')""",
        [(namespace, version) for version in range(2, newest + 1)],
    )


def rows(connection: sqlite3.Connection) -> int:
    """How many revisions the database holds, kept or not."""
    (count,) = connection.execute("SELECT count(*) FROM revisions").fetchone()
    return int(count)


class PruneTests(SynchronousTestCase):
    """L{pruning}."""

    def setUp(self) -> None:
        path = new_path(self)
        make_database(path)
        self.connection = connect(self, path)
        self.cursor = self.connection.cursor()

    def versions(self) -> list[int]:
        return [each.tag.version for each in configs.history(self.cursor, DEFAULT_NAMESPACE, 1000, None)]

    def test_zero_keeps_all(self) -> None:
        fill(self.connection, 5)
        pruning.prune(self.cursor, DEFAULT_NAMESPACE, 0)
        self.assertEqual(pruning.sweep(self.cursor, 0), 0)
        self.assertEqual(self.versions(), [5, 4, 3, 2, 1])

    def test_gone_at_once_and_deleted_in_slices(self) -> None:
        fill(self.connection, MANY)
        configs.publish(self.cursor, a_draft(2), 3)
        self.assertEqual(self.versions(), [MANY + 1, MANY, MANY - 1])
        self.assertRaises(Gone, configs.revision, self.cursor, DEFAULT_NAMESPACE, MANY - 2)
        self.assertEqual(rows(self.connection), MANY + 1 - pruning.SLICE)
        for left in (MANY + 2 - 2 * pruning.SLICE, 3, 3):
            configs.publish(self.cursor, a_draft(2), 3)
            self.assertEqual(rows(self.connection), left)

    def test_sweep_says_when_it_is_done(self) -> None:
        fill(self.connection, MANY)
        self.assertEqual([pruning.sweep(self.cursor, 3) for _ in range(4)], [pruning.SLICE, pruning.SLICE, 7, 0])
        self.assertEqual(rows(self.connection), 3)

    def test_what_was_given_up_does_not_come_back(self) -> None:
        """A larger number keeps more of what comes, not of what went."""
        fill(self.connection, 9)
        pruning.prune(self.cursor, DEFAULT_NAMESPACE, 2)
        pruning.prune(self.cursor, DEFAULT_NAMESPACE, 5)
        self.assertEqual(self.versions(), [9, 8])
        pruning.sweep(self.cursor, 0)
        self.assertEqual(self.versions(), [9, 8])

    def test_numbers_go_on(self) -> None:
        for _ in range(4):
            configs.publish(self.cursor, a_draft(2), 1)
        self.assertEqual(self.versions(), [5])
        self.assertRaises(NotFound, configs.revision, self.cursor, DEFAULT_NAMESPACE, 6)

    def test_nothing_else_deletes(self) -> None:
        fill(self.connection, 9)
        pruning.prune(self.cursor, DEFAULT_NAMESPACE, 2)
        statement = "DELETE FROM revisions WHERE version = 8"
        self.assertRaises(sqlite3.IntegrityError, self.cursor.execute, statement)


class RestartTests(TestCase):
    """A start with a smaller C{HISTORY_KEEP}."""

    timeout = 30

    async def test_swept_behind_the_start(self) -> None:
        path = new_path(self)
        make_database(path)
        connection = connect(self, path)
        fill(connection, MANY)
        store = started(self, path, keep=2)
        # Answered while rows still go.
        self.assertEqual((await store.publish(a_draft(2))).value.configuration.version, MANY + 1)
        self.assertEqual([each.tag.version for each in await store.history("default", 9, None)], [MANY + 1, MANY])
        await until(lambda: rows(connection) == 2)
        await ended(store)
        self.assertEqual((await started(self, path).history("default", 9, None))[-1].tag.version, MANY)

    async def test_stop_ends_the_sweeping(self) -> None:
        path = new_path(self)
        make_database(path)
        connection = connect(self, path)
        fill(connection, 10 * MANY)
        store = started(self, path, keep=1)
        await ended(store)
        self.assertGreater(rows(connection), 1)
