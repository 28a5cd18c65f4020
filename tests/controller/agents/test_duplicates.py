"""Two agents that go by one id (F-58)."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from confd.changes import REPORTED
from confd.controller.agents import duplicates
from confd.controller.agents.duplicates import MAX_IDS, REMINDER_SECONDS, Duplicates
from tests.controller.harness import ADMIN, ControllerHarness
from tests.runtime.test_metrics import samples


class DuplicatesTests(SynchronousTestCase):
    """L{Duplicates}."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.duplicates = Duplicates(self.clock)

    def report(self, agent_id: str, sessions: str) -> None:
        """Reports, of a session each."""
        for before, session in itertools.pairwise(sessions):
            if before != session:
                self.duplicates.turned(agent_id, before, session)

    @given(st.lists(st.integers(1, 4), min_size=1, max_size=12))
    def test_restarts(self, counts: list[int]) -> None:
        """However often an agent is started again, it is one."""
        self.setUp()
        self.report("a", "".join(chr(0x100 + number) * count for number, count in enumerate(counts)))
        self.assertEqual((len(self.duplicates), "a" in self.duplicates), (0, False))

    @given(st.permutations("AB" * 3), st.integers(2, 4))
    def test_back_and_forth(self, order: list[str], agents: int) -> None:
        """Two of them are found once one comes back; so are more."""
        self.setUp()
        text = "".join(order)
        self.report("a", text)
        turns = sum(one != other for one, other in itertools.pairwise(text))
        self.assertEqual("a" in self.duplicates, turns > 1)
        self.report("b", "ABCD"[:agents] * 2)
        self.assertIn("b", self.duplicates)
        self.assertNotIn("c", self.duplicates)

    def test_ends(self) -> None:
        """An hour after the last time it is taken for one again."""
        self.report("a", "ABA")
        self.clock.advance(REMINDER_SECONDS - 1)
        self.report("a", "AB")
        self.clock.advance(REMINDER_SECONDS - 1)
        self.assertEqual((len(self.duplicates), "a" in self.duplicates), (1, True))
        self.clock.advance(1)
        self.assertEqual((len(self.duplicates), "a" in self.duplicates), (0, False))

    def test_said_seldom(self) -> None:
        """Once an hour for each id."""
        with capturedLogs() as logs:
            for _ in range(10):
                self.report("a", "ABAB")
                self.report("b", "CDCD")
                self.clock.advance(REMINDER_SECONDS / 8)
        self.assertEqual([each["agent_id"] for each in logs], ["a", "b", "a", "b"])
        self.assertEqual({each["log_level"].name for each in logs}, {"warn"})

    def test_forgotten(self) -> None:
        """With its agent."""
        self.report("a", "ABA")
        self.duplicates.forget("a")
        self.assertEqual(len(self.duplicates), 0)
        self.duplicates.turned("a", "A", "B")
        self.assertEqual(len(self.duplicates), 0)

    def test_bounded(self) -> None:
        """Whatever ids and sessions there are."""
        with capturedLogs():
            for number in range(MAX_IDS + 10):
                self.report(str(number), "ABA")
        self.assertEqual(len(self.duplicates), MAX_IDS)
        self.assertEqual(len(self.duplicates._left), MAX_IDS)
        for number in range(100):
            self.duplicates.turned("a", f"{number}", f"{number + 1}")
        self.assertEqual(len(self.duplicates._left["a"]), duplicates.MAX_SESSIONS)


class ControllerTests(SynchronousTestCase):
    """What is shown of it."""

    def setUp(self) -> None:
        self.harness = ControllerHarness()
        self.agent_id = self.harness.join(hostname="box")

    def report(self, session: str, sequence: int) -> int:
        """The status of one; no two say the same."""
        state = ("applied", "failed")[sequence % 2]
        return self.harness.report(self.agent_id, 1, state, session=session, sequence=sequence).status

    def shown(self) -> tuple[Any, ...]:
        """In the list, alone, and as a figure."""
        (item,) = self.harness.caller().get("/api/v1/agents", auth=ADMIN).json
        alone = self.harness.caller().get(f"/api/v1/agents/{self.agent_id}", auth=ADMIN).json
        figure = samples(self.harness.metrics.exposition())["confd_agents_conflicting", ()]
        return item["duplicate"], alone["duplicate"], figure

    def test_shown(self) -> None:
        """All reports are taken, and the agent is marked from the third on."""
        for number, (session, expected) in enumerate(
            [("A", (False, False, 0)), ("B", (False, False, 0)), ("A", (True, True, 1)), ("B", (True, True, 1))]
        ):
            self.assertEqual(self.report(session, number + 1), 200)
            self.assertEqual(self.shown(), expected, number)

    def test_started_again(self) -> None:
        for number, session in enumerate("AABBCC"):
            self.assertEqual(self.report(session, number + 1), 200)
        self.assertEqual(self.shown(), (False, False, 0))

    def test_started_again_while_another_controller_loads(self) -> None:
        """The row holds the last report, and the changes that follow repeat the ones before it."""
        self.report("A", 1)
        self.report("B", 1)
        changes = [each for each in self.harness.changes() if each.kind == REPORTED]
        after = ControllerHarness(self.harness.store)
        for change in changes:
            after.convergence.apply(change)
        self.assertEqual((len(changes), len(after.registry.duplicates)), (2, 0))

    def test_without_sessions(self) -> None:
        """Agents that do not count their reports are not judged."""
        for number in range(4):
            state = ("applied", "failed")[number % 2]
            self.harness.report(self.agent_id, 1, state, error=str(number))
        self.assertEqual(self.shown(), (False, False, 0))
