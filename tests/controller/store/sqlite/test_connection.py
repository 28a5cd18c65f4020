"""Durability is read back, and failing storage has a name."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from confd.controller.store.sqlite.connection import (
    DAMAGED,
    RECHECK_SECONDS,
    SETTLED_SECONDS,
    Damaged,
    Files,
    Replaced,
    StorageError,
    connect_arguments,
    explain,
    find_damage,
    give_way,
    identity,
    make_durable,
)
from tests.controller.store.fixtures import connect, damage, make_database, new_path
from tests.integration.servers import missing

#: Of the files of a database.
ENDINGS = "", ".id", "-wal", "-shm"


class FilesTests(SynchronousTestCase):
    """L{Files}, in a folder that did not change for some seconds."""

    def setUp(self) -> None:
        self.path = new_path(self)
        for ending in ENDINGS:
            Path(self.path + ending).touch()
        self.clock = Clock()
        self.files = Files(self.path, self.clock.seconds)
        self.files.opened()
        self.settle()

    def settle(self) -> None:
        """Look twice, so that an unchanged folder counts."""
        self.files.check()
        self.clock.advance(SETTLED_SECONDS)
        self.files.check()

    def test_each_file_that_is_removed_or_replaced_is_missed_at_once(self) -> None:
        for ending in ENDINGS:
            os.rename(self.path + ending, self.path + ".away")
            for _ in range(2):
                missed = self.assertRaises(Replaced, self.files.check)
                self.assertEqual(missed.log_lost, ending == "-wal")
                Path(self.path + ending).touch()
            os.replace(self.path + ".away", self.path + ending)
            self.files.check()

    def test_each_file_in_another_folder_of_the_same_name_is_missed_at_once(self) -> None:
        folder = os.path.dirname(self.path)
        os.rename(folder, f"{folder}.away")
        os.mkdir(folder)
        for ending in ENDINGS:
            Path(self.path + ending).touch()
        self.assertRaises(Replaced, self.files.check)

    def test_folder_that_tells_of_no_change_is_looked_into_again(self) -> None:
        # As if a file were mounted over the database.
        self.files._known[self.path] = (0, 0)
        self.files.check()
        self.clock.advance(RECHECK_SECONDS)
        self.assertRaises(Replaced, self.files.check)

    def test_folder_that_has_just_changed_is_looked_into_each_time(self) -> None:
        # Another change within the same tick of its clock would leave the same time.
        Path(self.path + ".other").touch()
        self.files.check()
        self.clock.advance(SETTLED_SECONDS / 2)
        self.files.check()
        self.files._known[self.path] = (0, 0)
        self.assertRaises(Replaced, self.files.check)


class ConnectionTests(SynchronousTestCase):
    """Connections to real files."""

    def setUp(self) -> None:
        self.path = new_path(self)

    def test_durable(self) -> None:
        make_database(self.path)
        connection = connect(self, self.path)
        connection.execute("PRAGMA synchronous = NORMAL")
        make_durable(connection)
        pragmas = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
        self.assertEqual(pragmas, ["wal", 2])
        self.assertEqual(connection.execute("PRAGMA foreign_keys").fetchone(), (1,))

    def test_refuses_what_cannot_be_durable(self) -> None:
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
            error = self.assertRaises(StorageError, make_durable, connection)
        self.assertIn("journal_mode is memory", explain(error) or "")

    def test_never_makes_a_file(self) -> None:
        uri, arguments = connect_arguments(self.path, 0)
        error = self.assertRaises(sqlite3.OperationalError, sqlite3.connect, uri, **arguments)
        self.assertIn("cannot be opened", explain(error) or "")
        self.assertIsNone(identity(self.path))

    def test_opens_any_path(self) -> None:
        path = f"{self.path} ?mode=memory&x=%41#é"
        make_database(path)
        self.assertEqual(connect(self, path).execute("SELECT count(*) FROM revisions").fetchone(), (1,))

    def test_gives_way(self) -> None:
        """Only the thread that asks for it."""

        def priority() -> int:
            return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

        def work() -> int:
            give_way()
            return priority()

        before = priority()
        with ThreadPoolExecutor(1) as thread:
            self.assertEqual(thread.submit(work).result(), 19 if sys.platform == "linux" else before)
        self.assertEqual(priority(), before)

    def test_may_not_give_way(self) -> None:
        """As the unit for systemd has it: then it goes on as before."""
        forbidden = ["strace", "-f", "-qq", "-o", os.devnull, "-e", "inject=setpriority:error=EPERM"]
        code = "from confd.controller.store.sqlite.connection import give_way; give_way(); print('went on')"
        done = subprocess.run([*forbidden, sys.executable, "-c", code], capture_output=True, text=True)
        self.assertEqual((done.stdout, done.stderr), ("went on\n", ""))

    test_may_not_give_way.skip = missing("strace")  # type: ignore[attr-defined]

    def test_damage(self) -> None:
        make_database(self.path)
        find_damage(connect(self, self.path))
        damage(self.path, 4096)
        error = self.assertRaises((Damaged, sqlite3.DatabaseError), find_damage, connect(self, self.path))
        self.assertEqual(explain(error), DAMAGED)

    def test_other_errors_are_not_explained(self) -> None:
        connection = connect(self, (make_database(self.path)).path)
        for statement in ("SELECT nonsense", "UPDATE meta SET epoch = 0"):
            error = self.assertRaises(sqlite3.Error, connection.execute, statement)
            self.assertIsNone(explain(error))
        self.assertIsNone(explain(ValueError("no")))
