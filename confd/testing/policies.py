"""What every store must do that keeps policies."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from confd.access.change_requests import Signer
from confd.access.policies import PlanRequired, Policy
from confd.changes import BREAK_GLASS, POLICY
from confd.controller.interfaces import IPolicyStore
from confd.errors import Conflict
from confd.rollouts.plan import SUPERSEDE
from confd.rollouts.steps import Exposure, NextStep
from confd.testing.examples import a_draft, an_attempt
from confd.testing.freezes import a_freeze, at_noon
from confd.testing.rollout_case import NOON, RolloutStoreCase
from confd.testing.stores import StoreFixture


def make_ipolicystore_tests(fixture: StoreFixture) -> type[TestCase]:
    """Make the contract suite of L{IPolicyStore} for the stores that C{fixture} makes."""

    class IPolicyStoreTests(RolloutStoreCase):
        def setUp(self) -> None:
            self.store = fixture(self, a_draft(1, poll_interval=30))

        def test_interface(self) -> None:
            verifyObject(IPolicyStore, self.store)

        async def test_fields_that_are_not_named_stay(self) -> None:
            self.assertEqual(await self.store.policies(), {})
            first = (await self.store.save_policy("a", {"plan": "careful", "approvals": 2})).value
            second = (await self.store.save_policy("a", {"approvals": 0, "freeze_exempt": True})).value
            self.assertEqual(first, Policy("careful", 2))
            self.assertEqual(second, Policy("careful", freeze_exempt=True))
            other = (await self.store.save_policy("b", {})).value
            self.assertEqual(await self.store.policies(), {"a": second, "b": other})

        async def test_each_change_is_in_the_feed_and_in_the_audit(self) -> None:
            before = (await self.store.contents()).seq
            policy = (await self.store.save_policy("a", {"approvals": 1, "rollback_free": False}, an_attempt(1))).value
            await self.store.save_policy("a", {"approvals": 0, "rollback_free": True}, an_attempt(2))
            changes = (await self.store.changes(before)).changes
            self.assertEqual([(each.kind, each.subject) for each in changes], [(POLICY, "a")] * 2)
            self.assertEqual([each.value for each in changes], [policy, Policy()])
            found = [each.detail for each in await self.store.audit(9, None)]
            self.assertEqual(found, ["defaults", "approvals=1, rollback_free=false"])

        async def test_policy_outlives_its_namespace(self) -> None:
            await self.store.create_namespace(at_noon(2, namespace="team"))
            policy = (await self.store.save_policy("team", {"plan": "canary"})).value
            await self.store.retire_namespace("team")
            self.assertEqual(await self.store.policies(), {"team": policy})

        async def test_exempt_namespace_ignores_freezes(self) -> None:
            await self.store.add_freeze(a_freeze())
            await self.store.save_policy("default", {"freeze_exempt": True})
            await self.store.publish(at_noon(2))
            await self.assert_refused(self.store.create_namespace(at_noon(2, namespace="b")), Conflict, "frozen")
            await self.store.save_policy("b", {"freeze_exempt": True})
            await self.store.create_namespace(at_noon(2, namespace="b"))
            self.assertTrue((await self.start("a")).done)

        async def test_undo_that_is_not_free_is_a_change_like_others(self) -> None:
            await self.store.publish(at_noon(2))
            await self.store.add_freeze(a_freeze())
            await self.store.save_policy("default", {"rollback_free": False})
            undo = at_noon(1, rollback_of=1)
            await self.assert_refused(self.store.publish(undo), Conflict, "frozen")
            await self.store.save_policy("default", {"rollback_free": True})
            self.assertEqual((await self.store.publish(undo)).value.configuration.version, 3)

        async def test_plan_forbids_what_goes_to_all_agents_but_a_free_undo(self) -> None:
            await self.store.publish(at_noon(2))
            await self.store.save_policy("default", {"plan": "canary"})
            undo = at_noon(1, rollback_of=1)
            for draft in (at_noon(3), at_noon(3, rollout=SUPERSEDE), at_noon(2, rollback_of=2)):
                await self.assert_refused(self.store.publish(draft), PlanRequired, "plan_required")
                await self.assert_refused(self.store.check_draft(draft), PlanRequired, "plan_required")
                await self.store.check_draft(draft, 1)
            await self.store.check_draft(undo)
            await self.register("a")
            hasty = self.a_start(Exposure((("a", True),), 1))
            hasty = evolve(hasty, plan=evolve(hasty.plan, waves=()))
            await self.assert_refused(self.store.start_rollout(hasty), PlanRequired, "plan_required")
            await self.store.publish(undo)
            await self.store.save_policy("default", {"rollback_free": False})
            await self.assert_refused(self.store.publish(at_noon(2, rollback_of=2)), PlanRequired, "plan_required")
            self.assertTrue((await self.start("a")).done)

        async def test_retry_of_a_publish_that_became_a_rollout_is_sent_there(self) -> None:
            await self.store.save_policy("default", {"plan": "canary"})
            await self.register("a")
            start = self.a_start(Exposure((("a", True),), 1), idempotency_key="k")
            first = (await self.store.start_rollout(start)).value
            await self.store.save_policy("default", {"plan": "direct"})
            await self.assert_refused(self.store.publish(start.draft), PlanRequired, "plan_required")
            self.assertEqual((await self.store.start_rollout(start)).value.revision, first.revision)

        async def test_break_glass_passes_and_leaves_a_record(self) -> None:
            await self.store.create_namespace(at_noon(2, namespace="team"))
            await self.store.retire_namespace("team")
            for name in ("default", "team"):
                await self.store.save_policy(name, {"plan": "canary", "rollback_free": False})
            await self.store.add_freeze(a_freeze())
            attempt = an_attempt(1, made_at=NOON, break_glass="down")
            before = (await self.store.contents()).seq
            await self.store.publish(at_noon(2, attempt=attempt))
            await self.store.create_namespace(at_noon(2, namespace="team", attempt=attempt))
            await self.start("a", attempt=attempt)
            step = self.a_step(lambda rollout, _: NextStep("finishing", 2))
            await self.assert_refused(self.store.step_rollout(evolve(step, delivers=True)), Conflict, "frozen")
            await self.store.step_rollout(evolve(step, delivers=True, attempt=attempt))
            changes = (await self.store.changes(before)).changes
            found = [each.value for each in changes if each.kind == BREAK_GLASS]
            self.assertEqual(
                [(each.id, each.namespace, each.version, each.rollout, each.reason) for each in found],
                [
                    (1, "default", 2, None, "down"),
                    (2, "team", 2, None, "down"),
                    (3, "default", 3, 1, "down"),
                    (4, "default", None, 1, "down"),
                ],
            )
            reviews = await self.store.pending_changes()
            self.assertEqual(
                [(each.kind, each.state, each.namespace, each.version, each.rollout, each.comment) for each in reviews],
                [("review", "open", each.namespace, each.version, each.rollout, "down") for each in found],
            )
            self.assertEqual({each.author for each in reviews}, {Signer("admin", "admin", "")})
            self.assertEqual(await self.store.origins("default", [2, 3]), {})
            self.assertEqual(await self.store.break_glass_count(), 4)
            self.assertEqual(await self.store.break_glass_reasons("default", [1, 2]), {2: "down"})
            entry = (await self.store.audit(1, None))[0]
            self.assertTrue(entry.action.startswith("break-glass "), entry)
            self.assertTrue(entry.detail.endswith("down"), entry)

        async def test_plan_of_a_policy_stays(self) -> None:
            await self.store.save_plan("night", '{"waves":[{"count":1}]}')
            await self.store.save_policy("default", {"plan": "night"})
            await self.assert_refused(self.store.save_plan("night", '{"waves":[]}'), Conflict, "plan_in_use")
            await self.assert_refused(self.store.remove_plan("night"), Conflict, "plan_in_use")
            await self.store.save_plan("night", '{"waves":[{"count":2}]}')
            await self.store.save_policy("default", {"plan": "direct"})
            await self.store.remove_plan("night")

    return IPolicyStoreTests
