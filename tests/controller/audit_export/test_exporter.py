"""Tests of L{confd.controller.audit_export.exporter}."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from confd.audit import AuditEntry, AuditOutcome, verify
from confd.changes import REGISTERED, REPORTED, REVISION, Change
from confd.controller.audit_export.exporter import (
    ALONE_SECONDS,
    BATCH,
    RETRY_MAX_SECONDS,
    SHARED_SECONDS,
    AuditExporter,
    expose,
)
from confd.runtime.metrics import Metrics
from confd.runtime.timing import Backoff
from confd.testing import an_attempt
from confd.testing.audit_sinks import AuditPlace, MemoryAuditSink, make_iauditsink_tests
from confd.testing.examples import a_draft
from confd.testing.memory import MemoryStore
from tests.runtime.test_metrics import samples

START = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def memory_place(test: TestCase) -> AuditPlace:
    """A place in memory."""
    entries: list[AuditEntry] = []
    return AuditPlace(lambda: MemoryAuditSink(entries), lambda: entries)


class MemoryAuditSinkTests(make_iauditsink_tests(memory_place)):  # type: ignore[misc]
    """L{MemoryAuditSink}."""


class ExportTests(SynchronousTestCase):
    """L{AuditExporter}."""

    def setUp(self) -> None:
        self.clock, self.store, self.sink = Clock(), MemoryStore(a_draft(poll_interval=30)), MemoryAuditSink()
        self.export = self.exporting()

    def exporting(self) -> AuditExporter:
        """Return an export that runs until the end of the test."""
        now = lambda: START + timedelta(seconds=self.clock.seconds())  # noqa: E731
        export = AuditExporter(
            self.clock, now, self.store, self.sink, Backoff(Random(1), RETRY_MAX_SECONDS), SHARED_SECONDS
        )
        export.startService()
        self.addCleanup(lambda: export.stopService() if export.running else None)
        return export

    def record(self, count: int) -> None:
        """Put attempts on record."""
        made = [AuditOutcome(an_attempt(number, made_at=START)) for number in range(count)]
        self.successResultOf(self.store.record(made))

    def numbers(self) -> list[int]:
        """Return the numbers in the sink."""
        return [each.number for each in self.sink.entries]

    def kept(self) -> list[AuditEntry]:
        """Return all entries of the store, oldest first."""
        return list(reversed(list(self.successResultOf(self.store.audit(10**6, None)))))

    def test_entries_come_in_order_once_and_whole(self) -> None:
        self.record(2 * BATCH + 50)
        self.export.wake()
        self.assertEqual(self.sink.entries, self.kept())
        self.record(1)
        self.export.wake()
        self.assertEqual(self.sink.entries, self.kept())
        self.assertEqual(self.sink.reads, 1)
        self.assertIsNone(verify(self.sink.entries).wrong)

    def test_what_agents_do_reads_no_entries(self) -> None:
        self.record(1)
        for kind in (REGISTERED, REPORTED):
            self.export.apply(Change(1, kind, "", ()))
        self.assertEqual(self.sink.entries, [])
        self.export.apply(Change(2, REVISION, "default", None))
        self.assertEqual(self.sink.entries, self.kept())

    def test_restart_goes_on_where_the_sink_ends(self) -> None:
        self.record(30)
        self.export.wake()
        self.successResultOf(self.export.stopService() or succeed(None))
        self.record(5)
        self.exporting()
        self.assertEqual(self.sink.entries, self.kept())

    def test_another_controllers_entries_are_found_without_a_hint(self) -> None:
        self.record(3)
        self.assertEqual(self.sink.entries, [])
        self.clock.advance(SHARED_SECONDS)
        self.assertEqual(self.sink.entries, self.kept())

    def test_export_of_the_only_controller_reads_nothing_while_no_entry_is_new(self) -> None:
        self.successResultOf(self.export.stopService())
        reads: list[object] = []
        audit = self.store.audit
        self.store.audit = lambda *arguments: reads.append(arguments) or audit(*arguments)  # type: ignore
        alone = AuditExporter(self.clock, lambda: START, self.store, self.sink, Backoff(Random(1)), ALONE_SECONDS)
        alone.startService()
        self.addCleanup(alone.stopService)
        del reads[:]
        self.clock.pump([60] * 600)
        self.assertEqual(reads, [])
        self.record(1)
        alone.wake()
        self.assertEqual(self.sink.entries, self.kept())

    @given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["", "lost", "taken"])), max_size=20))
    def test_no_entry_is_missing_after_any_failures(self, steps: list[tuple[int, str]]) -> None:
        self.setUp()
        for count, self.sink.fate in steps:
            self.record(count)
            self.export.wake()
            self.clock.advance(RETRY_MAX_SECONDS)
        self.sink.fate = ""
        for _ in range(3):
            self.clock.advance(max(RETRY_MAX_SECONDS, SHARED_SECONDS))
        self.assertEqual(self.sink.entries, self.kept())
        self.assertEqual(self.export.fact(), "entries are exported")

    def test_sink_that_is_down_is_asked_again_with_growing_pauses(self) -> None:
        self.sink.fate = "lost"
        self.record(1)
        for _ in range(50):
            self.export.wake()
        self.assertEqual((self.export.failures, self.export.fact()), (1, "LIST: lost."))
        self.clock.pump([1] * 600)
        self.assertLess(self.export.failures, 60)
        metrics = Metrics()
        expose(metrics, [self.export])
        label = (("sink", "LIST"),)
        found = samples(metrics.exposition())
        self.assertEqual(found["confd_audit_export_entries_waiting", label], 1)
        self.assertEqual(found["confd_audit_export_failures_total", label], self.export.failures)
        age = found["confd_audit_export_age_seconds", label]
        self.sink.fate = ""
        self.clock.advance(RETRY_MAX_SECONDS)
        self.assertGreater(age, samples(metrics.exposition())["confd_audit_export_age_seconds", label])
        self.assertEqual(samples(metrics.exposition())["confd_audit_export_entries_waiting", label], 0)

    def test_database_that_was_changed_or_restored_ends_the_export(self) -> None:
        self.record(5)
        self.export.wake()
        self.successResultOf(self.export.stopService() or succeed(None))
        good: list[AuditEntry] = list(self.sink.entries)
        for entries in ([*good[:-1], evolve(good[-1], who="nobody")], [*good, evolve(good[-1], number=6)]):
            self.sink.entries = list(entries)
            self.record(1) if len(self.kept()) == 5 and len(entries) == 5 else None
            export: Any = self.exporting()
            self.assertIn(f"entry {entries[-1].number} of the database is not the exported one", export.fact())
            self.assertEqual(self.sink.entries, entries)
