"""What every store must do with rollouts."""

from __future__ import annotations

from datetime import timedelta

from attrs import evolve
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from confd.changes import EXPOSED, REVISION, ROLLOUT, ReceivedReport
from confd.controller.interfaces import IRolloutStore
from confd.controller.store.rollout_rules import ROLLOUTS_WITH_MEMBERS
from confd.errors import Conflict, NotFound, PreconditionFailed
from confd.model import DEFAULT_NAMESPACE, Registration
from confd.reports import Report, ReportState
from confd.rollouts.errors import no_eligible_agent
from confd.rollouts.plan import SUPERSEDE
from confd.rollouts.rollout import Rollout, StartedWave
from confd.rollouts.steps import Exposure, NextStep
from confd.testing.examples import a_draft, an_attempt, an_epoch_change
from confd.testing.rollout_additions import RolloutAdditionCase
from confd.testing.rollout_case import NOON
from confd.testing.stores import StoreFixture


def make_irolloutstore_tests(fixture: StoreFixture) -> type[TestCase]:
    """Make the contract suite of L{IRolloutStore} for the stores that C{fixture} makes, which takes C{keep}, too."""

    class IRolloutStoreTests(RolloutAdditionCase):
        def setUp(self) -> None:
            self.store = fixture(self, a_draft(1, poll_interval=30))

        def test_interface(self) -> None:
            verifyObject(IRolloutStore, self.store)

        async def test_start_exposes_and_keeps_the_base_current(self) -> None:
            stepped = await self.start("a", "b")
            self.assertEqual((stepped.rollout.base, stepped.rollout.candidate, stepped.rollout.step), (1, 2, 1))
            self.assertEqual([each.agent_id for each in stepped.members], ["a"])
            self.assertEqual(await self.current(), 1)
            self.assertEqual(await self.versions(self.store), [2, 1])
            lanes = (await self.store.contents()).lanes[DEFAULT_NAMESPACE]
            assert lanes.candidate is not None and lanes.configuration is not None
            self.assertEqual((lanes.members, lanes.candidate.tag.version), (("a",), 2))
            self.assertEqual(lanes.configuration.version, 2)
            self.assertEqual(await self.store.rollout(1), (stepped.rollout, stepped.members))
            self.assertEqual(await self.store.open_rollouts(), [(stepped.rollout, stepped.members)])
            self.assertEqual(await self.store.fates(DEFAULT_NAMESPACE, [1, 2]), {2: (1, "open")})
            self.assertEqual(await self.store.next_rollout(), 2)

        async def test_start_skips_agents_that_left(self) -> None:
            await self.register("b", "c")
            ranked = (("a", True), ("b", False), ("c", True))
            stepped = (await self.store.start_rollout(self.a_start(Exposure(ranked, 2)))).value
            self.assertEqual([(each.agent_id, each.fit) for each in stepped.members], [("b", False), ("c", True)])
            self.assertEqual(
                {(each.how, each.state, each.wave) for each in stepped.members}, {("picked", "pending", 1)}
            )

        async def test_refused_start_changes_nothing(self) -> None:
            await self.register("a")
            seq = (await self.store.contents()).seq
            none = self.store.start_rollout(self.a_start(Exposure((("gone", True),), 1)))
            await self.assert_refused(none, Conflict, "no_eligible_agent")
            start = self.a_start(Exposure((("a", True),), 1))
            stale = evolve(start, draft=evolve(start.draft, expected=frozenset({"rubbish"})))
            await self.assert_refused(self.store.start_rollout(stale), PreconditionFailed, "version_mismatch")
            unknown = evolve(start, draft=evolve(start.draft, namespace="no"))
            await self.assert_refused(self.store.start_rollout(unknown), NotFound, "unknown_namespace")
            self.assertEqual((await self.versions(self.store), (await self.store.contents()).seq), ([1], seq))
            self.assertEqual(await self.store.open_rollouts(), [])

        async def test_one_rollout_of_a_namespace_at_a_time(self) -> None:
            await self.start("a")
            again = self.store.start_rollout(self.a_start(Exposure((("a", True),), 1)))
            await self.assert_refused(again, Conflict, "rollout_active")
            await self.assert_refused(self.store.publish(a_draft(3)), Conflict, "rollout_active")
            self.assertEqual(await self.versions(self.store), [2, 1])

        async def test_namespace_with_an_open_rollout_is_not_retired(self) -> None:
            await self.store.create_namespace(a_draft(namespace="x"))
            await self.store.register(Registration(agent_id="x1", namespace="x"), b"", NOON)
            await self.store.start_rollout(self.a_start(Exposure((("x1", True),), 1), namespace="x"))
            await self.assert_refused(self.store.retire_namespace("x"), Conflict, "rollout_active")
            await self.step(lambda rollout, _: NextStep("aborted", rollout.wave, revert=True))
            await self.store.retire_namespace("x")

        async def test_expected_tag_is_that_of_the_base(self) -> None:
            (base,) = await self.store.current()
            await self.start("a")
            draft = a_draft(3, rollout=SUPERSEDE, expected=frozenset({str(base.configuration.tag)}))
            self.assertEqual((await self.store.publish(draft)).value.configuration.version, 3)

        async def test_retry_of_a_start_gets_the_rollout_as_it_is(self) -> None:
            await self.register("a")
            start = self.a_start(Exposure((("a", True),), 1), idempotency_key="k", rollout="canary")
            first = (await self.store.start_rollout(start)).value
            await self.step(lambda rollout, _: NextStep("paused", rollout.wave, "requested"))
            again = (await self.store.start_rollout(start)).value
            self.assertEqual((again.rollout.id, again.rollout.state), (first.rollout.id, "paused"))
            self.assertEqual(again.revision, first.revision)
            self.assertEqual(await self.versions(self.store), [2, 1])

        async def test_reports_move_members(self) -> None:
            await self.start("a", "b")
            await self.report("a", 1, 1)
            self.assertEqual(await self.member("a"), ("pending", 0, 0))
            await self.report("a", 2, 2, ReportState.APPLYING)
            self.assertEqual(await self.member("a"), ("pending", 0, 0))
            await self.report("a", 2, 3)
            self.assertEqual(await self.member("a"), ("applied", 1, 0))
            await self.report("a", 2, 4)
            self.assertEqual(await self.member("a"), ("applied", 1, 0))
            await self.report("a", 2, 5, repairs=1)
            self.assertEqual(await self.member("a"), ("applied", 2, 1))
            await self.report("a", 2, 1, repairs=2, session="another")
            self.assertEqual(await self.member("a"), ("applied", 3, 3))
            await self.report("a", 2, 2, ReportState.FAILED, repairs=2, session="another", error="boom")
            self.assertEqual(await self.member("a"), ("failed", 3, 3))
            _, members = await self.store.rollout(1)
            self.assertEqual([(each.agent_id, each.error) for each in members], [("a", "boom")])

        async def test_repairs_before_the_exposure_do_not_count(self) -> None:
            await self.register("a")
            await self.report("a", 1, 1, repairs=7)
            await self.start("a")
            await self.report("a", 2, 2, repairs=8)
            self.assertEqual(await self.member("a"), ("applied", 1, 1))

        async def test_agent_that_left_keeps_its_runs(self) -> None:
            for leave in (
                lambda: self.store.forget("a"),
                lambda: self.store.register(Registration(agent_id="a", namespace="x"), b"", NOON),
                lambda: self.store.block("a"),
            ):
                stepped = await self.start("a")
                await self.report("a", stepped.rollout.candidate, 1, session=str(stepped.rollout.id))
                await leave()
                rollout, (member,) = await self.store.rollout(stepped.rollout.id)
                self.assertEqual((member.gone, member.runs), (True, 1))
                self.assertEqual((await self.store.contents()).lanes[DEFAULT_NAMESPACE].members, ())
                await self.step(lambda rollout, _: NextStep("aborted", rollout.wave, revert=True), rollout.id)

        async def test_detected_member(self) -> None:
            await self.start("a")
            await self.register("b")
            seq = (await self.store.contents()).seq
            self.assertTrue((await self.store.detect(1, "b", True, NOON)).value)
            self.assertTrue((await self.store.detect(1, "b", True, NOON)).value)
            self.assertFalse((await self.store.detect(1, "stranger", True, NOON)).value)
            changes = (await self.store.changes(seq)).changes
            self.assertEqual([(each.kind, each.value) for each in changes], [(EXPOSED, ("b",))])
            _, members = await self.store.rollout(1)
            self.assertEqual([(each.agent_id, each.how) for each in members], [("a", "picked"), ("b", "detected")])
            await self.step(lambda rollout, _: NextStep("aborted", rollout.wave, revert=True))
            self.assertFalse((await self.store.detect(1, "b", True, NOON)).value)

        async def test_detected_again_after_it_was_forgotten(self) -> None:
            await self.start("a")
            await self.report("a", 2, 1)
            await self.store.forget("a")
            await self.register("a")
            await self.store.detect(1, "a", False, NOON)
            _, (member,) = await self.store.rollout(1)
            self.assertEqual((member.gone, member.fit, member.runs, member.how), (False, False, 1, "detected"))

        async def test_next_wave(self) -> None:
            await self.start("a", "b")
            stepped = await self.step(
                lambda rollout, _: NextStep("running", 2, exposure=Exposure((("b", True), ("a", True)), 2))
            )
            self.assertEqual([(each.agent_id, each.wave) for each in stepped.members], [("a", 1), ("b", 2)])

        async def test_last_wave_makes_the_candidate_current(self) -> None:
            seq = (await self.start("a", "b"), (await self.store.contents()).seq)[1]
            whole = Exposure((("a", True), ("b", True)), 2)
            await self.step(lambda rollout, _: NextStep("finishing", 2, exposure=whole))
            self.assertEqual(await self.current(), 2)
            lanes = (await self.store.contents()).lanes[DEFAULT_NAMESPACE]
            self.assertEqual((lanes.candidate, lanes.members, lanes.open), (None, (), True))
            self.assertEqual(await self.store.fates(DEFAULT_NAMESPACE, [2]), {2: (1, "activated")})
            changes = (await self.store.changes(seq)).changes
            self.assertEqual([each.kind for each in changes], [ROLLOUT, REVISION])
            self.assertEqual(changes[1].value.configuration.version, 2)
            await self.assert_refused(self.store.publish(a_draft(3)), Conflict, "rollout_active")
            await self.step(lambda rollout, _: NextStep("completed", 2))
            self.assertEqual((await self.store.publish(a_draft(3))).value.configuration.version, 3)
            self.assertEqual((await self.store.contents()).lanes, {})

        async def test_abort_publishes_the_document_of_the_base(self) -> None:
            await self.start("a")
            seq = (await self.store.contents()).seq
            stepped = await self.step(lambda rollout, _: NextStep("aborted", 1, "failures", revert=True))
            (current,) = await self.store.current()
            self.assertEqual((current.configuration.version, current.rollback_of), (3, 1))
            self.assertEqual(current.configuration.document, a_draft(1).document)
            self.assertEqual((stepped.rollout.ended_as, stepped.rollout.ended_at), (3, NOON))
            self.assertEqual(await self.store.fates(DEFAULT_NAMESPACE, [2]), {2: (1, "dropped")})
            self.assertEqual([each.kind for each in (await self.store.changes(seq)).changes], [ROLLOUT, REVISION])
            entries = [each for each in await self.store.audit(9, None) if each.action == "rollout"]
            self.assertEqual([each.who for each in entries], ["confd"])

        async def test_abort_in_the_last_wave(self) -> None:
            await self.start("a")
            await self.step(lambda rollout, _: NextStep("finishing", 2, exposure=Exposure((("a", True),), 1)))
            await self.step(lambda rollout, _: NextStep("aborted", 2, revert=True))
            (current,) = await self.store.current()
            self.assertEqual((current.configuration.version, current.rollback_of), (3, 1))

        async def test_replace_keeps_members_and_starts_over(self) -> None:
            await self.start("a", "b")
            await self.report("a", 2, 1, repairs=2)
            draft = a_draft(3)
            stepped = await self.step(lambda rollout, _: NextStep("running", 1, draft=draft))
            self.assertEqual((stepped.rollout.candidate, stepped.rollout.step), (3, 2))
            self.assertEqual(await self.member("a"), ("pending", 1, 0))
            self.assertEqual(await self.current(), 1)
            self.assertEqual(await self.store.fates(DEFAULT_NAMESPACE, [2, 3]), {2: (1, "dropped"), 3: (1, "open")})
            lanes = (await self.store.contents()).lanes[DEFAULT_NAMESPACE]
            assert lanes.configuration is not None
            self.assertEqual((lanes.members, lanes.configuration.version), (("a",), 3))

        async def test_supersede(self) -> None:
            await self.start("a")
            made = (await self.store.publish(a_draft(3, rollout=SUPERSEDE))).value
            self.assertEqual((await self.current(), made.configuration.version), (3, 3))
            rollout, _ = await self.store.rollout(1)
            self.assertEqual((rollout.state, rollout.ended_as), ("superseded", 3))
            self.assertEqual((await self.store.contents()).lanes, {})

        async def test_new_epoch_supersedes_with_the_document_of_the_base(self) -> None:
            await self.start("a")
            (made,) = (await self.store.begin_epoch(an_epoch_change(2))).value
            self.assertEqual((made.configuration.version, made.configuration.document), (3, a_draft(1).document))
            rollout, _ = await self.store.rollout(1)
            self.assertEqual((rollout.state, rollout.ended_as), ("superseded", 3))
            self.assertEqual(await self.current(), 3)

        async def test_accepted_failures_count_no_longer(self) -> None:
            await self.start("a", "b", members=2)
            stepped = await self.step(lambda rollout, _: NextStep("running", 1, accepted={"b"}))
            self.assertEqual([(each.agent_id, each.fit) for each in stepped.members], [("a", True), ("b", False)])

        async def test_judge_that_wants_nothing_leaves_no_trace(self) -> None:
            await self.start("a")
            seq, entries = (await self.store.contents()).seq, await self.store.audit(9, None)
            stepped = await self.step(lambda rollout, members: None)
            self.assertEqual((stepped.done, stepped.rollout.step), (False, 1))
            self.assertEqual((await self.store.contents()).seq, seq)
            self.assertEqual(await self.store.audit(9, None), entries)

        async def test_judge_that_refuses(self) -> None:
            await self.start("a")

            def refuse(rollout: Rollout, members: object) -> NextStep:
                raise no_eligible_agent()

            await self.assert_refused(self.store.step_rollout(self.a_step(refuse)), Conflict, "no_eligible_agent")
            await self.assert_refused(self.store.step_rollout(self.a_step(refuse, 7)), NotFound, "unknown_rollout")
            await self.assert_refused(self.store.rollout(7), NotFound, "unknown_rollout")

        async def test_waves_keep_the_time_of_their_start(self) -> None:
            await self.start("a", "b")
            following = NextStep("finishing", 2, exposure=Exposure((("b", True),), 1))
            at = NOON + timedelta(minutes=1)
            step = evolve(self.a_step(lambda rollout, _: following), at=at)
            stepped = (await self.store.step_rollout(step)).value
            waves = (StartedWave(1, NOON), StartedWave(2, at))
            self.assertEqual(stepped.rollout.started_waves, waves)
            self.assertEqual((await self.store.rollout(1))[0].started_waves, waves)

        async def test_replaced_candidate_starts_its_waves_over(self) -> None:
            await self.start("a")
            at = NOON + timedelta(minutes=1)
            step = self.a_step(lambda rollout, _: NextStep("running", 1, draft=a_draft(3)))
            stepped = (await self.store.step_rollout(evolve(step, at=at))).value
            self.assertEqual(stepped.rollout.started_waves, (StartedWave(1, at),))

        async def test_old_rollouts_keep_counts_in_the_place_of_members(self) -> None:
            await self.start("a", "b", members=2)
            await self.report("a", 2, 1)
            await self.report("b", 2, 1, ReportState.FAILED)
            for number in range(1, ROLLOUTS_WITH_MEMBERS + 1):
                self.assertEqual(len((await self.store.rollout(1))[1]), 2)
                await self.step(lambda rollout, _: NextStep("aborted", 1, revert=True), number)
                await self.start("a")
            rollout, members = await self.store.rollout(1)
            self.assertEqual((rollout.started_waves, list(members)), ((StartedWave(1, NOON, 1, 1, 0),), []))

        async def test_comment_of_a_person(self) -> None:
            await self.start("a")
            following = NextStep("aborted", 1, "requested", revert=True, detail="aborted", comment="too slow")
            await self.step(lambda rollout, _: following)
            self.assertEqual((await self.store.audit(1, None))[0].detail, "aborted: too slow")
            self.assertIn("aborted: too slow", (await self.store.current())[0].comment)

        async def test_took_is_measured_from_the_exposure(self) -> None:
            await self.start("a", "b")
            await self.step(lambda rollout, _: NextStep("finishing", 2, exposure=Exposure((("b", True),), 1)))
            (current,) = await self.store.current()
            report = Report(current.configuration.tag, ReportState.APPLIED, session="s", sequence=1)
            verdicts = await self.store.save_reports(
                [ReceivedReport(agent_id, DEFAULT_NAMESPACE, report, 1e12, NOON) for agent_id in ("a", "b")]
            )
            for verdict in verdicts.value:
                assert verdict.outcome is not None and verdict.outcome.took is not None
                self.assertGreater(verdict.outcome.took, 0)

        async def test_pages(self) -> None:
            for _ in range(3):
                number = (await self.start("a")).rollout.id
                await self.step(lambda rollout, _: NextStep("aborted", 1, revert=True), number)
            await self.start("a")
            found = await self.store.rollouts(DEFAULT_NAMESPACE, ["aborted"], 2, None)
            self.assertEqual([each.id for each in found], [3, 2])
            found = await self.store.rollouts(DEFAULT_NAMESPACE, ["aborted", "running"], 9, 4)
            self.assertEqual([each.id for each in found], [3, 2, 1])
            self.assertEqual(await self.store.rollouts("x", ["running"], 9, None), [])

        async def test_base_and_candidate_are_never_pruned(self) -> None:
            self.store = fixture(self, a_draft(1, poll_interval=30), keep=1)
            await self.start("a")
            for draft in (a_draft(3), a_draft(4)):
                await self.step(lambda rollout, _, draft=draft: NextStep("running", 1, draft=draft))  # type: ignore[misc]
            self.assertEqual((await self.store.revision(DEFAULT_NAMESPACE, 1)).configuration.version, 1)
            await self.step(lambda rollout, _: NextStep("aborted", 1, revert=True))
            self.assertEqual((await self.store.current())[0].configuration.document, a_draft(1).document)

        async def test_plans(self) -> None:
            await self.store.save_plan("b", '{"waves": []}', an_attempt())
            await self.store.save_plan("a", "{}")
            await self.store.save_plan("a", '{"waves": []}')
            self.assertEqual(await self.store.plans(), {"a": '{"waves": []}', "b": '{"waves": []}'})
            await self.store.remove_plan("a")
            await self.assert_refused(self.store.remove_plan("a"), NotFound, "unknown_plan")
            self.assertEqual(list(await self.store.plans()), ["b"])

    return IRolloutStoreTests
