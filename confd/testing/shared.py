"""The contract of stores that several controllers use at the same time."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from itertools import cycle, pairwise

from twisted.internet.defer import gatherResults
from twisted.trial.unittest import TestCase

from confd.audit import verify
from confd.changes import REVISION, Change
from confd.controller.interfaces import IControllerStore
from confd.errors import ConfdError, NotFound
from confd.interfaces.announcements import Claim
from confd.model import DEFAULT_NAMESPACE, Registration
from confd.reports import ReportState
from confd.rollouts.rollout import Rollout
from confd.rollouts.steps import NextStep
from confd.testing.examples import a_draft, a_received_report, an_attempt, an_epoch_change
from confd.testing.rollout_case import NOON, RolloutStoreCase

#: Makes two stores of two controllers on one new database whose first version is the draft.
SharedStoreFixture = Callable[..., tuple[IControllerStore, IControllerStore]]


def make_shared_store_tests(fixture: SharedStoreFixture) -> type[TestCase]:
    """Make the suite of what two controllers must see of one another in one database."""

    class SharedStoreTests(RolloutStoreCase):
        def setUp(self) -> None:
            self.store, self.other = fixture(self, a_draft(1, poll_interval=30))

        async def changes(self, store: IControllerStore, after: int = 0) -> list[Change]:
            """Return all changes that a store shows, whose numbers have no gaps."""
            found: list[Change] = []
            while True:
                batch = await store.changes(after)
                self.assertTrue(batch.complete)
                found += batch.changes
                if not batch.changes:
                    break
                after = found[-1].seq
            self.assertTrue(all(before.seq + 1 == each.seq for before, each in pairwise(found)))
            return found

        async def test_versions_of_both_have_no_gaps(self) -> None:
            stores = cycle((self.store, self.other))
            written = await gatherResults([next(stores).publish(a_draft(number)) for number in range(40)])
            versions = [each.value.configuration.version for each in written]
            self.assertEqual(sorted(versions), list(range(2, 42)))
            self.assertEqual(await self.versions(self.other), list(range(41, 0, -1)))

        async def test_one_audit_chain(self) -> None:
            stores = cycle((self.store, self.other))
            drafts = [a_draft(number, attempt=an_attempt(number)) for number in range(20)]
            await gatherResults([next(stores).publish(each) for each in drafts])
            entries = await self.other.audit(100, None)
            self.assertEqual([each.number for each in entries], list(range(20, 0, -1)))
            self.assertIsNone(verify(entries).wrong)

        async def test_both_show_all_changes_in_the_order_of_the_commits(self) -> None:
            seq = (await self.store.contents()).seq
            for store, number in zip(cycle((self.store, self.other)), range(6), strict=False):
                await store.publish(a_draft(number))
                await store.register(Registration(agent_id=f"a{number}"), b"", NOON)
                await store.save_reports([a_received_report(f"a{number}", 1)])
            ours, theirs = await self.changes(self.store, seq), await self.changes(self.other, seq)
            self.assertEqual([(each.seq, each.kind, each.subject) for each in ours],
                             [(each.seq, each.kind, each.subject) for each in theirs])  # fmt: skip
            versions = [each.value.version.tag.version for each in theirs if each.kind == REVISION]
            self.assertEqual(versions, list(range(2, 8)))
            kinds = {each.kind for each in theirs}
            self.assertEqual(kinds, {"revision", "registered", "reported"})
            for mine, their in zip(ours, theirs, strict=True):
                if mine.kind == "registered":
                    self.assertEqual(mine.value, their.value)
                elif mine.kind == "reported":
                    self.assertEqual([each for _, each in mine.value], [each for _, each in their.value])

        async def test_token_and_its_successor(self) -> None:
            first, second = secrets.token_bytes(32), secrets.token_bytes(32)
            await self.store.register(Registration(agent_id="a"), first, NOON)
            self.assertEqual(await self.other.find_token(first), "a")
            await self.other.register(Registration(agent_id="a"), second, NOON)
            self.assertEqual([await self.store.find_token(each) for each in (first, second)], [None, "a"])

        async def test_forgotten_agent_stays_forgotten(self) -> None:
            await self.register("a")
            forgotten = self.store.forget("a")
            await self.other.touch({"a": NOON})
            await forgotten
            (verdict,) = (await self.other.save_reports([a_received_report("a", 1)])).value
            self.assertEqual((verdict.kind, await self.other.find("a")), ("unknown_agent", None))
            await self.store.block("a")
            with self.assertRaises(ConfdError) as caught:
                await self.other.register(Registration(agent_id="a"), b"", NOON)
            self.assertEqual(caught.exception.code, "agent_blocked")

        async def test_reports_are_judged_against_all_before(self) -> None:
            await self.register("a")
            kinds = []
            for store, sequence in ((self.store, 1), (self.other, 1), (self.other, 3), (self.store, 2)):
                received = a_received_report("a", 1, ReportState.APPLYING, sequence=sequence)
                kinds += [each.kind for each in (await store.save_reports([received])).value]
            self.assertEqual(kinds, ["taken", "repeated", "taken", "out_of_order"])

        async def test_idempotency_key(self) -> None:
            first = await self.store.publish(a_draft(2, idempotency_key="k"))
            again = await self.other.publish(a_draft(2, idempotency_key="k"))
            self.assertEqual((again.value, again.seq >= first.seq), (first.value, True))

        async def test_retired_namespace(self) -> None:
            await self.store.create_namespace(a_draft(1, namespace="b"))
            await self.other.retire_namespace("b")
            await self.assert_refused(self.store.publish(a_draft(2, namespace="b")), NotFound, "unknown_namespace")

        async def test_new_epoch(self) -> None:
            adopted = "9b9b9b9b-5e6f-4a7b-8c9d-0e1f2a3b4c5d"
            seq = (await self.other.publish(a_draft(2, attempt=an_attempt()))).seq
            await self.store.begin_epoch(an_epoch_change(7, cluster_id=adopted, attempt=an_attempt()))
            found = await self.changes(self.other, seq)
            self.assertEqual([each.kind for each in found], ["identity", "revision"])
            self.assertEqual(found[0].value.cluster_id, adopted)
            made = (await self.other.publish(a_draft(3))).value.configuration
            self.assertEqual((made.epoch, made.version), (7, 4))
            await self.assert_refused(self.other.begin_epoch(an_epoch_change(7)), ConfdError, "epoch_not_higher")

        async def test_one_step_of_a_rollout_has_one_winner(self) -> None:
            """Both decided for the same step; the second one finds it made."""
            stepped = await self.start("a", "b", "c", "d")
            seen = stepped.rollout.step

            def judge(rollout: Rollout, members: object) -> NextStep | None:
                if rollout.step != seen:
                    return None
                return NextStep("paused", rollout.wave, "requested")

            made = await gatherResults([each.step_rollout(self.a_step(judge)) for each in (self.store, self.other)])
            self.assertEqual(sorted(each.value.done for each in made), [False, True])
            rollout, _ = await self.other.rollout(1)
            self.assertEqual((rollout.step, rollout.state), (seen + 1, "paused"))

        async def test_announcement_is_made_by_its_controller_or_claimed_once(self) -> None:
            for each in (self.store, self.other):
                each.announce_to(["A", "B"])
            seq = (await self.store.publish(a_draft(2))).seq
            self.assertEqual([each.is_own(seq) for each in (self.store, self.other)], [True, False])
            claims = [await each.claim(["A"], seq, 0.0) for each in (self.other, self.store)]
            self.assertEqual(claims, [[Claim("A", DEFAULT_NAMESPACE, seq)], []])
            await self.other.announced({("A", DEFAULT_NAMESPACE): seq})
            again = (await self.other.publish(a_draft(3))).seq
            self.assertEqual(await self.store.claim(["A", "B"], again - 1, 0.0), [])
            self.assertEqual(len(await self.store.claim(["A", "B"], again, 0.0)), 2)

        async def test_announced_changes_are_not_claimed(self) -> None:
            self.store.announce_to(["A"])
            await self.store.create_namespace(a_draft(1, namespace="b"))
            await self.store.retire_namespace("b")
            await self.store.create_namespace(a_draft(1, namespace="c"))
            seq = (await self.store.rotate_keys()).seq
            await self.store.register(Registration(agent_id="a"), b"", NOON)
            done = {("A", DEFAULT_NAMESPACE): seq, ("A", "b"): seq, ("A", "c"): seq - 1}
            await self.other.announced(done)
            self.assertEqual(await self.other.claim(["A"], seq, 0.0), [Claim("A", "c", seq)])

        async def test_fresh_announcement_is_not_late(self) -> None:
            self.store.announce_to(["A"])
            seq = (await self.store.publish(a_draft(2))).seq
            self.assertEqual(await self.other.claim(["A"], seq, 3600.0), [])

    return SharedStoreTests
