"""The modules that each role loads before it starts: its memory and its start depend on these."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

from twisted.trial.unittest import SynchronousTestCase

#: Do what twistd does with a command: read its options, install the reactor, and make its service.
SCRIPT = """
import sys
from importlib import import_module

role, *words = sys.argv[1:]
tap = import_module(f"confd.{role}.tap")
options = tap.Options({}, words)
options.parent = {}
options.parseOptions(words)
import twisted.internet.reactor
tap.makeService(options)
print(*sorted(sys.modules))
"""

#: The libraries that all load. Each other library is loaded when a setting or a request needs it.
LIBRARIES = {"attr", "attrs", "constantly", "incremental", "msgspec", "rfc8785", "twisted", "typing_extensions", "zope"}

#: Parts of confd and of Twisted that none of them loads.
NONE = (
    "confd.cli",
    "confd.runtime.tls",
    "confd.runtime.exposition",
    "confd.web.api.klein_routes",
    "confd.web.openapi.document",
    # It brings templates, XML and Perspective Broker.
    "twisted.web.server",
)

#: Parts of confd that neither an agent nor a worker loads.
NEITHER = (*NONE, "confd.controller")

#: The HTTP client of Twisted, which a worker and a controller without webhooks do not use.
CLIENT = ("twisted.web.client", "twisted.web._newclient")


def loaded(role: str, *options: str) -> set[str]:
    """Return the modules that a role has loaded before it starts."""
    command = [sys.executable, "-c", SCRIPT, role, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.split())


def libraries(modules: set[str]) -> set[str]:
    """Return the top-level packages among modules that belong neither to Python nor to confd."""
    found = {each.partition(".")[0] for each in modules} - sys.stdlib_module_names - {"confd", "__main__"}
    # A module without a file, of each library that Cython has compiled.
    found.discard("cython_runtime")
    return {each for each in found if not each.startswith("_") and find_spec(each) is not None}


def parts(modules: set[str], prefixes: tuple[str, ...]) -> list[str]:
    """Return the modules that are in one of some packages, or are one of them."""
    return [each for each in modules if f"{each}.".startswith(tuple(f"{prefix}." for prefix in prefixes))]


class ImportTests(SynchronousTestCase):
    """The composition roots, with the settings of a first try."""

    def test_an_agent_loads_neither_a_web_server_nor_tls_nor_files(self) -> None:
        modules = loaded("agent")
        self.assertEqual(libraries(modules) - LIBRARIES, {"automat"})
        others = ("confd.worker", "confd.web.server", "confd.web.api", "confd.agent.local_api", "confd.brokers.redis")
        self.assertEqual(parts(modules, (*NEITHER, *others, "confd.agent.outputs.file")), [])

    def test_a_worker_loads_neither_klein_nor_metrics_nor_tls(self) -> None:
        modules = loaded("worker")
        self.assertEqual(libraries(modules) - LIBRARIES, {"httptools"})
        self.assertEqual(
            parts(modules, (*NEITHER, "confd.agent", "confd.brokers", "confd.runtime.settings.agent", *CLIENT)), []
        )

    def test_a_controller_loads_neither_klein_nor_metrics_nor_tls_nor_brokers(self) -> None:
        modules = loaded("controller")
        self.assertEqual(libraries(modules) - LIBRARIES, {"httptools", "jsonschema_rs"})
        brokers = [f"confd.brokers.{name}" for name in ("redis", "nats", "kafka")]
        self.assertEqual(parts(modules, (*NONE, "confd.agent", "confd.worker", *brokers, *CLIENT)), [])
