"""Tests of L{confd_filewatch}: C{trial test_confd_filewatch}."""

import os
from pathlib import Path
from types import SimpleNamespace

from confd_filewatch import FileWatch, make
from twisted.internet.defer import maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from confd.errors import StartError
from confd.testing.strategies import MemorySink, make_istrategy_tests


def far_end_away(case):
    """A strategy whose file is not there, and its clock."""
    clock = Clock()
    return FileWatch(clock, case.mktemp(), maybeDeferred), clock


ContractTests = make_istrategy_tests(far_end_away)


class FileWatchTests(SynchronousTestCase):
    """What this strategy adds to the contract."""

    def setUp(self):
        self.file = Path(self.mktemp())
        self.clock = Clock()
        self.sink = MemorySink()
        self.strategy = FileWatch(self.clock, str(self.file), maybeDeferred)
        self.strategy.start(self.sink)

    def test_hints_when_the_file_appears_and_whenever_it_is_touched(self):
        self.assertEqual((self.sink.heard, self.strategy.path()), ([], "poll"))
        self.file.touch()
        self.clock.pump([0.5] * 4)
        self.assertEqual((self.sink.heard, self.strategy.path()), ([("hint",)], "FILEWATCH"))
        os.utime(self.file, (1, 1))
        self.clock.pump([0.5] * 4)
        self.assertEqual(self.sink.heard, [("hint",)] * 2)

    def test_is_on_poll_again_when_the_file_is_gone(self):
        self.file.touch()
        self.clock.advance(0.5)
        self.file.unlink()
        self.clock.advance(0.5)
        self.assertEqual(self.strategy.path(), "poll")

    def test_says_which_setting_is_missing(self):
        error = self.assertRaises(StartError, make, SimpleNamespace(environ={}))
        self.assertIn("FILEWATCH_FILE", str(error))
