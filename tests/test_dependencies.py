"""C{scripts/audit.py}, with a C{pip_audit} that says what it is asked to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "audit.py"

EDITABLE = {"name": "confd", "skip_reason": "distribution marked as editable"}
GOOD = {"name": "good", "version": "1.0", "vulns": []}
BAD = {"name": "bad", "version": "1.0", "vulns": [{"id": "CVE-2026-1", "fix_versions": ["1.1"]}]}
UNKNOWN = {"name": "unknown", "skip_reason": "Dependency not found and could not be audited: unknown (1.0)"}


class AuditTests(SynchronousTestCase):
    """What it tells, and its status."""

    def run_with(self, code: str) -> tuple[int, list[str]]:
        """Status and lines."""
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "pip_audit.py").write_text(code)
        environ = os.environ | {"PYTHONPATH": str(folder)}
        done = subprocess.run(
            [sys.executable, str(SCRIPT)], capture_output=True, text=True, env=environ, timeout=60, check=False
        )
        self.assertEqual(done.stderr, "")
        return done.returncode, done.stdout.splitlines()

    def found(self, *dependencies: object) -> tuple[int, list[str]]:
        """What it makes of these."""
        return self.run_with(f"print({json.dumps({'dependencies': dependencies, 'fixes': []})!r})")

    def test_good(self) -> None:
        self.assertEqual(self.found(EDITABLE, GOOD), (0, ["1 of 1 dependencies audited, 0 advisories"]))

    def test_bad(self) -> None:
        status, lines = self.found(EDITABLE, GOOD, BAD, UNKNOWN)
        self.assertEqual(status, 1)
        self.assertEqual(lines[:2], ["bad 1.0: CVE-2026-1, fixed in 1.1", "2 of 3 dependencies audited, 1 advisories"])

    def test_not_audited(self) -> None:
        """It passes, and says so: for some, for all, and where the tool itself fails."""
        status, lines = self.found(EDITABLE, GOOD, UNKNOWN)
        self.assertEqual((status, lines[0]), (0, "1 of 2 dependencies audited, 0 advisories"))
        self.assertEqual(lines[1], "NOT AUDITED: could not fetch the advisories for unknown")
        broken = "import sys; print('ERROR: connection refused', file=sys.stderr); sys.exit(1)"
        self.assertEqual(self.run_with(broken), (0, ["NOT AUDITED: no advisories; ERROR: connection refused"]))
