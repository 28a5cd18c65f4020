"""One writer, commits in groups, and what failing storage does to them."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from threading import Event

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, DeferredList, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from confd.controller.store.cursor import Work
from confd.controller.store.sqlite.connection import make_durable
from confd.controller.store.sqlite.engine import Engine, commit_together
from confd.controller.store.write_queue import MAX_GROUP_WRITES, MAX_WAITING_WRITES
from confd.errors import NotFound, Unavailable
from tests.controller.store.fixtures import connect, damage_agents, make_database, new_path


def note(name: str) -> Work[str]:
    """A work that leaves a trace."""

    def work(cursor: sqlite3.Cursor) -> str:
        cursor.execute("INSERT INTO namespaces (name) VALUES (?)", (name,))
        return name

    return work


def names(cursor: sqlite3.Cursor) -> set[str]:
    """The traces that are there."""
    return {name for (name,) in cursor.execute("SELECT name FROM namespaces WHERE name != 'default'")}


def note_and_fail(name: str) -> Work[None]:
    """A work that leaves a trace, and then does not want to."""

    def work(cursor: sqlite3.Cursor) -> None:
        note(name)(cursor)
        raise NotFound("unknown_thing", name)

    return work


def fill_the_disk(cursor: sqlite3.Cursor) -> None:
    """A work for which there is no room."""
    (pages,) = cursor.execute("PRAGMA page_count").fetchone()
    cursor.execute(f"PRAGMA max_page_count = {pages}")
    cursor.execute("INSERT OR REPLACE INTO probe VALUES (1, randomblob(1000000))")


def free_the_disk(cursor: sqlite3.Cursor) -> None:
    """Make room again."""
    cursor.execute("PRAGMA max_page_count = 1000000")


def read_file(path: str) -> bytes:
    """The bytes of a file."""
    with open(path, "rb") as file:
        return file.read()


def overwrite(path: str, content: bytes) -> None:
    """Write to a file in its place, or make it."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT), "wb") as file:
        file.write(content)


def corrupt() -> sqlite3.DatabaseError:
    """What SQLite says of a page that could not be read."""
    error = sqlite3.DatabaseError("database disk image is malformed")
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


class CommitTogetherTests(SynchronousTestCase):
    """L{commit_together}, without threads."""

    def setUp(self) -> None:
        path = new_path(self)
        make_database(path)
        self.connection, self.other = connect(self, path), connect(self, path)
        make_durable(self.connection)

    def seen(self) -> set[str]:
        """What another connection sees."""
        return names(self.other.cursor())

    def test_commits(self) -> None:
        self.assertEqual(commit_together(self.connection, [note("a"), note("b")]), ["a", "b"])
        self.assertEqual(self.seen(), {"a", "b"})

    def test_one_that_fails_leaves_the_others(self) -> None:
        first, failed, last = commit_together(self.connection, [note("a"), note_and_fail("b"), note("c")])
        self.assertEqual((first, last), ("a", "c"))
        self.assertIsInstance(failed, NotFound)
        self.assertEqual(self.seen(), {"a", "c"})

    def test_nothing_is_committed_on_a_full_disk(self) -> None:
        self.assertRaises(
            sqlite3.OperationalError, commit_together, self.connection, [note("a"), fill_the_disk, note("b")]
        )
        self.assertFalse(self.connection.in_transaction)
        self.assertEqual(self.seen(), set())

    def test_ends_its_transaction_when_it_cannot_commit(self) -> None:
        def postpone(cursor: sqlite3.Cursor) -> None:
            # Checked by COMMIT only.
            cursor.execute("PRAGMA defer_foreign_keys = ON")
            cursor.execute("INSERT INTO revisions VALUES (NULL, 'no', 1, 1, '', '', 1, '', '', NULL, '', 1)")

        self.assertRaises(sqlite3.IntegrityError, commit_together, self.connection, [note("a"), postpone])
        self.assertFalse(self.connection.in_transaction)
        self.assertEqual(self.seen(), set())
        commit_together(self.connection, [note("b")])
        self.assertEqual(self.seen(), {"b"})


class EngineTests(TestCase):
    """L{Engine}, over its threads."""

    timeout = 30

    def setUp(self) -> None:
        self.path = new_path(self)
        make_database(self.path)
        self.engine = Engine(self.path, reactor, 0.02)
        self.addCleanup(lambda: self.engine.drain().addCallback(lambda _: self.engine.close()))

    def hold(self) -> tuple[Event, list[str]]:
        """Keep the writer busy until the event is set; the list fills with the statements that it executes."""
        gate, statements = Event(), list[str]()

        def work(cursor: sqlite3.Cursor) -> None:
            cursor.connection.set_trace_callback(statements.append)
            gate.wait(20)

        self.engine.write(work)
        return gate, statements

    async def test_those_that_wait_share_a_commit(self) -> None:
        gate, statements = self.hold()
        answers = gatherResults([self.engine.write(note(f"n{number}")) for number in range(50)])
        gate.set()
        self.assertEqual(await answers, [f"n{number}" for number in range(50)])
        self.assertEqual(statements.count("COMMIT"), 2)

    async def test_groups_are_bounded(self) -> None:
        gate, statements = self.hold()
        answers = gatherResults([self.engine.write(note(f"n{number}")) for number in range(MAX_GROUP_WRITES + 1)])
        gate.set()
        await answers
        self.assertEqual(statements.count("COMMIT"), 3)

    async def test_answers_come_after_the_commit(self) -> None:
        other = connect(self, self.path)
        answers = [self.engine.write(note(f"n{number}")) for number in range(20)]
        for number, answer in enumerate(answers):
            answer.addCallback(lambda name: name in names(other.cursor()))
            self.assertTrue(await answer, number)

    async def test_answers_come_in_order(self) -> None:
        heard: list[str] = []
        answers = [self.engine.write(note(f"n{number}")).addCallback(heard.append) for number in range(300)]
        await gatherResults(answers)
        self.assertEqual(heard, [f"n{number}" for number in range(300)])

    async def test_one_that_fails_leaves_the_others(self) -> None:
        gate, _ = self.hold()
        answers = [self.engine.write(work) for work in (note("a"), note_and_fail("b"), note("c"))]
        gate.set()
        with self.assertRaises(NotFound):
            await answers[1]
        self.assertEqual((await answers[0], await answers[2]), ("a", "c"))
        self.assertIsNone(self.engine.problem())

    async def test_defect_is_not_called_trouble(self) -> None:
        with self.assertRaises(sqlite3.OperationalError):
            await self.engine.write(lambda cursor: cursor.execute("SELECT nonsense") and None)
        self.assertIsNone(self.engine.problem())

    async def test_cancelled_write_is_done_all_the_same(self) -> None:
        gate, _ = self.hold()
        cancelled, other = self.engine.write(note("a")), self.engine.write(note("b"))
        cancelled.cancel()
        self.failureResultOf(cancelled, CancelledError)
        gate.set()
        await other
        self.assertEqual(await self.engine.read(names), {"a", "b"})

    async def test_queue_is_bounded(self) -> None:
        gate, _ = self.hold()
        answers = [self.engine.write(lambda cursor: None) for _ in range(MAX_WAITING_WRITES)]
        refused = self.failureResultOf(self.engine.write(note("a")), Unavailable).value
        self.assertIn("too many writes", refused.message)
        gate.set()
        await gatherResults(answers)
        self.assertEqual(await self.engine.write(note("b")), "b")

    async def test_full_disk(self) -> None:
        gate, _ = self.hold()
        answers = [self.engine.write(work) for work in (note("a"), fill_the_disk, note("b"))]
        gate.set()
        outcomes = await DeferredList(answers, consumeErrors=True)
        self.assertEqual([succeeded for succeeded, _ in outcomes], [False] * 3)
        for _, failure in outcomes:
            self.assertIn("the disk is full", failure.check(Unavailable) and failure.value.message)
        self.assertIn("the disk is full", self.engine.problem() or "")
        self.assertEqual(await self.engine.read(names), set())
        await self.engine.probe()
        self.assertIn("the disk is full", self.engine.problem() or "")
        await self.engine.write(free_the_disk)
        self.assertIsNone(self.engine.problem())

    async def test_those_that_wait_hear_of_trouble_at_once(self) -> None:
        gate = Event()

        def full(cursor: sqlite3.Cursor) -> None:
            gate.wait(20)
            fill_the_disk(cursor)

        first, waiting = self.engine.write(full), self.engine.write(note("a"))
        gate.set()
        for answer in (first, waiting):
            with self.assertRaises(Unavailable):
                await answer
        self.assertEqual(await self.engine.read(names), set())

    async def test_read_only(self) -> None:
        await self.engine.write(lambda cursor: None)
        with self.assertRaises(Unavailable) as caught:
            await self.engine.read(note("a"))
        self.assertIn("it is read-only", caught.exception.message)
        self.assertIsNone(self.engine.problem())

    async def test_damage_stays(self) -> None:
        damage_agents(self, self.path)
        await self.engine.look_for_damage()
        self.assertIn("it is damaged", self.engine.problem() or "")
        await self.engine.probe()
        self.assertIn("it is damaged", self.engine.problem() or "")
        self.failureResultOf(self.engine.write(note("a")), Unavailable)

    async def test_sound_database_is_no_trouble(self) -> None:
        await self.engine.look_for_damage()
        self.assertIsNone(self.engine.problem())

    async def test_looking_for_damage_leaves_nothing_behind(self) -> None:
        await self.engine.read(names)
        before = set(threading.enumerate())
        await self.engine.look_for_damage()
        self.assertEqual(set(threading.enumerate()) - before, set())

    async def test_unreadable_page_is_looked_at_again(self) -> None:
        def unreadable(cursor: sqlite3.Cursor) -> None:
            raise corrupt()

        refused = self.engine.write(unreadable)
        with self.assertRaises(Unavailable) as caught:
            await refused
        self.assertIn("is being checked", caught.exception.message)
        while self.engine.problem() is not None:
            await deferLater(reactor, 0.01)
            await self.engine.probe()
        self.assertEqual(await self.engine.write(note("a")), "a")

    async def test_unreadable_page_in_a_read(self) -> None:
        def unreadable(cursor: sqlite3.Cursor) -> None:
            raise corrupt()

        with self.assertRaises(Unavailable):
            await self.engine.read(unreadable)
        while self.engine.problem() is not None:
            await deferLater(reactor, 0.01)
            await self.engine.probe()

    async def test_disk_recovers_after_both_looks(self) -> None:
        sound = read_file(self.path)
        damage_agents(self, self.path)
        await self.engine.look_for_damage()
        self.assertIn("it is damaged", self.engine.problem() or "")
        overwrite(self.path, sound)
        await self.engine.probe()
        await self.engine.probe()
        self.assertIsNone(self.engine.problem())

    async def test_removed_files(self) -> None:
        for ending in ("-wal", "-shm", ".id"):
            path = self.path + ending
            await self.engine.write(note(f"before {ending}"))
            os.rename(path, path + ".away")
            await self.assert_replaced(path)
            overwrite(path, b"")
            await self.assert_replaced(path)
            os.replace(path + ".away", path)
            await self.engine.probe()
            self.assertIsNone(self.engine.problem())

    async def test_moved_folder(self) -> None:
        await self.engine.write(note("a"))
        folder = os.path.dirname(self.path)
        os.rename(folder, folder + ".away")
        with self.assertRaises(Unavailable):
            await self.engine.write(note("b"))
        os.rename(folder + ".away", folder)
        await self.engine.write(note("c"))
        self.assertEqual(await self.engine.read(names), {"a", "c"})

    async def test_what_was_answered_outlives_its_log(self) -> None:
        await self.engine.write(note("a"))
        os.remove(f"{self.path}-wal")
        await self.assert_replaced(f"{self.path}-wal")
        # What a process finds that starts after kill -9.
        copied = new_path(self)
        shutil.copy(self.path, copied)
        self.assertEqual(names(connect(self, copied).cursor()), {"a"})

    async def test_log_removed_during_a_commit(self) -> None:
        def remove(cursor: sqlite3.Cursor) -> None:
            os.remove(f"{self.path}-wal")

        with self.assertRaises(Unavailable):
            await self.engine.write(remove)

    async def assert_replaced(self, path: str) -> None:
        with self.assertRaises(Unavailable) as caught:
            await self.engine.write(note("lost"))
        self.assertIn(f"its file {path} was removed or replaced", caught.exception.message)
        self.assertIn(path, self.engine.problem() or "")

    async def test_drain(self) -> None:
        self.successResultOf(self.engine.drain())
        gate, _ = self.hold()
        last = self.engine.write(note("a"))
        drained = self.engine.drain()
        self.assertNoResult(drained)
        gate.set()
        await drained
        self.assertEqual(self.successResultOf(last), "a")
