"""Tests of C{confd.agent.outputs.health}."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from confd.agent.outputs.health import HealthMonitor, Monitored
from confd.errors import Unprocessable
from confd.interfaces import Action, HealthCheck
from confd.model import Tag
from confd.reports import Report, ReportState


class HealthTests(SynchronousTestCase):
    """When an output is unhealthy, and what the report says."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.healthy = True
        self.runs = 0
        self.contents = {"a": "1", "b": "1"}
        self.kept: dict[str, str] = {}
        self.changes = 0
        self.report: Report | None = None
        self.hang = False
        self.monitor = self.make()

    def make(self) -> HealthMonitor:
        check = HealthCheck(Action("command", ("/x",)), interval=10.0, failures=3, timeout=5.0)
        outputs = [self.monitored(name, check) for name in ("a", "b")]
        monitor = HealthMonitor(self.clock, outputs, lambda: self.report, self.change, several=True)
        self.addCleanup(monitor.stopService)
        return monitor

    def monitored(self, name: str, check: HealthCheck) -> Monitored:
        def keep(words: str) -> Deferred[None]:
            self.kept[name] = words
            return succeed(None)

        return Monitored(
            name, check, self.run_check, lambda: self.contents[name], keep, lambda: self.kept.get(name, "")
        )

    def run_check(self) -> Deferred[None]:
        self.runs += 1
        if self.hang:
            return Deferred()
        return succeed(None) if self.healthy else fail(Unprocessable("health_failed", "The health check /x broke."))

    def change(self) -> None:
        self.changes += 1

    def apply(self, tag: int, **contents: str) -> None:
        """Apply a version, as the agent tells it."""
        self.report = Report(Tag("1a2b3c4d", 1, tag), ReportState.APPLYING)
        self.monitor.refresh()
        self.contents.update(contents)
        self.report = evolve(self.report, state=ReportState.APPLIED)
        self.monitor.refresh()

    def state(self) -> ReportState:
        found = self.monitor.amend(self.report)
        assert found is not None
        return found.state

    def pass_rounds(self, count: int) -> None:
        for _ in range(count):
            self.clock.advance(10)

    def test_failures_in_a_row_make_the_report_failed_and_one_success_heals(self) -> None:
        self.monitor.startService()
        self.apply(1)
        self.assertEqual(self.runs, 0)
        self.healthy = False
        self.pass_rounds(2)
        self.assertEqual((self.state(), self.changes), (ReportState.APPLIED, 0))
        self.pass_rounds(1)
        self.assertEqual(self.state(), ReportState.FAILED)
        self.assertEqual(
            self.monitor.problem(),
            "a: Applied, but the health check failed 3 times in a row: /x broke. So did 1 other output.",
        )
        self.assertEqual(self.changes, 2)
        self.pass_rounds(5)
        self.assertEqual(self.changes, 2)
        self.healthy = True
        self.pass_rounds(1)
        self.assertEqual((self.state(), self.changes), (ReportState.APPLIED, 4))

    def test_fewer_failures_change_nothing(self) -> None:
        self.monitor.startService()
        self.apply(1)
        for _ in range(4):
            self.healthy = False
            self.pass_rounds(2)
            self.healthy = True
            self.pass_rounds(1)
        self.assertEqual((self.state(), self.changes), (ReportState.APPLIED, 0))

    def unhealthy(self) -> None:
        self.monitor.startService()
        self.apply(1)
        self.healthy = False
        self.pass_rounds(3)
        self.assertEqual(self.state(), ReportState.FAILED)

    def test_new_content_starts_healthy_and_old_content_stays_unhealthy(self) -> None:
        self.unhealthy()
        self.apply(2)
        self.assertEqual(self.state(), ReportState.FAILED)
        self.apply(3, a="2", b="2")
        self.assertEqual(self.state(), ReportState.APPLIED)
        self.assertEqual(self.kept, {"a": "", "b": ""})
        self.pass_rounds(2)
        self.assertEqual(self.state(), ReportState.APPLIED)
        self.pass_rounds(1)
        self.assertEqual(self.state(), ReportState.FAILED)

    def test_an_apply_ends_a_run_which_does_not_count(self) -> None:
        self.monitor.startService()
        self.apply(1)
        self.hang = True
        self.pass_rounds(1)
        self.assertEqual(self.runs, 2)
        for tag in range(2, 6):
            self.apply(tag)
            self.pass_rounds(1)
        self.assertEqual((self.state(), self.changes), (ReportState.APPLIED, 0))

    def test_a_repair_resets_the_counter_and_heals_nothing(self) -> None:
        self.unhealthy()
        self.report = evolve(self.report, repairs=1)
        self.monitor.refresh()
        self.pass_rounds(1)
        self.assertEqual(self.state(), ReportState.FAILED)
        self.healthy = True
        self.pass_rounds(1)
        self.assertEqual(self.state(), ReportState.APPLIED)
        self.healthy = False
        self.pass_rounds(2)
        self.report = evolve(self.report, repairs=2)
        self.pass_rounds(2)
        self.assertEqual(self.state(), ReportState.APPLIED)
        self.pass_rounds(1)
        self.assertEqual(self.state(), ReportState.FAILED)

    def test_health_pauses_while_nothing_is_applied(self) -> None:
        self.monitor.startService()
        self.apply(1)
        self.report = evolve(self.report, state=ReportState.APPLYING)
        self.monitor.refresh()
        self.pass_rounds(5)
        self.assertEqual(self.runs, 0)

    def test_an_unhealthy_output_stays_so_over_a_restart_and_is_checked_at_once(self) -> None:
        self.unhealthy()
        self.monitor.stopService()
        self.monitor, self.runs = self.make(), 0
        self.monitor.startService()
        self.apply(1)
        self.assertEqual((self.state(), self.runs), (ReportState.FAILED, 2))
        self.healthy = True
        self.pass_rounds(1)
        self.assertEqual(self.state(), ReportState.APPLIED)
