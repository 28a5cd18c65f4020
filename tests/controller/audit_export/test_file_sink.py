"""Tests of L{confd.controller.audit_export.file_sink}."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from confd.audit import AuditEntry, AuditOutcome
from confd.cli.audit_export import AuditExport
from confd.controller.audit_export.exporter import ALONE_SECONDS, RETRY_MAX_SECONDS, AuditExporter
from confd.controller.audit_export.file_sink import FileAuditSink
from confd.errors import StartError, Unavailable
from confd.runtime.timing import Backoff
from confd.testing.audit_sinks import AuditPlace, a_chain, make_iauditsink_tests
from confd.testing.examples import a_draft, an_attempt
from confd.testing.memory import MemoryStore

START = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def at_once(work: Callable[..., Any], /, *arguments: object) -> Deferred[Any]:
    """Run work in this thread."""
    return execute(work, *arguments)


def entries_of(path: Path) -> list[AuditEntry]:
    """Return the entries of a file; a line without one fails."""
    found = [AuditEntry.parse(line) for line in path.read_bytes().splitlines()]
    assert None not in found, path.read_bytes()
    return [each for each in found if each is not None]


def file_place(test: TestCase) -> AuditPlace:
    """A file."""
    path = Path(test.mktemp())
    return AuditPlace(lambda: FileAuditSink(at_once, str(path)), lambda: entries_of(path) if path.exists() else [])


class FileAuditSinkTests(make_iauditsink_tests(file_place)):  # type: ignore[misc]
    """L{FileAuditSink} is an L{IAuditSink}."""


class FileTests(SynchronousTestCase):
    """The file of a L{FileAuditSink}."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.sink = FileAuditSink(at_once, str(self.path))

    def write(self, entries: list[AuditEntry]) -> None:
        """Write entries with success."""
        self.successResultOf(self.sink.write(entries))

    def refused(self, attempt: Deferred[Any]) -> str:
        """Return the sentence of a failure."""
        return self.failureResultOf(attempt, Unavailable).value.message

    def test_only_the_owner_may_read(self) -> None:
        self.write(a_chain(1))
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)

    def test_entries_are_on_disk_before_the_write_fires(self) -> None:
        synced: list[bytes] = []
        self.sink = FileAuditSink(at_once, str(self.path), sync=lambda _: synced.append(self.path.read_bytes()))
        entries = a_chain(2)
        for number, each in enumerate(entries, 1):
            self.write([each])
            self.assertEqual(synced[-1], b"".join(one.line() + b"\n" for one in entries[:number]))
        # The name of a new file is made durable, too.
        self.assertEqual(len(synced), 3)

    def test_moved_file_is_made_again(self) -> None:
        entries = a_chain(3)
        self.write(entries[:2])
        old = self.path.rename(f"{self.path}.1")
        self.write(entries[2:])
        self.assertEqual(entries_of(old) + entries_of(self.path), entries)

    def test_cut_line_stays_and_its_entry_follows_again(self) -> None:
        entries = a_chain(3)
        self.write(entries[:2])
        self.path.write_bytes(self.path.read_bytes()[:-9])
        self.assertEqual(self.successResultOf(self.sink.newest()), entries[0])
        self.write(entries[1:])
        lines = self.path.read_bytes().splitlines()
        self.assertEqual([AuditEntry.parse(each) for each in lines], [entries[0], None, *entries[1:]])
        self.assertEqual(AuditExport.read(lines, "x").range, (1, 3))

    def test_full_disk_is_a_sentence_and_what_was_written_is_found(self) -> None:
        entries, room = a_chain(3), [0]

        def write(descriptor: int, lines: bytes) -> int:
            if not room[0]:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            written = os.write(descriptor, lines[: room[0]])
            room[0] -= written
            return written

        self.sink = FileAuditSink(at_once, str(self.path), write)
        for room[0] in (5, 3, 5 + len(entries[0].line())):
            self.assertEqual(
                self.refused(self.sink.write(entries)),
                f"AUDIT_FILE: {self.path} cannot be written: No space left on device.",
            )
        self.assertEqual(self.successResultOf(self.sink.newest()), entries[0])
        room[0] = 10**6
        self.write(entries[1:])
        with self.path.open("rb") as lines:
            self.assertEqual(AuditExport.read(lines, "x").range, (1, 3))

    def test_links_and_other_files_are_never_written(self) -> None:
        other = Path(self.mktemp())
        other.write_text("root:x:0:0\n")
        self.path.symlink_to(other)
        self.assertIn("it is a symbolic link", self.refused(self.sink.write(a_chain(1))))
        self.assertIn("is a symbolic link; name the file itself", str(self.assertRaises(StartError, self.start)))
        self.path.unlink()
        os.mkfifo(self.path)
        self.assertIn("a pipe", self.refused(self.sink.write(a_chain(1))))
        self.assertIn("is a FIFO; name a file", str(self.assertRaises(StartError, self.start)))
        self.path.unlink()
        other.rename(self.path)
        self.assertIn("something other than an audit log", self.refused(self.sink.newest()))
        self.sink = FileAuditSink(at_once, f"{self.path}/none/audit.jsonl")
        self.assertIn("/none is no folder", str(self.assertRaises(StartError, self.start)))

    def start(self) -> None:
        self.sink.startService()


class CrashTests(SynchronousTestCase):
    """An export to a file that is killed, rotated and cut at any moment."""

    @given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["", "kill", "cut", "rotate"]), st.integers(1, 400))))
    def test_no_entry_is_missing_and_nothing_looks_changed(self, steps: list[tuple[int, str, int]]) -> None:
        clock, store = Clock(), MemoryStore(a_draft(poll_interval=30))
        folder = Path(self.mktemp())
        folder.mkdir()
        path, rotated = folder / "audit.jsonl", 0
        export = self.exporting(clock, store, path)
        for count, fate, size in [*steps, (1, "kill", 1)]:
            made = [AuditOutcome(an_attempt(number, made_at=START)) for number in range(count)]
            self.successResultOf(store.record(made))
            export.wake()
            if fate == "rotate" and path.exists():
                rotated += 1
                path.rename(folder / f"audit.jsonl.{rotated}")
            elif fate:
                export.stopService()
                if fate == "cut" and path.exists():
                    # A write that the end of the process cut.
                    os.truncate(path, max(0, path.stat().st_size - size))
                export = self.exporting(clock, store, path)
        export.stopService()
        lines = b"".join(each.read_bytes() for each in [*sorted(folder.glob("*.jsonl.*")), path])
        found = AuditExport.read(lines.splitlines(keepends=True), "x")
        kept = self.successResultOf(store.audit(10**6, None))
        self.assertEqual(found.hashes, {each.number: each.hash for each in kept})

    def exporting(self, clock: Clock, store: MemoryStore, path: Path) -> AuditExporter:
        """Return an export that is started, as a new process does."""
        sink = FileAuditSink(at_once, str(path), sync=lambda _: None)
        backoff = Backoff(Random(1), RETRY_MAX_SECONDS)
        export = AuditExporter(clock, lambda: START, store, sink, backoff, ALONE_SECONDS)
        export.startService()
        return export
