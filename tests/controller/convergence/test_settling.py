"""Versions that become summaries: in slices, beside reports, agents that leave, and a stop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from confd.controller.convergence.outcomes import Outcomes
from confd.controller.convergence.version import AppliedTimes
from confd.errors import Gone
from confd.model import DEFAULT_NAMESPACE
from confd.reports import ReportState
from tests.budgets import budget
from tests.controller.convergence.test_tracker import STATES, Parts

AGENTS = [f"{number:02}" for number in range(20)]

#: Agents of a turn, and seconds of a turn.
PER_TURN, TURN = 3, 0.0001


class Watched(Outcomes):
    """Outcomes that count the looks at single agents."""

    looks = 0

    def state_of(self, agent_id: str) -> ReportState | None:
        self.looks += 1
        return super().state_of(agent_id)

    def __iter__(self) -> Iterator[str]:
        self.looks += len(self)
        return super().__iter__()


def watch(progress: Any) -> Any:
    """Count the looks at the outcomes of a version from now on."""
    watched = Watched(progress._members)
    for agent_id, outcome in progress.outcomes.items():
        watched.put(progress.outcomes.number_of(agent_id), outcome)
    progress.outcomes, progress.times = watched, AppliedTimes(watched)
    return progress


def filled(agents: list[str] = AGENTS) -> Parts:
    """A controller whose first version is on most agents; its next publish but one settles that version."""
    parts = Parts(per_turn=PER_TURN, turn=TURN)
    for agent_id in agents:
        parts.join(agent_id)
    first = parts.publish()
    for number, agent_id in enumerate(agents):
        if number % 4:
            parts.report(agent_id, first, ReportState.FAILED if number % 4 == 1 else ReportState.APPLIED)
    parts.publish()
    return parts


class SettlingTests(SynchronousTestCase):
    """The version 2 of L{filled} leaves memory with the version 5."""

    def setUp(self) -> None:
        self.parts = filled()
        self.addCleanup(lambda: self.parts.stop())

    def stored(self, version: int = 2) -> Any:
        """Return the summary in memory, without a wait; C{None} while it is being made."""
        return self.parts.convergence._archive.get((DEFAULT_NAMESPACE, version))

    def test_no_turn_looks_at_more_than_a_slice(self) -> None:
        """Neither the publish nor any turn after it."""
        self.parts.publish()
        progress, turns = watch(self.parts.convergence.progress(DEFAULT_NAMESPACE, 2)), 0
        self.parts.publish()
        while self.stored() is None:
            self.assertLessEqual(progress.outcomes.looks, PER_TURN)
            progress.outcomes.looks, turns = 0, turns + 1
            self.parts.clock.advance(TURN)
        self.assertLessEqual(progress.outcomes.looks, PER_TURN)
        self.assertGreaterEqual(turns, len(AGENTS) // PER_TURN)

    def test_convergence_in_slices(self) -> None:
        """The convergence of the newest versions is counted in slices, and again only after a change."""
        progress = watch(self.parts.convergence.progress(DEFAULT_NAMESPACE, 2))
        summary = self.parts.convergence.summary(DEFAULT_NAMESPACE, 2)
        while not summary.called:
            self.assertLessEqual(progress.outcomes.looks, PER_TURN)
            progress.outcomes.looks = 0
            self.parts.clock.advance(TURN)
        self.assertLessEqual(progress.outcomes.looks, PER_TURN)
        found: Any = self.successResultOf(summary)
        self.assertEqual([getattr(found, state) for state in STATES], [5, 0, 0, 5, 10, 0])
        progress.outcomes.looks = 0
        self.assertEqual(self.parts.describe(2)["applied"], 10)
        self.assertEqual(progress.outcomes.looks, 0)
        self.parts.registry.polled("00")
        self.parts.result(self.parts.registry.forget("02"))
        self.assertEqual(self.parts.describe(2)["applied"], 9)

    def test_report_during_a_count(self) -> None:
        """A count that a report overtook answers its caller, and no later caller."""
        summary = self.parts.convergence.summary(DEFAULT_NAMESPACE, 2)
        self.parts.report("00", self.parts.convergence.progress(DEFAULT_NAMESPACE, 2).tag)  # type: ignore[union-attr]
        self.assertEqual(self.parts.result(summary).targeted, len(AGENTS))
        found = self.parts.describe(2)
        self.assertEqual((found["applied"], found["pending"], found["max_ms"] is None), (11, 4, False))

    @settings(max_examples=budget(40, 400), deadline=None, database=None)
    @given(
        changes=st.lists(
            st.tuples(st.sampled_from(["forget", "join", "report", "move"]), st.sampled_from([*AGENTS[::3], "x"])),
            max_size=12,
        )
    )
    def test_changes_during_the_count(self, changes: list[tuple[str, str]]) -> None:
        """Each agent that stays counts once, with its result of before the publish; other agents may count."""
        parts = filled()
        progress: Any = parts.convergence.progress(DEFAULT_NAMESPACE, 2)
        parts.publish()
        states = {agent_id: outcome.state.value for agent_id, outcome in progress.outcomes.items()}
        newest, touched = parts.publish(), set()
        for what, agent_id in changes:
            record = parts.registry.find(agent_id)
            here = record is not None and record.namespace == DEFAULT_NAMESPACE
            if what == "forget" and record is not None:
                parts.result(parts.registry.forget(agent_id))
            elif what == "report" and here:
                parts.report(agent_id, newest)
            else:
                parts.join(agent_id, "other" if what == "move" else DEFAULT_NAMESPACE)
            if not here or what in ("forget", "move"):
                touched.add(agent_id)
            parts.clock.advance(TURN)
        found = parts.describe(2)
        stayed = [agent_id for agent_id in AGENTS if agent_id not in touched]
        for state in ("applied", "failed"):
            least = sum(states.get(agent_id) == state for agent_id in stayed)
            self.assertTrue(least <= found[state] <= least + len(touched), (state, found))
        self.assertTrue(len(stayed) <= found["targeted"] <= len(stayed) + len(touched), found)
        self.assertEqual(found["targeted"], sum(found[state] for state in STATES))
        parts.stop()

    def test_stop_waits_for_the_count(self) -> None:
        """The summary is on disk when the service has stopped."""
        self.parts.publish()
        self.parts.publish()
        stopping = self.parts.convergence.stopService()
        self.assertNoResult(stopping)
        self.parts.result(stopping)
        self.assertIsNotNone(self.parts.result(self.parts.store.summary(DEFAULT_NAMESPACE, 2)))

    def test_question_during_the_count(self) -> None:
        """A question on the version waits for its summary, and is answered at once where the namespace is retired."""
        self.parts.publish()
        self.parts.publish()
        asked = [self.parts.convergence.summary(DEFAULT_NAMESPACE, 2) for _ in range(3)]
        asked[0].cancel()
        self.failureResultOf(asked[0], CancelledError)
        self.assertEqual(self.parts.result(asked[1]).applied, 10)
        self.assertEqual(self.successResultOf(asked[2]).version, 2)
        self.parts.publish()
        unanswered = self.parts.convergence.summary(DEFAULT_NAMESPACE, 3)
        self.assertNoResult(unanswered)
        self.parts.result(self.parts.store.retire_namespace(DEFAULT_NAMESPACE))
        self.failureResultOf(unanswered, Gone)
        self.parts.clock.advance(1)
        self.assertIsNone(self.parts.result(self.parts.store.summary(DEFAULT_NAMESPACE, 3)))

    def test_versions_without_reports_are_counted_once(self) -> None:
        """While no agent changes: neither before the publish nor during the count."""
        for _ in range(4):
            self.parts.publish()
            self.parts.clock.pump([TURN] * 40)
        # Version 3 had no reports: version 4 has its counts at once.
        self.assertIsNotNone(self.stored(4))
        self.parts.publish()
        self.assertEqual(self.stored(5).pending, self.stored(4).pending)
        self.parts.join("x")
        self.parts.publish()
        self.assertIsNone(self.stored(6))
        self.parts.clock.advance(TURN)
        self.parts.join("00a")
        self.parts.clock.pump([TURN] * 40)
        self.assertEqual(self.stored(6).targeted, len(AGENTS) + 1)
        self.parts.publish()
        self.assertIsNone(self.stored(7))
        self.parts.clock.pump([TURN] * 40)
        self.assertEqual(self.stored(7).targeted, len(AGENTS) + 2)
