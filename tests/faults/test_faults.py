"""The quick part of the fault suite, as a person runs it, and that the rest can be named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.faults.soak import least_squares

ROOT = Path(__file__).resolve().parents[2]


def suite(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    environ = {name: text for name, text in os.environ.items() if name != "CONFD_FAULTS_INSIDE"}
    return subprocess.run(
        [sys.executable, "-m", "tests.faults", *arguments],
        cwd=ROOT,
        env=environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )


class QuickTests(SynchronousTestCase):
    """What takes a minute."""

    def test_quick_rows(self) -> None:
        """None is violated; on a busy machine the test has patience."""
        with tempfile.TemporaryDirectory(prefix="confd-quick-") as scratch:
            written = Path(scratch) / "rows.json"
            ran = suite("--quick", "--rounds", "0.1", "--slack", "10", "--json", str(written))
            self.assertEqual(ran.returncode, 0, ran.stdout[-4000:] + ran.stderr[-4000:])
            rows = json.loads(written.read_text())["rows"]
        self.assertGreater(sum(each["runs"] for each in rows), 5)
        self.assertEqual([each["row"] for each in rows if each["violations"]], [])


class CommandLineTests(SynchronousTestCase):
    """How rows are named."""

    def test_list(self) -> None:
        """Every row has a name of its own."""
        names = [line[:16].split("  ")[0] for line in suite("--list").stdout.splitlines()]
        self.assertGreater(len(names), 50)
        self.assertEqual(len(set(names)), len(names))

    def test_unknown_row(self) -> None:
        """A slip of the pen is no green run."""
        ran = suite("--rows", "F-0815")
        self.assertEqual((ran.returncode, ran.stdout), (1, ""))
        self.assertIn("F-0815", ran.stderr)


class SlopeTests(SynchronousTestCase):
    """The line through what was measured."""

    def test_straight(self) -> None:
        """Of points on a line there is no error."""
        slope = least_squares([(float(at), 3.0 + at / 1800) for at in range(0, 600, 5)])
        self.assertAlmostEqual(slope.hourly, 2.0)
        self.assertAlmostEqual(slope.error, 0.0)

    def test_noise(self) -> None:
        """Of noise without a slope the error says that there is none."""
        slope = least_squares([(float(at), 70.0 + at % 2) for at in range(600)])
        self.assertLess(abs(slope.hourly), 2 * slope.error)
