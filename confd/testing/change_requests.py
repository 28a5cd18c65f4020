"""What every store must do that keeps changes which wait for approvals."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from confd.access.change_requests import (
    MAX_PENDING,
    STATES,
    ApplyChange,
    Approval,
    ChangeJudge,
    ChangeRequest,
    ChangeStep,
    Kind,
    Origin,
    Signer,
    Situation,
    State,
)
from confd.changes import CHANGE_REQUEST
from confd.codec import strict_json
from confd.errors import Conflict, Forbidden, NotFound
from confd.interfaces import IChangeRequestStore
from confd.model import Document, Draft
from confd.rollouts.plan import SUPERSEDE
from confd.rollouts.steps import Exposure, NextStep
from confd.testing.examples import a_draft, a_token, an_attempt
from confd.testing.rollout_case import NOON, RolloutStoreCase
from confd.testing.stores import StoreFixture

ALICE = Signer("token alice (aaaaaaaa)", "alice", "alice", "aaaaaaaa")
BOB = Signer("token bob (bbbbbbbb)", "bob", "bob", "bbbbbbbb")
OTHER = strict_json.document({"n": 9, "ключ": [1, 2.5, None]})


def a_change(base_checksum: str, document: Document | None = OTHER, **fields: Any) -> ChangeRequest:
    """Make a change as a caller writes it."""
    checksum = "" if document is None else document.checksum
    change = ChangeRequest(0, "default", "publish", "open", "c", checksum, "b", base_checksum, ALICE, NOON, "why")
    return evolve(change, document=document, **fields)


def to(**fields: Any) -> ChangeJudge:
    """Return a judge that sets fields of a change."""
    return lambda change, situation: ChangeStep(evolve(change, **fields))


def applying(number: int, **fields: Any) -> Draft:
    """Return a draft that applies a change."""
    return evolve(
        a_draft(9, made_at=NOON, **fields),
        document=OTHER,
        applies=ApplyChange(number, lambda change, situation: change),
    )


def make_ichangerequeststore_tests(fixture: StoreFixture) -> type[TestCase]:
    """Make the contract suite of L{IChangeRequestStore} for the stores that C{fixture} makes."""

    class IChangeRequestStoreTests(RolloutStoreCase):
        def setUp(self) -> None:
            self.store = fixture(self, a_draft(1, poll_interval=30))

        async def propose(self, **fields: Any) -> ChangeRequest:
            """Propose a change on the base of now."""
            namespace, rollout = fields.get("namespace", "default"), fields.get("rollout")

            def make(situation: Situation) -> ChangeRequest:
                kind: Kind = "publish" if rollout is None else "replace"
                base, checksum = situation.base_of(kind)
                return a_change(checksum, kind=kind, base=base, **fields)

            made: ChangeRequest = (await self.store.propose_change(namespace, rollout, make)).value
            return made

        async def states(self) -> list[str]:
            """Return the states of all changes, oldest first."""
            return [each.state for each in (await self.store.change_requests("default", STATES, 99, None))[::-1]]

        async def seen(self, number: int, *token_ids: str) -> Situation:
            """Return what a judge sees."""
            seen: list[Situation] = []

            def judge(change: ChangeRequest, situation: Situation) -> None:
                seen.append(situation)

            await self.store.step_change(number, judge, None, token_ids)
            return seen[0]

        def test_interface(self) -> None:
            verifyObject(IChangeRequestStore, self.store)

        async def test_change_comes_back_as_it_was_proposed(self) -> None:
            fields: dict[str, Any] = {
                "rollback_of": 1,
                "plan": "careful",
                "poll_interval": 60,
                "at": NOON,
                "scheduled_by": BOB,
                "comment": "why",
            }
            made = await self.propose(**fields)
            (current,) = await self.store.current()
            there = current.configuration
            wanted = a_change(there.document.checksum, id=1, base=str(there.tag), **fields)
            self.assertEqual(made, wanted)
            self.assertEqual(await self.store.change_request(1), wanted)
            listed = evolve(wanted, document=None)
            self.assertEqual(await self.store.change_requests("default", STATES, 9, None), [listed])
            self.assertEqual(await self.store.pending_changes(), [listed])

        async def test_pages_are_of_one_namespace_and_of_some_states_newest_first(self) -> None:
            await self.store.create_namespace(a_draft(1, namespace="other"))
            for namespace in ("default", "other", "default", "default"):
                await self.propose(namespace=namespace)
            await self.store.step_change(3, to(state="withdrawn"))

            async def page(states: Sequence[State], limit: int, before: int | None) -> list[int]:
                return [each.id for each in await self.store.change_requests("default", states, limit, before)]

            self.assertEqual(await page(STATES, 9, None), [4, 3, 1])
            self.assertEqual(await page(STATES, 2, None), [4, 3])
            self.assertEqual(await page(STATES, 9, 3), [1])
            self.assertEqual(await page(STATES, 9, 10**30), [4, 3, 1])
            self.assertEqual(await page(("withdrawn",), 9, None), [3])
            self.assertEqual([each.id for each in await self.store.pending_changes()], [1, 2, 4])

        async def test_step_is_counted_written_audited_and_in_the_feed(self) -> None:
            await self.propose()
            before = (await self.store.contents()).seq
            approvals = (Approval(BOB, "c", NOON, "fine"), Approval(ALICE, "d", NOON + timedelta(seconds=1)))
            judge = to(state="approved", approvals=approvals)
            made = (await self.store.step_change(1, judge, an_attempt(1))).value
            self.assertEqual((made.state, made.step, made.approvals), ("approved", 2, approvals))
            self.assertEqual(await self.store.change_request(1), made)
            [change] = (await self.store.changes(before)).changes
            self.assertEqual(
                (change.kind, change.subject, change.value), (CHANGE_REQUEST, "default", evolve(made, document=None))
            )
            self.assertEqual([each.detail for each in await self.store.audit(9, None)], ["change 1: approved"])
            dropped = (await self.store.step_change(1, to(approvals=()))).value
            self.assertEqual(dropped.approvals, ())

        async def test_judge_that_wants_nothing_changes_nothing(self) -> None:
            made, before = await self.propose(), (await self.store.contents()).seq
            left = (await self.store.step_change(1, lambda change, situation: None)).value
            self.assertEqual((left, (await self.store.contents()).seq), (made, before))

        async def test_judge_sees_the_namespace_the_policy_and_the_tokens(self) -> None:
            for each in ("aaaaaaaa", "bbbbbbbb", "cccccccc"):
                await self.store.create_token(a_token(each))
            await self.store.revoke_token("bbbbbbbb", NOON)
            await self.store.save_policy("default", {"approvals": 2, "self_approval": True})
            await self.propose()
            (current,) = await self.store.current()
            seen = await self.seen(1, "bbbbbbbb", "dddddddd")
            there = current.configuration
            self.assertEqual((seen.tag, seen.checksum), (there.tag, there.document.checksum))
            self.assertEqual((seen.needed, seen.self_approval), (2, True))
            self.assertEqual(sorted(seen.tokens), ["aaaaaaaa", "bbbbbbbb"])
            self.assertEqual(seen.tokens["bbbbbbbb"].revoked_at, NOON)

        async def test_unknown_change_and_namespace(self) -> None:
            for number in (0, 1, 10**30):
                await self.assert_refused(self.store.change_request(number), NotFound, "unknown_change")
                await self.assert_refused(self.store.step_change(number, to()), NotFound, "unknown_change")
            make = lambda situation: a_change("x")  # noqa: E731
            await self.assert_refused(self.store.propose_change("none", None, make), NotFound, "unknown_namespace")
            draft = applying(1)
            await self.assert_refused(self.store.publish(draft), NotFound, "unknown_change")

        async def test_number_of_pending_changes_is_bounded(self) -> None:
            make = lambda situation: a_change("x")  # noqa: E731
            await gatherResults([self.store.propose_change("default", None, make) for _ in range(MAX_PENDING)])
            await self.assert_refused(self.store.propose_change("default", None, make), Conflict, "too_many_changes")
            await self.store.step_change(1, to(state="rejected"))
            self.assertEqual((await self.propose()).id, MAX_PENDING + 1)

        async def test_publish_applies_its_change_in_the_same_transaction(self) -> None:
            await self.propose(approvals=())
            approval = Approval(BOB, "c", NOON)
            await self.store.step_change(1, to(state="approved", approvals=(approval,)))
            before = (await self.store.contents()).seq
            made = (await self.store.publish(applying(1, attempt=an_attempt(7)))).value
            change = await self.store.change_request(1)
            self.assertEqual((change.state, change.version), ("applied", 2))
            self.assertEqual((change.result, change.document), (str(made.configuration.tag), None))
            self.assertEqual(change.ended_at, made.configuration.updated_at)
            kinds = [each.kind for each in (await self.store.changes(before)).changes]
            self.assertEqual(sorted(kinds), [CHANGE_REQUEST, "revision"])
            [entry, *_] = await self.store.audit(9, None)
            self.assertEqual(entry.detail, f"{change.result}, change 1 approved by {BOB.who}")
            self.assertEqual(await self.store.origins("default", [1, 2, 3]), {2: Origin(1, (approval,))})
            self.assertEqual(await self.store.origins("other", [2]), {})

        async def test_judge_that_refuses_keeps_the_version_and_the_change(self) -> None:
            before = await self.propose()

            def refuse(change: ChangeRequest, situation: Situation) -> ChangeRequest:
                raise Conflict("change_not_approved", "No.")

            draft = evolve(applying(1), applies=ApplyChange(1, refuse))
            await self.assert_refused(self.store.publish(draft), Conflict, "change_not_approved")
            self.assertEqual(await self.store.change_request(1), before)
            self.assertEqual(await self.current(), 1)

        async def test_start_of_a_rollout_applies_its_change(self) -> None:
            await self.propose(plan="canary")
            await self.propose()
            await self.register("a")
            start = self.a_start(Exposure((("a", True),), 1))
            await self.store.start_rollout(evolve(start, draft=applying(1)))
            self.assertEqual(await self.states(), ["applied", "open"])
            await self.step(lambda rollout, _: NextStep("finishing", 2))
            self.assertEqual(await self.states(), ["applied", "stale"])
            self.assertEqual(await self.store.origins("default", [2]), {2: Origin(1)})

        async def test_replace_applies_its_change_and_a_step_moves_the_base_of_another(self) -> None:
            await self.start("a")
            for _ in range(2):
                await self.propose(rollout=1)
            await self.propose()
            self.assertEqual((await self.store.change_request(1)).base, "r1.1")
            await self.step(lambda rollout, _: NextStep("running", 1, draft=applying(1)))
            self.assertEqual(await self.states(), ["applied", "stale", "open"])
            [entry, *_] = await self.store.audit(1, None)
            self.assertTrue(entry.detail.endswith("change 1"), entry.detail)
            self.assertTrue((await self.seen(2)).moved(await self.store.change_request(2)))

        async def test_publish_makes_other_changes_stale(self) -> None:
            for _ in range(3):
                await self.propose()
            await self.store.step_change(2, to(state="withdrawn"))
            await self.store.publish(applying(1))
            self.assertEqual(await self.states(), ["applied", "withdrawn", "stale"])

        async def test_same_document_under_another_tag_makes_no_change_stale(self) -> None:
            await self.start("a")
            await self.propose()
            await self.step(lambda rollout, _: NextStep("aborted", rollout.wave, revert=True))
            await self.store.publish(a_draft(1, made_at=NOON))
            self.assertEqual(await self.states(), ["open"])
            await self.store.publish(a_draft(2, made_at=NOON, rollout=SUPERSEDE))
            self.assertEqual(await self.states(), ["stale"])

        async def test_end_of_a_rollout_makes_its_replacements_stale(self) -> None:
            await self.start("a")
            await self.propose(rollout=1)
            await self.store.publish(a_draft(3, made_at=NOON, rollout=SUPERSEDE))
            self.assertEqual(await self.states(), ["stale"])

        async def test_policy_refuses_every_path_without_a_change(self) -> None:
            await self.start("a")
            await self.store.save_policy("default", {"approvals": 1})
            await self.store.save_policy("new", {"approvals": 1})
            before = await self.versions(self.store)
            step = evolve(self.a_step(lambda rollout, _: NextStep("running", 1, draft=a_draft(3))), delivers=True)
            answers: Sequence[Deferred[Any]] = (
                self.store.publish(a_draft(2, made_at=NOON, rollout=SUPERSEDE)),
                self.store.publish(a_draft(1, made_at=NOON, rollback_of=1, rollout=SUPERSEDE)),
                self.store.create_namespace(a_draft(2, made_at=NOON, namespace="new")),
                self.store.step_rollout(step),
            )
            for answer in answers:
                await self.assert_refused(answer, Forbidden, "approval_required")
            self.assertEqual(await self.versions(self.store), before)
            await self.step(lambda rollout, _: NextStep("aborted", rollout.wave, revert=True))
            start = self.a_start(Exposure((("a", True),), 1))
            await self.assert_refused(self.store.start_rollout(start), Forbidden, "approval_required")

        async def test_undo_needs_no_approval_unless_the_policy_asks_for_one(self) -> None:
            for value in (2, 3):
                await self.store.publish(a_draft(value, made_at=NOON))
            await self.store.save_policy("default", {"approvals": 1})
            self.assertEqual((await self.store.publish(a_draft(2, rollback_of=2))).value.configuration.version, 4)
            await self.assert_refused(self.store.publish(a_draft(3, rollback_of=3)), Forbidden, "approval_required")
            await self.store.save_policy("default", {"rollback_free": False, "approvals": 0})
            await self.store.publish(a_draft(5, made_at=NOON))
            await self.store.save_policy("default", {"approvals": 1})
            await self.assert_refused(self.store.publish(a_draft(2, rollback_of=4)), Forbidden, "approval_required")

        async def test_change_creates_a_retired_namespace_again(self) -> None:
            await self.store.create_namespace(a_draft(1, namespace="team"))
            await self.store.retire_namespace("team")
            await self.store.save_policy("team", {"approvals": 1})
            made = await self.propose(namespace="team")
            self.assertEqual((made.base, made.base_checksum), ("", ""))
            self.assertIsNone((await self.seen(1)).tag)
            revision = (await self.store.create_namespace(applying(1, namespace="team"))).value
            self.assertEqual(revision.configuration.version, 2)
            self.assertEqual((await self.store.change_request(1)).state, "applied")

    return IChangeRequestStoreTests
