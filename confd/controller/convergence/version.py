"""The progress of one version, agent by agent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set
from datetime import datetime
from operator import attrgetter

from attrs import define, field

from confd.model import Tag
from confd.reports import ReportState, VersionOutcome


@define(eq=False)
class VersionProgress:
    """
    One version of one namespace, and its results.

    @ivar published_at: when it was committed, by the wall clock, UTC.
    @ivar outcomes: by agent id; agents of the namespace only.
    @ivar applied: number of agents that applied it.
    @ivar failed: number of agents on which it failed.
    @ivar converged: whether the metrics counted it as converged; true for a candidate, which they leave out.
    """

    tag: Tag
    published_at: datetime
    outcomes: dict[str, VersionOutcome] = field(factory=dict)
    applied: int = 0
    failed: int = 0
    converged: bool = False
    _ordered: dict[str, list[float]] = field(factory=dict, init=False)

    def load(self, outcomes: dict[str, VersionOutcome]) -> None:
        """Put other outcomes in the place of all."""
        states = Counter(each.state for each in outcomes.values())
        self.outcomes, self.applied = outcomes, states[ReportState.APPLIED]
        self.failed = states[ReportState.FAILED]
        self._ordered.clear()

    def record(self, agent_id: str, outcome: VersionOutcome) -> bool:
        """
        Record the outcome on one agent, in the place of the outcome before.

        @return: whether this is the first outcome of the agent with a time to apply.
        """
        before = self.outcomes.get(agent_id)
        self.drop(agent_id)
        self.outcomes[agent_id] = outcome
        self._count(outcome, 1)
        self._ordered.clear()
        return outcome.took is not None and (before is None or before.took is None)

    def drop(self, agent_id: str) -> None:
        """Remove an agent."""
        before = self.outcomes.pop(agent_id, None)
        if before is not None:
            self._count(before, -1)
            self._ordered.clear()

    def among(self, agent_ids: Set[str]) -> VersionProgress:
        """Return the progress of the version on some agents only, as of now."""
        outcomes = {agent_id: self.outcomes[agent_id] for agent_id in agent_ids & self.outcomes.keys()}
        states = Counter(each.state for each in outcomes.values())
        return VersionProgress(
            self.tag, self.published_at, outcomes, states[ReportState.APPLIED], states[ReportState.FAILED]
        )

    def ordered(self, what: str) -> Sequence[float]:
        """
        Return the known milliseconds of the agents that applied it, ascending; sorted again only after a report.

        @param what: an attribute of L{VersionOutcome}.
        """
        if what not in self._ordered:
            applied = [each for each in self.outcomes.values() if each.state is ReportState.APPLIED]
            self._ordered[what] = sorted(ms for ms in map(attrgetter(what), applied) if ms is not None)
        return self._ordered[what]

    def _count(self, outcome: VersionOutcome, by: int) -> None:
        self.applied += by * (outcome.state is ReportState.APPLIED)
        self.failed += by * (outcome.state is ReportState.FAILED)
