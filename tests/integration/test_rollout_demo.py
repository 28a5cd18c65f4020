"""A rollout as a person runs it: C{confdctl set --rollout careful} against real agents, one in ten breaks."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack

from twisted.trial.unittest import SynchronousTestCase

from confd.cli.errors import Exit
from tests.budgets import budget
from tests.integration.crowd import WORDS, Crowd
from tests.integration.fleet import ADMIN, clean_environment, eventually, request, staged

#: Agents, and the seconds of their poll interval: a busy machine starts all of them, and hears from each in time.
AGENTS, INTERVAL = 20, 2

OLD = {"url": "https://example.com/health", "timeout": 2}


class DemoTests(SynchronousTestCase):
    skip = None if budget(0, 1) else "only make test-full starts twenty agents"

    def setUp(self) -> None:
        self.fleet, _ = staged(self, INTERVAL)
        self.fleet.controller("--default-config", json.dumps(OLD)).start()
        self.crowd = Crowd.of(self.fleet, AGENTS)
        stack = ExitStack()
        self.addCleanup(stack.close)
        self.crowd.start(stack)
        eventually(lambda: self.convergence()["applied"] == AGENTS, 120)

    def convergence(self) -> dict[str, int]:
        """Return the convergence of the current version."""
        found: dict[str, int] = request("GET", f"{self.fleet.url}/api/v1/config/convergence", auth=ADMIN).json()
        return found

    def type(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command of a script."""
        command = [sys.executable, "-m", "confd.cli", *words]
        environ = clean_environment() | {"CONFD_URL": self.fleet.url}
        return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=300, check=False)

    def test_document_that_breaks_one_in_ten_comes_back_by_itself(self) -> None:
        """A rollout ends with the whole fleet on the old document, and names the agents that were exposed."""
        words = ("set", "compression=zstd", "--rollout", "careful", "--wait", "applied", "--yes")
        done = self.type(*words)
        self.assertEqual(done.returncode, Exit.ROLLED_BACK, done.stdout + done.stderr)
        self.assertIn("Rollout 1 was aborted", done.stderr)
        exposed = {name for name in self.crowd.names if any("compression" in each for each in self.offered(name))}
        broken = exposed & self.crowd.old
        table = {line.split()[0]: line for line in done.stdout.splitlines() if line.startswith("web-")}
        self.assertEqual(table.keys(), exposed, done.stdout)
        self.assertTrue(broken)
        for name in broken:
            self.assertIn("failed", table[name])
            self.assertIn(WORDS, table[name])
        # Waves of 1 agent, 10 % and 50 %.
        self.assertTrue(len(exposed) <= -(-AGENTS // 2), exposed)
        eventually(lambda: self.convergence()["applied"] == AGENTS)
        self.assertEqual(self.crowd.documents(), [OLD] * AGENTS)
        # A worker outside of the rollout saw neither the new document nor the old one again.
        for name in self.crowd.names:
            if name not in exposed:
                self.assertEqual(self.offered(name), [OLD])

    def offered(self, name: str) -> list[dict[str, object]]:
        """Return the documents that the worker of an agent was sent."""
        return self.crowd.workers[name].offered
