"""A SQLite database in PostgreSQL: all of it, or nothing."""

from __future__ import annotations

import sqlite3
from typing import Any

from attrs import evolve
from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from confd.controller.store.migrations import shipped_migrations
from confd.controller.store.postgres.bootstrap import is_empty
from confd.controller.store.postgres.copying import CopiedDatabase, copy_database
from confd.controller.store.postgres.errors import StorageRefusal
from confd.controller.store.postgres.store import PostgresStore
from confd.controller.store.postgres.url import DatabaseUrl
from confd.model import DEFAULT_NAMESPACE, Registration
from confd.testing import a_draft, a_received_report, an_attempt, an_epoch_change
from tests.controller.store import fixtures as sqlite_fixtures
from tests.controller.store.postgres.fixtures import ended
from tests.controller.store.postgres.server import shared_server


class CopyTests(TestCase):
    """L{copy_database}."""

    timeout = 60

    def setUp(self) -> None:
        self.path = sqlite_fixtures.new_path(self)
        self.url = DatabaseUrl.parse(shared_server().url(shared_server().new_database()))

    async def fill(self) -> dict[str, Any]:
        """Return what a SQLite database with a bit of everything holds."""
        store = sqlite_fixtures.started(self, self.path, keep=3)
        for number in range(5):
            await store.publish(a_draft(number, idempotency_key=f"k{number}", attempt=an_attempt()))
        await store.create_namespace(a_draft(7, namespace="b", comment="a\0b"))
        await store.retire_namespace("b")
        for name in "abc":
            await store.register(Registration(agent_id=name), name.encode() * 32, a_draft().made_at)
        await store.save_reports([a_received_report("a", 6)])
        await store.settle([(DEFAULT_NAMESPACE, 3, b"{}")])
        await store.set_labels("b", {"rack": "7"}, an_attempt())
        await store.block("c")
        await store.save_plan("careful", "{}")
        await store.begin_epoch(an_epoch_change(2, attempt=an_attempt()))
        await store.rotate_keys(an_attempt())
        found = await self.everything(store)
        await sqlite_fixtures.ended(store)
        return found

    async def everything(self, store: Any) -> dict[str, Any]:
        """Return what a store tells of its contents."""
        contents = await store.contents()
        return {
            "contents": evolve(contents, seq=0, identity=None),  # type: ignore[arg-type]
            "identity": (contents.identity.cluster_id, contents.identity.epoch),
            "keys": [each.public for each in contents.identity.keys],
            "history": await store.history(DEFAULT_NAMESPACE, 100, None),
            "agents": await store.load_agents(),
            "outcomes": await store.load_outcomes(),
            "summary": await store.summary(DEFAULT_NAMESPACE, 3),
            "token": await store.find_token(b"a" * 32),
            "audit": await store.audit(100, None),
            "plans": await store.plans(),
        }

    def copy(self) -> CopiedDatabase:
        """Copy the database of the test."""
        source = sqlite3.connect(self.path)
        self.addCleanup(source.close)
        with self.url.connect() as connection:
            return copy_database(source, connection, shipped_migrations("postgres"))

    async def test_all_of_it(self) -> None:
        before = await self.fill()
        copied = self.copy()
        self.assertEqual((copied.rows["agents"], copied.rows["audit"]), (2, 8))
        store = PostgresStore(reactor, self.url, keep=3)
        self.addCleanup(ended, store)
        store.startService()
        self.assertEqual(await self.everything(store), before)
        # The numbers go on.
        self.assertEqual((await store.publish(a_draft(9, attempt=an_attempt()))).value.configuration.version, 8)
        again = (await store.publish(a_draft(4, idempotency_key="k4"))).value
        self.assertEqual(again.configuration.version, 6)
        await store.rotate_keys(an_attempt())
        self.assertEqual((await store.contents()).identity.keys[1].public, before["keys"][0])

    async def test_database_in_use(self) -> None:
        await self.fill()
        with self.url.connect() as connection:
            connection.execute("CREATE TABLE other (id int)")
        with self.assertRaisesRegex(StorageRefusal, "database of another program"):
            self.copy()

    async def test_copies_once(self) -> None:
        await self.fill()
        self.copy()
        with self.assertRaisesRegex(StorageRefusal, "it is not empty"):
            self.copy()

    async def test_damaged_rows_are_not_committed(self) -> None:
        await self.fill()
        with sqlite3.connect(self.path) as source:
            for table in ("revisions", "audit"):
                source.execute(f"DROP TRIGGER {table}_never_change{'s' if table == 'audit' else ''}")
        for change, reason in (
            ("UPDATE revisions SET document = '{}' WHERE version = 6", "version 6 of default was damaged"),
            ("UPDATE audit SET who = 'eve' WHERE number = 2", "the audit was damaged"),
        ):
            source = sqlite3.connect(self.path)
            source.execute("BEGIN")
            source.execute(change)
            with self.url.connect() as connection:
                with self.assertRaisesRegex(StorageRefusal, reason):
                    copy_database(source, connection, shipped_migrations("postgres"))
                self.assertTrue(is_empty(connection))
            source.rollback()
            source.close()

    def test_both_databases_have_the_same_columns(self) -> None:
        """What a migration adds to one of them, another one adds to the other."""
        sqlite_fixtures.make_database(self.path)
        with sqlite3.connect(self.path) as source, self.url.connect() as target:
            for script in shipped_migrations("postgres"):
                target.execute(script)
            for (table,) in source.execute("SELECT name FROM sqlite_master WHERE type = 'table'"):
                if table not in ("meta", "probe") and not table.startswith("sqlite_"):
                    columns = {name for _, name, *_ in source.execute(f"PRAGMA table_info({table})")}
                    theirs = target.execute(
                        "SELECT column_name FROM information_schema.columns WHERE table_name = %s", (table,)
                    )
                    self.assertEqual((table, {name for (name,) in theirs}), (table, columns))
