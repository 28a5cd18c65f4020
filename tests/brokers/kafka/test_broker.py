"""L{confd.brokers.kafka.broker} needs the asyncio reactor: its tests run in a trial of their own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from random import Random

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from confd.brokers.kafka.broker import KafkaBroker
from confd.errors import StartError
from tests.budgets import budget
from tests.integration.fleet import clean_environment


class KafkaTests(SynchronousTestCase):
    """L{KafkaBroker}."""

    def test_refuses_another_reactor_than_that_of_asyncio(self) -> None:
        with self.assertRaises(StartError) as caught:
            KafkaBroker(MemoryReactorClock(), [("localhost", 9092)], random=Random())
        self.assertTrue(caught.exception.reasons[0].startswith("DISTRIBUTION_STRATEGY: KAFKA needs the asyncio"))

    def test_suite_passes_on_the_reactor_of_asyncio(self) -> None:
        suite = "tests.brokers.kafka_suite"
        command = [sys.executable, "-m", "twisted.trial", "--reactor=asyncio", "--temp-directory=trial", suite]
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        environ = clean_environment() | {"CONFD_TEST_BUDGET": budget("part", "full")}
        done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=1800)
        self.assertEqual(done.returncode, 0, done.stdout[-5000:] + done.stderr[-2000:])
        self.assertEqual(done.stderr, "")
        self.assertRegex(done.stdout, re.compile(r"^Ran \d\d tests", re.MULTILINE))
