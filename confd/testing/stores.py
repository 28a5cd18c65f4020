"""What every store must do."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import TypeVar

from attrs import evolve
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from confd.codec import strict_json
from confd.controller.interfaces import IControllerStore
from confd.errors import ConfdError, Conflict, Gone, NotFound, PreconditionFailed, Unprocessable
from confd.history import OtherHistory, VersionSummary
from confd.interfaces import IConfigStore, IHealth
from confd.model import DEFAULT_NAMESPACE
from confd.testing.examples import a_draft, an_epoch_change

#: Makes a store that has started, of a new database whose first version is the draft; cleans up after the test. One for
#: L{make_iconfigstore_tests} takes C{keep}, too: how many revisions of a namespace it is to keep.
StoreFixture = Callable[..., IControllerStore]


T = TypeVar("T")


class StoreTests(TestCase):
    """What the contract suites of stores share."""

    store: IControllerStore

    async def assert_refused(self, answer: Deferred[T], kind: type[ConfdError], code: str) -> None:
        """Prove that C{answer} fails as the contract says."""
        with self.assertRaises(kind) as caught:
            await answer
        self.assertEqual(caught.exception.code, code)

    async def identity(self) -> tuple[str, int]:
        """Return the cluster id and the epoch."""
        identity = (await self.store.contents()).identity
        return identity.cluster_id, identity.epoch

    async def versions(self, store: IControllerStore, namespace: str = DEFAULT_NAMESPACE) -> list[int]:
        """Return every version in the history of a namespace, newest first."""
        return [each.tag.version for each in await store.history(namespace, 1000, None)]


def make_iconfigstore_tests(fixture: StoreFixture) -> type[TestCase]:
    """Make the contract suite of L{IConfigStore} for the stores that C{fixture} makes."""

    class IConfigStoreTests(StoreTests):
        def setUp(self) -> None:
            self.first = a_draft(1, poll_interval=30, comment="the first version")
            self.store = fixture(self, self.first)

        def test_interface(self) -> None:
            verifyObject(IConfigStore, self.store)
            verifyObject(IHealth, self.store)
            self.assertIsNone(self.store.problem())

        async def test_begins_with_version_one(self) -> None:
            (revision,) = await self.store.current()
            configuration = revision.configuration
            cluster_id, epoch = await self.identity()
            self.assertEqual(str(uuid.UUID(cluster_id)), configuration.cluster_id)
            self.assertEqual((epoch, configuration.epoch, configuration.version), (1, 1, 1))
            self.assertEqual(configuration.document, self.first.document)
            self.assertEqual(await self.store.history(DEFAULT_NAMESPACE, 10, None), [VersionSummary.of(revision)])

        async def test_publish(self) -> None:
            revision = (
                await self.store.publish(a_draft(2, poll_interval=7, comment="why", rollback_of=1, author="ann"))
            ).value
            configuration = revision.configuration
            self.assertEqual(configuration.version, 2)
            self.assertEqual(configuration.namespace, DEFAULT_NAMESPACE)
            self.assertEqual(configuration.document, a_draft(2).document)
            self.assertEqual(configuration.poll_interval, 7)
            self.assertEqual((revision.author, revision.comment, revision.rollback_of), ("ann", "why", 1))
            self.assertEqual(await self.store.current(), [revision])
            self.assertEqual(await self.store.revision(DEFAULT_NAMESPACE, 2), revision)
            self.assertEqual((await self.store.history(DEFAULT_NAMESPACE, 1, None)), [VersionSummary.of(revision)])
            self.assertEqual(await self.versions(self.store), [2, 1])

        async def test_keeps_the_text_of_a_document(self) -> None:
            document = strict_json.document({"z": "ü😀", "a": [1, 1.5, None, True], "url": "x"})
            await self.store.publish(a_draft(document=document))
            (revision,) = await self.store.current()
            self.assertEqual(revision.configuration.document, document)

        async def test_keeps_times_to_the_millisecond(self) -> None:
            made_at = datetime(2026, 1, 2, 3, 4, 5, 678912, timezone(timedelta(hours=2)))
            revision = (await self.store.publish(a_draft(made_at=made_at))).value
            moment = revision.configuration.updated_at
            self.assertEqual(moment.isoformat(), "2026-01-02T01:04:05.678000+00:00")

        async def test_keeps_the_current_poll_interval(self) -> None:
            self.assertEqual((await self.store.publish(a_draft(2))).value.configuration.poll_interval, 30)
            self.assertEqual(
                (await self.store.publish(a_draft(3, poll_interval=9))).value.configuration.poll_interval, 9
            )
            self.assertEqual((await self.store.publish(a_draft(4))).value.configuration.poll_interval, 9)

        async def test_refuses_an_unknown_namespace(self) -> None:
            await self.assert_refused(self.store.publish(a_draft(namespace="no")), NotFound, "unknown_namespace")
            await self.assert_refused(self.store.retire_namespace("no"), NotFound, "unknown_namespace")
            self.assertEqual(await self.store.history("no", 10, None), [])

        async def test_expected_tag(self) -> None:
            tag = (await self.store.publish(a_draft(2))).value.configuration.tag
            stale = frozenset({str(evolve(tag, version=1)), "rubbish"})
            for expected in (stale, frozenset[str]()):
                refused = self.store.publish(a_draft(3, expected=expected))
                await self.assert_refused(refused, PreconditionFailed, "version_mismatch")
            self.assertEqual(await self.versions(self.store), [2, 1])
            for expected in (stale | {str(tag)}, frozenset({"*"})):
                await self.store.publish(a_draft(3, expected=expected))
            self.assertEqual(await self.versions(self.store), [4, 3, 2, 1])

        async def test_expected_tag_lets_one_of_many_writers_win(self) -> None:
            (revision,) = await self.store.current()
            expected = frozenset({str(revision.configuration.tag)})
            answers = [self.store.publish(a_draft(number, expected=expected)) for number in range(10)]
            for answer in answers[1:]:
                await self.assert_refused(answer, PreconditionFailed, "version_mismatch")
            self.assertEqual((await answers[0]).value.configuration.version, 2)

        async def test_idempotency_key(self) -> None:
            draft = a_draft(2, idempotency_key="k", expected=frozenset({"*"}))
            first = (await self.store.publish(draft)).value
            await self.store.publish(a_draft(3))
            retry = evolve(draft, made_at=draft.made_at + timedelta(1), expected=frozenset({"stale"}))
            self.assertEqual((await self.store.publish(retry)).value, first)
            for changes in ({"document": a_draft(9).document}, {"poll_interval": 9}, {"comment": "other"}):
                reused = self.store.publish(evolve(draft, **changes))
                await self.assert_refused(reused, Unprocessable, "idempotency_key_reused")
            self.assertEqual(await self.versions(self.store), [3, 2, 1])

        async def test_idempotency_key_of_many_at_once(self) -> None:
            answers = [self.store.publish(a_draft(2, idempotency_key="k")) for _ in range(100)]
            self.assertEqual(len({each.value for each in await gatherResults(answers)}), 1)
            self.assertEqual(await self.versions(self.store), [2, 1])

        async def test_idempotency_key_of_another_namespace(self) -> None:
            await self.store.publish(a_draft(2, idempotency_key="k"))
            created = (await self.store.create_namespace(a_draft(3, namespace="b", idempotency_key="k"))).value
            self.assertEqual(created.configuration.version, 1)

        async def test_refused_draft_does_not_use_up_its_key(self) -> None:
            draft = a_draft(2, idempotency_key="k", expected=frozenset())
            await self.assert_refused(self.store.publish(draft), PreconditionFailed, "version_mismatch")
            await self.store.publish(evolve(draft, document=a_draft(3).document, expected=None))
            self.assertEqual(await self.versions(self.store), [2, 1])

        async def test_namespaces_count_apart(self) -> None:
            created = (await self.store.create_namespace(a_draft(5, namespace="b"))).value
            self.assertEqual((created.configuration.version, created.configuration.poll_interval), (1, 30))
            await self.store.publish(a_draft(6))
            published = (await self.store.publish(a_draft(7, namespace="b", poll_interval=5))).value
            self.assertEqual(published.configuration.version, 2)
            self.assertEqual(
                {each.configuration.namespace: each.configuration.version for each in await self.store.current()},
                {DEFAULT_NAMESPACE: 2, "b": 2},
            )
            exists = self.store.create_namespace(a_draft(8, namespace="b"))
            await self.assert_refused(exists, Conflict, "namespace_exists")

        async def test_retry_to_create_a_namespace(self) -> None:
            draft = a_draft(5, namespace="b", idempotency_key="k")
            self.assertEqual(
                (await self.store.create_namespace(draft)).value, (await self.store.create_namespace(draft)).value
            )

        async def test_retired_namespace_goes_on_counting(self) -> None:
            draft = a_draft(5, namespace="b", idempotency_key="k")
            await self.store.create_namespace(draft)
            await self.store.publish(a_draft(6, namespace="b"))
            await self.store.retire_namespace("b")
            self.assertEqual([each.configuration.namespace for each in await self.store.current()], ["default"])
            self.assertEqual(await self.versions(self.store, "b"), [2, 1])
            await self.assert_refused(self.store.publish(a_draft(7, namespace="b")), NotFound, "unknown_namespace")
            await self.assert_refused(self.store.retire_namespace("b"), NotFound, "unknown_namespace")
            again = (await self.store.create_namespace(draft)).value
            self.assertEqual(again.configuration.version, 3)
            self.assertEqual(await self.versions(self.store, "b"), [3, 2, 1])

        async def test_history_in_pages(self) -> None:
            for number in range(2, 8):
                await self.store.publish(a_draft(number))
            for before, expected in ((None, [7, 6, 5]), (5, [4, 3, 2]), (2, [1]), (1, []), (10**30, [7, 6, 5])):
                page = await self.store.history(DEFAULT_NAMESPACE, 3, before)
                self.assertEqual([each.tag.version for each in page], expected)

        async def test_refuses_an_unknown_version(self) -> None:
            for namespace, version in ((DEFAULT_NAMESPACE, 2), (DEFAULT_NAMESPACE, 0), ("no", 1), ("default", 10**30)):
                unknown = self.store.revision(namespace, version)
                await self.assert_refused(unknown, NotFound, "unknown_version")

        async def test_concurrent_writers(self) -> None:
            committed = await gatherResults([self.store.publish(a_draft(number)) for number in range(300)])
            revisions = [each.value for each in committed]
            self.assertEqual([each.configuration.version for each in revisions], list(range(2, 302)))
            kept = await self.store.history(DEFAULT_NAMESPACE, 1000, None)
            self.assertEqual(kept[-2::-1], [VersionSummary.of(revision) for revision in revisions])

        async def test_new_epoch(self) -> None:
            await self.store.create_namespace(a_draft(5, namespace="b", poll_interval=9))
            await self.store.create_namespace(a_draft(6, namespace="c"))
            await self.store.retire_namespace("c")
            revisions = (await self.store.begin_epoch(an_epoch_change(3, comment="restored"))).value
            self.assertEqual(((await self.identity())[1], len(revisions)), (3, 2))
            self.assertCountEqual(revisions, await self.store.current())
            for revision in revisions:
                made = revision.configuration
                before = await self.store.revision(made.namespace, 1)
                same = evolve(before.configuration, epoch=3, version=2, updated_at=made.updated_at)
                self.assertEqual(made, same)
                self.assertEqual((revision.author, revision.comment, revision.rollback_of), ("admin", "restored", None))
            self.assertEqual((await self.store.publish(a_draft(7))).value.configuration.tag.epoch, 3)
            self.assertEqual((await self.store.revision(DEFAULT_NAMESPACE, 1)).configuration.epoch, 1)
            again = (await self.store.create_namespace(a_draft(6, namespace="c"))).value
            self.assertEqual((again.configuration.epoch, again.configuration.version), (3, 2))

        async def test_identity_of_another_cluster(self) -> None:
            (own, _), other = await self.identity(), "9b9b9b9b-5e6f-4a7b-8c9d-0e1f2a3b4c5d"
            (revision,) = (await self.store.begin_epoch(an_epoch_change(8, cluster_id=other))).value
            self.assertEqual(await self.identity(), (other, 8))
            self.assertEqual(str(revision.configuration.tag), "9b9b9b9b.8.2")
            past = await self.store.revision(DEFAULT_NAMESPACE, 1)
            self.assertEqual(past.configuration.cluster_id, own)
            self.assertEqual(
                [each.tag.cluster for each in await self.store.history("default", 9, None)], ["9b9b9b9b", own[:8]]
            )
            stale = a_draft(3, expected=frozenset({str(past.configuration.tag)}))
            await self.assert_refused(self.store.publish(stale), PreconditionFailed, "version_mismatch")
            (back,) = (await self.store.begin_epoch(an_epoch_change(9, cluster_id=own))).value
            self.assertEqual((back.configuration.cluster_id, back.configuration.version), (own, 3))

        async def test_epoch_goes_up_only(self) -> None:
            await self.store.begin_epoch(an_epoch_change(2))
            for changes in ({}, {"cluster_id": str(uuid.uuid4())}):
                for epoch in (1, 2):
                    refused = self.store.begin_epoch(an_epoch_change(epoch, **changes))
                    await self.assert_refused(refused, Conflict, "epoch_not_higher")
            cluster_id, epoch = await self.identity()
            same = self.store.begin_epoch(an_epoch_change(3, cluster_id=cluster_id))
            await self.assert_refused(same, Conflict, "same_cluster")
            self.assertEqual((epoch, await self.versions(self.store)), (2, [2, 1]))

        async def test_newest_are_kept(self) -> None:
            store = fixture(self, self.first, keep=3)
            await store.create_namespace(a_draft(1, namespace="b"))
            await store.publish(a_draft(2, idempotency_key="k"))
            for number in range(3, 7):
                await store.publish(a_draft(number))
            self.assertEqual(await self.versions(store), [6, 5, 4])
            self.assertEqual(await self.versions(store, "b"), [1])
            self.assertEqual(await store.history(DEFAULT_NAMESPACE, 9, 4), [])
            for version in (1, 3):
                await self.assert_refused(store.revision(DEFAULT_NAMESPACE, version), Gone, "version_pruned")
            for version in (0, 7, 10**30):
                await self.assert_refused(store.revision(DEFAULT_NAMESPACE, version), NotFound, "unknown_version")
            self.assertEqual((await store.revision(DEFAULT_NAMESPACE, 4)).configuration.version, 4)
            retry = store.publish(a_draft(2, idempotency_key="k"))
            await self.assert_refused(retry, Gone, "version_pruned")
            await store.begin_epoch(an_epoch_change(2))
            self.assertEqual(await self.versions(store), [7, 6, 5])

        async def test_import(self) -> None:
            past = tuple((number, a_draft(number)) for number in (2, 3))
            revision = (await self.store.publish(a_draft(4, poll_interval=9, continues=OtherHistory(4, past)))).value
            self.assertEqual((revision.configuration.version, revision.configuration.poll_interval), (4, 9))
            self.assertEqual(await self.versions(self.store), [4, 3, 2, 1])
            self.assertEqual((await self.store.revision("default", 3)).configuration.document, a_draft(3).document)
            self.assertEqual((await self.store.publish(a_draft(5))).value.configuration.version, 5)
            again = a_draft(6, continues=OtherHistory(9))
            await self.assert_refused(self.store.publish(again), Conflict, "already_published")
            forced = (await self.store.publish(evolve(again, continues=OtherHistory(3, force=True)))).value
            self.assertEqual(forced.configuration.version, 6)

        async def test_import_of_a_part(self) -> None:
            past = ((2, a_draft(2)), (5, a_draft(5)), (6, a_draft(6)))
            await self.store.publish(a_draft(7, continues=OtherHistory(7, past)))
            self.assertEqual(await self.versions(self.store), [7, 6, 5])
            for version in (1, 2, 4):
                await self.assert_refused(self.store.revision(DEFAULT_NAMESPACE, version), Gone, "version_pruned")
            self.assertEqual((await self.store.publish(a_draft(8))).value.configuration.version, 8)

    return IConfigStoreTests
