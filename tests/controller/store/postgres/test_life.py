"""The life of a store in PostgreSQL: starts, ends, and a database that lost changes."""

from __future__ import annotations

from typing import Any

import psycopg
from attrs import evolve
from twisted.internet import reactor
from twisted.internet.defer import gatherResults, maybeDeferred
from twisted.trial.unittest import TestCase

from confd.changes import AGENT, IDENTITY, KEYS, LABELS, REGISTERED, RETIRED, REVISION, Batch
from confd.controller.store.migrations import shipped_migrations
from confd.controller.store.postgres.continuity import WentBack, load_state
from confd.controller.store.postgres.cursor import PostgresCursor
from confd.controller.store.postgres.feed_reader import load_changes
from confd.controller.store.postgres.raising import raise_epoch
from confd.controller.store.postgres.url import DatabaseUrl
from confd.errors import Conflict, Unavailable
from confd.history import VersionSummary
from confd.model import DEFAULT_NAMESPACE, Registration
from confd.testing import a_draft, an_attempt, an_epoch_change
from tests.controller.store.fixtures import until
from tests.controller.store.postgres.fixtures import ended, new_url, started


class LifeTests(TestCase):
    """L{PostgresStore} over a real server."""

    timeout = 60

    def setUp(self) -> None:
        self.url = new_url(self)

    def execute(self, *statements: str) -> None:
        """Change the database behind the back of its controllers."""
        with psycopg.connect(DatabaseUrl.parse(self.url).conninfo) as connection:
            # No trigger refuses.
            connection.execute("SET session_replication_role = replica")
            for each in statements:
                connection.execute(each)  # type: ignore[call-overload]

    async def test_keeps_everything(self) -> None:
        store = started(self, self.url)
        committed = await gatherResults([store.publish(a_draft(number)) for number in range(20)])
        answered = (await store.publish(a_draft(99, idempotency_key="k"))).value
        record = (await store.register(Registration(agent_id="a"), b"", a_draft().made_at)).value
        before = await store.contents()
        await ended(store)
        again = started(self, self.url)
        after = await again.contents()
        self.assertEqual((after.identity.cluster_id, after.seq), (before.identity.cluster_id, before.seq))
        self.assertEqual([each.public for each in after.identity.keys], [each.public for each in before.identity.keys])
        history = await again.history(DEFAULT_NAMESPACE, 100, None)
        self.assertEqual(history[1:-1], [VersionSummary.of(each.value) for each in committed[::-1]])
        self.assertEqual((await again.publish(a_draft(99, idempotency_key="k"))).value, answered)
        self.assertEqual(await again.load_agents(), [record])

    async def test_works_on_after_its_end(self) -> None:
        store = started(self, self.url)
        await store.stopService()
        self.assertEqual((await store.publish(a_draft(2))).value.configuration.version, 2)

    async def test_changes_of_another_process(self) -> None:
        """The database holds what the memory of the process that made the changes holds."""
        store = started(self, self.url)
        await store.publish(a_draft(2))
        await store.publish(a_draft(3))
        await store.create_namespace(a_draft(4, namespace="b"))
        await store.retire_namespace("b")
        await store.rotate_keys()
        await store.register(Registration(agent_id="a"), b"1" * 32, a_draft().made_at)
        await store.register(Registration(agent_id="a"), b"2" * 32, a_draft().made_at)
        await store.set_labels("a", {"rack": "7"})
        await store.begin_epoch(an_epoch_change(2))
        own = (await store.changes(0)).changes
        with DatabaseUrl.parse(self.url).connect() as connection:
            batch, _ = load_changes(PostgresCursor(connection), 0, None, reactor.seconds)
        read = batch.changes
        self.assertEqual(
            [(each.seq, each.kind, each.subject) for each in read],
            [(each.seq, each.kind, each.subject) for each in own],
        )
        self.assertEqual({each.kind for each in read}, {REVISION, RETIRED, KEYS, AGENT, LABELS, IDENTITY, REGISTERED})
        for theirs, ours in zip(read, own, strict=True):
            if ours.kind == REVISION:
                self.assertEqual(theirs.value.version, ours.value.version)
                self.assertEqual(theirs.value.configuration, ours.value.configuration)
            elif ours.kind not in (KEYS, IDENTITY):
                self.assertEqual(theirs.value, ours.value)
        self.assertEqual(read[-2].value.epoch, 2)

    async def test_release_ends_once_only_a_newer_one_may_use_the_database(self) -> None:
        ends: list[bool] = []
        store = started(self, self.url, end=lambda: ends.append(True))
        await maybeDeferred(store._beats.stopService)
        # The database serves other tests later.
        known = len(shipped_migrations("postgres"))
        self.addCleanup(self.execute, f"UPDATE schema_version SET version = {known}, readable_by = {known}")
        self.execute("UPDATE schema_version SET version = 900")
        await store._beat()
        self.assertEqual(ends, [])
        self.execute("UPDATE schema_version SET readable_by = 900")
        await store._beat()
        self.assertEqual(ends, [True])

    async def test_no_write_without_a_standby(self) -> None:
        """The server here has none."""
        await ended(started(self, self.url))
        store = started(self, self.url, replicated=True, patience=0.5)
        with self.assertRaisesRegex(Unavailable, "the server has no synchronous standby; name one in") as caught:
            await store.publish(a_draft(2))
        self.assertEqual(caught.exception.code, "not_replicated")
        self.assertEqual((await store.contents()).seq, 0)

    async def test_swept_changes(self) -> None:
        store = started(self, self.url)
        for number in range(3):
            await store.publish(a_draft(number))
        await ended(store)
        self.execute("DELETE FROM changes WHERE seq < 3")
        again = started(self, self.url)
        self.assertEqual([each.seq for each in (await again.changes(2)).changes], [3])
        self.assertEqual(await again.changes(1), Batch((), complete=False))
        self.assertEqual(await again.changes(3), Batch(()))

    async def lose_changes(self, **rest: Any) -> Any:
        """Return a store whose database goes back behind an audited change, and then loses its connections."""
        store = started(self, self.url, patience=0.5, **rest)
        await store.publish(a_draft(2, attempt=an_attempt()))
        await store.publish(a_draft(3, attempt=an_attempt()))
        self.execute(
            "DELETE FROM revisions WHERE version = 3",
            "DELETE FROM changes WHERE seq = 2",
            "DELETE FROM audit WHERE number = 2",
            "UPDATE head SET seq = 1, mark = (SELECT mark FROM changes WHERE seq = 1)",
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid()",
        )
        return store

    async def test_database_that_went_back_takes_no_writes(self) -> None:
        store = await self.lose_changes()
        for refused in (store.publish(a_draft(4, attempt=an_attempt())), store.changes(2)):
            with self.assertRaises(Unavailable) as caught:
                await refused
            self.assertEqual(caught.exception.code, "storage_went_back")
            self.assertIn("it is not a continuation of the database", caught.exception.message)
        self.assertIn("run confdctl epoch raise", store.problem() or "")
        self.assertEqual([each.tag.version for each in await store.history(DEFAULT_NAMESPACE, 9, None)], [2, 1])

    async def test_new_epoch_repairs_a_database_that_went_back(self) -> None:
        store = await self.lose_changes()
        (made,) = (await store.begin_epoch(an_epoch_change(2, attempt=an_attempt()))).value
        self.assertEqual((made.configuration.epoch, made.configuration.version), (2, 3))
        await until(lambda: store.problem() is None)
        self.assertEqual((await store.publish(a_draft(4))).value.configuration.version, 4)

    async def test_new_epoch_that_waited_for_a_refused_write(self) -> None:
        """Agents report all the time, so that a new epoch always waits for the refusal of another write."""
        store = await self.lose_changes()
        refused = [store.publish(a_draft(4, attempt=an_attempt()))]
        raised = store.begin_epoch(an_epoch_change(2, attempt=an_attempt()))
        refused.append(store.publish(a_draft(4, attempt=an_attempt())))
        for each in refused:
            with self.assertRaises(Unavailable) as caught:
                await each
            self.assertEqual(caught.exception.code, "storage_went_back")
        (made,) = (await raised).value
        self.assertEqual((made.configuration.epoch, made.configuration.version), (2, 3))

    async def test_refused_epoch_repairs_nothing(self) -> None:
        store = await self.lose_changes()
        with self.assertRaises(Conflict):
            await store.begin_epoch(an_epoch_change(1, attempt=an_attempt()))
        with self.assertRaisesRegex(Unavailable, "it is not a continuation"):
            await store.publish(a_draft(4, attempt=an_attempt()))

    async def test_automatic_epoch_repairs_a_database_that_went_back(self) -> None:
        store = await self.lose_changes(raise_after=0.0)
        await until(lambda: store.problem() is not None)
        await until(lambda: store.problem() is None)
        made = (await store.publish(a_draft(4))).value
        self.assertEqual((made.configuration.epoch, made.configuration.version), (2, 4))
        entry = (await store.audit(1, None))[0]
        self.assertEqual((entry.who, entry.action, entry.detail), ("confd", "epoch", "epoch 2"))

    async def test_no_automatic_epoch_beyond_another_one(self) -> None:
        await ended(started(self, self.url))
        with DatabaseUrl.parse(self.url).connect() as connection:
            cursor = PostgresCursor(connection)
            now = load_state(cursor)
            for known in (evolve(now, cluster_id=str(now.mark)), evolve(now, epoch=0)):
                with self.assertRaises(WentBack) as caught:
                    raise_epoch(cursor, known, 0)
                self.assertEqual(caught.exception.foreign, known.cluster_id != now.cluster_id)
            self.assertEqual(load_state(cursor).epoch, 1)

    async def test_lost_rows_of_agents_only(self) -> None:
        store = started(self, self.url)
        await store.publish(a_draft(2, attempt=an_attempt()))
        await store.register(Registration(agent_id="a"), b"1" * 32, a_draft().made_at)
        await store.register(Registration(agent_id="a"), b"2" * 32, a_draft().made_at)
        self.execute(
            "DELETE FROM changes WHERE seq = 2",
            "UPDATE head SET seq = 1, mark = (SELECT mark FROM changes WHERE seq = 1)",
            "DELETE FROM agents",
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid()",
        )
        await store.publish(a_draft(3))
        self.assertEqual(await store.changes(1), Batch((), complete=False))
        self.assertEqual((await store.contents()).seq, 2)
        self.assertEqual(await store.load_agents(), [])
