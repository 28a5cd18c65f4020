"""Packages of docs/examples, installed beside confd."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.fleet import clean_environment

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"


class InstalledExample(SynchronousTestCase):
    """
    Install one package of docs/examples.

    @cvar example: Name of the package.
    @ivar path: The C{PYTHONPATH} of a process that uses the package.
    """

    example = ""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).resolve()
        copy = self.folder / "copy"
        source = EXAMPLES / self.example
        shutil.copytree(source, copy, ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
        installed = self.folder / "installed"
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        self.output_of(*pip, "--no-index", "--no-deps", "--no-build-isolation", "--target", str(installed), str(copy))
        self.path = os.pathsep.join([str(installed), clean_environment()["PYTHONPATH"]])

    def output_of(self, *command: str, **environ: str) -> str:
        """Return the output of a command that must succeed."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=clean_environment() | environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=300,
        )
        self.assertEqual(done.returncode, 0, done.stdout)
        return done.stdout

    def run_its_tests(self) -> str:
        """Run the tests of the package, and return their output."""
        module = f"test_{self.example.replace('-', '_')}"
        shutil.copy(EXAMPLES / self.example / f"{module}.py", self.folder)
        trial = [sys.executable, "-m", "twisted.trial", module]
        return self.output_of(*trial, PYTHONPATH=os.pathsep.join([str(self.folder), self.path]))
