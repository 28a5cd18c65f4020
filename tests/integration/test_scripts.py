"""Tests of the scripts that try a fleet: they pass, fail with a broken fleet, and leave nothing behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from tests.budgets import budget
from tests.integration.fleet import clean_environment, eventually

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts"

#: Publishers and publishes of the load, small for each run of the tests.
LOAD = ("4", "10")

#: A twistd whose agents do nothing.
IDLE_AGENTS = """#!/bin/sh
for word; do
    if [ "$word" = confd-agent ]; then exec sleep 1000; fi
done
exec {twistd} "$@"
"""

#: Seconds.
_LONG = 240

_MISSING = [name for name in ("bash", "curl") if shutil.which(name) is None]


@frozen
class Run:
    """A running script, in a session and a folder for temporary files of its own."""

    child: subprocess.Popen[str]
    folder: Path

    @classmethod
    def of(cls, folder: Path, name: str, *arguments: str, path: str = "", **environ: str) -> Run:
        """Start a script; C{path} is the first folder of its PATH."""
        folder.mkdir(parents=True)
        first = os.pathsep.join(filter(None, (path, str(Path(sys.executable).parent))))
        base = clean_environment()
        base |= {"PATH": first + os.pathsep + base["PATH"], "TMPDIR": str(folder.resolve())} | environ
        child = subprocess.Popen(
            [str(SCRIPTS / name), *arguments],
            env=base,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        return cls(child, folder)

    def end(self) -> tuple[int, str]:
        """Wait for the end; return status and output."""
        said, _ = self.child.communicate(timeout=_LONG)
        return self.child.returncode, said

    def left(self) -> list[str]:
        """Return the processes and files of the script that remain."""
        return [*self._processes(), *(each.name for each in self.folder.iterdir())]

    def _processes(self) -> list[str]:
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                # The name is in brackets, and may hold brackets; the session is the fourth word after it.
                words = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if words[3] == str(self.child.pid):
                found.append(stat.parent.name)
        return found

    def kill(self) -> None:
        """Kill the remaining processes."""
        for pid in self._processes():
            os.kill(int(pid), signal.SIGKILL)


class ScriptTests(SynchronousTestCase):
    """C{scripts/test-*.sh}."""

    if _MISSING:
        skip = f"not installed: {', '.join(_MISSING)}"

    def runs(self, strategies: list[str], **how: str) -> dict[str, Run]:
        """Start all three scripts at the same time."""
        commands = {
            "test-e2e.sh": [],
            "test-strategy-pattern.sh": strategies,
            "test-concurrent-load.sh": list(LOAD),
        }
        return {name: self.run_of(name, *arguments, **how) for name, arguments in commands.items()}

    def run_of(self, name: str, *arguments: str, **how: str) -> Run:
        """Start a script that ends with the test."""
        run = Run.of(Path(self.mktemp()), name, *arguments, **how)
        self.addCleanup(run.kill)
        return run

    def test_pass(self) -> None:
        """Each script passes: the strategies with one broker, or with both in C{make test-full}."""
        for name, run in self.runs(budget(["POLLER", "REDIS"], [])).items():
            status, said = run.end()
            self.assertEqual((status, run.left()), (0, []), f"{name}: {said}")
            self.assertIn("passed", said.splitlines()[-1], name)

    def test_fail(self) -> None:
        """With agents that do nothing, each script names the wait that failed."""
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        twistd = folder / "twistd"
        twistd.write_text(IDLE_AGENTS.format(twistd=Path(sys.executable).with_name("twistd")))
        twistd.chmod(0o755)
        for name, run in self.runs(["POLLER"], path=str(folder), PATIENCE="8").items():
            status, said = run.end()
            self.assertEqual((status, run.left()), (1, []), f"{name}: {said}")
            self.assertIn("in vain", said, name)
            self.assertNotIn("passed", said, name)

    def test_interrupted(self) -> None:
        """A script that is terminated ends its processes."""
        run = self.run_of("test-e2e.sh")
        eventually(lambda: len(list(run.folder.glob("*/worker.log"))) == 1)
        run.child.send_signal(signal.SIGTERM)
        status, said = run.end()
        self.assertEqual((status, run.left()), (130, []), said)

    def test_wrong_strategy(self) -> None:
        """The script refuses an unknown strategy."""
        status, said = self.run_of("test-strategy-pattern.sh", "PIGEON").end()
        self.assertEqual(status, 1)
        self.assertIn("no strategy is called PIGEON", said)

    def test_shellcheck(self) -> None:
        """shellcheck finds nothing."""
        if shutil.which("shellcheck") is None:
            self.skipTest("shellcheck is not installed (apt-get install shellcheck)")
        files = [ROOT / ".ci/run", *SCRIPTS.glob("*.sh"), *(ROOT / "deploy").rglob("*.sh")]
        done = subprocess.run(["shellcheck", *map(str, files)], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout)
