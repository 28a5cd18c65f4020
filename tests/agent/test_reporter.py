"""Tests of L{confd.agent.reporter}."""

from __future__ import annotations

from random import Random

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from confd.agent.registration import RegistrationService
from confd.agent.reporter import (
    APPLYING_AFTER_SECONDS,
    REPEAT_AFTER_SECONDS,
    STOP_GRACE_SECONDS,
    UNSUPPORTED_RETRY_SECONDS,
    Reporter,
    ReportSource,
)
from confd.agent.version_guard import VersionGuard
from confd.agent.worker_sync import RETRY_MAX_SECONDS, WorkerSync
from confd.errors import ConfdError, Conflict, Malformed, NotFound, TooMany, Unauthenticated, Unavailable, Unprocessable
from confd.model import Registration
from confd.reports import Report, ReportState, Timings
from confd.runtime.timing import Backoff
from tests.agent.fakes import AGENT_ID, CLUSTER, OTHER_CLUSTER, FakeController, FakeWorker, configuration

DOWN = Unavailable("down", "No controller answers.")


def report(version: int, state: str = "applied", **fields: object) -> Report:
    """Return a report on a version."""
    return evolve(Report(configuration(version).tag, ReportState(state)), **fields)


class ReporterTests(SynchronousTestCase):
    """L{Reporter}, of an agent that is registered."""

    def setUp(self) -> None:
        self.build()

    def build(self, seed: int = 1, window: float = 0.0) -> None:
        self.clock = Clock()
        self.controller = FakeController(window=window)
        self.now: Report | None = None
        self.registration_service = RegistrationService(
            self.clock,
            self.controller,
            Backoff(Random(seed)),
            Registration(),
            lambda agent_id: None,
            lambda: self.reporter.registered(),
        )
        random = Random(seed)
        self.reporter = Reporter(
            self.clock, self.controller, self.registration_service, Backoff(random), random, lambda: self.now, "a"
        )
        self.reporter.startService()
        self.registration_service.startService()

    def say(self, said: Report) -> None:
        """Set the current report."""
        self.now = said
        self.reporter.changed()

    def wait(self, seconds: float) -> None:
        """Let time pass, and tell the reporter twice a second that the report may have changed."""
        for _ in range(round(seconds * 2)):
            self.clock.advance(0.5)
            self.reporter.changed()

    def received(self) -> list[tuple[int, str, int]]:
        """Return version, state and sequence of each attempt."""
        return [(each.tag.version, each.state.value, each.sequence) for each in self.controller.attempts]

    # -- reports and their times --

    def test_nothing_is_sent_before_there_is_a_report(self) -> None:
        self.wait(10)
        self.assertEqual(self.received(), [])

    def test_a_report_is_sent_once(self) -> None:
        self.say(report(1))
        self.wait(REPEAT_AFTER_SECONDS - 1)
        self.assertEqual(self.received(), [(1, "applied", 1)])
        self.assertEqual(self.controller.reports[0].session, "a")
        self.assertEqual(self.reporter.reports["sent"], 1)

    def test_a_report_is_repeated_now_and_then(self) -> None:
        """The sequence is the same: only a restored controller lacks the report."""
        self.say(report(1))
        self.wait(10 * REPEAT_AFTER_SECONDS)
        self.assertEqual({*self.received()}, {(1, "applied", 1)})
        self.assertIn(len(self.received()), range(5, 12))

    def test_retry_after_is_the_shortest_delay(self) -> None:
        """New reports do not shorten the delay; jitter lengthens it, and the next delay is an ordinary one."""
        for kind in (Unavailable, TooMany):
            self.build()
            busy = kind("busy", "Later.")
            busy.retry_after = 60
            self.controller.failure = busy
            self.say(report(1))
            self.wait(1)
            self.say(report(2))
            self.wait(58)
            self.assertEqual(self.received(), [(1, "applied", 1)])
            self.controller.failure = None
            self.wait(17)
            self.assertEqual(self.received()[1][:2], (2, "applied"))

    def test_nothing_is_sent_before_the_registration(self) -> None:
        self.controller.failure = DOWN
        self.registration_service.stopService()
        self.registration_service.startService()
        self.say(report(1))
        self.clock.advance(0.5)
        self.assertEqual(self.received(), [])
        self.controller.failure = None
        self.wait(5)
        self.assertEqual(self.received(), [(1, "applied", 1)])

    @given(st.integers(), st.floats(0.1, 30))
    def test_reports_are_spread_over_the_window(self, seed: int, window: float) -> None:
        self.build(seed, window)
        self.say(report(1))
        self.clock.advance(0)
        self.assertEqual(self.received(), [])
        self.clock.advance(window)
        self.assertEqual(self.received(), [(1, "applied", 1)])

    def test_the_window_is_drawn_from_evenly(self) -> None:
        moments = []
        for seed in range(200):
            self.build(seed, window=10.0)
            self.say(report(1))
            moments.append(min(timer.getTime() for timer in self.clock.getDelayedCalls()))
        for begin in range(10):
            self.assertGreaterEqual(sum(begin <= each < begin + 1 for each in moments), 8)

    def test_the_window_follows_the_controller(self) -> None:
        self.controller.window = 20.0
        self.say(report(1))
        self.wait(0.5)
        self.assertEqual(self.registration_service.report_window, 20.0)

    def test_only_the_latest_report_is_sent(self) -> None:
        self.build(window=10.0)
        for version in range(1, 30):
            self.say(report(version))
        self.wait(10)
        self.assertEqual(self.received(), [(29, "applied", 1)])

    def test_new_reports_do_not_postpone_the_timer(self) -> None:
        self.build(window=4.0)
        for version in range(1, 101):
            self.say(report(version))
            self.clock.advance(0.1)
        self.assertGreaterEqual(len(self.received()), 2)
        self.assertLessEqual(len(self.received()), 12)

    def test_a_quick_delivery_is_not_reported_as_applying(self) -> None:
        self.say(report(1, "applying"))
        self.clock.advance(APPLYING_AFTER_SECONDS / 2)
        self.say(report(1))
        self.clock.advance(0)
        self.wait(10)
        self.assertEqual(self.received(), [(1, "applied", 1)])

    def test_a_slow_delivery_is_reported_as_applying(self) -> None:
        self.say(report(1, "applying"))
        self.clock.advance(APPLYING_AFTER_SECONDS)
        self.assertEqual(self.received(), [(1, "applying", 1)])
        self.say(report(1))
        self.clock.advance(0)
        self.assertEqual(self.received()[1:], [(1, "applied", 2)])

    def test_the_waiting_time_is_measured_at_each_attempt(self) -> None:
        self.controller.failure = DOWN
        self.say(report(1, spent=Timings(1.0, 2.0, 0.0)))
        self.clock.advance(0)
        self.now = report(1, spent=Timings(1.0, 2.0, 40_000.0))
        self.controller.failure = None
        self.wait(40)
        self.assertEqual([each.spent.waited for each in self.controller.attempts], [0.0, 40_000.0])
        self.assertEqual(self.received(), [(1, "applied", 1)] * 2, "it is the same report")

    # -- one at a time --

    def test_a_change_during_a_report_is_reported_next(self) -> None:
        self.controller.hung = True
        self.say(report(1))
        self.wait(1)
        for version in (2, 3):
            self.say(report(version))
        self.wait(5)
        self.assertEqual(self.received(), [(1, "applied", 1)])
        self.controller.hung = False
        self.controller.waiting.pop().callback(0.0)
        self.wait(1)
        self.assertEqual(self.received(), [(1, "applied", 1), (3, "applied", 2)])

    # -- a controller that does not take it --

    @given(st.integers(), st.integers(1, 600))
    def test_a_report_arrives_within_the_backoff_of_a_recovery(self, seed: int, away: int) -> None:
        self.build(seed)
        self.controller.failure = DOWN
        self.say(report(1))
        self.wait(away)
        self.controller.failure = None
        self.wait(31)
        self.assertEqual([each.tag.version for each in self.controller.reports], [1])

    def test_failures_increase_the_delay(self) -> None:
        self.controller.failure = DOWN
        with capturedLogs() as logs:
            self.say(report(1))
            self.wait(600)
        self.assertEqual(len(logs), 1, "said once")
        self.assertTrue(10 <= len(self.received()) <= 80, len(self.received()))
        self.assertEqual(self.reporter.reports["failed"], len(self.received()))

    def test_wrong_credentials_and_malformed_answers_are_retried(self) -> None:
        """The credentials may be corrected; a captive portal may have answered."""
        for failure in (Unauthenticated("bad_credentials", "Wrong."), Malformed("not_json", "No JSON.")):
            self.build()
            self.controller.failure = failure
            self.say(report(1))
            self.wait(10)
            self.controller.failure = None
            self.wait(31)
            self.assertEqual(len(self.controller.reports), 1)

    def test_a_refused_report_is_not_retried(self) -> None:
        """The refusal is logged; the next report is sent."""
        for failure in (
            NotFound("unknown_version", "There is no such version."),
            NotFound("unknown_namespace", "There is no such namespace."),
            Conflict("other_namespace", "It belongs elsewhere."),
            Unprocessable("bad_field", "It is wrong."),
        ):
            with self.subTest(failure.code):
                self._refused_once(failure)

    def _refused_once(self, failure: ConfdError) -> None:
        self.build()
        self.controller.failure = failure
        with capturedLogs() as logs:
            self.say(report(1))
            self.wait(REPEAT_AFTER_SECONDS - 1)
        self.assertEqual((len(self.received()), len(logs)), (1, 1))
        self.assertEqual(self.reporter.reports["refused"], 1)
        self.controller.failure = None
        self.say(report(2))
        self.clock.advance(0)
        self.assertEqual([each.tag.version for each in self.controller.reports], [2])

    def test_a_repeated_report_is_not_sent_again(self) -> None:
        """The answer to the first attempt may have been lost."""
        for code in ("repeated_report", "out_of_order"):
            self.build()
            self.controller.failure = Conflict(code, "It was taken before.")
            with capturedLogs() as logs:
                self.say(report(1))
                self.wait(60)
            self.assertEqual((len(self.received()), logs, self.reporter.reports["repeated"]), (1, [], 1))

    def test_a_go_controller_gets_few_reports(self) -> None:
        """The Go controller has no endpoint for reports."""
        self.controller.failure = NotFound("unexpected_answer", "The controller answers 404: 404 page not found")
        for version in range(1, 60):
            self.say(report(version))
            self.wait(50)
        self.assertEqual(len(self.received()), 1)
        self.controller.failure = None
        self.wait(UNSUPPORTED_RETRY_SECONDS - 59 * 50 + 1)
        self.assertEqual([each.tag.version for each in self.controller.reports], [59])

    def test_a_report_with_a_lost_answer_is_corrected(self) -> None:
        """The worker was down and recovered; the report of the failure may have arrived."""
        self.say(report(1))
        self.clock.advance(0)
        self.controller.failure = DOWN
        self.say(report(1, "applying"))
        self.clock.advance(APPLYING_AFTER_SECONDS)
        self.controller.failure = None
        self.say(report(1))
        self.wait(1)
        self.assertEqual(self.received(), [(1, "applied", 1), (1, "applying", 2), (1, "applied", 3)])

    # -- a controller that does not know the agent --

    def test_an_unknown_agent_registers_again_and_reports(self) -> None:
        self.say(report(1))
        self.clock.advance(0)
        self.controller.members.clear()
        self.say(report(2))
        self.wait(5)
        self.assertEqual([each.agent_id for each in self.controller.registrations], ["", AGENT_ID])
        self.assertEqual([each.tag.version for each in self.controller.reports], [1, 2])

    def test_a_forgotten_agent_reports_again(self) -> None:
        self.say(report(1))
        self.clock.advance(0)
        self.controller.members.clear()
        self.registration_service.confirm(known=False)
        self.wait(5)
        self.assertEqual([each.tag.version for each in self.controller.reports], [1, 1])

    def test_a_controller_that_never_knows_the_agent_gets_few_requests(self) -> None:
        self.controller.members = _Nobody()
        self.say(report(1))
        self.wait(600)
        self.assertTrue(10 <= len(self.received()) <= 80, len(self.received()))

    def test_a_registration_during_a_report_leads_to_another_report(self) -> None:
        """The controller may have received the report before or after the change, so the agent sends it again."""
        self.controller.hung = True
        self.say(report(1))
        self.clock.advance(0)
        self.controller.hung = False
        self.reporter.registered()
        self.controller.waiting.pop().callback(0.0)
        self.clock.advance(0)
        self.assertEqual(self.received(), [(1, "applied", 1), (1, "applied", 2)])

    # -- stopping --

    def test_a_stop_sends_the_pending_report(self) -> None:
        self.build(window=30.0)
        self.say(report(1))
        self.successResultOf(self.reporter.stopService())
        self.assertEqual(self.received(), [(1, "applied", 1)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_stop_sends_the_pending_report_after_the_one_in_progress(self) -> None:
        self.controller.hung = True
        self.say(report(1))
        self.clock.advance(0)
        self.say(report(2))
        stopping = self.reporter.stopService()
        self.assertNoResult(stopping)
        self.controller.hung = False
        self.controller.waiting.pop().callback(0.0)
        self.successResultOf(stopping)
        self.assertEqual(self.received(), [(1, "applied", 1), (2, "applied", 2)])

    def test_a_stop_does_not_wait_forever(self) -> None:
        self.controller.hung = True
        self.say(report(1))
        self.clock.advance(0)
        self.say(report(2))
        stopping = self.reporter.stopService()
        self.clock.advance(STOP_GRACE_SECONDS)
        self.successResultOf(stopping)
        self.assertEqual((self.received(), self.clock.getDelayedCalls()), ([(1, "applied", 1)], []))

    def test_a_stop_ends_while_the_controller_is_down(self) -> None:
        self.controller.failure = DOWN
        self.say(report(1))
        self.clock.advance(0)
        self.successResultOf(self.reporter.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_defect_is_logged_and_reports_continue(self) -> None:
        self.controller.hung = True
        self.say(report(1))
        self.clock.advance(0)
        self.controller.hung = False
        self.controller.waiting.pop().errback(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.wait(1)
        self.assertEqual([each.tag.version for each in self.controller.reports], [1])


class _Nobody(set[str]):
    """A set that stays empty."""

    def add(self, element: str) -> None:
        """Ignore the element."""


class ReportSourceTests(SynchronousTestCase):
    """L{ReportSource}: reports on the newest and on the rejected configuration."""

    def setUp(self) -> None:
        self.worker = FakeWorker()
        self.worker_sync = WorkerSync(Clock(), self.worker, Backoff(Random(1), RETRY_MAX_SECONDS), lambda _: None)
        self.worker_sync.startService()
        self.objections: list[str | None] = []
        self.version_guard = VersionGuard(self.worker_sync.deliver, lambda: self.objections.append(self.reason()))
        self.report_source = ReportSource(self.version_guard, self.worker_sync)

    def reason(self) -> str | None:
        """Return the reason of the objection."""
        return self.version_guard.objection and self.version_guard.objection.reason

    def test_there_is_no_report_before_the_first_configuration(self) -> None:
        self.assertIsNone(self.report_source())

    def test_the_report_is_on_the_newest_configuration(self) -> None:
        self.version_guard.offer(configuration(7))
        self.assertEqual(self.report_source(), self.worker_sync.report())

    def test_the_report_is_on_the_rejected_configuration(self) -> None:
        """The state is failed, and the report names the configuration and the cluster of the worker."""
        self.version_guard.offer(configuration(7))
        for offered in (configuration(6), configuration(9, cluster_id=OTHER_CLUSTER)):
            self.version_guard.offer(offered)
            said = self.report_source()
            assert said is not None
            self.assertEqual((said.tag, said.state), (offered.tag, ReportState.FAILED))
            self.assertEqual((said.error, said.spent), (self.reason(), Timings()))
            self.assertEqual((said.holds, said.holds_cluster_id), (configuration(7).tag, CLUSTER))
        self.assertEqual(len(self.objections), 2)

    def test_an_objection_is_reported_until_the_newest_is_current(self) -> None:
        for ends in (
            lambda: self.version_guard.offer(configuration(7)),
            lambda: self.version_guard.offer(configuration(8)),
            lambda: self.version_guard.confirmed(),
        ):
            self.setUp()
            self.version_guard.offer(configuration(7))
            self.version_guard.offer(configuration(6))
            ends()
            self.assertEqual(self.report_source(), self.worker_sync.report())
            self.assertEqual((len(self.objections), self.objections[-1]), (2, None))
