"""The counts of a summary, and the agents that are behind, against a look at every agent."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from confd.controller.agents.liveness import Liveness
from confd.controller.agents.rows import KnownAgents
from confd.controller.convergence.columns import MAX_SORTED_IDS
from confd.controller.convergence.outcomes import TIMES
from confd.controller.convergence.summary import MAX_BEHIND, count_agents
from confd.controller.convergence.times import MAX_CURVE_POINTS, TimeHistogram, curve, percentiles
from confd.controller.convergence.version import AppliedTimes, VersionProgress
from confd.model import Tag
from confd.reports import AgentRecord, Report, ReportState, VersionOutcome
from confd.testing.examples import a_draft, an_agent
from tests.budgets import budget

NOON, TAG = a_draft().made_at, Tag("1a2b3c4d", 1, 2)

#: The state of an agent: of its outcome, the version of its last report, and whether it is silent.
AGENTS = st.dictionaries(
    st.sampled_from("abcdef"),
    st.tuples(st.none() | st.sampled_from(ReportState), st.sampled_from([0, 1, 2, 3]), st.booleans()),
)


class Fleet:
    """What a summary needs of the registry."""

    def __init__(self) -> None:
        self.rows = KnownAgents()
        self.there = Liveness(self.rows.members_of("default"))
        self.find = self.rows.find

    def liveness(self, namespace: str) -> Liveness:
        return self.there

    def count(self, namespace: str) -> int:
        return len(self.there)

    def hear(self, agent_id: str, at: float) -> None:
        """Note a sign of life."""
        agent = self.rows.compact(agent_id)
        assert agent is not None
        self.there.heard(agent.number, at)

    def get(self, agent_id: str) -> AgentRecord:
        found = self.find(agent_id)
        assert found is not None
        return found

    def progress(self) -> VersionProgress:
        """Return the progress of a version that nobody reported."""
        return VersionProgress(TAG, NOON, self.rows.members_of("default"))


def expected(outcome: ReportState | None, reported: int, silent: bool, current: bool) -> str:
    """Return the state of an agent."""
    if outcome is not None and outcome.final:
        return outcome.value
    if not current and reported > TAG.version:
        return "passed"
    if silent:
        return "silent"
    return "pending" if outcome is None else "applying"


class SummaryTests(SynchronousTestCase):
    """L{count_agents}."""

    @settings(max_examples=budget(200, 2000), deadline=None, database=None)
    @given(
        agents=AGENTS,
        current=st.booleans(),
        among=st.none() | st.frozensets(st.sampled_from("abcxyz")),
        per_turn=st.integers(1, 7),
    )
    def test_each_agent_counts_once(
        self, agents: Any, current: bool, among: frozenset[str] | None, per_turn: int
    ) -> None:
        fleet = Fleet()
        progress = fleet.progress()
        for number, (agent_id, (outcome, reported, _)) in enumerate(agents.items()):
            report = Report(evolve(TAG, version=reported), ReportState.APPLIED) if reported else None
            fleet.rows.put(an_agent(agent_id, report=report))
            if outcome is not None:
                progress.record(agent_id, VersionOutcome(outcome, NOON, "why" if number else "", took=float(number)))
        for agent_id in sorted(agents, key=lambda each: not agents[each][2]):
            fleet.hear(agent_id, float(not agents[agent_id][2]))
        fleet.there.sweep(1.0)
        states = {
            agent_id: expected(*state, current)
            for agent_id, state in agents.items()
            if among is None or agent_id in among
        }
        clock, wanted = Clock(), None if among is None else among.__contains__
        counting = Deferred.fromCoroutine(
            count_agents("default", progress, current, fleet, clock, wanted, per_turn)  # type: ignore[arg-type]
        )
        clock.pump([0] * (len(agents) // per_turn + 1))
        counted: Any = self.successResultOf(counting)
        summary = counted.summary
        for state in ("applied", "failed", "applying", "silent", "pending", "passed"):
            self.assertEqual(getattr(summary, state), list(states.values()).count(state), state)
        self.assertEqual(summary.targeted, len(states))
        urgent = ("failed", "silent", "applying", "pending")
        behind = sorted((urgent.index(state), agent_id) for agent_id, state in states.items() if state in urgent)
        self.assertEqual(
            [(each.agent.id, each.state) for each in counted.behind], [(each, urgent[at]) for at, each in behind]
        )
        times = sorted(
            progress.outcomes[agent_id].took or 0.0 for agent_id, state in states.items() if state == "applied"
        )
        self.assertEqual((summary.curve_ms, summary.max_ms), (times, max(times, default=None)))
        for each in counted.behind:
            known = progress.outcomes.get(each.agent.id)
            self.assertEqual(each.error, "" if known is None else known.error)

    def test_agents_behind_are_bounded(self) -> None:
        """C{behind} is for people; the counts have all agents."""
        fleet = Fleet()
        for number in range(MAX_BEHIND + 5):
            agent_id = f"{number:03}"
            fleet.rows.put(an_agent(agent_id))
            fleet.hear(agent_id, 0.0)
        counting = Deferred.fromCoroutine(
            count_agents("default", fleet.progress(), True, fleet, Clock())  # type: ignore[arg-type]
        )
        counted: Any = self.successResultOf(counting)
        self.assertEqual([each.agent.id for each in counted.behind], [f"{each:03}" for each in range(MAX_BEHIND)])
        self.assertEqual(counted.summary.pending, MAX_BEHIND + 5)

    def test_first_agents_of_many_are_found_in_few_turns(self) -> None:
        """Of many agents that are behind, those with the first ids are looked at only."""
        fleet, clock, many = Fleet(), Clock(), 3 * MAX_SORTED_IDS // 2
        for number in reversed(range(many)):
            fleet.rows.put(an_agent(f"{number:05}"))
            fleet.hear(f"{number:05}", 0.0)
        progress = fleet.progress()
        for number in range(250):
            progress.record(f"{number:05}", VersionOutcome(ReportState.APPLIED, NOON))
        counting = Deferred.fromCoroutine(
            count_agents("default", progress, True, fleet, clock, per_turn=100)  # type: ignore[arg-type]
        )
        clock.pump([0] * 3)
        counted: Any = self.successResultOf(counting)
        self.assertEqual([each.agent.id for each in counted.behind], [f"{each:05}" for each in range(250, 350)])
        self.assertEqual((counted.summary.pending, counted.summary.applied), (many - 250, 250))


class TimesTests(SynchronousTestCase):
    """The times of many agents, sorted and in histograms."""

    @settings(max_examples=budget(50, 500), deadline=None, database=None)
    @given(
        times=st.lists(st.integers(0, 70) | st.integers(0, 2**34), max_size=150),
        removed=st.sets(st.integers(0, 150)),
    )
    def test_histogram_is_near_a_sort(self, times: list[int], removed: set[int]) -> None:
        """Each time is at most 1.6 % off; the longest one is exact until it is removed."""
        histogram = TimeHistogram()
        histogram.add(times)
        histogram.remove(times[number] for number in removed if number < len(times))
        left = sorted(time for number, time in enumerate(times) if number not in removed)
        self.assertEqual(len(histogram), len(left))
        for rank, time in enumerate(left):
            self.assertLessEqual(abs(histogram[rank] - time), time / 63, (rank, left))
        if left and not removed:
            self.assertEqual(histogram[len(left) - 1], left[-1])
        self.assertEqual(
            [histogram[rank] for rank in range(len(left))], sorted(histogram[each] for each in range(len(left)))
        )

    @settings(max_examples=budget(50, 500), deadline=None, database=None)
    @given(times=st.lists(st.integers(0, 10**9), max_size=250))
    def test_percentiles_and_curve_of_sorted_times(self, times: list[int]) -> None:
        times.sort()
        every, count, points = [round(each / 1000, 3) for each in times], len(times), MAX_CURVE_POINTS
        found = percentiles(times)
        wanted: Any = (None, None, None)
        if every:
            wanted = (every[(count + 1) // 2 - 1], every[-(-99 * count // 100) - 1], every[-1])
        self.assertEqual((found.p50_ms, found.p99_ms, found.max_ms), wanted)
        evenly = every if count <= points else [every[at * (count - 1) // (points - 1)] for at in range(points)]
        self.assertEqual(curve(times), evenly)


class AppliedTimesTests(SynchronousTestCase):
    """L{AppliedTimes}."""

    @settings(max_examples=budget(100, 1000), deadline=None, database=None)
    @given(
        steps=st.lists(
            st.tuples(
                st.sampled_from(["forget", "move", "gather", *ReportState, ReportState.APPLIED]),
                st.sampled_from("abcd"),
                st.sampled_from([None, 0.5, 700.25, 1e7]),
            ),
            min_size=10,
            max_size=40,
        ),
        most=st.integers(1, 5),
    )
    def test_histograms_have_the_times_of_the_agents_that_applied_it(
        self, steps: list[tuple[Any, str, float | None]], most: int
    ) -> None:
        """Whatever happens while they are being filled, and after; agents get numbers of others."""
        fleet = Fleet()
        progress = fleet.progress()
        progress.times = AppliedTimes(progress.outcomes, 0)
        for step, agent_id, ms in [*steps, *[("gather", "", None)] * 8]:
            if step == "gather":
                more = progress.times.gather(most)
            elif step == "forget":
                fleet.rows.remove(agent_id)
            elif step == "move":
                fleet.rows.put(an_agent(agent_id, namespace="other"))
            else:
                fleet.rows.put(an_agent(agent_id))
                progress.record(agent_id, VersionOutcome(step, NOON, took=ms, ack=ms and 2 * ms))
        self.assertFalse(more)
        every = [each for each in progress.outcomes.values() if each.state is ReportState.APPLIED]
        expected = {
            what: sorted(1000 * getattr(each, what) for each in every if each.took is not None)
            for what in ("took", "ack")
        }
        found = progress.times.ranked()
        for what, times in expected.items():
            near = [found[what][rank] for rank in range(len(found[what]))]
            self.assertEqual(len(near), len(times))
            for time, there in zip(times, near, strict=True):
                self.assertLessEqual(abs(there - time), 1 + time / 63, (near, times))


class OutcomesTests(SynchronousTestCase):
    """L{Outcomes}."""

    @settings(max_examples=budget(100, 1000), deadline=None, database=None)
    @given(
        changes=st.lists(
            st.tuples(
                st.sampled_from("abc"),
                st.none()
                | st.builds(
                    VersionOutcome,
                    st.sampled_from(ReportState),
                    st.datetimes(timezones=st.just(UTC)),
                    st.text(max_size=9),
                    st.booleans(),
                    *[st.none() | st.floats(0, 1e9)] * 6,
                ),
            ),
            max_size=8,
        )
    )
    def test_like_a_dictionary(self, changes: list[tuple[str, VersionOutcome | None]]) -> None:
        fleet, expected = Fleet(), dict[str, VersionOutcome]()
        progress = fleet.progress()
        outcomes = progress.outcomes
        for agent_id, outcome in changes:
            if outcome is None:
                expected.pop(agent_id, None)
                fleet.rows.remove(agent_id)
            else:
                fleet.rows.put(an_agent(agent_id))
                known = agent_id in expected and expected[agent_id].took is not None
                self.assertEqual(progress.record(agent_id, outcome), outcome.took is not None and not known)
                expected[agent_id] = in_microseconds(outcome)
        self.assertEqual((dict(outcomes), len(outcomes), "a" in outcomes), (expected, len(expected), "a" in expected))
        for state in ReportState:
            found = [agent_id for agent_id, each in expected.items() if each.state is state]
            self.assertEqual(sorted(outcomes.in_state(state)), sorted(found))
            self.assertEqual(outcomes.count(state), len(found))
            times = outcomes.times_of(outcomes.numbers_in(state, 0, 9))
            for what, there in times.items():
                every = [getattr(expected[agent_id], what) for agent_id in found]
                self.assertEqual(
                    [each / 1000 for each in sorted(there)], sorted(each for each in every if each is not None)
                )
        states = [outcomes.state_of(agent_id) for agent_id in "abc"]
        self.assertEqual(states, [each and each.state for each in map(expected.get, "abc")])


def in_microseconds(outcome: VersionOutcome) -> VersionOutcome:
    """Return an outcome whose times are whole microseconds."""
    times = {what: getattr(outcome, what) for what in TIMES}
    return evolve(outcome, **{what: None if ms is None else round(1000 * ms) / 1000 for what, ms in times.items()})
