"""What a release is made of: one version, and news that users can read."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import confd

ROOT = Path(__file__).resolve().parents[1]


class ReleaseTests(SynchronousTestCase):
    """F{confd/__init__.py}, F{newsfragments/}, F{CHANGELOG.rst}."""

    def test_version(self) -> None:
        """It is written in one place, as PEP 440 wants it; nothing that is installed has another."""
        self.assertRegex(confd.__version__, r"^\d+\.\d+\.\d+(rc\d+|\.dev\d+)?$")
        for name in ("setup.cfg", "pyproject.toml", "Dockerfile", "Makefile", "docker-compose.yml", "docs/conf.py"):
            self.assertNotIn(confd.__version__, (ROOT / name).read_text(), name)

    def test_news(self) -> None:
        """A number, a kind, and a sentence or a few."""
        fragments = sorted(file for file in (ROOT / "newsfragments").iterdir() if not file.name.startswith("."))
        for file in fragments:
            self.assertRegex(file.name, r"^\d+\.(feature|bugfix|doc|removal|misc)(\.\d+)?\.rst$")
            self.assertRegex(file.read_text(), r"^[A-Za-z`].{20,400}\.\n$", file.name)

    def test_changelog(self) -> None:
        """It has the mark below which releases are listed, and lists none twice."""
        text = (ROOT / "CHANGELOG.rst").read_text()
        self.assertEqual(text.count("\n.. towncrier release notes start\n"), 1)
        releases = re.findall(r"^confd (\S+) \(", text, re.M)
        self.assertEqual(len(set(releases)), len(releases))
