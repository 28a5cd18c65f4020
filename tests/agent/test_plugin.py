"""Tests of L{confd.agent.plugin}."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from confd.agent import plugin
from confd.agent.strategies.poll_only import PollOnly
from confd.errors import StartError
from confd.interfaces import IStrategy, IStrategyMaker

#: POLLER looks at nothing of its context.
CONTEXT: Any = None


class PluginTests(SynchronousTestCase):
    """Finding strategies by name."""

    def test_poller_is_installed(self) -> None:
        strategy = plugin.make("POLLER", CONTEXT)
        self.assertIsInstance(strategy, PollOnly)
        verifyObject(IStrategy, strategy)

    def test_each_maker_provides_its_interface(self) -> None:
        for name, maker in plugin.strategies().items():
            verifyObject(IStrategyMaker, maker)
            self.assertEqual(name, name.upper())

    def test_an_unknown_name_is_refused_with_a_list(self) -> None:
        error = self.assertRaises(StartError, plugin.make, "PIGEON", CONTEXT)
        (reason,) = error.reasons
        self.assertIn("DISTRIBUTION_STRATEGY: 'PIGEON' is not installed; use one of ", reason)
        self.assertIn("POLLER", reason)

    def test_the_search_imports_no_strategy_no_output_and_no_reactor(self) -> None:
        """A drop-in that installs the reactor breaks C{twistd --reactor}."""
        script = (
            "import sys\n"
            "from confd.agent import plugin\n"
            "assert 'POLLER' in plugin.strategies() and 'FILE' in plugin.output_makers()\n"
            "parts = 'twisted.internet.reactor', 'agent.strategies.', 'agent.outputs.'\n"
            "print([name for name in sys.modules if any(part in name for part in parts)])"
        )
        root = Path(__file__).parents[2]
        found = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True)
        self.assertEqual(found.stdout, "[]\n")
