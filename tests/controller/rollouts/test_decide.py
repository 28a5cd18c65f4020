"""Decisions on rollouts: every row of the table, and every pair of events at once."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import product
from typing import Any

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from confd.controller.rollouts.decide import (
    Clocks,
    Counts,
    Surroundings,
    Transition,
    count,
    decide,
    outcome,
    required,
    settled,
)
from confd.rollouts.plan import RolloutPlan, Wave
from confd.rollouts.rollout import Member, Rollout

NOON = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)

BAKE, PATIENCE = 120, 720


def a_wave(**fields: Any) -> Wave:
    return evolve(Wave(100, BAKE, PATIENCE, 0, "abort", count=1), **fields)


def a_rollout(state: Any = "running", wave: int = 1, **fields: Any) -> Rollout:
    """Return a rollout with one wave before the last; C{fields} are those of both waves."""
    last = a_wave(**{name: each for name, each in fields.items() if name not in ("hold", "on_stall")}, count=None)
    plan = RolloutPlan("p", "", False, "rollout", (a_wave(**fields),), last)
    return Rollout(1, "default", 1, 2, plan, state, wave, 1, "", "ann", NOON, NOON)


def a_member(agent_id: str = "a", **fields: Any) -> Member:
    return evolve(Member(agent_id, 1, "picked", True, NOON), **fields)


#: Counts and clocks of a wave that passes its gate, that has failures, that waits, and that is stalled.
GOOD = Counts(applied=2, runs=2), Clocks(10, 2)
FAILING = Counts(applied=1, failed=1, failures=1, runs=1), Clocks(10, 1)
WAITING = Counts(applied=1, pending=1, runs=1), Clocks(10, 1)
STALLED = Counts(applied=1, pending=1, runs=1), Clocks(PATIENCE, 1)
EMPTY = Counts(pending=1), Clocks(PATIENCE, 0)


class DecideTests(SynchronousTestCase):
    def expect(self, rollout: Rollout, seen: tuple[Counts, Clocks], to: str | None, reason: str = "") -> None:
        expected = None if to is None else Transition(to, reason)  # type: ignore[arg-type]
        self.assertEqual(decide(rollout, *seen), expected)

    def test_gate(self) -> None:
        self.expect(a_rollout(), GOOD, "next")
        self.expect(a_rollout(hold=True), GOOD, "paused", "held")
        self.expect(a_rollout("finishing", 2), GOOD, "completed")
        self.expect(a_rollout(), WAITING, None)
        self.expect(a_rollout(quorum=50), WAITING, "next")

    def test_failures(self) -> None:
        for state, wave in (("running", 1), ("finishing", 2), ("paused", 1), ("paused", 2)):
            self.expect(a_rollout(state, wave), FAILING, "aborted", "failures")
            paused = None if state == "paused" else "paused"
            self.expect(a_rollout(state, wave, on_failure="pause"), FAILING, paused, "failures")
        self.expect(a_rollout(max_failures=1), FAILING, "next")

    def test_stalled(self) -> None:
        self.expect(a_rollout(), STALLED, "paused", "stalled")
        self.expect(a_rollout(on_stall="abort"), STALLED, "aborted", "stalled")
        self.expect(a_rollout(on_stall="continue"), STALLED, "next", "stalled")
        self.expect(a_rollout(on_stall="continue", hold=True), STALLED, "paused", "stalled")
        self.expect(a_rollout(on_stall="continue"), EMPTY, "paused", "stalled")
        self.expect(a_rollout("finishing", 2), STALLED, "completed", "stalled")
        self.expect(a_rollout(), (STALLED[0], Clocks(PATIENCE - 0.1, 1)), None)

    def test_paused_waits_for_a_person(self) -> None:
        for seen in (GOOD, STALLED, WAITING, EMPTY):
            self.expect(a_rollout("paused"), seen, None)

    def test_ended_stays_ended(self) -> None:
        for state, seen in product(("completed", "aborted", "superseded"), (GOOD, FAILING, STALLED)):
            self.expect(a_rollout(state), seen, None)

    def test_failures_come_before_the_gate_and_the_gate_before_patience(self) -> None:
        both = Counts(applied=3, failed=1, failures=1, runs=3), Clocks(PATIENCE, 3)
        self.expect(a_rollout(), both, "aborted", "failures")
        self.expect(a_rollout(on_stall="continue", on_failure="pause"), both, "paused", "failures")
        self.expect(a_rollout(on_stall="abort"), (GOOD[0], Clocks(PATIENCE, 2)), "next")

    def test_gate_waits_for_each_check(self) -> None:
        for verdicts, to in (({}, None), ({"slo": True}, None), ({"slo": True, "load": True}, "next")):
            self.expect(evolve(a_rollout(checks=("slo", "load")), verdicts=verdicts), GOOD, to)
        self.expect(evolve(a_rollout("finishing", 2, checks=("slo",)), verdicts={}), GOOD, None)

    def test_failed_check(self) -> None:
        for name in ("slo", "of-no-plan"):
            for seen in (GOOD, WAITING, STALLED):
                for state, wave in (("running", 1), ("finishing", 2), ("paused", 1), ("paused", 2)):
                    failed = evolve(a_rollout(state, wave, checks=("slo",)), verdicts={name: False, "load": True})
                    self.expect(failed, seen, "aborted", "check_failed")
                    lenient = evolve(a_rollout(state, wave, on_failure="pause"), verdicts={name: False})
                    self.expect(lenient, seen, None if state == "paused" else "paused", "check_failed")

    def test_failures_come_before_a_failed_check(self) -> None:
        self.expect(evolve(a_rollout(), verdicts={"slo": False}), FAILING, "aborted", "failures")

    def test_wave_without_its_checks_does_not_continue(self) -> None:
        rollout = a_rollout(on_stall="continue", checks=("slo",))
        self.expect(rollout, STALLED, "paused", "stalled")
        self.expect(evolve(rollout, verdicts={"slo": True}), STALLED, "next", "stalled")

    def test_parallel(self) -> None:
        rollout = evolve(a_rollout(parallel=2), to_expose=3)
        for pending, to in ((0, "more"), (1, "more"), (2, None), (3, None)):
            self.expect(rollout, (Counts(applied=2, pending=pending, runs=2), Clocks(10, 2)), to)
        self.expect(rollout, FAILING, "aborted", "failures")
        self.expect(evolve(rollout, state="paused"), GOOD, None)
        self.expect(evolve(rollout, verdicts={"slo": False}), GOOD, "aborted", "check_failed")
        self.assertIsNone(decide(rollout, *GOOD, frozen=True))
        self.assertEqual(decide(rollout, *FAILING, frozen=True), Transition("aborted", "failures"))

    def test_wave_that_has_agents_to_expose_does_not_pass_but_stalls(self) -> None:
        rollout = evolve(a_rollout(parallel=1), to_expose=1)
        full = Counts(applied=2, pending=1, runs=2)
        self.expect(evolve(rollout, plan=a_rollout(parallel=1, quorum=50).plan), (full, Clocks(10, 2)), None)
        self.expect(rollout, (GOOD[0], Clocks(PATIENCE, 2)), "paused", "stalled")

    def test_limit_must_be_exceeded(self) -> None:
        for limit, failures, to in ((0, 0, "next"), (0, 1, "aborted"), (1, 1, "next"), (1, 2, "aborted")):
            counts = Counts(applied=9, failed=failures, failures=failures, runs=9)
            self.expect(
                a_rollout(max_failures=limit), (counts, Clocks(0, 9)), to, "failures" if failures > limit else ""
            )

    def test_percent_of_failures_is_rounded_down(self) -> None:
        for members, limit in ((49, 0), (50, 1), (99, 1), (100, 2), (0, 0)):
            self.assertEqual(a_wave(max_failures="2%").limit(members), limit)

    def test_unfit_member_never_triggers_a_failure(self) -> None:
        counts = Counts(applied=1, failed=5, runs=1)
        self.expect(a_rollout(), (counts, Clocks(0, 1)), "next")

    def test_wave_of_unfit_members_does_not_pass_without_evidence(self) -> None:
        self.expect(a_rollout(), (Counts(silent=3), Clocks(0, 0)), None)
        self.expect(a_rollout(bake=0), (Counts(failed=3), Clocks(0, 0)), None)


class SettledTests(SynchronousTestCase):
    def test_watched_too_briefly(self) -> None:
        self.assertEqual(settled(a_rollout(), Counts(applied=3, runs=3), Clocks(0, None)), 0)

    def test_without_bake_each_applied_member_is_settled(self) -> None:
        self.assertEqual(settled(a_rollout(bake=0), Counts(applied=3, runs=9), Clocks(0, None)), 3)

    def test_runs_within_the_bake_are_not_settled(self) -> None:
        for before, found in ((5, 3), (4, 2), (1, 0)):
            self.assertEqual(settled(a_rollout(), Counts(applied=3, runs=5), Clocks(0, before)), found)

    def test_required_is_of_applied_and_pending_members(self) -> None:
        for quorum, counts, expected in (
            (100, Counts(applied=2, pending=1), 3),
            (100, Counts(applied=2, failed=7, silent=4), 2),
            (50, Counts(applied=2, pending=1), 2),
            (1, Counts(), 1),
        ):
            self.assertEqual(required(a_rollout(quorum=quorum), counts), expected)

    @given(st.lists(st.tuples(st.floats(0, 500), st.booleans()), max_size=12), st.floats(0, 600))
    def test_never_overstated(self, events: list[tuple[float, bool]], now: float) -> None:
        """Each event either begins a run of a new member or repairs the last one that began."""
        began: list[float] = []
        runs: list[float] = []
        for at, repairs in sorted(event for event in events if event[0] <= now):
            runs.append(at)
            if repairs and began:
                began[-1] = at
            else:
                began.append(at)
        counts = Counts(applied=len(began), runs=len(runs))
        before = sum(at <= now - BAKE for at in runs) if now >= BAKE else None
        exact = sum(at <= now - BAKE for at in began)
        self.assertLessEqual(settled(a_rollout(), counts, Clocks(0, before)), exact)


class OutcomeTests(SynchronousTestCase):
    def test_first_condition_decides(self) -> None:
        around = Surroundings({"s", "x"}, {"s", "x", "u"}, {"d", "x"})
        for member, expected in (
            (a_member(state="failed"), "failed"),
            (a_member(state="applied", repairs=3), "failed"),
            (a_member(state="applied", repairs=2), "applied"),
            (a_member("d", state="applied"), "failed"),
            (a_member("x", state="applied"), "failed"),
            (a_member("s", state="applied"), "silent"),
            (a_member("s", state="failed"), "failed"),
            (a_member("u", state="applied"), "pending"),
            (a_member("u", state="failed"), "failed"),
            (a_member(state="applied"), "applied"),
            (a_member(), "pending"),
        ):
            self.assertEqual(outcome(member, a_rollout(), around), expected, member)

    def test_plan_can_ask_for_a_read_back(self) -> None:
        rollout = a_rollout()
        strict = evolve(rollout, plan=evolve(rollout.plan, verified=True))
        self.assertEqual(outcome(a_member(state="applied"), strict, Surroundings()), "pending")
        self.assertEqual(outcome(a_member(state="applied", verified=True), strict, Surroundings()), "applied")

    @given(
        st.lists(
            st.builds(
                Member,
                st.sampled_from("abcdef"),
                st.just(1),
                st.just("picked"),
                st.booleans(),
                st.just(NOON),
                st.booleans(),
                st.sampled_from(["pending", "applied", "failed"]),
                st.booleans(),
                st.integers(0, 4),
                st.integers(0, 4),
            ),
            unique_by=lambda member: member.agent_id,
        ),
        st.sets(st.sampled_from("abcdef")),
    )
    def test_counts_add_up(self, members: list[Member], silent: set[str]) -> None:
        counts = count(members, a_rollout(), Surroundings(silent))
        self.assertEqual(counts.members, sum(not each.gone for each in members))
        self.assertEqual(counts.runs, sum(each.runs for each in members))
        self.assertLessEqual(counts.failures, counts.failed + counts.silent)
        fit = [each for each in members if each.fit and not each.gone]
        self.assertEqual(count(fit, a_rollout(), Surroundings(silent)).failures, counts.failures)
