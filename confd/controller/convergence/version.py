"""The progress of one version, agent by agent."""

from __future__ import annotations

from datetime import datetime

from attrs import define, field

from confd.controller.convergence.outcomes import Outcomes
from confd.controller.convergence.times import OrderedTimes
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
    @ivar times: of the agents that applied it, by attribute of L{VersionOutcome}; C{None} where a count must find them.
    @ivar changes: number of changes of the outcomes.
    @ivar slowest: the longest time in milliseconds that an agent took so far; 0 without times.
    """

    tag: Tag
    published_at: datetime
    outcomes: Outcomes = field(factory=Outcomes)
    applied: int = 0
    failed: int = 0
    converged: bool = False
    slowest: float = 0.0
    times: dict[str, OrderedTimes] | None = field(default=None, init=False)
    changes: int = field(default=0, init=False)

    def load(self, read: VersionProgress) -> None:
        """Take the results that were read in the place of all."""
        self.outcomes, self.applied, self.failed, self.slowest = read.outcomes, read.applied, read.failed, read.slowest
        self.times, self.changes = None, self.changes + 1

    def record(self, agent_id: str, outcome: VersionOutcome) -> bool:
        """
        Record the outcome on one agent, in the place of the outcome before.

        @return: whether this is the first outcome of the agent with a time to apply.
        """
        before, took = self.outcomes.state_of(agent_id), outcome.took
        first = took is not None and not self.outcomes.took(agent_id)
        if before is not None:
            self._count(before, -1)
        self.outcomes[agent_id] = outcome
        self._count(outcome.state, 1)
        self.slowest = max(self.slowest, took or 0.0)
        return first

    def drop(self, agent_id: str) -> None:
        """Remove an agent."""
        before = self.outcomes.discard(agent_id)
        if before is not None:
            self._count(before, -1)

    def _count(self, state: ReportState, by: int) -> None:
        self.applied += by * (state is ReportState.APPLIED)
        self.failed += by * (state is ReportState.FAILED)
        self.times, self.changes = None, self.changes + 1
