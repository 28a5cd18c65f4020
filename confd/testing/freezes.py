"""What every store must do that keeps freezes."""

from __future__ import annotations

from datetime import time, timedelta
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from confd.access.freezes import Freeze, Weekly, Window
from confd.changes import FREEZE
from confd.controller.interfaces import IFreezeStore
from confd.errors import Conflict, NotFound
from confd.model import Draft
from confd.rollouts.plan import SUPERSEDE
from confd.rollouts.steps import Exposure, Judge, NextStep
from confd.testing.examples import a_draft, an_attempt
from confd.testing.rollout_case import NOON, RolloutStoreCase
from confd.testing.stores import StoreFixture

_HOUR = timedelta(hours=1)


def a_freeze(*namespaces: str, **changes: Any) -> Freeze:
    """Make a freeze for an hour from noon."""
    freeze = Freeze(0, namespaces or ("*",), "why", "admin", NOON, Window(NOON, NOON + _HOUR))
    return evolve(freeze, **changes)


def at_noon(value: int, **fields: Any) -> Draft:
    """Make a draft while L{a_freeze} is active."""
    return a_draft(value, made_at=NOON, **fields)


def _wants(following: NextStep) -> Judge:
    return lambda rollout, members: following


def make_ifreezestore_tests(fixture: StoreFixture) -> type[TestCase]:
    """Make the contract suite of L{IFreezeStore} for the stores that C{fixture} makes."""

    class IFreezeStoreTests(RolloutStoreCase):
        def setUp(self) -> None:
            self.store = fixture(self, a_draft(1, poll_interval=30))

        async def assert_frozen(self, answer: Deferred[Any]) -> None:
            """Prove that a freeze refuses a write, and that nothing was published."""
            before = await self.versions(self.store)
            await self.assert_refused(answer, Conflict, "frozen")
            self.assertEqual(await self.versions(self.store), before)

        def test_interface(self) -> None:
            verifyObject(IFreezeStore, self.store)

        async def test_freeze_comes_back_as_it_was_added(self) -> None:
            weekly = Weekly((4, 5), time(16), time(8, 30), "Europe/Berlin")
            once = (await self.store.add_freeze(a_freeze("a", "pay-*"))).value
            weeks = (await self.store.add_freeze(a_freeze(once=None, weekly=weekly))).value
            self.assertEqual(once, a_freeze("a", "pay-*", id=1))
            self.assertEqual(weeks, a_freeze(id=2, once=None, weekly=weekly))
            self.assertEqual(await self.store.freezes(), [once, weeks])

        async def test_each_change_is_in_the_feed_and_in_the_audit(self) -> None:
            before = (await self.store.contents()).seq
            added = (await self.store.add_freeze(a_freeze("a"), an_attempt(1))).value
            removed = (await self.store.remove_freeze(1, NOON, an_attempt(2))).value
            self.assertEqual(removed, evolve(added, removed_at=NOON))
            found = [(each.kind, each.subject, each.value) for each in (await self.store.changes(before)).changes]
            self.assertEqual(found, [(FREEZE, "1", added), (FREEZE, "1", removed)])
            self.assertEqual([each.detail for each in await self.store.audit(9, None)], ["freeze 1 of a"] * 2)
            self.assertEqual(await self.store.freezes(), [])

        async def test_unknown_freeze(self) -> None:
            await self.assert_refused(self.store.remove_freeze(1, NOON), NotFound, "unknown_freeze")
            await self.store.add_freeze(a_freeze())
            await self.store.remove_freeze(1, NOON)
            await self.assert_refused(self.store.remove_freeze(1, NOON), NotFound, "unknown_freeze")
            self.assertEqual((await self.store.add_freeze(a_freeze())).value.id, 2)

        async def test_publish_and_creation_are_refused_while_a_freeze_is_active(self) -> None:
            await self.store.add_freeze(a_freeze())
            await self.assert_frozen(self.store.publish(at_noon(2)))
            await self.assert_frozen(self.store.publish(at_noon(2, rollout=SUPERSEDE)))
            await self.assert_frozen(self.store.create_namespace(at_noon(2, namespace="new")))
            late = an_attempt(1, made_at=NOON + _HOUR)
            self.assertEqual((await self.store.publish(at_noon(2, attempt=late))).value.configuration.version, 2)
            early = an_attempt(2, made_at=NOON)
            await self.assert_frozen(self.store.publish(a_draft(3, made_at=NOON - _HOUR, attempt=early)))

        async def test_freeze_of_another_namespace_or_a_removed_one_forbids_nothing(self) -> None:
            await self.store.add_freeze(a_freeze("other", "defaul", "def-*"))
            await self.store.add_freeze(a_freeze())
            await self.store.remove_freeze(2, NOON)
            await self.store.publish(at_noon(2))

        async def test_undo_passes_and_no_other_rollback(self) -> None:
            for value in (2, 3):
                await self.store.publish(at_noon(value))
            await self.store.add_freeze(a_freeze())
            await self.assert_frozen(self.store.publish(at_noon(1, rollback_of=1)))
            await self.store.publish(at_noon(2, rollback_of=2))
            await self.assert_frozen(self.store.publish(at_noon(3, rollback_of=3)))

        async def test_version_that_never_became_current_is_no_undo(self) -> None:
            await self.start("a")
            await self.step(lambda rollout, _: NextStep("paused", rollout.wave))
            await self.store.publish(at_noon(3, rollout=SUPERSEDE))
            await self.store.add_freeze(a_freeze())
            await self.assert_frozen(self.store.publish(at_noon(2, rollback_of=2)))
            self.assertEqual((await self.store.publish(at_noon(1, rollback_of=1))).value.configuration.version, 4)

        async def test_start_and_steps_that_deliver_are_refused_and_an_abort_is_not(self) -> None:
            await self.start("a")
            await self.store.add_freeze(a_freeze())
            for following in (NextStep("finishing", 2), NextStep("running", 1, draft=at_noon(3))):
                step = evolve(self.a_step(_wants(following)), delivers=True)
                await self.assert_frozen(self.store.step_rollout(step))
            await self.step(lambda rollout, _: NextStep("paused", rollout.wave))
            await self.step(lambda rollout, _: NextStep("aborted", rollout.wave, revert=True))
            again = self.a_start(Exposure((("a", True),), 1))
            await self.assert_frozen(self.store.start_rollout(evolve(again, draft=evolve(again.draft, made_at=NOON))))

        async def test_refusal_comes_after_the_precondition_and_before_an_open_rollout(self) -> None:
            await self.start("a")
            await self.store.add_freeze(a_freeze())
            await self.assert_frozen(self.store.publish(at_noon(3)))
            with self.assertRaises(Exception) as caught:
                await self.store.publish(at_noon(3, expected=frozenset({"rubbish"})))
            self.assertEqual(getattr(caught.exception, "code", ""), "version_mismatch")

        async def test_retry_of_a_publish_before_the_freeze_gets_its_first_answer(self) -> None:
            first = (await self.store.publish(at_noon(2, idempotency_key="k"))).value
            await self.store.add_freeze(a_freeze())
            self.assertEqual((await self.store.publish(at_noon(2, idempotency_key="k"))).value, first)

    return IFreezeStoreTests
