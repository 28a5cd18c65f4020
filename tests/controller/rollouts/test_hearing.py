"""Silence counts only if this controller could hear: P20."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from confd.controller.rollouts.hearing import LATE_GAP_SECONDS, MAX_GAP_SECONDS, RETURN_SECONDS, Hearing
from tests.controller.rollouts.case import BAKE, INTERVAL, RolloutTestCase

#: Seconds after which an agent of these tests is silent.
SILENT = 90


class FakeHealth:
    """A store with an outage or without one."""

    reason: str | None = None

    def problem(self) -> str | None:
        return self.reason


class HearingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.store, self.offset = Clock(), FakeHealth(), timedelta()
        self.lost = False
        self.hearing = Hearing(self.clock, self.now, self.store, lambda: self.lost)  # type: ignore[arg-type]
        self.age(RETURN_SECONDS + SILENT)
        self.assertTrue(self.hearing.believes(SILENT))

    def now(self) -> datetime:
        return datetime(2026, 11, 29, tzinfo=UTC) + timedelta(seconds=self.clock.seconds()) + self.offset

    def age(self, seconds: float) -> None:
        """Let time pass, with a look each second."""
        for _ in range(int(seconds)):
            self.clock.advance(1)
            self.hearing.look()

    def doubts_for(self, seconds: float) -> None:
        """Check that silence is doubtful for so long."""
        self.assertFalse(self.hearing.believes(SILENT))
        self.age(seconds - 1)
        self.assertFalse(self.hearing.believes(SILENT))
        self.age(1)
        self.assertTrue(self.hearing.believes(SILENT))

    def test_start(self) -> None:
        self.hearing.begin()
        self.doubts_for(RETURN_SECONDS + SILENT)

    def test_process_that_stood_still(self) -> None:
        self.clock.advance(LATE_GAP_SECONDS)
        self.assertTrue(self.hearing.believes(SILENT))
        self.clock.advance(LATE_GAP_SECONDS + 0.1)
        self.doubts_for(SILENT)
        self.clock.advance(MAX_GAP_SECONDS + 0.1)
        self.doubts_for(RETURN_SECONDS + SILENT)

    def test_outage_of_the_store(self) -> None:
        self.store.reason = "The disk is full."
        self.age(SILENT)
        self.store.reason = None
        self.doubts_for(SILENT)

    def test_death_of_another_controller(self) -> None:
        self.lost = True
        self.age(20)
        self.assertFalse(self.hearing.believes(SILENT))
        self.lost = False
        self.doubts_for(SILENT)

    def test_step_of_the_wall_clock(self) -> None:
        for step in (-3600, 86400, 1.5, -1.5):
            self.offset += timedelta(seconds=step)
            self.doubts_for(SILENT)

    def test_slow_drift_is_no_step(self) -> None:
        for _ in range(100):
            self.offset += timedelta(seconds=0.5)
            self.age(1)
        self.assertTrue(self.hearing.believes(SILENT))

    def test_outage_does_not_shorten_the_doubt_after_a_start(self) -> None:
        self.hearing.begin()
        self.store.reason = "The disk is full."
        self.age(1)
        self.store.reason = None
        self.age(RETURN_SECONDS + SILENT - 2)
        self.assertFalse(self.hearing.believes(SILENT))

    @given(
        st.lists(
            st.one_of(
                st.tuples(st.just("pass"), st.integers(1, 200)),
                st.tuples(st.just("still"), st.integers(3, 600)),
                st.tuples(st.just("outage"), st.integers(1, 300)),
                st.tuples(st.just("step"), st.sampled_from([-86400, -2, 2, 3600])),
            ),
            max_size=8,
        )
    )
    def test_silence_is_believed_after_so_long_without_interruption(self, events: list[tuple[str, int]]) -> None:
        """P20: no interruption lies within the time over which silence is believed."""
        self.setUp()
        heard, deaf_until = self.clock.seconds() - SILENT, 0.0
        for what, seconds in events:
            if what == "pass":
                self.age(seconds)
            elif what == "still":
                self.clock.advance(seconds)
                heard = self.clock.seconds()
                if seconds > MAX_GAP_SECONDS:
                    deaf_until = heard + RETURN_SECONDS
            elif what == "outage":
                self.store.reason = "gone"
                self.age(seconds)
                self.store.reason = None
                heard = self.clock.seconds()
            else:
                self.offset += timedelta(seconds=seconds)
                heard = self.clock.seconds()
            self.assertEqual(self.hearing.believes(SILENT), self.clock.seconds() - max(heard, deaf_until) >= SILENT)


class SilenceTests(RolloutTestCase):
    """A controller that was deaf does not blame the agents."""

    def outcomes(self) -> list[str]:
        """Return the outcomes of the members."""
        return [each["outcome"] for each in self.admin("GET", "/api/v1/rollouts/1/agents").json["items"]]

    def started(self) -> str:
        """Start a rollout whose member has applied; return the member."""
        self.believe_silence()
        self.start()
        self.follow(20)
        (member,) = self.exposed()
        self.assertEqual(self.outcomes(), ["applied"])
        return member

    def test_process_that_stood_still(self) -> None:
        """After SIGCONT no member is silent, and the gate waits for each of them."""
        self.started()
        self.harness.clock.advance(4 * INTERVAL)
        self.harness.clock.pump([1] * 5)
        self.assertEqual((self.rollout()["state"], self.outcomes()), ("running", ["pending"]))
        self.assertEqual((self.rollout()["gate"]["failures"], self.rollout()["wave"]), (0, 1))
        self.follow(2 * BAKE)
        self.assertEqual(set(self.outcomes()), {"applied"})
        self.assertGreater(self.rollout()["wave"], 1)

    def test_restart_after_which_agents_come_late(self) -> None:
        member = self.started()
        self.restart()
        self.harness.clock.pump([2] * (2 * INTERVAL))
        self.assertEqual((self.rollout()["state"], self.outcomes()), ("running", ["pending"]))
        self.ids.remove(member)
        self.follow(RETURN_SECONDS)
        self.assertEqual(self.rollout()["reason"], "failures")

    def test_outage_of_the_store(self) -> None:
        member = self.started()
        self.harness.store.broken = "the disk is full"
        self.ids.remove(member)
        self.follow_quietly(4 * INTERVAL)
        self.harness.store.broken = None
        self.harness.clock.pump([1] * 5)
        self.assertEqual((self.rollout()["state"], self.outcomes()), ("running", ["pending"]))
        self.follow(3 * INTERVAL)
        self.assertEqual(self.rollout()["state"], "aborted")
        self.flushLoggedErrors()

    def follow_quietly(self, seconds: int) -> None:
        """Let time pass, in which agents poll and report nothing."""
        for _ in range(seconds // 2):
            for agent_id in self.ids:
                self.poll(agent_id)
            self.harness.clock.advance(2)

    def test_step_of_the_wall_clock(self) -> None:
        member = self.started()
        self.ids.remove(member)
        self.follow(2 * INTERVAL)
        self.harness.wall_offset += timedelta(days=1)
        self.follow(INTERVAL + 10)
        self.assertEqual((self.rollout()["state"], self.outcomes()), ("running", ["pending"]))
        self.follow(2 * INTERVAL)
        self.assertEqual(self.rollout()["state"], "aborted")

    def test_detail_of_the_gate(self) -> None:
        """A member that is not heard of counts as pending, although it had applied."""
        self.started()
        self.harness.clock.advance(4 * INTERVAL)
        waves: list[Any] = self.rollout()["waves"]
        self.assertEqual((waves[0]["pending"], waves[0]["silent"], waves[0]["applied"]), (1, 0, 0))
