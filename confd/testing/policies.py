"""What every store must do that keeps policies."""

from __future__ import annotations

from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from confd.access.policies import Policy
from confd.changes import POLICY
from confd.controller.interfaces import IPolicyStore
from confd.errors import Conflict
from confd.testing.examples import a_draft, an_attempt
from confd.testing.freezes import a_freeze, at_noon
from confd.testing.rollout_case import RolloutStoreCase
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

    return IPolicyStoreTests
