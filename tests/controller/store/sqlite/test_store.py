"""The store as the controller sees it: its contract, over real files and real threads; its life; its troubles."""

from __future__ import annotations

import os
from collections.abc import Sequence

from twisted.internet.defer import gatherResults
from twisted.trial.unittest import TestCase

from confd.controller.store.sqlite.bootstrap import CHECKED_AT_START
from confd.controller.store.sqlite.connection import identity
from confd.controller.store.sqlite.store import (
    PROBE_INTERVAL_SECONDS,
    PROBE_INTERVAL_WHILE_FAILING_SECONDS,
    SqliteStore,
)
from confd.errors import StartError, Unavailable
from confd.history import VersionSummary
from confd.model import DEFAULT_NAMESPACE, Draft, Registration
from confd.testing import (
    a_draft,
    make_iagentstore_tests,
    make_iauditstore_tests,
    make_ichangerequeststore_tests,
    make_ichangestore_tests,
    make_iconfigstore_tests,
    make_ifreezestore_tests,
    make_ipolicystore_tests,
    make_ireportstore_tests,
    make_irolloutstore_tests,
    make_itokenstore_tests,
    make_iwebhookstore_tests,
)
from tests.controller.store.fixtures import (
    ClockAndThreads,
    connect,
    damage,
    ended,
    lock,
    make_database,
    new_path,
    started,
    until,
)


def sqlite_store(test: TestCase, first: Draft, keep: int = 0) -> SqliteStore:
    return started(test, new_path(test), first=first, keep=keep)


class SqliteConfigStoreTests(make_iconfigstore_tests(sqlite_store)):  # type: ignore[misc]
    """L{SqliteStore} is an L{IConfigStore}."""


class SqliteChangeStoreTests(make_ichangestore_tests(sqlite_store)):  # type: ignore[misc]
    """L{SqliteStore} is an L{IChangeStore}."""


class SqliteAgentStoreTests(make_iagentstore_tests(sqlite_store)):  # type: ignore[misc]
    """L{SqliteStore} is an L{IAgentStore}."""


class SqliteAuditStoreTests(make_iauditstore_tests(sqlite_store)):  # type: ignore[misc]
    """L{SqliteStore} is an L{IAuditStore}."""


class SqliteReportStoreTests(make_ireportstore_tests(sqlite_store)):  # type: ignore[misc]
    """L{SqliteStore} is an L{IReportStore}."""


class SqliteChangeRequestStoreTests(make_ichangerequeststore_tests(sqlite_store)):  # type: ignore[misc]
    """See L{make_ichangerequeststore_tests}."""


class SqliteFreezeStoreTests(make_ifreezestore_tests(sqlite_store)):  # type: ignore[misc]
    """See L{make_ifreezestore_tests}."""


class SqlitePolicyStoreTests(make_ipolicystore_tests(sqlite_store)):  # type: ignore[misc]
    """See L{make_ipolicystore_tests}."""


class SqliteTokenStoreTests(make_itokenstore_tests(sqlite_store)):  # type: ignore[misc]
    """See L{make_itokenstore_tests}."""


class SqliteWebhookStoreTests(make_iwebhookstore_tests(sqlite_store)):  # type: ignore[misc]
    """See L{make_iwebhookstore_tests}."""

    async def test_change_that_cannot_be_described_is_not_made(self) -> None:
        def fail(change: object, attempt: object) -> Sequence[bytes]:
            raise ZeroDivisionError

        self.store.queue_changes(2, fail, lambda: self.now)
        before = await self.store.current()
        with self.assertRaises(Exception):  # noqa: B017 - the kind of the error is the store's
            await self.store.publish(a_draft(2))
        self.flushLoggedErrors(ZeroDivisionError)
        self.assertEqual(await self.store.current(), before)


class SqliteRolloutStoreTests(make_irolloutstore_tests(sqlite_store)):  # type: ignore[misc]
    """See L{make_irolloutstore_tests}."""


class LifeTests(TestCase):
    """A store that is ended and started again."""

    timeout = 30

    def setUp(self) -> None:
        self.path = new_path(self)

    def test_constructing_opens_nothing(self) -> None:
        SqliteStore(ClockAndThreads(), self.path, a_draft())
        self.assertEqual(os.listdir(os.path.dirname(self.path)), [])

    async def test_keeps_everything(self) -> None:
        store = started(self, self.path)
        committed = await gatherResults([store.publish(a_draft(number)) for number in range(20)])
        answered = (await store.publish(a_draft(99, idempotency_key="k"))).value
        await store.create_namespace(a_draft(5, namespace="b"))
        record = (await store.register(Registration(agent_id="a"), b"", a_draft().made_at)).value
        before = (await store.contents()).identity
        await ended(store)
        revalidate = started(self, self.path)
        after = (await revalidate.contents()).identity
        self.assertEqual((after.cluster_id, after.epoch), (before.cluster_id, before.epoch))
        self.assertEqual([each.public for each in after.keys], [each.public for each in before.keys])
        history = await revalidate.history(DEFAULT_NAMESPACE, 100, None)
        self.assertEqual(history[1:-1], [VersionSummary.of(each.value) for each in committed[::-1]])
        self.assertEqual((await revalidate.publish(a_draft(99, idempotency_key="k"))).value, answered)
        self.assertEqual(len(await revalidate.current()), 2)
        self.assertEqual(await revalidate.load_agents(), [record])

    async def test_end_leaves_the_database_and_its_marker(self) -> None:
        store = started(self, self.path)
        await store.publish(a_draft(2))
        await ended(store)
        self.assertEqual(sorted(os.listdir(os.path.dirname(self.path))), ["controller.db", "controller.db.id"])

    async def test_files_are_private(self) -> None:
        store = started(self, self.path)
        await store.publish(a_draft(2))
        folder = os.path.dirname(self.path)
        modes = {name: os.stat(os.path.join(folder, name)).st_mode & 0o777 for name in os.listdir(folder)}
        self.assertEqual(modes, {f"controller.db{suffix}": 0o600 for suffix in ("", "-wal", "-shm", ".id")})

    async def test_second_controller_is_refused(self) -> None:
        started(self, self.path)
        other = SqliteStore(ClockAndThreads(), self.path, a_draft())
        self.assertIn("in use by another controller", str(self.assertRaises(StartError, other.startService)))

    async def test_stop_waits_for_writes(self) -> None:
        store = started(self, self.path)
        await store.publish(a_draft(2))
        blocker = lock(self, self.path)
        published = [store.publish(a_draft(number)) for number in (3, 4)]
        stopped = store.stopService()
        self.assertNoResult(stopped)
        blocker.rollback()
        await stopped
        self.assertEqual([self.successResultOf(each).value.configuration.version for each in published], [3, 4])
        store.close()

    async def test_writes_of_those_that_stop_later_are_done(self) -> None:
        store = started(self, self.path)
        await store.stopService()
        record = (await store.register(Registration(agent_id="a"), b"", a_draft().made_at)).value
        self.assertEqual(await store.load_agents(), [record])
        store.close()


class ProblemTests(TestCase):
    """Storage that fails is said, and heals alone (promise G12)."""

    timeout = 30

    def setUp(self) -> None:
        self.reactor = ClockAndThreads()
        self.path = new_path(self)
        self.store = started(self, self.path, reactor=self.reactor, busy_timeout=0.02)

    async def assert_unavailable(self, reason: str) -> None:
        """Prove that a publish fails for C{reason}, and that the store says so."""
        with self.assertRaises(Unavailable) as caught:
            await self.store.publish(a_draft(2))
        self.assertEqual(caught.exception.code, "storage_unavailable")
        self.assertIn(reason, caught.exception.message)
        self.assertIn(reason, self.store.problem() or "")

    async def test_locked(self) -> None:
        await self.store.publish(a_draft(2))
        blocker = lock(self, self.path)
        await self.assert_unavailable("another process has locked it")
        self.assertEqual(len(await self.store.current()), 1)
        blocker.rollback()
        revision = (await self.store.publish(a_draft(3))).value
        self.assertEqual(revision.configuration.version, 3)
        self.assertIsNone(self.store.problem())

    async def test_probe_finds_trouble_and_its_end(self) -> None:
        await self.store.publish(a_draft(2))
        blocker = lock(self, self.path)
        self.reactor.clock.advance(PROBE_INTERVAL_SECONDS)
        await until(self.store.problem)
        blocker.rollback()
        await until(lambda: self.reactor.clock.getDelayedCalls())
        self.reactor.clock.advance(PROBE_INTERVAL_WHILE_FAILING_SECONDS)
        await until(lambda: self.store.problem() is None)

    async def test_file_removed_while_running(self) -> None:
        await self.store.publish(a_draft(2))
        os.rename(self.path, self.path + ".away")
        await self.assert_unavailable("its file was removed or replaced")
        self.assertIsNone(identity(self.path))
        os.rename(self.path + ".away", self.path)
        self.assertEqual((await self.store.publish(a_draft(3))).value.configuration.version, 3)

    async def test_damage_found_after_the_start(self) -> None:
        path = new_path(self)
        make_database(path)
        filler = connect(self, path)
        large = "x" * CHECKED_AT_START
        columns = "id, namespace, hostname, metadata, strategy, registered_at"
        filler.execute(f"INSERT INTO agents ({columns}) VALUES ('a', '', '', ?, '', '')", (large,))
        filler.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        filler.close()
        damage(path, CHECKED_AT_START // 2 & ~4095)
        store = started(self, path)
        await until(store.problem)
        self.assertIn("it is damaged", store.problem() or "")
        with self.assertRaises(Unavailable):
            await store.publish(a_draft(2))
        self.assertEqual(len(await store.current()), 1)
