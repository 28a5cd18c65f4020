"""Tests of L{confd_releases}: C{trial test_confd_releases}."""

import os
from pathlib import Path
from types import SimpleNamespace

from confd_releases import KEPT, Releases, make
from twisted.internet.defer import maybeDeferred
from twisted.trial.unittest import SynchronousTestCase

from confd.errors import StartError, Unavailable
from confd.testing import OutputFixture, a_configuration, make_ioutput_tests


def empty_folder(case):
    """An output that holds nothing, and how others read and spoil it."""
    folder = Path(case.mktemp())
    folder.mkdir()
    file = folder / "current" / "config.json"
    return OutputFixture(
        Releases(folder, maybeDeferred),
        content=lambda: file.read_bytes() if file.exists() else None,
        spoil=lambda: file.write_bytes(b"other"),
        restart=lambda: Releases(folder, maybeDeferred),
    )


ContractTests = make_ioutput_tests(empty_folder)


class ReleasesTests(SynchronousTestCase):
    """What this output adds to the contract."""

    def setUp(self):
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.output = Releases(self.folder, maybeDeferred)

    def apply(self, version):
        change = self.successResultOf(self.output.stage(a_configuration(version)))
        self.successResultOf(change.commit())
        self.successResultOf(change.finish())

    def test_keeps_the_newest_documents(self):
        for version in range(1, KEPT + 3):
            self.apply(version)
        found = sorted(name[:6] for name in os.listdir(self.folder) if name != "current")
        self.assertEqual(found, [f"{version:06}" for version in range(3, KEPT + 3)])

    def test_says_that_the_folder_is_gone(self):
        self.folder.rmdir()
        error = self.failureResultOf(self.output.stage(a_configuration(1)), Unavailable).value
        self.assertEqual(error.message, f"{self.folder} cannot be written: No such file or directory.")

    def test_says_which_setting_is_missing(self):
        error = self.assertRaises(StartError, make, SimpleNamespace(environ={}))
        self.assertIn("RELEASES_FOLDER", str(error))
