"""L{confd.brokers.nats.broker} needs the asyncio reactor: its tests run in a trial of their own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from random import Random

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from confd.brokers.nats.broker import NatsBroker
from confd.errors import StartError
from tests.integration.fleet import clean_environment
from tests.integration.servers import missing


class NatsTests(SynchronousTestCase):
    """L{NatsBroker}."""

    def test_refuses_another_reactor_than_that_of_asyncio(self) -> None:
        with self.assertRaises(StartError) as caught:
            NatsBroker(MemoryReactorClock(), ["nats://localhost:4222"], random=Random())
        self.assertIn("asyncio", caught.exception.reasons[0])
        self.assertTrue(caught.exception.reasons[0].startswith("DISTRIBUTION_STRATEGY: "))

    def test_suite_passes_on_the_reactor_of_asyncio(self) -> None:
        suite = "tests.brokers.nats_suite"
        command = [sys.executable, "-m", "twisted.trial", "--reactor=asyncio", "--temp-directory=trial", suite]
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        done = subprocess.run(command, cwd=folder, env=clean_environment(), capture_output=True, text=True, timeout=600)
        self.assertEqual(done.returncode, 0, done.stdout[-5000:] + done.stderr[-2000:])
        self.assertEqual(done.stderr, "")
        self.assertRegex(done.stdout, re.compile(r"^Ran \d\d tests", re.MULTILINE))

    test_suite_passes_on_the_reactor_of_asyncio.skip = missing("nats-server")  # type: ignore[attr-defined]
