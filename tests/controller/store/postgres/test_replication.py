"""A primary server and its standby: commits that nothing confirms, and failovers."""

from __future__ import annotations

import signal
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import DeferredList
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from confd.controller.store.postgres.store import PostgresStore
from confd.controller.store.postgres.url import DatabaseUrl
from confd.errors import Unavailable
from confd.history import VersionSummary
from confd.model import DEFAULT_NAMESPACE, Revision
from confd.testing import a_draft, an_attempt, an_epoch_change
from tests.budgets import budget
from tests.controller.store.fixtures import until
from tests.controller.store.postgres.fixtures import FIRST, ended
from tests.controller.store.postgres.server import PostgresServer, shared_server

NO_STANDBY = "no standby confirms its commits; mend the standby, or remove it from synchronous_standby_names"


class PairTests(TestCase):
    """L{PostgresStore} over a primary server and a standby."""

    timeout = 300
    skip = budget("takes a minute; set CONFD_TEST_BUDGET=full", None)

    def setUp(self) -> None:
        # Skips, where no server can be had.
        shared_server()
        self.primary, self.standby = PostgresServer(), PostgresServer()
        for server in (self.primary, self.standby):
            self.addCleanup(server.remove)
        self.primary.create()
        self.primary.start()
        self.database = self.primary.new_database()
        self.standby.follow(self.primary, "standby")
        self.standby.start()

    def store(self, **rest: Any) -> PostgresStore:
        """Return a store that runs until the test is over."""
        hosts, port = f"{self.primary.folder},{self.standby.folder}", "5432,5432"
        url = DatabaseUrl.parse(f"postgresql://confd@/{self.database}?host={hosts}&port={port}")
        store = PostgresStore(reactor, url, FIRST, **rest)
        self.addCleanup(ended, store)
        store.startService()
        return store

    async def refused(self, answer: Any) -> tuple[str, str]:
        """Return code and sentence of a refusal."""
        with self.assertRaises(Unavailable) as caught:
            await answer
        return caught.exception.code, caught.exception.message

    async def test_replicated(self) -> None:
        """No write is acknowledged without a standby, and none waits for ever."""
        store = self.store(replicated=True)
        code, message = await self.refused(store.publish(a_draft(2)))
        self.assertEqual(code, "not_replicated")
        self.assertIn("name one in synchronous_standby_names.", message)
        self.primary.configure(synchronous_standby_names="standby")
        await until(lambda: store.problem() is None)
        await store.publish(a_draft(3))
        self.standby.stop(signal.SIGKILL)
        self.assertEqual((await self.refused(store.publish(a_draft(4))))[0], "outcome_unknown")
        self.assertIn(NO_STANDBY, store.problem() or "")
        self.assertIn(NO_STANDBY, (await self.refused(store.publish(a_draft(5))))[1])
        # A start does not wait for a standby either.
        await ended(store)
        store = self.store(replicated=True)
        self.standby.start()
        await until(lambda: store.problem() is None)
        self.assertEqual((await store.publish(a_draft(6))).value.configuration.document, a_draft(6).document)

    async def test_failover_loses_nothing(self) -> None:
        """The standby has what was acknowledged; the old primary server may come back."""
        self.primary.configure(synchronous_standby_names="standby")
        store = self.store(replicated=True)
        acknowledged = [(await store.publish(a_draft(n, attempt=an_attempt()))).value for n in range(2, 9)]
        flying = [store.publish(a_draft(n, attempt=an_attempt())) for n in range(9, 14)]
        self.primary.stop(signal.SIGKILL)
        self.standby.promote()
        for good, result in await DeferredList(flying, consumeErrors=True):
            if good:
                acknowledged.append(result.value)
        self.primary.start()
        await until(lambda: store.problem() is not None)
        self.assertIn("has no synchronous standby", store.problem() or "")
        self.primary.stop()
        self.standby.configure(synchronous_standby_names="")
        await ended(store)
        store = self.store()
        made = (await store.publish(a_draft(99, attempt=an_attempt()))).value
        kept = {each.tag.version: each for each in await store.history(DEFAULT_NAMESPACE, 100, None)}
        for each in acknowledged:
            self.assertEqual(kept[each.configuration.version], VersionSummary.of(each))
        self.assertEqual(sorted(kept), list(range(1, made.configuration.version + 1)))

    async def test_failover_with_losses(self) -> None:
        """The promoted standby lacks a change: no write until the epoch is raised."""
        store = self.store()
        await store.publish(a_draft(2, attempt=an_attempt()))
        until_there = "SELECT count(*) FROM revisions"
        await until(lambda: self.on_standby(until_there) == 2)
        self.standby.stop(signal.SIGKILL)
        await store.publish(a_draft(3, attempt=an_attempt()))
        self.primary.stop(signal.SIGKILL)
        self.standby.start()
        self.standby.promote()
        code = ""
        while code != "storage_went_back":
            code, message = await self.refused(store.publish(a_draft(4, attempt=an_attempt())))
        self.assertIn("it is not a continuation of the database", message)
        await store.begin_epoch(an_epoch_change(2, attempt=an_attempt()))
        self.assertEqual((await store.publish(a_draft(5))).value.configuration.epoch, 2)
        # The old primary server is the first host, and has another history.
        self.primary.start()
        self.standby.stop()
        self.standby.start()
        await until(lambda: store.problem() is None)
        made = [await self.published(store, number) for number in range(6, 9)]
        listed = await store.history(DEFAULT_NAMESPACE, 3, None)
        self.assertEqual(listed[::-1], [VersionSummary.of(each) for each in made])
        with self.primary.connect(self.database) as connection:
            newest = connection.execute("SELECT max(version), max(epoch) FROM revisions").fetchone()
        self.assertEqual(newest, (3, 1))

    async def published(self, store: PostgresStore, number: int) -> Revision:
        """Publish a document, once the database can be written."""
        while True:
            try:
                return (await store.publish(a_draft(number, attempt=an_attempt()))).value
            except Unavailable:
                await deferLater(reactor, 0.1)

    def on_standby(self, query: str) -> object:
        """Return the value of a query on the standby."""
        with self.standby.connect(self.database) as connection:
            row = connection.execute(query).fetchone()  # type: ignore[call-overload]
        assert row is not None
        return row[0]
