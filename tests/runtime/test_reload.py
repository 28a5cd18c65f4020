"""Tests of L{confd.runtime.reload}."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.internet.defer import maybeDeferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from confd.runtime.reload import CHECK_INTERVAL_SECONDS, ReloadedFiles


class ReloadedFilesTests(SynchronousTestCase):
    """L{ReloadedFiles}, of a file that holds a number."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.path = Path(self.mktemp())
        self.path.write_text("1")
        self.loads = 0
        self.reloads: list[int] = []
        self.reloaded_files = ReloadedFiles(self.clock, maybeDeferred, [str(self.path)], self.load, self.reloads.append)
        self.reloaded_files.startService()
        self.addCleanup(self.reloaded_files.stopService)

    def load(self) -> int:
        """Read it."""
        self.loads += 1
        try:
            return int(self.path.read_text())
        except (OSError, ValueError):
            raise ValueError("it holds no number") from None

    def replace(self, text: str) -> None:
        """As programs that renew certificates do."""
        fresh = self.path.with_suffix(".new")
        fresh.write_text(text)
        os.replace(fresh, self.path)

    def test_unchanged_files_are_not_loaded_again(self) -> None:
        self.clock.pump([CHECK_INTERVAL_SECONDS] * 10)
        self.assertEqual((self.reloaded_files.value, self.loads), (1, 1))

    def test_a_changed_file_is_loaded_again(self) -> None:
        self.replace("2")
        self.clock.advance(CHECK_INTERVAL_SECONDS - 0.1)
        self.assertEqual(self.reloaded_files.value, 1)
        self.clock.advance(0.1)
        self.assertEqual((self.reloaded_files.value, self.loads, self.reloads), (2, 2, [2]))
        # The same text once more is another file.
        self.replace("2")
        self.clock.pump([CHECK_INTERVAL_SECONDS] * 3)
        self.assertEqual(self.loads, 3)

    def test_an_invalid_file_leaves_the_value_and_is_logged_once(self) -> None:
        with capturedLogs() as logs:
            self.replace("x")
            self.clock.pump([CHECK_INTERVAL_SECONDS] * 3)
            self.path.unlink()
            self.clock.pump([CHECK_INTERVAL_SECONDS] * 3)
        self.assertEqual(self.reloaded_files.value, 1)
        self.assertEqual([each["log_level"].name for each in logs], ["error", "error"])
        self.assertEqual(logs[0]["reason"], "it holds no number")
        self.replace("3")
        self.clock.advance(CHECK_INTERVAL_SECONDS)
        self.assertEqual(self.reloaded_files.value, 3)

    def test_back_to_what_it_was(self) -> None:
        """A failure in between leaves nothing behind."""
        os.rename(self.path, self.path.with_suffix(".away"))
        self.clock.advance(CHECK_INTERVAL_SECONDS)
        os.rename(self.path.with_suffix(".away"), self.path)
        self.clock.advance(CHECK_INTERVAL_SECONDS)
        self.assertEqual((self.reloaded_files.value, self.loads), (1, 2))

    def test_a_stopped_service_checks_no_files(self) -> None:
        self.reloaded_files.stopService()
        self.replace("2")
        self.clock.advance(CHECK_INTERVAL_SECONDS)
        self.assertEqual((self.reloaded_files.value, self.clock.getDelayedCalls()), (1, []))
