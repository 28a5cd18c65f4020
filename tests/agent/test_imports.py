"""The libraries that an agent loads: memory and start-up depend on them."""

from __future__ import annotations

import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

SCRIPT = """
import sys
from twisted.internet import reactor
from confd.agent.composition import compose
from confd.runtime.options import read
from confd.runtime.settings import AgentSettings

settings = dict(each.split("=", 1) for each in sys.argv[1:])
compose(reactor, read(AgentSettings, settings, {}), {})
print(*sorted(sys.modules))
"""

#: Libraries of the port, and libraries that only some outputs, strategies and roles need.
OF_PORT = {"klein", "werkzeug", "prometheus_client"}
OTHERS = {"yaml", "jsonschema_rs", "sqlite3", "nats", "txredisapi", "aiokafka"}


def loaded(**settings: str) -> set[str]:
    """Return the top-level packages that an agent has loaded before it starts."""
    words = [f"{name}={value}" for name, value in settings.items()]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *words], capture_output=True, text=True, check=True, timeout=60
    )
    return {each.partition(".")[0] for each in done.stdout.split()}


class ImportTests(SynchronousTestCase):
    """What L{confd.agent.composition} imports."""

    def test_an_agent_without_a_port_loads_no_web_server_and_no_metrics(self) -> None:
        self.assertEqual((OF_PORT | OTHERS) & loaded(), set())

    def test_an_agent_with_a_port_loads_them(self) -> None:
        found = loaded(AGENT_LISTEN="tcp:1:interface=127.0.0.1")
        self.assertEqual((OF_PORT | OTHERS) & found, OF_PORT)
