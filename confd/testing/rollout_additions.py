"""What every store must do with writes within a step of a rollout."""

from __future__ import annotations

from attrs import evolve

from confd.changes import EXPOSED, ROLLOUT
from confd.model import DEFAULT_NAMESPACE
from confd.rollouts.steps import Addition, Exposure, NextStep
from confd.testing.examples import a_draft
from confd.testing.rollout_case import RolloutStoreCase, a_verdict


class RolloutAdditionCase(RolloutStoreCase):
    """A part of the suite of L{confd.testing.rollouts.make_irolloutstore_tests}."""

    async def test_verdict_is_kept_for_its_step(self) -> None:
        """Keep a verdict for its step."""
        await self.start("a")
        seq = (await self.store.contents()).seq
        for passed in (False, True):
            added = await self.step(lambda rollout, _, passed=passed: a_verdict(passed))  # type: ignore[misc]
            self.assertEqual((added.done, added.rollout.step, added.rollout.verdicts), (False, 1, {"slo": passed}))
        self.assertEqual((await self.store.rollout(1))[0].verdicts, {"slo": True})
        self.assertEqual((await self.store.open_rollouts())[0][0].verdicts, {"slo": True})
        changes = (await self.store.changes(seq)).changes
        self.assertEqual([(each.kind, each.value.step) for each in changes], [(ROLLOUT, 1)] * 2)
        self.assertEqual([each.detail for each in await self.store.audit(2, None)], ["said"] * 2)
        stepped = await self.step(lambda rollout, _: NextStep("paused", 1, "requested"))
        self.assertEqual((stepped.rollout.verdicts, (await self.store.rollout(1))[0].verdicts), ({}, {}))

    async def test_verdict_that_causes_a_step(self) -> None:
        """Record a verdict and its step in one entry."""
        await self.start("a")
        verdict = a_verdict(False).verdict
        stepped = await self.step(lambda rollout, _: NextStep("paused", 1, "check_failed", verdict=verdict))
        self.assertEqual((stepped.done, stepped.rollout.step, stepped.rollout.verdicts), (True, 2, {}))
        self.assertEqual(len([each for each in await self.store.audit(9, None) if each.action == "rollout"]), 1)

    async def test_wave_in_parallel(self) -> None:
        """Add the members of a wave in parts."""
        await self.register(*"abcde")
        whole = Exposure(tuple((agent_id, True) for agent_id in "abcde"), 4, at_once=2)
        stepped = (await self.store.start_rollout(self.a_start(whole))).value
        self.assertEqual(([each.agent_id for each in stepped.members], stepped.rollout.to_expose), (["a", "b"], 2))
        seq, entries = (await self.store.contents()).seq, await self.store.audit(9, None)
        await self.store.forget("c")
        more = evolve(whole, at_once=1)
        added = await self.step(lambda rollout, _: Addition(more))
        self.assertEqual(([each.agent_id for each in added.members], added.rollout.to_expose), (["a", "b", "d"], 1))
        self.assertEqual((added.done, added.rollout.step, {each.wave for each in added.members}), (False, 1, {1}))
        self.assertEqual(await self.store.rollout(1), (added.rollout, added.members))
        changes = (await self.store.changes(seq)).changes
        self.assertEqual([(each.kind, each.value) for each in changes[1:]], [(EXPOSED, ("d",))])
        self.assertEqual(await self.store.audit(9, None), entries)
        self.assertEqual((await self.store.contents()).lanes[DEFAULT_NAMESPACE].members, ("a", "b", "d"))
        kept = await self.step(lambda rollout, _: NextStep("paused", 1, "requested"))
        self.assertEqual(kept.rollout.to_expose, 1)
        after = await self.step(lambda rollout, _: NextStep("running", 2, exposure=evolve(whole, members=4)))
        self.assertEqual((len(after.members), after.rollout.to_expose), (4, 0))

    async def test_addition_of_nobody_leaves_no_trace(self) -> None:
        """Leave no trace of an empty addition."""
        await self.start("a")
        seq, before = (await self.store.contents()).seq, await self.store.rollout(1)
        await self.step(lambda rollout, _: Addition(Exposure((("gone", True),), 1)))
        self.assertEqual(((await self.store.contents()).seq, await self.store.rollout(1)), (seq, before))

    async def test_replaced_rollout_has_no_agents_to_expose(self) -> None:
        """Forget the rest of a wave with its candidate."""
        await self.register("a", "b")
        whole = Exposure((("a", True), ("b", True)), 2, at_once=1)
        await self.store.start_rollout(self.a_start(whole))
        stepped = await self.step(lambda rollout, _: NextStep("running", 1, draft=a_draft(3)))
        self.assertEqual(stepped.rollout.to_expose, 0)
