"""The counts of a summary, and the agents that are behind, against a look at every agent."""

from __future__ import annotations

from typing import Any

from attrs import define, evolve, field
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from confd.controller.agents.liveness import Liveness
from confd.controller.convergence.summary import laggards, summarize
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
    """L{summarize} and L{laggards}."""

    @settings(max_examples=budget(200, 2000), deadline=None, database=None)
    @given(agents=AGENTS, current=st.booleans(), among=st.none() | st.frozensets(st.sampled_from("abcxyz")))
    def test_each_agent_counts_once(self, agents: Any, current: bool, among: frozenset[str] | None) -> None:
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
        summary: Any = summarize("default", progress, current, fleet, among)  # type: ignore[arg-type]
        for state in ("applied", "failed", "applying", "silent", "pending", "passed"):
            self.assertEqual(getattr(summary, state), list(states.values()).count(state), state)
        self.assertEqual(summary.targeted, len(states))
        urgent = ("failed", "silent", "applying", "pending")
        behind = sorted((urgent.index(state), agent_id) for agent_id, state in states.items() if state in urgent)
        found = laggards("default", progress, current, fleet, 4, among)  # type: ignore[arg-type]
        self.assertEqual(
            [(each.agent.id, each.state) for each in found], [(each, urgent[at]) for at, each in behind[:4]]
        )
        for each in found:
            known = progress.outcomes.get(each.agent.id)
            self.assertEqual(each.error, "" if known is None else known.error)
