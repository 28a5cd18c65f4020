"""Tests of L{confd.agent.worker_sync}."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from confd.agent.worker_sync import (
    CHECK_INTERVAL_SECONDS,
    RETRY_MAX_SECONDS,
    STEADY_INTERVAL_SECONDS,
    Applied,
    WorkerSync,
)
from confd.interfaces import IHealth, IWorkerClient
from confd.model import Configuration
from confd.reports import Report, ReportState, Timings
from confd.runtime.timing import Backoff
from tests.agent.fakes import CLUSTER, OTHER_CLUSTER, FakeWorker, configuration


class WorkerSyncCase(SynchronousTestCase):
    """L{WorkerSync} with a fake worker."""

    def setUp(self) -> None:
        self.build()

    #: Whether the worker answers a delivery with the document that it then holds.
    tells = False

    def build(self, seed: int = 1, retags: bool = True) -> None:
        self.clock = Clock()
        self.worker = FakeWorker(tells=self.tells)
        self.kept: list[Configuration] = []
        self.changes: list[Report | None] = []
        self.worker_sync = WorkerSync(
            self.clock,
            self.worker,
            Backoff(Random(seed), RETRY_MAX_SECONDS),
            self.kept.append,
            lambda: self.changes.append(self.worker_sync.report()),
            retags=retags,
        )
        self.worker_sync.startService()

    def said(self) -> Report:
        """Return the current report."""
        report = self.worker_sync.report()
        assert report is not None
        return report

    def versions(self) -> list[int]:
        """Return the delivered versions in order."""
        return [each.version for each in self.worker.deliveries]

    def wait(self, seconds: float) -> None:
        """Let time pass in steps that sum up exactly."""
        self.clock.pump([0.125] * round(seconds * 8))


class WorkerSyncTests(WorkerSyncCase):
    """Deliveries, drift and repairs."""

    def test_interfaces(self) -> None:
        verifyObject(IHealth, self.worker_sync)
        verifyObject(IWorkerClient, self.worker)

    def test_nothing_is_asked_before_there_is_a_configuration(self) -> None:
        self.wait(10)
        self.assertEqual((self.worker.deliveries, self.worker.checks), ([], 0))
        self.assertEqual(Applied(self.worker_sync).problem(), "No configuration has been applied yet.")
        self.assertIsNone(self.worker_sync.problem())

    def test_delivers_at_once_and_keeps_what_was_applied(self) -> None:
        self.worker_sync.deliver(configuration(1))
        self.assertEqual((self.versions(), self.kept), ([1], [configuration(1)]))
        self.assertEqual(self.worker_sync.applied, configuration(1))
        self.assertIsNone(Applied(self.worker_sync).problem())
        self.assertTrue(self.worker_sync.verified)
        self.assertIsNone(self.worker_sync.problem())

    def test_a_worker_that_keeps_its_configuration_is_left_alone(self) -> None:
        self.worker_sync.deliver(configuration(1))
        self.wait(60)
        self.assertEqual(self.versions(), [1])

    def test_a_worker_whose_state_stays_is_checked_less_often(self) -> None:
        self.worker_sync.deliver(configuration(1))
        for interval, checks in ((CHECK_INTERVAL_SECONDS, 2), (STEADY_INTERVAL_SECONDS, 10)):
            before = self.worker.checks
            self.clock.pump([interval] * checks)
            self.assertEqual(self.worker.checks - before, checks)
        self.worker.restart("boot-2")
        self.clock.pump([STEADY_INTERVAL_SECONDS, CHECK_INTERVAL_SECONDS])
        self.assertEqual(self.versions(), [1, 1])
        self.assertEqual(self.worker.checks, 14)

    # -- a worker that is away --

    def test_an_unreachable_worker_is_a_problem(self) -> None:
        self.worker.down = True
        with capturedLogs() as logs:
            self.worker_sync.deliver(configuration(1))
            self.wait(60)
        self.assertEqual(len(logs), 1, "said once")
        self.assertEqual(self.worker_sync.problem(), "The worker cannot be reached.")
        self.assertEqual((self.worker_sync.applied, self.kept), (None, []))
        self.worker.down = False
        self.wait(5)
        self.assertIsNone(self.worker_sync.problem())

    def test_a_worker_that_becomes_unreachable_is_a_problem(self) -> None:
        self.worker_sync.deliver(configuration(1))
        self.worker.down = True
        self.wait(3)
        self.assertEqual(self.worker_sync.problem(), "The worker cannot be reached.")

    # -- latest wins --

    def test_only_the_newest_is_pending(self) -> None:
        """A worker that hangs during 30 changes gets only the last one next."""
        self.worker.hung = True
        for version in range(1, 31):
            self.worker_sync.deliver(configuration(version))
        self.worker.resume()
        self.wait(5)
        self.assertEqual(self.versions(), [1, 30])
        self.assertEqual(self.worker.current, configuration(30))

    def test_a_newer_configuration_replaces_an_undeliverable_one(self) -> None:
        self.worker.down = True
        self.worker_sync.deliver(configuration(1))
        self.worker_sync.deliver(configuration(2))
        self.worker.down = False
        self.wait(5)
        self.assertEqual(self.versions(), [2])

    # -- read back (promise G6) --

    def test_a_worker_that_holds_another_document_after_a_success_is_a_problem(self) -> None:
        """Row F-61."""
        self.worker.lies = True
        self.worker_sync.deliver(configuration(1))
        self.wait(10)
        self.assertIsNone(self.worker_sync.applied)
        self.assertEqual(self.worker_sync.problem(), "The worker accepted 1a2b3c4d.1.1 but holds another document.")
        self.worker.lies = False
        self.wait(5)
        self.assertEqual(self.worker_sync.applied, configuration(1))

    def test_a_worker_without_a_checksum_is_trusted_after_a_success(self) -> None:
        self.worker.blind = True
        self.worker_sync.deliver(configuration(1))
        self.assertEqual((self.worker_sync.applied, self.worker_sync.verified), (configuration(1), False))

    # -- drift (promise G6) --

    def test_a_worker_that_restarted_empty_is_repaired(self) -> None:
        self.worker_sync.deliver(configuration(1))
        self.wait(10)
        self.worker.restart("boot-2")
        self.wait(5)
        self.assertEqual(self.worker.current, configuration(1))

    def test_a_go_worker_that_restarted_is_repaired(self) -> None:
        self.worker.blind = True
        self.worker_sync.deliver(configuration(1))
        self.wait(10)
        self.worker.restart("")
        self.wait(5)
        self.assertEqual(self.versions(), [1, 1])

    def test_a_restart_between_delivery_and_the_first_check_is_detected(self) -> None:
        self.worker_sync.deliver(configuration(1))
        self.worker.restart("boot-2")
        self.wait(5)
        self.assertEqual(self.worker.current, configuration(1))

    def test_a_worker_that_drifted_is_repaired(self) -> None:
        self.worker_sync.deliver(configuration(3))
        self.wait(10)
        self.worker.current = configuration(2)
        self.wait(5)
        self.assertEqual(self.worker.current, configuration(3))

    def test_the_same_document_with_another_tag_is_no_drift(self) -> None:
        self.worker_sync.deliver(configuration(3))
        self.wait(10)
        self.worker.current = configuration(4, document=configuration(3).document)
        self.wait(10)
        self.assertEqual(self.versions(), [3])

    def test_a_worker_that_kept_its_configuration_over_a_restart_is_left_alone(self) -> None:
        self.worker_sync.deliver(configuration(3))
        self.worker.boot_id = "boot-2"
        self.wait(10)
        self.assertEqual(self.versions(), [3])

    # -- refusals (promise G7) --

    def refuse(self) -> None:
        """Apply version 1, and let the worker refuse version 2."""
        self.worker_sync.deliver(configuration(1))
        self.worker.refuses = {2}
        self.worker_sync.deliver(configuration(2))

    def test_a_refusal_is_a_problem_in_the_words_of_the_worker(self) -> None:
        self.refuse()
        self.assertEqual(
            self.worker_sync.problem(), "The worker refuses configuration 1a2b3c4d.1.2: I cannot use this."
        )

    def test_a_refused_configuration_is_delivered_once(self) -> None:
        self.refuse()
        self.wait(120)
        self.assertEqual(self.versions(), [1, 2])

    def test_a_refused_configuration_is_neither_applied_nor_kept(self) -> None:
        self.refuse()
        self.assertEqual((self.worker_sync.applied, self.kept), (configuration(1), [configuration(1)]))

    def test_the_previous_configuration_is_restored_after_a_refusal(self) -> None:
        self.refuse()
        self.wait(3)
        self.worker.current = None
        self.wait(5)
        self.assertEqual(self.worker.current, configuration(1))

    def test_a_lost_previous_configuration_is_restored_after_a_refusal(self) -> None:
        self.worker_sync.deliver(configuration(1))
        self.worker.refuses = {2}
        self.worker.current = None
        self.worker_sync.deliver(configuration(2))
        self.wait(5)
        self.assertEqual((self.versions(), self.worker.current), ([1, 2, 1], configuration(1)))

    def test_another_configuration_is_delivered_after_a_refusal(self) -> None:
        """Row F-60."""
        self.refuse()
        self.worker_sync.deliver(configuration(3))
        self.assertEqual(self.worker.current, configuration(3))
        self.assertIsNone(self.worker_sync.problem())

    def test_another_process_of_the_worker_gets_the_refused_configuration(self) -> None:
        self.refuse()
        self.wait(3)
        self.worker.restart("boot-2")
        self.worker.refuses = set()
        self.wait(5)
        self.assertEqual(self.worker.current, configuration(2))
        self.assertIsNone(self.worker_sync.problem())

    def test_another_process_that_refuses_too_gets_the_previous_configuration(self) -> None:
        self.refuse()
        self.wait(3)
        self.worker.restart("boot-2")
        self.wait(30)
        self.assertEqual((self.versions(), self.worker.current), ([1, 2, 2, 1], configuration(1)))

    def test_a_worker_that_refuses_everything_gets_few_requests(self) -> None:
        self.worker_sync.deliver(configuration(1))
        self.wait(3)
        self.worker.refuses = {1}
        self.worker.restart("boot-2")
        self.wait(120)
        self.assertEqual(self.versions(), [1, 1])

    def test_a_refusal_of_the_first_configuration_causes_few_requests(self) -> None:
        self.worker.refuses = {1}
        self.worker_sync.deliver(configuration(1))
        self.wait(120)
        self.assertEqual(self.versions(), [1])

    # -- two agents on one worker (F-59) --

    def conflict(self) -> None:
        """Another agent delivered version 9; this agent has version 3."""
        self.worker.current = configuration(9)
        self.worker_sync.deliver(configuration(3))

    def test_a_worker_with_a_newer_configuration_is_left_alone(self) -> None:
        self.conflict()
        self.wait(120)
        self.assertEqual((self.versions(), self.worker.current), ([3], configuration(9)))
        self.assertIn("holds a newer configuration than 1a2b3c4d.1.3", self.worker_sync.problem() or "")

    def test_a_newer_configuration_that_the_worker_holds_is_applied_when_it_arrives(self) -> None:
        self.conflict()
        self.worker_sync.deliver(configuration(9))
        self.assertIsNone(self.worker_sync.problem())

    def test_a_worker_that_lost_the_newer_configuration_gets_this_one(self) -> None:
        self.conflict()
        self.wait(3)
        self.worker.restart("boot-2")
        self.wait(5)
        self.assertEqual(self.worker.current, configuration(3))

    # -- reports --

    def test_there_is_no_report_before_the_first_configuration(self) -> None:
        self.wait(10)
        self.assertIsNone(self.worker_sync.report())

    def test_an_applied_configuration_is_reported(self) -> None:
        self.worker_sync.deliver(configuration(1))
        expected = Report(
            configuration(1).tag,
            ReportState.APPLIED,
            holds=configuration(1).tag,
            holds_cluster_id=CLUSTER,
            spent=Timings(0.0, 0.0, 0.0),
        )
        self.assertEqual((self.said(), self.changes[-1]), (expected, expected))
        self.wait(3)
        self.assertEqual(self.said().spent, Timings(0.0, 0.0, 3000.0))

    def test_a_worker_without_a_checksum_is_reported_as_not_verified(self) -> None:
        self.worker.blind = True
        self.worker_sync.deliver(configuration(1))
        self.assertEqual((self.said().state, self.said().verified), (ReportState.APPLIED, False))
        self.assertEqual(self.said().holds, configuration(1).tag)

    def test_a_hung_worker_is_reported_as_applying(self) -> None:
        self.worker_sync.deliver(configuration(1))
        self.worker.hung = True
        self.worker_sync.deliver(configuration(2))
        self.wait(4)
        said = self.said()
        self.assertEqual((said.tag.version, said.state, said.error), (2, ReportState.APPLYING, ""))
        self.assertEqual((said.holds, said.spent), (configuration(1).tag, Timings(0.0)))
        self.worker.resume()
        self.assertEqual((self.said().state, self.said().spent.worker), (ReportState.APPLIED, 4000.0))

    def test_time_behind_a_hung_delivery_is_reported(self) -> None:
        """The worker has not received the configuration."""
        self.worker.hung = True
        self.worker_sync.deliver(configuration(1))
        self.wait(1)
        self.worker_sync.deliver(configuration(2))
        self.wait(2)
        self.assertEqual(self.said().spent, Timings())
        self.worker.resume()
        self.clock.advance(0)
        self.assertEqual(self.said().spent, Timings(2000.0, 0.0, 0.0))

    def test_an_unreachable_worker_is_reported_as_applying(self) -> None:
        for configured in (False, True):
            self.build()
            if configured:
                self.worker_sync.deliver(configuration(1))
            self.worker.down = True
            if not configured:
                self.worker_sync.deliver(configuration(1))
            self.wait(5)
            self.assertEqual(
                (self.said().state, self.said().error), (ReportState.APPLYING, "The worker cannot be reached.")
            )
            self.worker.down = False
            self.wait(5)
            self.assertEqual((self.said().state, self.said().error, self.said().repairs), (ReportState.APPLIED, "", 0))

    def test_a_refusal_is_reported_as_failed(self) -> None:
        self.refuse()
        said = self.said()
        self.assertEqual((said.tag.version, said.state), (2, ReportState.FAILED))
        self.assertEqual(said.error, self.worker_sync.problem())
        self.assertEqual((said.holds, said.holds_cluster_id), (configuration(1).tag, CLUSTER))
        self.worker.down = True
        self.wait(5)
        self.assertEqual(self.said().state, ReportState.FAILED, "it still is, although the worker is away")

    def test_a_worker_that_refuses_everything_is_reported_as_holding_nothing(self) -> None:
        self.worker_sync.deliver(configuration(1))
        self.worker.refuses = {1}
        self.worker.restart("boot-2")
        self.wait(5)
        self.assertEqual((self.said().state, self.said().holds), (ReportState.FAILED, None))

    def test_a_newer_configuration_of_the_worker_is_reported(self) -> None:
        self.conflict()
        said = self.said()
        self.assertEqual((said.tag.version, said.state), (3, ReportState.FAILED))
        self.assertIn("holds a newer configuration than", said.error)
        self.assertEqual((said.holds, said.holds_cluster_id), (configuration(9).tag, CLUSTER))

    # -- repairs --

    def repaired(self, times: int, version: int = 3) -> None:
        """Check that the worker is repaired in time, and that the repair is reported."""
        self.wait(5)
        self.assertEqual(self.worker.current, configuration(version))
        self.assertEqual((self.said().state, self.said().repairs), (ReportState.APPLIED, times))
        self.assertIsNone(self.worker_sync.problem())

    def test_a_configuration_from_another_sender_is_repaired(self) -> None:
        """Promise G6: each within 5 seconds."""
        tampering = {
            "without a tag": lambda: self.worker.tamper(None),
            "with an older tag": lambda: self.worker.tamper(configuration(2).tag),
            "of another cluster": lambda: self.worker.tamper(configuration(9, cluster_id=OTHER_CLUSTER).tag),
            "restarted": lambda: self.worker.restart("boot-2"),
            "replaced": lambda: (self.worker.restart("boot-3"), self.worker.tamper(None)),
            "without a tag again": lambda: self.worker.tamper(None),
        }
        self.worker_sync.deliver(configuration(3))
        self.wait(5)
        for times, (how, tamper) in enumerate(tampering.items(), 1):
            with self.subTest(how):
                tamper()
                self.repaired(times)

    def test_a_second_document_without_a_tag_is_repaired(self) -> None:
        """The health of the worker is the same before and after."""
        self.worker_sync.deliver(configuration(3))
        self.wait(5)
        self.worker.tamper(None, configuration(3))
        self.wait(5)
        self.assertEqual((self.versions(), self.said().repairs), ([3], 0), "that is no drift")
        self.worker.tamper(None)
        self.repaired(1)

    def test_a_repair_keeps_the_times_of_the_first_delivery(self) -> None:
        self.worker_sync.deliver(configuration(3))
        self.wait(10)
        self.worker.restart("boot-2")
        self.repaired(1)
        self.assertEqual(self.said().spent, Timings(0.0, 0.0, 15_000.0))

    def test_a_repair_in_progress_is_reported(self) -> None:
        self.worker_sync.deliver(configuration(3))
        self.wait(5)
        self.worker.restart("boot-2")
        self.worker.hung_at_delivery = True
        self.wait(3)
        said = self.said()
        self.assertEqual((said.state, said.holds, said.repairs), (ReportState.APPLYING, None, 0))
        self.assertIn("lost configuration 1a2b3c4d.1.3", said.error)
        self.worker.hung_at_delivery = False
        self.worker.resume()
        self.repaired(1)

    def test_a_repair_whose_answer_is_lost_ends_the_drift(self) -> None:
        """The next check finds the restored configuration; the repair is counted once."""
        self.worker_sync.deliver(configuration(3))
        self.wait(5)
        self.worker.restart("boot-2")
        self.worker.loses_answers = True
        self.wait(5)
        self.worker.loses_answers = False
        self.wait(10)
        self.repaired(1)
        self.assertEqual(self.versions(), [3, 3])

    def test_a_repair_during_a_refusal_is_counted(self) -> None:
        self.refuse()
        self.wait(3)
        self.worker.current = None
        self.wait(5)
        said = self.said()
        self.assertEqual((said.state, said.repairs, said.holds), (ReportState.FAILED, 1, configuration(1).tag))

    def test_the_first_delivery_is_no_repair(self) -> None:
        """Neither a restart of the worker while the agent is down nor a new version is a repair."""
        self.worker_sync.deliver(configuration(1))
        self.worker.restart("boot-2")
        self.worker_sync.deliver(configuration(2))
        self.wait(5)
        self.assertEqual(self.said().repairs, 0)

    def test_a_newer_tag_of_the_worker_is_left_alone_and_reported(self) -> None:
        """The tag may be forged or may come from an agent with a newer configuration (promise G3)."""
        self.worker_sync.deliver(configuration(3))
        self.wait(5)
        self.worker.tamper(configuration(9).tag)
        self.wait(60)
        self.assertEqual(self.versions(), [3, 3])
        self.assertEqual((self.said().state, self.said().holds), (ReportState.FAILED, configuration(9).tag))
        self.worker_sync.deliver(configuration(10))
        self.assertEqual(self.worker.current, configuration(10))

    def test_another_document_with_the_same_tag_is_left_alone_and_reported(self) -> None:
        """An operator has to decide which of the two documents is right."""
        self.worker.tamper(configuration(3).tag)
        self.worker_sync.deliver(configuration(3))
        self.wait(60)
        self.assertEqual(self.versions(), [3])
        self.assertEqual(self.said().state, ReportState.FAILED)
        self.assertIn("The worker holds another document as 1a2b3c4d.1.3", self.said().error)

    def test_a_worker_without_tags_is_compared_at_each_check(self) -> None:
        """The worker has a boot id, but never names a tag."""
        self.worker.nameless = True
        self.worker_sync.deliver(configuration(3))
        self.wait(20)
        self.assertEqual(self.versions(), [3])
        self.worker.tamper(None)
        self.repaired(1)

    def test_an_invalid_tag_of_the_worker_is_reported_as_no_tag(self) -> None:
        self.worker.refuses = {1}
        self.worker.named = "latest"
        self.worker.current = configuration(5)
        self.worker_sync.deliver(configuration(1))
        self.assertEqual((self.said().state, self.said().holds), (ReportState.FAILED, None))

    def test_deliveries_are_counted(self) -> None:
        """Deliveries are counted by result; checks are not counted."""
        self.worker.refuses = {2}
        self.worker.down = True
        self.worker_sync.deliver(configuration(1))
        self.worker.down = False
        self.clock.pump([1] * 10)
        self.worker_sync.deliver(configuration(2))
        self.clock.pump([1] * 10)
        self.assertEqual(self.worker_sync.deliveries, {"applied": 1, "refused": 1, "failed": 1})

    # -- a newer tag of the same document --

    def retag(self, version: int = 2) -> Configuration:
        """Deliver the document of version 1 under another tag; return that configuration."""
        wanted = configuration(version, data={"url": "https://example.org/1"})
        self.worker_sync.deliver(wanted)
        return wanted

    def test_a_worker_that_has_the_document_takes_a_newer_tag_without_a_delivery(self) -> None:
        """The agent reads the document back all the same."""
        self.worker_sync.deliver(configuration(1))
        for version in (2, 3):
            wanted = self.retag(version)
            report = self.said()
            self.assertEqual((report.tag, report.state), (wanted.tag, ReportState.APPLIED))
            self.assertEqual((report.verified, report.holds, report.repairs), (True, wanted.tag, 0))
            self.assertEqual((self.worker_sync.applied, self.kept[-1]), (wanted, wanted))
        self.wait(60)
        self.assertEqual((self.versions(), self.worker.current), ([1], configuration(1)))
        self.assertEqual(self.worker_sync.deliveries["applied"], 1)

    def test_a_worker_without_the_document_gets_the_newer_tag(self) -> None:
        for change in (
            lambda: self.worker.tamper(None),
            lambda: self.worker.tamper(configuration(1).tag),
            lambda: self.worker.restart("boot-2"),
            lambda: setattr(self.worker, "unreadable", True),
            lambda: setattr(self.worker, "blind", True),
        ):
            self.build()
            self.worker_sync.deliver(configuration(1))
            change()
            wanted = self.retag()
            self.assertEqual((self.versions(), self.worker.current), ([1, 2], wanted))
            self.worker.unreadable = False
            self.wait(5)
            self.assertEqual((self.said().state, self.said().holds), (ReportState.APPLIED, wanted.tag))

    def test_a_worker_that_cannot_tell_gets_each_tag(self) -> None:
        self.worker.blind = True
        self.worker_sync.deliver(configuration(1))
        self.retag()
        self.assertEqual((self.versions(), self.worker_sync.verified), ([1, 2], False))

    def test_a_newer_tag_ends_a_refusal(self) -> None:
        self.refuse()
        wanted = self.retag(3)
        self.assertEqual((self.versions(), self.said().state), ([1, 2], ReportState.APPLIED))
        self.assertIsNone(self.worker_sync.problem())
        self.worker.restart("boot-2")
        self.wait(5)
        self.assertEqual((self.versions(), self.worker.current), ([1, 2, 3], wanted))
        self.assertEqual(self.said().repairs, 1)

    def test_a_refusal_after_a_newer_tag_names_that_tag(self) -> None:
        """The worker goes on to show the tag under which it got the document."""
        self.worker_sync.deliver(configuration(1))
        wanted = self.retag()
        self.worker.refuses = {3}
        self.worker_sync.deliver(configuration(3))
        self.assertEqual((self.said().state, self.said().holds), (ReportState.FAILED, wanted.tag))

    def test_a_newer_tag_ends_a_drift_if_the_worker_has_the_document(self) -> None:
        self.worker_sync.deliver(configuration(1))
        self.worker.restart("boot-2")
        self.worker.loses_answers = True
        self.clock.advance(CHECK_INTERVAL_SECONDS)
        self.assertEqual((self.versions(), self.said().state), ([1, 1], ReportState.APPLYING))
        wanted = self.retag()
        report = self.said()
        self.assertEqual((report.state, report.holds, report.repairs), (ReportState.APPLIED, wanted.tag, 1))
        self.assertEqual(self.versions(), [1, 1])

    def test_a_set_of_outputs_gets_each_tag(self) -> None:
        """A template may contain the version."""
        self.build(retags=False)
        self.worker_sync.deliver(configuration(1))
        self.retag()
        self.assertEqual(self.versions(), [1, 2])

    # -- stopping --

    def test_a_stop_finishes_the_delivery_in_progress(self) -> None:
        self.worker.hung = True
        self.worker_sync.deliver(configuration(1))
        stopping = self.worker_sync.stopService()
        assert stopping is not None
        self.assertNoResult(stopping)
        self.worker.resume()
        self.successResultOf(stopping)
        self.assertEqual(self.kept, [configuration(1)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_stop_does_not_wait_forever(self) -> None:
        self.worker.hung = True
        self.worker_sync.deliver(configuration(1))
        stopping = self.worker_sync.stopService()
        assert stopping is not None
        self.clock.advance(8)
        self.successResultOf(stopping)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class AwayTests(WorkerSyncCase):
    """A worker that is away for some time."""

    @given(st.integers(), st.floats(0, 120), st.booleans())
    def test_applied_within_5_seconds_of_the_worker_listening(self, seed: int, away: float, tells: bool) -> None:
        """A failed delivery is retried."""
        self.tells = tells
        self.build(seed)
        self.worker.down = True
        self.worker_sync.deliver(configuration(1))
        self.clock.advance(away)
        self.worker.down = False
        self.wait(5)
        self.assertEqual((self.versions(), self.worker.current), ([1], configuration(1)))

    @given(st.integers(), st.floats(0, 20), st.floats(0, 20))
    def test_repaired_within_5_seconds_of_the_worker_listening(self, seed: int, kept: float, away: float) -> None:
        """A worker restarts empty at any moment between two checks."""
        self.build(seed)
        self.worker_sync.deliver(configuration(1))
        for seconds in (kept, away):
            self.clock.pump([1.0] * int(seconds))
            self.clock.advance(seconds % 1)
            self.worker.down = True
        self.worker.restart("boot-2")
        self.wait(5)
        self.assertEqual((self.versions(), self.worker.current), ([1, 1], configuration(1)))


class TellingWorkerTests(WorkerSyncTests):
    """The same with a worker whose answer to a delivery holds the document: it need not be read back."""

    tells = True


class ReadBackTests(WorkerSyncCase):
    """The read-back after a delivery."""

    def requests(self, tells: bool) -> int:
        """Return how often the worker is asked for its document because of one delivery."""
        self.tells = tells
        self.build()
        self.worker_sync.deliver(configuration(1))
        self.assertTrue(self.said().verified)
        return self.worker.read_backs

    def test_an_answer_with_the_document_saves_the_read_back(self) -> None:
        self.assertEqual((self.requests(tells=False), self.requests(tells=True)), (1, 0))

    def test_a_hung_read_back_does_not_delay_the_next_configuration(self) -> None:
        self.worker.hung_at_read_back = True
        self.worker_sync.deliver(configuration(1))
        self.assertEqual(self.said().state, ReportState.APPLYING)
        self.worker.hung_at_read_back = False
        self.worker_sync.deliver(configuration(2))
        self.wait(1)
        self.assertEqual((self.versions(), self.kept), ([1, 2], [configuration(2)]))
        self.assertEqual((self.said().state, self.worker_sync.problem()), (ReportState.APPLIED, None))

    def test_a_stop_ends_a_hung_read_back(self) -> None:
        self.worker.hung_at_read_back = True
        self.worker_sync.deliver(configuration(1))
        stopping = self.worker_sync.stopService()
        assert stopping is not None
        self.clock.advance(8)
        self.successResultOf(stopping)
        self.assertEqual((self.kept, self.clock.getDelayedCalls()), ([], []))
