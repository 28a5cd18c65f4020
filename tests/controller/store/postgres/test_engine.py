"""Writes in groups, commits in doubt, deadlines, and what is left of them after a failure of the server."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from twisted.internet import reactor
from twisted.internet.defer import DeferredList, gatherResults
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from confd.controller.store.postgres.cursor import PostgresCursor
from confd.controller.store.postgres.engine import WRITE_DEADLINE_SECONDS, PostgresEngine
from confd.controller.store.postgres.groups import CommittedGroup, Writer
from confd.controller.store.postgres.url import DatabaseUrl
from confd.controller.store.write_queue import MAX_GROUP_WRITES
from confd.errors import NotFound, Unavailable
from tests.controller.store.fixtures import until
from tests.controller.store.postgres.fixtures import ended, new_url, started
from tests.controller.store.postgres.server import shared_server

Work = Callable[[PostgresCursor], Any]


def note(name: str) -> Work:
    """Return a work that leaves a trace."""

    def work(cursor: PostgresCursor) -> str:
        cursor.execute("INSERT INTO namespaces (name) VALUES (?)", (name,))
        return name

    return work


def note_and_fail(name: str) -> Work:
    """Return a work that leaves a trace, and then does not want to."""

    def work(cursor: PostgresCursor) -> None:
        note(name)(cursor)
        raise NotFound("unknown_thing", name)

    return work


class EngineTests(TestCase):
    """L{PostgresEngine} over a real server."""

    timeout = 60

    async def setUp(self) -> None:
        self.url = new_url(self)
        self.groups: list[int] = []
        #: Called with the writer's connection as it is opened.
        self.opened: list[psycopg.Connection[Any]] = []
        self.writer = Writer("here", "1", reactor.seconds)
        await ended(started(self, self.url))
        self.engine = self.new_engine()

    def new_engine(self, deadline: float = WRITE_DEADLINE_SECONDS) -> PostgresEngine:
        """Return an engine that runs until the test is over."""
        url = DatabaseUrl.parse(self.url)
        engine = PostgresEngine(reactor, url, self.writer, self.opened.append, self.count, deadline)
        self.addCleanup(engine.close)
        return engine

    def count(self, group: CommittedGroup) -> Any:
        self.groups.append(len(group.results))
        return group.results

    def names(self) -> set[str]:
        """Return the traces that are there."""
        with psycopg.connect(DatabaseUrl.parse(self.url).conninfo) as connection:
            rows = connection.execute("SELECT name FROM namespaces WHERE name <> 'default'").fetchall()
        return {name for (name,) in rows}

    async def refused(self, answer: Any, code: str = "storage_unavailable") -> str:
        """Return the sentence of a refusal."""
        with self.assertRaises(Unavailable) as caught:
            await answer
        self.assertEqual(caught.exception.code, code)
        return caught.exception.message

    async def test_writes_that_wait_share_a_commit(self) -> None:
        answers = [self.engine.write(note(f"n{number}")) for number in range(MAX_GROUP_WRITES + 2)]
        self.assertEqual(await gatherResults(answers), [f"n{number}" for number in range(MAX_GROUP_WRITES + 2)])
        self.assertEqual(self.groups, [1, MAX_GROUP_WRITES, 1])

    async def test_work_that_fails_leaves_the_others(self) -> None:
        works = [note("a"), note_and_fail("b"), note("c"), note("default"), note("d")]
        await self.engine.write(note("first"))
        results = await DeferredList([self.engine.write(work) for work in works], consumeErrors=True)
        self.assertEqual([good for good, _ in results], [True, False, True, False, True])
        self.assertIsInstance(results[1][1].value, NotFound)  # type: ignore[union-attr]
        self.assertIsInstance(results[3][1].value, psycopg.errors.UniqueViolation)  # type: ignore[union-attr]
        self.assertEqual(self.names(), {"first", "a", "c", "d"})
        self.assertIsNone(self.engine.problem())

    async def test_work_that_fails_alone_writes_nothing(self) -> None:
        with self.assertRaises(NotFound):
            await self.engine.write(note_and_fail("b"))
        self.assertEqual(self.names(), set())
        await self.engine.write(note("c"))

    async def test_refusals_of_a_group_share_a_transaction(self) -> None:
        def refuse(cursor: PostgresCursor) -> None:
            cursor.execute("SELECT 1").fetchone()
            raise NotFound("unknown_thing", "x")

        works = [note("a"), refuse, note("c")]
        await self.engine.write(note("first"))
        await DeferredList([self.engine.write(work) for work in [note("b"), *works]], consumeErrors=True)
        self.assertEqual(self.groups, [1, 1, 3])

    async def test_nul_is_replaced(self) -> None:
        self.assertEqual(await self.engine.write(note("a\0b")), "a\0b")
        self.assertEqual(self.names(), {"a\ufffdb"})

    async def test_reads_cannot_write(self) -> None:
        with self.assertRaises(Unavailable) as caught:
            await self.engine.read(note("a"))
        self.assertIn("it is read-only", caught.exception.message)

    async def test_read_survives_the_loss_of_its_connection(self) -> None:
        def one(cursor: PostgresCursor) -> Any:
            return cursor.execute("SELECT 1").fetchone()

        await gatherResults([self.engine.read(one) for _ in range(2)])
        with shared_server().connect("postgres") as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s",
                (conninfo_to_dict(self.url)["dbname"],),
            )
        self.assertEqual(await gatherResults([self.engine.read(one) for _ in range(2)]), [(1,), (1,)])

    async def stop_after(self, statement: str) -> None:
        """Let the writer stand still after a statement until another connection has the lock of all changes."""
        stopped, locked = threading.Event(), threading.Event()

        def stop(cursor: PostgresCursor) -> None:
            cursor.execute(statement)
            if statement.startswith("SELECT"):
                cursor.fetchone()
            stopped.set()
            self.assertTrue(locked.wait(30))

        def take_lock() -> None:
            self.assertTrue(stopped.wait(30))
            with psycopg.connect(self.url, options="-c lock_timeout=20s") as connection:
                connection.execute("SELECT 1 FROM head FOR UPDATE")
            locked.set()

        done = self.engine.write(stop)
        await deferToThread(take_lock)
        await done

    async def test_writer_that_stops_loses_its_transaction(self) -> None:
        """Others wait 2 s; as the writer goes on, its work runs again."""
        await self.stop_after("SELECT 1")
        await self.stop_after("INSERT INTO namespaces (name) VALUES ('x')")
        self.assertEqual(self.names(), {"x"})

    async def test_reads_share_two_connections(self) -> None:
        def pid(cursor: PostgresCursor) -> int:
            (number,) = cursor.execute("SELECT pg_backend_pid()").fetchone()
            return int(number)

        self.assertLessEqual(len(set(await gatherResults([self.engine.read(pid) for _ in range(9)]))), 2)

    async def test_ended_backend_before_the_commit_is_retried(self) -> None:
        await self.engine.write(note("a"))
        tries = []

        def end_once(cursor: PostgresCursor) -> None:
            tries.append(1)
            note("b")(cursor)
            if len(tries) == 1:
                self.end_backend(self.opened[-1].info.backend_pid)

        await self.engine.write(end_once)
        self.assertEqual((self.names(), len(tries), len(self.opened)), ({"a", "b"}, 2, 2))

    def end_backend(self, pid: int) -> None:
        """End a backend as an operator would, and wait for its end."""
        with psycopg.connect(DatabaseUrl.parse(self.url).conninfo, autocommit=True) as connection:
            connection.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))

    async def in_doubt(self, end: Callable[[psycopg.Connection[Any]], None]) -> Any:
        """Write, with a COMMIT whose answer never comes."""

        def lose_answer(connection: psycopg.Connection[Any]) -> None:
            end(connection)
            raise psycopg.OperationalError("server closed the connection unexpectedly")

        await self.engine.write(note("a"))
        self.replace_commit(lose_answer)
        return await self.engine.write(note("b"))

    async def test_commit_in_doubt_that_was_committed(self) -> None:
        def commit(connection: psycopg.Connection[Any]) -> None:
            connection.execute("COMMIT")

        self.assertEqual(await self.in_doubt(commit), "b")
        self.assertEqual((self.names(), self.groups), ({"a", "b"}, [1, 1]))

    async def test_commit_in_doubt_that_was_lost_runs_again(self) -> None:
        def lose(connection: psycopg.Connection[Any]) -> None:
            connection.execute("ROLLBACK")

        self.assertEqual(await self.in_doubt(lose), "b")
        self.assertEqual((self.names(), self.groups), ({"a", "b"}, [1, 1]))

    def replace_commit(self, end: Callable[[psycopg.Connection[Any]], Any]) -> None:
        """Let the next COMMIT do something else."""
        connection = self.opened[-1]
        make = connection.cursor

        class Replaced(psycopg.Cursor[Any]):
            def execute(self, query: Any, *rest: Any, **more: Any) -> Any:
                if query != "COMMIT":
                    return super().execute(query, *rest, **more)
                connection.cursor = make  # type: ignore[method-assign]
                return end(connection)

        connection.cursor = lambda: Replaced(connection)  # type: ignore[method-assign,assignment,misc]

    async def test_commit_whose_wait_for_a_standby_was_cancelled(self) -> None:
        """The server then says success and warns; the next commit proves that the change is replicated."""

        def warn(connection: psycopg.Connection[Any]) -> Any:
            connection.execute("DO $$ BEGIN RAISE WARNING USING MESSAGE = 'x', ERRCODE = '01000'; END $$")
            return connection.execute("COMMIT")

        await self.engine.write(note("a"))
        self.replace_commit(warn)
        self.assertEqual(await self.engine.write(note("b")), "b")
        with psycopg.connect(DatabaseUrl.parse(self.url).conninfo) as connection:
            row = connection.execute("SELECT resolved FROM writers WHERE id = %s", (self.writer.id,)).fetchone()
        self.assertEqual((row, self.names()), ((1,), {"a", "b"}))

    async def test_commit_that_rolls_back_runs_again(self) -> None:
        """COMMIT of an aborted transaction is no error: only its answer tells."""
        await self.engine.write(note("a"))
        self.replace_commit(lambda connection: connection.execute("ROLLBACK"))
        self.assertEqual(await self.engine.write(note("b")), "b")
        self.assertEqual(self.names(), {"a", "b"})

    async def test_commit_in_doubt_of_a_writer_that_is_forgotten(self) -> None:
        def forget(connection: psycopg.Connection[Any]) -> None:
            connection.execute("ROLLBACK")
            connection.execute("DELETE FROM writers")

        with self.assertRaises(Unavailable) as caught:
            await self.in_doubt(forget)
        self.assertEqual(caught.exception.code, "outcome_unknown")

    async def test_stopped_server(self) -> None:
        self.engine = self.new_engine(deadline=2)
        await self.engine.write(note("a"))
        backend = self.opened[-1].info.backend_pid
        os.kill(backend, signal.SIGSTOP)
        os.kill(shared_server().pid, signal.SIGSTOP)
        try:
            refused = await self.refused(self.engine.write(note("b")))
        finally:
            os.kill(shared_server().pid, signal.SIGCONT)
            os.kill(backend, signal.SIGCONT)
        self.assertIn("it does not answer within 2 s", refused)
        self.assertIn("does not answer", self.engine.problem() or "")
        await until(lambda: shared_server().connect("postgres").close() is None)
        self.assertEqual(await self.engine.write(note("c")), "c")
        self.assertIsNone(self.engine.problem())
        self.assertEqual(self.names() - {"b"}, {"a", "c"})
