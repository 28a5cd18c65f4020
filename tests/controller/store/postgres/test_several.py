"""Several controllers on one database: a real server, and what each controller keeps in memory."""

from __future__ import annotations

from random import Random
from typing import Any

import psycopg
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.trial.unittest import TestCase

from confd.controller.store.postgres.cursor import PostgresCursor
from confd.controller.store.postgres.url import DatabaseUrl
from confd.controller.store.queries import configs
from confd.errors import ConfdError, Conflict
from confd.model import Draft, Registration
from confd.reports import Report, ReportState
from confd.testing import a_draft, make_shared_store_tests
from tests.controller.shared import NOON, Memory, stored
from tests.controller.store.fixtures import until
from tests.controller.store.postgres.fixtures import ended, new_url, started


def two_stores(test: TestCase, first: Draft) -> Any:
    """Return the stores of two controllers on one database."""
    url = new_url(test)
    return started(test, url, first=first), started(test, url, first=first)


class PostgresSharedStoreTests(make_shared_store_tests(two_stores)):  # type: ignore[misc]
    """See L{make_shared_store_tests}."""


#: The statements that wait for a lock.
_WAITING = "SELECT query FROM pg_stat_activity WHERE pid IN (SELECT pid FROM pg_locks WHERE NOT granted)"


class SeveralTestCase(TestCase):
    """Controllers on one database."""

    timeout = 60

    def setUp(self) -> None:
        self.url = new_url(self)

    def begin(self, **rest: Any) -> Memory:
        """Return a controller that runs until the test is over."""
        memory = Memory(reactor, started(self, self.url, **rest))
        self.addCleanup(memory.stop)
        return memory

    async def loaded(self, *controllers: Memory) -> None:
        """Wait until they have loaded their memory."""
        await until(lambda: all(each.snapshot.problem() is None for each in controllers))


class MemoryTests(SeveralTestCase):
    """What one controller commits reaches the memory of the others."""

    async def test_all_memories_equal_the_database(self) -> None:
        random = Random(18)
        controllers = [self.begin(), self.begin()]
        await self.loaded(*controllers)
        for _ in range(12):
            await gatherResults([maybeDeferred(self.do, random, controllers) for _ in range(10)])
        expected = await stored(controllers[0].store)
        self.assertTrue(expected["agents"] and expected["outcomes"])
        for each in controllers:
            await each.registry.stopService()
        controllers.append(self.begin())
        await self.loaded(*controllers)
        expected = await stored(controllers[0].store)
        controllers[0].registry.startService()
        controllers[1].registry.startService()
        await until(lambda: all(each.shown() == expected for each in controllers))

    def do(self, random: Random, controllers: list[Memory]) -> Any:
        """Begin something at one of the controllers."""
        here, agent_id = random.choice(controllers), random.choice("abcdef")
        namespace = random.choice(["default", "default", "default", "blue"])
        weights = {"register": 8, "report": 12, "poll": 3, "label": 2, "forget": 1, "block": 1, "unblock": 4,
                   "publish": 1, "namespace": 1}  # fmt: skip
        (kind,) = random.choices(list(weights), list(weights.values()))
        if kind == "register":
            token = random.randbytes(32)
            return ignored(here.store.register(Registration("h", agent_id=agent_id, namespace=namespace), token, NOON))
        if kind == "report":
            tag = here.snapshot.require("default").configuration.tag
            state = random.choice(list(ReportState))
            try:
                report = Report(tag, state, session="s", sequence=random.randrange(10**6))
                return ignored(here.intake.take(agent_id, namespace, report))
            except ConfdError:
                return None
        if kind == "poll":
            return here.registry.polled(agent_id)
        if kind == "publish":
            return ignored(here.store.publish(a_draft(random.randrange(10**6))))
        if kind == "namespace":
            exists = here.snapshot.find("blue") is not None
            change = here.store.retire_namespace if exists else here.store.create_namespace
            return ignored(change("blue" if exists else a_draft(1, namespace="blue")))
        if kind == "label":
            return ignored(here.store.set_labels(agent_id, {"n": str(random.randrange(9))}))
        return ignored(getattr(here.store, kind)(agent_id))

    async def test_hint_brings_a_change_at_once(self) -> None:
        here, there = self.begin(), self.begin()
        await self.loaded(here, there)
        # The poll alone would bring it in an hour.
        there.store.interval = 3600.0
        await there.feed.refresh()
        await until(lambda: there.store._listening.fileno() >= 0)
        await here.store.publish(a_draft(2))
        await until(lambda: there.snapshot.require("default").configuration.version == 2)

    async def test_poll_brings_a_change_without_hints(self) -> None:
        here, there = self.begin(), self.begin()
        await self.loaded(here, there)
        there.store._listening.stopService()
        await here.store.publish(a_draft(2))
        await until(lambda: there.snapshot.require("default").configuration.version == 2)

    async def test_listener_that_lost_its_connection_listens_again(self) -> None:
        here, there = self.begin(), self.begin()
        await self.loaded(here, there)
        await until(lambda: there.store._listening.fileno() >= 0)
        self.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE query = 'LISTEN confd'"
            " AND datname = current_database()"
        )
        there.store.interval = 3600.0
        await there.feed.refresh()
        await until(lambda: self.listeners() == 2)
        await here.store.publish(a_draft(2))
        await until(lambda: there.snapshot.require("default").configuration.version == 2)

    def listeners(self) -> int:
        """Return the connections that listen."""
        return self.execute(
            "SELECT 1 FROM pg_stat_activity WHERE query = 'LISTEN confd' AND datname = current_database()"
        )

    def execute(self, statement: str) -> int:
        """Run a statement in the place of an operator; return the number of rows."""
        with psycopg.connect(DatabaseUrl.parse(self.url).conninfo, autocommit=True) as connection:
            return connection.execute(statement).rowcount  # type: ignore[call-overload,no-any-return]

    async def test_time_from_the_post_at_another_controller(self) -> None:
        """The first report of success tells how long the version took, at whichever controller it arrives."""
        here, there = self.begin(), self.begin()
        await self.loaded(here, there)
        await here.store.register(Registration(agent_id="a"), b"", NOON)
        await here.store.publish(a_draft(2, arrived=reactor.seconds() - 5))  # type: ignore[attr-defined]
        await there.feed.refresh()
        tag = there.snapshot.require("default").configuration.tag
        await there.intake.take("a", "default", Report(tag, ReportState.APPLIED, session="s", sequence=1))
        await there.feed.refresh()
        ((_, outcome),) = there.convergence.reports_of(there.registry.get("a"))
        assert outcome.took is not None
        self.assertGreaterEqual(outcome.took, 5000)
        self.assertLess(outcome.took, 60_000)

    async def test_transaction_waits_for_the_one_before_at_the_head(self) -> None:
        """Keys of rows would refuse it later, and it would run again."""
        first, second = started(self, self.url), started(self, self.url)
        begun: Deferred[None] = Deferred()
        waiting: list[tuple[str]] = []

        def publish_slowly(cursor: PostgresCursor) -> object:
            written = configs.publish(cursor, a_draft(2), 0)
            reactor.callFromThread(begun.callback, None)  # type: ignore[attr-defined]
            while not cursor.execute("SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted)").fetchone()[0]:
                pass
            # A transaction looks at the activity once.
            waiting.extend(cursor.execute(_WAITING).fetchall())
            return written

        written = first._engine.write(publish_slowly)
        await begun
        published = await second.publish(a_draft(3))
        self.assertEqual((await written).value.configuration.version, 2)
        self.assertEqual(published.value.configuration.version, 3)
        self.assertIn("FROM head", waiting[0][0])

    async def test_polls_of_others_are_signs_of_life(self) -> None:
        here, there = self.begin(), self.begin()
        await self.loaded(here, there)
        await here.store.register(Registration(agent_id="a"), b"", NOON)
        await here.feed.refresh()
        here.registry.polled("a")
        await until(lambda: (found := there.registry.find("a")) is not None and found.last_poll == NOON)

    async def test_tokens_that_others_saw_in_use_are_not_replaced(self) -> None:
        here, there = self.begin(), self.begin()
        await self.loaded(here, there)
        for agent_id in "abc":
            await here.store.register(Registration(agent_id=agent_id), agent_id.encode() * 32, NOON)
        await gatherResults([maybeDeferred(each.feed.refresh) for each in (here, there)])
        for agent_id, by_token in (("a", True), ("a", False), ("b", False)):
            here.registry.polled(agent_id, by_token)
        await until(lambda: all(there.registry.get(each).last_poll == NOON for each in "ab"))
        with self.assertRaises(Conflict) as caught:
            await there.registry.register(Registration(agent_id="a"), b"x" * 32)
        self.assertEqual(caught.exception.code, "agent_alive")
        for agent_id in "bc":
            await there.registry.register(Registration(agent_id=agent_id), agent_id.upper().encode() * 32)
        await here.registry.reset_token("a")
        await there.feed.refresh()
        await there.registry.register(Registration(agent_id="a"), b"y" * 32)
        await until(lambda: here.registry.get("a").token == there.registry.get("a").token == b"y" * 32)

    async def test_death_of_a_controller_makes_silence_doubtful(self) -> None:
        killed, stopped, left = (started(self, self.url) for _ in range(3))
        await ended(stopped)
        await maybeDeferred(killed._beats.stopService)
        # The last beat may still be on its way.
        await killed._engine.drain()
        row = f"WHERE id = '{killed._writer.id}'"
        for age, lost in (("5 s", True), ("1 h", False)):
            self.execute(f"UPDATE controllers SET beat_at = clock_timestamp() - interval '{age}' {row}")
            heard = await left.heard()
            self.assertEqual((heard.lost, heard.controllers), (lost, 1))

    async def test_rows_of_a_controller_that_was_forgotten_come_back(self) -> None:
        store = started(self, self.url)
        self.execute("DELETE FROM controllers")
        self.execute("DELETE FROM writers")
        self.assertEqual((await store.publish(a_draft(2))).value.configuration.version, 2)
        self.assertEqual(self.execute("SELECT 1 FROM controllers"), 1)

    async def test_end_of_one_leaves_the_other(self) -> None:
        first, second = started(self, self.url), started(self, self.url)
        await first.publish(a_draft(2))
        await ended(first)
        self.assertEqual((await second.publish(a_draft(3))).value.configuration.version, 3)
        self.assertEqual(self.execute("SELECT 1 FROM controllers"), 1)


def ignored(answer: Any) -> Any:
    """Return an answer whose refusal is one result of several."""
    return answer.addErrback(lambda failure: failure.trap(ConfdError) and None)
