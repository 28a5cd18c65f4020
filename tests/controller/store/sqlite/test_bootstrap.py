"""A start makes a database only where none was before, and refuses one that something is wrong with."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import uuid
from contextlib import closing

from twisted.logger import Logger, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from confd.cli.go_database import read_go_database
from confd.controller.store.migrations import shipped_migrations
from confd.controller.store.sqlite.bootstrap import open_database
from confd.errors import StartError
from tests.cli.go_files import go_database
from tests.controller.store.fixtures import FIRST, connect, damage, damage_agents, lock, make_database, new_path
from tests.odd_files import KINDS, unmake


class BootstrapTests(SynchronousTestCase):
    """L{open_database}."""

    log = Logger()

    def setUp(self) -> None:
        self.path = new_path(self)
        self.identity_file = f"{self.path}.id"

    def refused(self, path: str | None = None, migrations: list[str] | None = None) -> str:
        """The one line with which a start is refused; proves that it gave its lock back."""
        path = path or self.path
        for _ in range(2):
            error = self.assertRaises(StartError, open_database, path, FIRST, migrations or shipped_migrations())
            (reason,) = error.reasons
            self.assertTrue(reason.startswith(f"DB_PATH: {path} "), reason)
            self.assertNotIn("\n", reason)
            self.assertNotIn("in use by another controller", reason)
        return reason

    def written_marker(self) -> str:
        with open(self.identity_file) as file:
            return file.read()

    def write_marker(self, text: str) -> None:
        with open(self.identity_file, "w") as file:
            file.write(text)

    def test_no_regular_file(self) -> None:
        """A FIFO, a socket, a folder or a device is refused and left as it is, under each name that is written to."""
        for ending in ("", ".id", "-wal", "-shm", "-journal"):
            for kind, make in KINDS.items():
                path = self.path + ending
                if not make(path):
                    continue
                before = os.lstat(path)
                self.assertIn(f"is {kind}; ", self.refused())
                self.assertEqual(os.lstat(path), before)
                unmake(path)
        self.assertEqual(os.listdir(os.path.dirname(self.path)), [])

    # -- a new database --

    def test_first_start(self) -> None:
        with capturedLogs() as events:
            opened = make_database(self.path)
        self.assertEqual([event["log_format"] for event in events], ["creating a new database at {path}"])
        self.assertEqual(self.written_marker(), f"{uuid.UUID(opened.cluster_id)}\n")
        self.assertEqual(opened.epoch, 1)

    def test_second_start_is_silent(self) -> None:
        first = make_database(self.path)
        with capturedLogs() as events:
            second = make_database(self.path)
        self.assertEqual(events, [])
        self.assertEqual((second.cluster_id, second.epoch), (first.cluster_id, first.epoch))

    def test_first_start_that_was_cut_off(self) -> None:
        def empty() -> None:
            open(self.path, "wb").close()

        def without_tables() -> None:
            with closing(sqlite3.connect(self.path)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")

        def without_identity() -> None:
            make_database(self.path)
            connection = connect(self, self.path)
            connection.execute("DELETE FROM meta")
            connection.execute("DROP TRIGGER revisions_never_go")
            connection.execute("DELETE FROM revisions")
            connection.execute("DELETE FROM namespaces")
            connection.close()
            self.write_marker("")

        for cut_off in (empty, without_tables, without_identity):
            self.path = new_path(self)
            self.identity_file = f"{self.path}.id"
            cut_off()
            opened = make_database(self.path)
            self.assertEqual(self.written_marker(), f"{opened.cluster_id}\n")
            self.assertEqual(connect(self, self.path).execute("SELECT version FROM revisions").fetchall(), [(1,)])

    def test_marker_that_was_not_written(self) -> None:
        opened = make_database(self.path)
        for text in ("", "\0\0\0", opened.cluster_id[:20], "?" * 100):
            self.write_marker(text)
            self.assertEqual(make_database(self.path).cluster_id, opened.cluster_id)
            self.assertEqual(self.written_marker(), f"{opened.cluster_id}\n")

    # -- one that was expected --

    def test_missing(self) -> None:
        make_database(self.path)
        os.remove(self.path)
        self.assertIn("is missing", self.refused())
        self.assertFalse(os.path.exists(self.path))
        os.remove(self.identity_file)
        make_database(self.path)

    def test_emptied(self) -> None:
        make_database(self.path)
        os.truncate(self.path, 0)
        self.assertIn("is empty", self.refused())
        self.assertEqual(os.path.getsize(self.path), 0)

    def test_without_identity(self) -> None:
        make_database(self.path)
        connect(self, self.path).execute("DELETE FROM meta")
        self.assertIn("has lost its identity", self.refused())

    def test_another_cluster(self) -> None:
        make_database(self.path)
        other = new_path(self)
        make_database(other)
        os.replace(other, self.path)
        self.assertIn("belongs to the cluster", self.refused())
        os.remove(self.identity_file)
        make_database(self.path)

    def test_damaged(self) -> None:
        for offset in (0, 4096):
            self.path = new_path(self)
            make_database(self.path)
            damage(self.path, offset)
            with open(self.path, "rb") as file:
                before = file.read()
            self.assertIn("it is damaged; restore it", self.refused())
            with open(self.path, "rb") as file:
                self.assertEqual(file.read(), before)

    def test_damaged_where_a_start_does_not_read(self) -> None:
        make_database(self.path)
        damage_agents(self, self.path)
        self.assertIn("it is damaged; restore it", self.refused())

    def test_truncated(self) -> None:
        make_database(self.path)
        os.truncate(self.path, 8192)
        self.assertIn("it is damaged", self.refused())

    # -- one that another controller may use --

    def test_file_with_two_names(self) -> None:
        make_database(self.path)
        other = new_path(self)
        os.link(self.path, other)
        self.assertIn("is a file with a second name", self.refused())
        self.assertIn("is a file with a second name", self.refused(other))
        os.remove(other)
        make_database(self.path)

    def test_locked_file_with_another_marker(self) -> None:
        """As through a bind mount, which gives the file a path and a marker of its own."""
        make_database(self.path)
        with open(self.path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            error = self.assertRaises(StartError, open_database, self.path, FIRST, shipped_migrations())
        self.assertIn("in use by another controller", error.reasons[0])
        make_database(self.path)

    def test_symbolic_link_to_one_in_use(self) -> None:
        opened = open_database(self.path, FIRST, shipped_migrations())
        self.addCleanup(opened.identity_file.release)
        other = new_path(self)
        os.symlink(self.path, other)
        error = self.assertRaises(StartError, open_database, other, FIRST, shipped_migrations())
        self.assertIn("in use by another controller", error.reasons[0])

    # -- one that is not ours --

    def test_not_a_database(self) -> None:
        with open(self.path, "w") as file:
            file.write("version: '3'\n" * 500)
        self.assertIn("it is damaged", self.refused())

    def test_of_another_program(self) -> None:
        with closing(sqlite3.connect(self.path)) as connection:
            connection.execute("CREATE TABLE configurations (version INTEGER)")
            connection.commit()
        self.assertIn("is the database of another program", self.refused())
        self.assertEqual(connect(self, self.path).execute("PRAGMA journal_mode").fetchone(), ("delete",))

    def test_of_the_go_system(self) -> None:
        go_database(self.path, 3)
        refused = self.refused()
        self.assertIn("is the database of the Go system", refused)
        self.assertIn("confdctl import --from go-database FILE", refused)
        self.assertEqual(read_go_database(self.path).current.version, 3)

    def test_of_a_newer_release(self) -> None:
        newer = [*shipped_migrations(), "CREATE TABLE future (x);"]
        open_database(self.path, FIRST, newer).identity_file.release()
        self.assertIn("was written by a newer release of confd", self.refused())

    def test_step_that_fails(self) -> None:
        make_database(self.path)
        self.assertIn("no such table: nowhere", self.refused(migrations=[*shipped_migrations(), "DROP TABLE nowhere;"]))
        make_database(self.path)

    # -- what the system refuses --

    def test_second_controller(self) -> None:
        opened = open_database(self.path, FIRST, shipped_migrations())
        link = f"{self.path}.link"
        os.symlink(self.path, link)
        for path in (self.path, link):
            error = self.assertRaises(StartError, open_database, path, FIRST, shipped_migrations())
            self.assertEqual(str(error), f"DB_PATH: {path} is in use by another controller; stop that one first.")
        opened.identity_file.release()
        make_database(link)

    def test_folder_that_is_missing(self) -> None:
        self.assertIn("which is not a folder; create it", self.refused(os.path.join(self.path, "no", "x.db")))

    def test_folder(self) -> None:
        self.assertIn("is a folder", self.refused(os.path.dirname(self.path)))

    def test_marker_that_leads_elsewhere(self) -> None:
        os.symlink("elsewhere", self.identity_file)
        self.assertIn("cannot be opened", self.refused())
        self.assertEqual(os.listdir(os.path.dirname(self.path)), ["controller.db.id"])

    def test_locked_by_another_process(self) -> None:
        make_database(self.path)
        lock(self, self.path)
        newer = [*shipped_migrations(), "CREATE TABLE future (x);"]
        self.assertIn("another process has locked it", self.refused(migrations=newer))
        # Without anything to write a start goes on: the current configuration can be read.
        make_database(self.path)
