"""The choice of the agents of a wave."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from confd.codec.ranks import rank
from confd.controller.agents.compact import CompactAgent
from confd.controller.agents.labels import LabelReader
from confd.controller.rollouts.picking import PoolAgent, all_reported, choose, next_wave, salt_of, target
from confd.model import Tag
from confd.reports import AgentRecord, Report, ReportState
from confd.rollouts.plan import RolloutPlan, Wave
from confd.rollouts.steps import Exposure

NOON = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)


def an_agent(agent_id: str, metadata: str = "", live: bool = True, fit: bool = True, usable: bool = True) -> PoolAgent:
    state = ReportState.APPLIED if fit else ReportState.FAILED
    record = AgentRecord(agent_id, "default", "", metadata, "", NOON, report=Report(Tag("1a2b3c4d", 1, 1), state))
    return PoolAgent(CompactAgent.of(record), LabelReader().of, live, usable)


def a_plan(*waves: Wave, **fields: Any) -> RolloutPlan:
    return evolve(RolloutPlan("p", "", False, "rollout", waves, Wave(100, 0, 600, 0, "abort")), **fields)


def a_wave(**fields: Any) -> Wave:
    return evolve(Wave(100, 0, 600, 0, "abort"), **fields)


def picked(exposure: Exposure) -> set[str]:
    return {agent_id for agent_id, _ in exposure.ranked[: exposure.members]}


class RankTests(SynchronousTestCase):
    def test_vectors(self) -> None:
        self.assertEqual(rank("12", "a1"), 11467491230919439082)
        self.assertEqual(rank("12", "web-17"), 8944248090956126963)

    def test_salt(self) -> None:
        self.assertEqual(salt_of(a_plan(), "edge", 12), "12")
        self.assertEqual(salt_of(a_plan(salt="namespace"), "edge", 12), "edge")


class ChooseTests(SynchronousTestCase):
    def choose(self, wave: Wave, agents: list[PoolAgent], members: set[str] | None = None, **plan: Any) -> Exposure:
        return choose(a_plan(wave, **plan), wave, agents, members or set(), "12")

    def test_target(self) -> None:
        for wave, pool, expected in (
            (a_wave(count=3), 2, 3),
            (a_wave(percent=10), 12, 2),
            (a_wave(percent=10), 0, 1),
            (a_wave(percent=1), 50, 1),
            (a_wave(percent=50), 3, 2),
            (a_wave(percent=100), 7, 7),
        ):
            self.assertEqual(target(wave, pool), expected)

    def test_lowest_rank_comes_first(self) -> None:
        found = self.choose(a_wave(count=1), [an_agent("a1"), an_agent("web-17")])
        self.assertEqual(found, Exposure((("web-17", True), ("a1", True)), 1))

    def test_selectors_of_plan_and_wave_must_both_match(self) -> None:
        agents = [an_agent("a", "stage=canary"), an_agent("b", "stage=canary,env=dev"), an_agent("c")]
        found = self.choose(a_wave(count=9, select="stage=canary"), agents, select="env!=dev")
        self.assertEqual([agent_id for agent_id, _ in found.ranked], ["a"])

    def test_silent_and_duplicate_agents_are_not_eligible(self) -> None:
        agents = [an_agent("a", live=False, fit=True), an_agent("b", usable=False), an_agent("c")]
        self.assertEqual([agent_id for agent_id, _ in self.choose(a_wave(count=9), agents).ranked], ["c"])

    def test_unfit_agents_are_eligible_only_without_a_fit_one(self) -> None:
        self.assertEqual(self.choose(a_wave(count=9), [an_agent("a", fit=False), an_agent("b")]).ranked, (("b", True),))
        self.assertEqual(self.choose(a_wave(count=9), [an_agent("a", fit=False)]).ranked, (("a", False),))

    def test_members_stay_in_the_pool(self) -> None:
        agents = [an_agent("a", live=False), an_agent("b"), an_agent("c")]
        found = self.choose(a_wave(percent=34), agents, {"a"})
        self.assertEqual((len(found.ranked), found.members), (3, 2))

    @given(st.sets(st.text("abcdefgh", min_size=1, max_size=3), max_size=30), st.integers(1, 100), st.integers(1, 100))
    def test_membership_grows_with_the_target(self, ids: set[str], one: int, other: int) -> None:
        agents = [an_agent(agent_id) for agent_id in ids]
        smaller, larger = sorted((one, other))
        few = picked(self.choose(a_wave(percent=smaller), agents))
        self.assertLessEqual(few, picked(self.choose(a_wave(percent=larger), agents[::-1])))

    @given(st.integers(1, 200), st.integers(1, 100))
    def test_percent_is_exact(self, size: int, percent: int) -> None:
        agents = [an_agent(f"a{number}") for number in range(size)]
        found = picked(self.choose(a_wave(percent=percent), agents))
        self.assertEqual(len(found), max(1, -(-percent * size // 100)))


class NextWaveTests(SynchronousTestCase):
    def test_skips_waves_whose_target_is_met(self) -> None:
        plan = a_plan(a_wave(count=1), a_wave(percent=10), a_wave(percent=50))
        agents = [an_agent(f"a{number}") for number in range(4)]
        first = next_wave(plan, 0, agents, (), "12")
        assert first is not None
        self.assertEqual((first[0], first[1].members), (1, 1))
        found = next_wave(plan, 1, agents, picked(first[1]), "12")
        assert found is not None
        self.assertEqual((found[0], found[1].members), (3, 2))

    def test_last_wave_is_everybody_that_has_reported(self) -> None:
        agents = [an_agent("b", live=False), an_agent("a"), an_agent("c", fit=False)]
        last = Exposure((("a", True), ("b", False), ("c", False)), 3)
        self.assertEqual(all_reported(agents), last)
        self.assertEqual(next_wave(a_plan(), 0, agents, (), "12"), (1, last))
        self.assertEqual(next_wave(a_plan(a_wave(count=1)), 1, agents, {"a"}, "12"), (2, last))

    def test_no_eligible_agent(self) -> None:
        for agents in ([], [an_agent("a", live=False)], [an_agent("a", "stage=prod")]):
            self.assertIsNone(next_wave(a_plan(a_wave(count=1, select="stage=canary")), 0, agents, (), "12"))

    def test_wave_that_can_add_some_goes_on_below_its_target(self) -> None:
        found = next_wave(a_plan(a_wave(count=5)), 0, [an_agent("a")], (), "12")
        self.assertEqual(found, (1, Exposure((("a", True),), 5)))
