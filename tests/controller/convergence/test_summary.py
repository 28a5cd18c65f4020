"""The counts of a summary, and the agents that are behind, against a look at every agent."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from attrs import define, evolve, field
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from confd.controller.agents.compact import CompactAgent
from confd.controller.agents.liveness import Liveness
from confd.controller.convergence.outcomes import Outcomes
from confd.controller.convergence.summary import MAX_BEHIND, count_agents
from confd.controller.convergence.times import MAX_CURVE_POINTS, OrderedTimes
from confd.controller.convergence.version import VersionProgress
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


@define(eq=False)
class Fleet:
    """What a summary needs of the registry."""

    records: dict[str, AgentRecord] = field(factory=dict)
    there: Liveness = field(factory=Liveness)

    def liveness(self, namespace: str) -> Liveness:
        return self.there

    def find(self, agent_id: str) -> AgentRecord | None:
        return self.records.get(agent_id)

    def get(self, agent_id: str) -> AgentRecord:
        return self.records[agent_id]

    @property
    def rows(self) -> Fleet:
        return self

    def compact(self, agent_id: str) -> CompactAgent:
        return CompactAgent(self.records[agent_id])

    def ids_after(self, namespace: str, after: str, limit: int) -> list[str]:
        return sorted(each for each in self.records if each > after)[:limit]


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
        fleet, progress = Fleet(), VersionProgress(TAG, NOON)
        for number, (agent_id, (outcome, reported, _)) in enumerate(agents.items()):
            report = Report(evolve(TAG, version=reported), ReportState.APPLIED) if reported else None
            fleet.records[agent_id] = an_agent(agent_id, report=report)
            if outcome is not None:
                progress.record(agent_id, VersionOutcome(outcome, NOON, "why" if number else "", took=float(number)))
        for agent_id in sorted(agents, key=lambda each: not agents[each][2]):
            fleet.there.heard(agent_id, float(not agents[agent_id][2]))
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
        clock.pump([0] * (len(agents) // per_turn))
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
            fleet.records[agent_id] = an_agent(agent_id)
            fleet.there.heard(agent_id, 0.0)
        counting = Deferred.fromCoroutine(
            count_agents("default", VersionProgress(TAG, NOON), True, fleet, Clock())  # type: ignore[arg-type]
        )
        counted: Any = self.successResultOf(counting)
        self.assertEqual([each.agent.id for each in counted.behind], sorted(fleet.records)[:MAX_BEHIND])
        self.assertEqual(counted.summary.pending, MAX_BEHIND + 5)


class OrderedTimesTests(SynchronousTestCase):
    """L{OrderedTimes}."""

    @settings(max_examples=budget(50, 500), deadline=None, database=None)
    @given(
        parts=st.lists(st.lists(st.sampled_from([0.0, 0.25, 1.0, 2.0]) | st.floats(0, 1e6), max_size=30), max_size=12),
        block=st.integers(2, 9),
    )
    def test_like_a_sort(self, parts: list[list[float]], block: int) -> None:
        """Percentiles and curve are those of the sorted list, however the times come."""
        times = OrderedTimes(block)
        for part in parts:
            times.add(list(part))
        every = [round(each, 3) for each in sorted(each for part in parts for each in part)]
        found, count, points = times.percentiles(), len(every), MAX_CURVE_POINTS
        if every:
            expected = (every[(count + 1) // 2 - 1], every[-(-99 * count // 100) - 1], every[-1])
            self.assertEqual((found.p50_ms, found.p99_ms, found.max_ms), expected)
        else:
            self.assertEqual((found.p50_ms, found.p99_ms, found.max_ms), (None, None, None))
        evenly = every if count <= points else [every[at * (count - 1) // (points - 1)] for at in range(points)]
        self.assertEqual(times.curve(), evenly)


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
        outcomes, expected = Outcomes(), dict[str, VersionOutcome]()
        for agent_id, outcome in changes:
            if outcome is None:
                before = expected.pop(agent_id, None)
                self.assertEqual(outcomes.discard(agent_id), before and before.state)
            else:
                outcomes[agent_id] = expected[agent_id] = outcome
        self.assertEqual((dict(outcomes), len(outcomes), "a" in outcomes), (expected, len(expected), "a" in expected))
        for state in ReportState:
            found = [agent_id for agent_id, each in expected.items() if each.state is state]
            self.assertEqual(sorted(outcomes.in_state(state)), sorted(found))
        states = [outcomes.state_of(agent_id) for agent_id in "abc"]
        self.assertEqual(states, [each and each.state for each in map(expected.get, "abc")])
