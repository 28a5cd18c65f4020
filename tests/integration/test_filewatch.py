"""A strategy of a third party: the worked example, installed beside confd and run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.fleet import Fleet, clean_environment, eventually, hit, target

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "confd-filewatch"


class FileWatchTests(SynchronousTestCase):
    """C{docs/examples/confd-filewatch}."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).resolve()
        copy = self.folder / "copy"
        shutil.copytree(EXAMPLE, copy, ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
        self.installed = self.folder / "installed"
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        self.output_of(
            *pip, "--no-index", "--no-deps", "--no-build-isolation", "--target", str(self.installed), str(copy)
        )
        self.path = os.pathsep.join([str(self.installed), clean_environment()["PYTHONPATH"]])

    def output_of(self, *command: str, **environ: str) -> str:
        """Run a command that must succeed; return what it wrote."""
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

    def test_a_touch_hurries_an_agent(self) -> None:
        """It polls once in an hour, and yet the change is there."""
        stack = ExitStack()
        self.addCleanup(stack.close)
        url = stack.enter_context(target())
        fleet = Fleet(self.folder, interval=3600)
        stack.callback(fleet.close)
        watched = self.folder / "changed"
        worker = fleet.worker()
        agent = fleet.agent(worker, "agent", "--distribution-strategy", "filewatch")
        agent.environ = {"PYTHONPATH": self.path, "FILEWATCH_FILE": str(watched)}
        for process in (fleet.controller("--default-config", f'{{"url": "{url}/first"}}'), worker, agent):
            process.start()
        eventually(lambda: hit(worker) == "/first")
        fleet.publish({"url": f"{url}/second"})
        self.assertEqual(hit(worker), "/first")
        watched.touch()
        eventually(lambda: hit(worker) == "/second")

    def test_it_is_among_the_installed(self) -> None:
        """An unknown name lists it, and a mistake in its settings is told like any other."""
        fleet = Fleet(self.folder)
        self.addCleanup(fleet.close)
        for strategy, said in (("PIGEON", "use one of FILEWATCH, NATS,"), ("FILEWATCH", "FILEWATCH_FILE: is unset")):
            agent = fleet.agent("http://127.0.0.1:1", strategy.lower(), "--distribution-strategy", strategy)
            agent.environ = {"PYTHONPATH": self.path}
            agent.start(wait=False)
            self.assertRaises(AssertionError, eventually, agent.up)
            self.assertIn(said, agent.log)
            self.assertNotIn("Traceback", agent.log)

    def test_its_own_tests(self) -> None:
        """Those that it shows others how to write; they include the contract of strategies."""
        shutil.copy(EXAMPLE / "test_confd_filewatch.py", self.folder)
        trial = [sys.executable, "-m", "twisted.trial", "test_confd_filewatch"]
        found = self.output_of(*trial, PYTHONPATH=os.pathsep.join([str(self.folder), self.path]))
        self.assertIn("PASSED (successes=6)", found)
