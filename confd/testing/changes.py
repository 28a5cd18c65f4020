"""The contract of every store that gives changes to the feed."""

from __future__ import annotations

from twisted.internet.defer import gatherResults
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from confd.changes import IDENTITY, KEYS, RETIRED, REVISION, VERSIONS_LISTED, Change, Committed, Published
from confd.errors import ConfdError
from confd.history import VersionSummary
from confd.interfaces import IChangeStore
from confd.model import DEFAULT_NAMESPACE, Revision
from confd.testing.examples import a_draft, an_epoch_change
from confd.testing.stores import StoreFixture, StoreTests


def make_ichangestore_tests(fixture: StoreFixture) -> type[TestCase]:
    """
    Return the contract of L{IChangeStore} as a test case.

    @param fixture: its stores are an L{confd.interfaces.IConfigStore}, too.
    """

    class IChangeStoreTests(StoreTests):
        def setUp(self) -> None:
            self.store = fixture(self, a_draft(1, poll_interval=30))
            self.events: list[str] = []
            self.store.subscribe(lambda: self.events.append("hint"))

        async def changes(self, after: int) -> list[Change]:
            """Return the changes after a number, and that their numbers have no gaps."""
            batch = await self.store.changes(after)
            self.assertTrue(batch.complete)
            found = list(batch.changes)
            self.assertEqual([each.seq for each in found], list(range(after + 1, after + 1 + len(found))))
            return found

        async def seq(self) -> int:
            """Return the number of the last change."""
            seq: int = (await self.store.contents()).seq
            return seq

        def assert_revision(self, change: Change, revision: Revision) -> None:
            """Assert that a change makes a revision current."""
            self.assertEqual((change.kind, change.subject), (REVISION, revision.configuration.namespace))
            self.assertEqual(change.value.version, VersionSummary.of(revision))
            self.assertEqual(change.value.configuration, revision.configuration)

        def test_interface(self) -> None:
            verifyObject(IChangeStore, self.store)

        async def test_contents(self) -> None:
            await self.store.create_namespace(a_draft(1, namespace="b"))
            await self.store.create_namespace(a_draft(1, namespace="c"))
            last = await self.store.retire_namespace("c")
            contents = await self.store.contents()
            self.assertEqual(contents.seq, last.seq)
            self.assertCountEqual(contents.revisions, await self.store.current())
            self.assertEqual(set(contents.versions), {DEFAULT_NAMESPACE, "b"})
            self.assertEqual((contents.identity.epoch, len(contents.identity.keys)), (1, 1))
            self.assertEqual(contents.blocked, frozenset())

        async def test_contents_list_the_newest_versions(self) -> None:
            for number in range(VERSIONS_LISTED + 2):
                await self.store.publish(a_draft(number))
            newest = await self.store.history(DEFAULT_NAMESPACE, VERSIONS_LISTED, None)
            contents = await self.store.contents()
            self.assertEqual(list(contents.versions[DEFAULT_NAMESPACE]), [Published(each) for each in newest])

        async def test_publish(self) -> None:
            before = await self.seq()
            committed = await self.store.publish(a_draft(2, arrived=0.0))
            (change,) = await self.changes(before)
            self.assertEqual(change.seq, committed.seq)
            self.assert_revision(change, committed.value)
            self.assertEqual(change.value.posted, 0.0)
            self.assertGreaterEqual(change.value.commit_ms, 0.0)

        async def test_hint_comes_before_the_result(self) -> None:
            found: list[Change] = []
            before = await self.seq()

            def hint() -> None:
                self.events.append("hint")
                self.store.changes(before).addCallback(lambda batch: found.extend(batch.changes))

            def result(committed: Committed[Revision]) -> Committed[Revision]:
                self.events.append("result")
                return committed

            self.store.subscribe(hint)
            committed = await self.store.publish(a_draft(2)).addCallback(result)
            self.assertEqual(self.events, ["hint", "result"])
            if self.store.interval is None:
                self.assertEqual([each.seq for each in found], [committed.seq])

        async def test_failing_hint_fails_no_write(self) -> None:
            self.store.subscribe(lambda: 1 / 0)
            self.assertEqual((await self.store.publish(a_draft(2))).value.configuration.version, 2)
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

        async def test_replay_makes_no_change(self) -> None:
            first = await self.store.publish(a_draft(2, idempotency_key="k"))
            second = await self.store.publish(a_draft(2, idempotency_key="k"))
            self.assertEqual((second.value, await self.changes(first.seq)), (first.value, []))
            self.assertGreaterEqual(second.seq, first.seq)

        async def test_refused_write_makes_no_change(self) -> None:
            before = await self.seq()
            for refused in (
                self.store.publish(a_draft(2, expected=frozenset())),
                self.store.create_namespace(a_draft(2)),
                self.store.retire_namespace("no"),
                self.store.begin_epoch(an_epoch_change(1)),
            ):
                with self.assertRaises(ConfdError):
                    await refused
            self.assertEqual((await self.changes(before), self.events), ([], []))

        async def test_namespaces(self) -> None:
            before = await self.seq()
            created = await self.store.create_namespace(a_draft(5, namespace="b"))
            await self.store.retire_namespace("b")
            first, second = await self.changes(before)
            self.assert_revision(first, created.value)
            self.assertEqual((second.kind, second.subject, second.value), (RETIRED, "b", None))

        async def test_identity_comes_before_the_revisions_of_its_epoch(self) -> None:
            await self.store.create_namespace(a_draft(5, namespace="b"))
            before, other = await self.seq(), "9b9b9b9b-5e6f-4a7b-8c9d-0e1f2a3b4c5d"
            committed = await self.store.begin_epoch(an_epoch_change(8, cluster_id=other, arrived=0.0))
            identity, *revisions = await self.changes(before)
            self.assertEqual((identity.kind, identity.subject), (IDENTITY, ""))
            self.assertEqual((identity.value.cluster_id, identity.value.epoch), (other, 8))
            self.assertEqual(len(identity.value.keys), 1)
            self.assertEqual(revisions[-1].seq, committed.seq)
            made = {each.configuration.namespace: each for each in committed.value}
            self.assertEqual({each.subject for each in revisions}, set(made))
            for each in revisions:
                self.assert_revision(each, made[each.subject])

        async def test_keys(self) -> None:
            (old,) = (await self.store.contents()).identity.keys
            before = await self.seq()
            committed = await self.store.rotate_keys()
            (change,) = await self.changes(before)
            publics = [key.public for key in change.value.keys]
            self.assertEqual((change.kind, change.subject, change.seq), (KEYS, "", committed.seq))
            self.assertEqual((len(publics), publics[1]), (2, old.public))
            self.assertEqual(publics, [key.public for key in (await self.store.contents()).identity.keys])

        async def test_superseded_revision_has_no_document(self) -> None:
            before = await self.seq()
            await gatherResults([self.store.publish(a_draft(number)) for number in range(2, 5)])
            found = await self.changes(before)
            self.assertEqual([each.value.version.tag.version for each in found], [2, 3, 4])
            self.assertEqual([each.value.configuration is not None for each in found], [False, False, True])

        async def test_many_writers(self) -> None:
            before = await self.seq()
            written = await gatherResults([self.store.publish(a_draft(number)) for number in range(300)])
            found = await self.changes(before)
            versions = {each.seq: each.value.version.tag.version for each in found}
            self.assertEqual(list(versions.values()), [each.value.configuration.version for each in written])
            # The number of a write is that of its transaction, which may hold later changes.
            for each in written:
                self.assertGreaterEqual(versions[each.seq], each.value.configuration.version)

        async def test_changes_that_are_not_kept(self) -> None:
            self.assertFalse((await self.store.changes(-1)).complete)

        async def test_nothing_new(self) -> None:
            self.assertEqual(await self.changes(await self.seq()), [])

    return IChangeStoreTests
