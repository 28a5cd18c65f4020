"""Calls of a store with rollouts, for the contract suite."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from attrs import evolve

from confd.audit import Attempt
from confd.changes import ReceivedReport
from confd.model import DEFAULT_NAMESPACE, Registration, Tag
from confd.reports import Report, ReportState
from confd.rollouts.plan import RolloutPlan, Wave
from confd.rollouts.rollout import CheckVerdict
from confd.rollouts.steps import Addition, Exposure, Judge, RolloutStep, Start, Stepped
from confd.testing.examples import a_draft
from confd.testing.stores import StoreTests

#: When everything happens.
NOON = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)

#: A plan with one agent first.
CANARY = RolloutPlan(
    "canary", "", False, "rollout", (Wave(100, 0, 600, 0, "abort", count=1),), Wave(100, 0, 600, "2%", "pause")
)


def a_verdict(passed: bool) -> Addition:
    """Return the verdict of a check as a judge wants it."""
    return Addition(verdict=CheckVerdict("slo", passed, "ci", "", NOON), detail="said")


class RolloutStoreCase(StoreTests):
    """Calls of a store with rollouts."""

    def a_start(self, exposure: Exposure, **fields: Any) -> Start:
        """Return a start whose first wave is C{exposure}."""
        return Start(a_draft(2, made_at=NOON, **fields), CANARY, lambda number: (1, exposure))

    def a_step(self, judge: Judge, rollout: int = 1) -> RolloutStep:
        """Return a transition that confd makes by itself."""
        return RolloutStep(rollout, judge, NOON, Attempt("confd", "", "rollout", DEFAULT_NAMESPACE, "", NOON))

    async def start(self, *agent_ids: str, members: int = 1, **fields: Any) -> Stepped:
        """Start a rollout that exposes the first of some agents."""
        await self.store.unblock("a")
        await self.register(*agent_ids)
        exposure = Exposure(tuple((agent_id, True) for agent_id in agent_ids), members)
        stepped: Stepped = (await self.store.start_rollout(self.a_start(exposure, **fields))).value
        return stepped

    async def step(self, judge: Judge, rollout: int = 1) -> Stepped:
        """Make a transition."""
        stepped: Stepped = (await self.store.step_rollout(self.a_step(judge, rollout))).value
        return stepped

    async def register(self, *agent_ids: str) -> None:
        """Register agents."""
        for agent_id in agent_ids:
            await self.store.register(Registration(agent_id=agent_id), b"", NOON)

    async def report(
        self, agent_id: str, version: int, sequence: int, state: ReportState = ReportState.APPLIED, **fields: Any
    ) -> None:
        """Store a report."""
        (current,) = await self.store.current()
        tag: Tag = evolve(current.configuration.tag, version=version)
        report = evolve(Report(tag, state, session="s", sequence=sequence), **fields)
        received = ReceivedReport(agent_id, DEFAULT_NAMESPACE, report, 0.0, NOON)
        (verdict,) = (await self.store.save_reports([received])).value
        self.assertEqual(verdict.kind, "taken")

    async def member(self, agent_id: str) -> tuple[str, int, int]:
        """Return state, runs and repairs of a member of the newest rollout."""
        ((_, members),) = await self.store.open_rollouts()
        (found,) = [each for each in members if each.agent_id == agent_id]
        return found.state, found.runs, found.repairs

    async def current(self) -> int:
        """Return the number of the current version."""
        (revision,) = await self.store.current()
        version: int = revision.configuration.version
        return version
