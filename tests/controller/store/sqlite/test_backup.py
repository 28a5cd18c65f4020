"""Tests of L{confd.controller.store.sqlite.backup}: complete copies beside a writer, and no trace of them on disk."""

import hashlib
import sqlite3
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from confd.controller.store.sqlite.backup import copy_database, remove_leftovers
from confd.errors import Unavailable


class CopyTests(SynchronousTestCase):
    """A database with two tables whose rows belong together."""

    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="confd-backup-tests-")
        self.addCleanup(scratch.cleanup)
        self.folder = Path(scratch.name)
        self.path = self.folder / "controller.db"
        with closing(self.connect()) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("CREATE TABLE a (n INTEGER)")
            connection.execute("CREATE TABLE b (n INTEGER)")

    def connect(self):
        return sqlite3.connect(self.path, isolation_level=None)

    def opened(self, backup):
        """Return a connection to a copy."""
        copy = self.folder / "copy.db"
        copy.write_bytes(backup.file.read())
        backup.file.close()
        self.assertEqual(len(copy.read_bytes()), backup.size)
        self.assertEqual(f"sha256:{hashlib.sha256(copy.read_bytes()).hexdigest()}", backup.checksum)
        return closing(sqlite3.connect(copy))

    def test_is_consistent_beside_a_writer(self):
        """The rows of a transaction are in the copy together, or not at all."""
        stop, begun = threading.Event(), threading.Event()

        def write():
            with closing(self.connect()) as connection:
                number = 0
                while not stop.is_set():
                    connection.execute("BEGIN IMMEDIATE")
                    connection.execute("INSERT INTO a VALUES (?)", (number,))
                    connection.execute("INSERT INTO b VALUES (?)", (number,))
                    connection.execute("COMMIT")
                    number += 1
                    begun.set()

        writer = threading.Thread(target=write)
        writer.start()
        begun.wait()
        try:
            copies = [copy_database(str(self.path), time.monotonic) for _ in range(3)]
        finally:
            stop.set()
            writer.join()
        for each in copies:
            with self.opened(each) as connection:
                first, second = (connection.execute(f"SELECT count(*) FROM {table}").fetchone() for table in "ab")
                self.assertEqual(first, second)
                self.assertGreater(first[0], 0)
                self.assertEqual(connection.execute("PRAGMA integrity_check").fetchone(), ("ok",))

    def test_has_no_name(self):
        copy_database(str(self.path), time.monotonic).file.close()
        self.assertEqual([each.name for each in self.folder.iterdir() if "backup" in each.name], [])

    def test_a_slow_copy_ends(self):
        """The clock passes the time limit while SQLite works."""
        with closing(self.connect()) as connection:
            connection.execute("BEGIN")
            connection.executemany("INSERT INTO a VALUES (?)", ((number,) for number in range(50_000)))
            connection.execute("COMMIT")
        ticks = iter([0.0, *[1e9] * 1_000_000])
        error = self.assertRaises(Unavailable, copy_database, str(self.path), lambda: next(ticks))
        self.assertIn("interrupted", error.message)
        self.assertEqual([each.name for each in self.folder.iterdir() if "backup" in each.name], [])

    def test_a_damaged_database_is_refused(self):
        self.path.write_bytes(b"no database" * 1000)
        self.assertIn("damaged", self.assertRaises(Unavailable, copy_database, str(self.path), time.monotonic).message)

    def test_leftovers_are_removed(self):
        (self.folder / ".confd-backup-abc").write_text("x")
        remove_leftovers(str(self.path))
        self.assertEqual([each.name for each in self.folder.glob(".confd*")], [])
        self.assertTrue(self.path.exists())
