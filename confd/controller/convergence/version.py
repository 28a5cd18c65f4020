"""The progress of one version, agent by agent."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from attrs import define, field

from confd.controller.agents.members import Members
from confd.controller.convergence.outcomes import TIMES, Outcomes
from confd.controller.convergence.times import MAX_SORTED, RankedTimes, TimeHistogram
from confd.model import Tag
from confd.reports import ReportState, VersionOutcome


@define(eq=False)
class AppliedTimes:
    """
    The times of the agents that applied a version.

    The histograms hold nothing until L{gather} is called, and have the times of all agents whose numbers are below a
    number from then on: a report of a version that nobody looks at costs nothing here.

    @ivar sorted: times that L{ranked} sorts at most; it takes more times from histograms.
    """

    _outcomes: Outcomes
    _sorted: int = MAX_SORTED
    _histograms: dict[str, TimeHistogram] = field(factory=dict, init=False)
    _gathered: int = field(default=0, init=False)

    def gather(self, most: int) -> bool:
        """
        Put times of more agents into the histograms, if L{ranked} needs these.

        @param most: agents to look at.
        @return: whether times of more agents are missing.
        """
        start, count = self._gathered, len(self._outcomes.states)
        if self._outcomes.count(ReportState.APPLIED) <= self._sorted or start >= count:
            return False
        if not self._histograms:
            self._histograms = {what: TimeHistogram() for what in TIMES}
        self._gathered = min(start + most, count)
        for what, times in self._times_of(start, self._gathered).items():
            self._histograms[what].add(times)
        return self._gathered < count

    def added(self, number: int) -> None:
        """Note that an agent has another outcome."""
        if number < self._gathered:
            for what, times in self._times_of(number, number + 1).items():
                self._histograms[what].add(times)

    def removes(self, number: int) -> None:
        """Note that the outcome of an agent is about to be removed or replaced."""
        if number < self._gathered:
            for what, times in self._times_of(number, number + 1).items():
                self._histograms[what].remove(times)

    def ranked(self) -> Mapping[str, RankedTimes]:
        """Return the times in their order, by attribute of L{VersionOutcome}."""
        if self._outcomes.count(ReportState.APPLIED) > self._sorted:
            return self._histograms
        return {what: sorted(times) for what, times in self._times_of(0, len(self._outcomes.states)).items()}

    def _times_of(self, start: int, end: int) -> dict[str, list[int]]:
        return self._outcomes.times_of(self._outcomes.numbers_in(ReportState.APPLIED, start, end))


@define(eq=False)
class VersionProgress:
    """
    One version of one namespace, and its results.

    @ivar published_at: when it was committed, by the wall clock, UTC.
    @ivar outcomes: by agent id; agents of the namespace only.
    @ivar times: of the agents that applied it.
    @ivar converged: whether the metrics counted it as converged; true for a candidate, which they leave out.
    @ivar slowest: the longest time in milliseconds that an agent took so far; 0 without times.
    """

    tag: Tag
    published_at: datetime
    _members: Members
    outcomes: Outcomes = field(init=False)
    times: AppliedTimes = field(init=False)
    converged: bool = False
    slowest: float = 0.0

    def __attrs_post_init__(self) -> None:
        self.outcomes = Outcomes(self._members)
        self.times = AppliedTimes(self.outcomes)
        self._members.columns.add(self)

    @property
    def applied(self) -> int:
        """Return the number of agents that applied the version."""
        return self.outcomes.count(ReportState.APPLIED)

    @property
    def failed(self) -> int:
        """Return the number of agents on which the version failed."""
        return self.outcomes.count(ReportState.FAILED)

    def load(self, read: VersionProgress) -> None:
        """Take the results that were read in the place of all."""
        self.outcomes, self.times, self.slowest = read.outcomes, read.times, read.slowest

    def record(self, agent_id: str, outcome: VersionOutcome) -> bool:
        """
        Record the outcome on one agent, in the place of the outcome before; an agent that is not here has none.

        @return: whether this is the first outcome of the agent with a time to apply.
        """
        number, took = self._members.number_of(agent_id), outcome.took
        if number is None:
            return False
        first = took is not None and not self.outcomes.took(number)
        self.times.removes(number)
        self.outcomes.put(number, outcome)
        self.times.added(number)
        self.slowest = max(self.slowest, took or 0.0)
        return first

    def clear(self, number: int) -> None:
        """Remove the outcome on an agent that leaves."""
        self.times.removes(number)
        self.outcomes.clear(number)
