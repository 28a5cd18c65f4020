"""Publishes that come at once share a transaction, and each has the result that it would have alone."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.trial.unittest import TestCase

from confd.audit import verify
from confd.changes import REVISION
from confd.controller.store.postgres.publishes import may_share
from confd.errors import ConfdError
from confd.model import Document, Draft
from confd.testing import a_draft, an_attempt
from tests.controller.store.postgres.fixtures import new_url, started


class PublishesTests(TestCase):
    """A real server."""

    timeout = 60

    def setUp(self) -> None:
        self.store = self.new_store()

    def new_store(self) -> Any:
        return started(self, new_url(self))

    async def outcomes(self, answers: Sequence[Deferred[Any]]) -> list[object]:
        """Return for each publish its version, or the code of its refusal."""
        found: list[object] = []
        for success, result in await DeferredList(answers, consumeErrors=True):
            if not success:
                assert isinstance(result.value, ConfdError), result
            found.append(result.value.configuration if success else result.value.code)
        return [each if isinstance(each, str) else (each.namespace, each.version) for each in found]  # type: ignore[attr-defined]

    def a_draft(self, random: Random, number: int) -> Draft:
        """Return a draft of any kind."""
        fields = {
            "namespace": random.choice(("default", "default", "other", "held", "missing")),
            "attempt": random.choice((None, an_attempt(number))),
            "expected": random.choice((None, None, frozenset({"*"}), frozenset({"no.1.1"}))),
            "if_changed": random.random() < 0.3,
            "poll_interval": random.choice((None, None, 60)),
            "idempotency_key": random.choice((None, None, "k1", "k2")),
            "comment": "a\x00b",
        }
        return a_draft(random.randrange(3), **fields)

    async def contents(self, store: Any) -> object:
        """Return what publishes leave."""
        entries = await store.audit(200, None)
        self.assertIsNone(verify(entries).wrong)
        versions = {
            name: [(each.tag.version, each.checksum, each.poll_interval, each.comment) for each in found]
            for name in ("default", "other", "held")
            for found in [await store.history(name, 200, None)]
        }
        changes = (await store.changes(0)).changes
        published = [(each.subject, each.value.version.tag.version) for each in changes if each.kind == REVISION]
        return versions, [(each.request_id, each.detail.partition(".")[2]) for each in entries], published

    async def test_results_are_those_of_one_after_the_other(self) -> None:
        random, results = Random(18), list[object]()
        drafts = [self.a_draft(random, number) for number in range(60)]
        for together in (False, True):
            store = self.new_store()
            for name in ("other", "held"):
                await store.create_namespace(a_draft(0, namespace=name))
            await store.save_policy("held", {"approvals": 1})
            if together:
                found = await self.outcomes([store.publish(each) for each in drafts])
                self.assertIn("approval_required", found)
            else:
                found = [outcome for each in drafts for outcome in await self.outcomes([store.publish(each)])]
            results.append((sorted(map(str, found)), await self.contents(store)))
        self.assertEqual(results[1], results[0])

    async def test_they_share_a_transaction(self) -> None:
        await self.store.audit(1, None)
        before = self.store._connections.counts.groups
        found = await self.outcomes([self.store.publish(a_draft(number)) for number in range(2, 40)])
        self.assertEqual(found, [("default", number) for number in range(2, 40)])
        self.assertLessEqual(self.store._connections.counts.groups - before, 2)

    async def test_defect_of_one_fails_alone(self) -> None:
        wrong = a_draft(9, poll_interval=2**40)
        answers = [self.store.publish(each) for each in (a_draft(2), wrong, a_draft(3))]
        found = await DeferredList(answers, consumeErrors=True)
        self.assertEqual([success for success, _ in found], [True, False, True])
        self.assertEqual([each.tag.version for each in await self.store.history("default", 9, None)], [3, 2, 1])

    def test_what_is_published_alone(self) -> None:
        large = Document(b'"' + b"x" * 65_536 + b'"', "")
        self.assertTrue(may_share(a_draft(2)))
        for fields in ({"idempotency_key": "k"}, {"rollout": "abort"}, {"document": large}):
            self.assertFalse(may_share(a_draft(2, **fields)), fields)
