"""Tests of L{tests.integration.launcher}: a forked twistd behaves like the program."""

from __future__ import annotations

import signal
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.fleet import Fleet, Process
from tests.integration.launcher import Launch, fork, program


class LaunchTests(SynchronousTestCase):
    def worker(self, launch: Launch) -> Process:
        """Return a worker in a folder of its own."""
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        fleet = Fleet(folder, launch=launch)
        self.addCleanup(fleet.close)
        return fleet.worker()

    def test_status_of_the_end(self) -> None:
        for launch in (program, fork):
            for how, status in ((signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGKILL, -signal.SIGKILL)):
                process = self.worker(launch).start()
                self.assertFalse(process.gone())
                self.assertEqual(process.stop(how), status, (launch, how))

    def test_refused_settings(self) -> None:
        """Variables, words, the folder and both streams reach the process, and its status comes back."""
        found = []
        for launch in (program, fork):
            process = self.worker(launch)
            process.environ = {"HIT_ALLOW": "nonsense", "TLS_CERTIFICATE_FILE": "absent.pem"}
            process.arguments += ["--log-level", "loud"]
            process.start(wait=False)
            assert process._child is not None
            found.append((process._child.wait(60), process.log))
        self.assertEqual(found[0], found[1])
        self.assertEqual(found[0][0], 1)
        self.assertIn("LOG_LEVEL", found[0][1])

    def test_processes_share_no_state(self) -> None:
        """Two forked processes have reactors of their own: one hangs, and the other answers."""
        first, second = self.worker(fork).start(), self.worker(fork).start()
        first.signal(signal.SIGSTOP)
        self.assertTrue(second.up())
        self.assertEqual(second.stop(), 0)
        first.signal(signal.SIGCONT)
        self.assertTrue(first.up())
