"""Send both services what their API documents allow and forbid, with all checks of schemathesis."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.budgets import budget
from tests.integration.fleet import AGENT, Fleet, Process, base_of, clean_environment, free_port, request, target
from tests.integration.launcher import fork

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")

#: Random requests for one operation, besides the requests that follow from its schema.
EXAMPLES = budget(2, 20)

#: Wrong passwords are part of the requests.
NO_THROTTLE = ("--login-failures", "0")

#: Paths of operations that are tried together, since their answers link to each other. The files of the two pages are
#: served by one handler: a run with the full budget tries each of them, any other run one of each page.
CONFIGS, OTHER_API = "^/api/v1/config", "^/api/v1/(?!config|stream$|events$)"
FILES = budget(0, 1)
REST = "^/(?!api/)" if FILES else r"^/($|health|metrics|openapi|ready|swagger/(doc|start)|dashboard/app\.js)"


class SchemathesisTests(SynchronousTestCase):
    """Real processes."""

    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory(prefix="confd-schemathesis-")
        self.addCleanup(scratch.cleanup)
        self.folder = Path(scratch.name)
        self.fleet = Fleet(self.folder, launch=fork)
        self.addCleanup(self.fleet.close)

    def worker(self) -> Process:
        """Start a worker that knows its agent by a password, and fetches from this machine only."""
        port = free_port()
        arguments = ["confd-worker", "--port", str(port), "--hit-allow", "127.0.0.1", *NO_THROTTLE]
        known = {"WORKER_USERNAME": AGENT[0], "WORKER_PASSWORD": AGENT[1]}
        return self.fleet.add("worker", arguments, f"http://127.0.0.1:{port}/health", **known).start()

    def finds_nothing(self, process: Process, *options: str) -> None:
        """
        Assert that schemathesis finds nothing wrong with a process, and that the process logged no traceback.

        @param options: The operations to try, as options of schemathesis.
        """
        command = [str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(CONFIGURATION), "run"]
        document = f"{base_of(process)}/openapi.json"
        how = ["--checks", "all", "--max-examples", str(EXAMPLES), "--generation-deterministic", "--no-color"]
        done = subprocess.run(
            [*command, document, *how, *options],
            cwd=self.folder,
            env=clean_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.assertEqual(done.returncode, 0, done.stdout[-8000:])
        self.assertNotIn("traceback", process.log.lower())

    def controller(self, paths: str) -> None:
        """Assert that a new controller does nothing wrong at paths that a regular expression matches."""
        self.finds_nothing(self.fleet.controller(*NO_THROTTLE).start(), "--include-path-regex", paths)

    def test_configs_of_the_controller(self) -> None:
        self.controller(CONFIGS)

    def test_other_api_of_the_controller(self) -> None:
        """All but the streams, which never end."""
        self.controller(OTHER_API)

    def test_pages_of_the_controller(self) -> None:
        self.controller(REST)

    def test_worker(self) -> None:
        """All but C{/hit}, which needs an address to fetch."""
        self.finds_nothing(
            self.worker(), "--include-path-regex", "^/(?!hit)" if FILES else "^/(config|health|metrics|ready)"
        )

    def test_hit(self) -> None:
        """C{/hit} fetches from a server of this test."""
        with target() as url:
            worker = self.worker()
            took = request("POST", f"{base_of(worker)}/config", {"url": f"{url}/x"}, AGENT)
            self.assertEqual(took.status, 200)
            self.finds_nothing(worker, "--include-path", "/hit")
