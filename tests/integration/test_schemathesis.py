"""What both services do with all that their API documents allow and forbid: schemathesis tries, with all checks."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.fleet import AGENT, Fleet, Process, base_of, clean_environment, free_port, request, target

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")

#: Requests that are made up for one operation, besides those that follow from its schema.
EXAMPLES = 20

#: Wrong credentials are part of what is tried.
PATIENT = ("--login-failures", "0")


class SchemathesisTests(SynchronousTestCase):
    """Real processes."""

    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory(prefix="confd-schemathesis-")
        self.addCleanup(scratch.cleanup)
        self.folder = Path(scratch.name)
        self.fleet = Fleet(self.folder)
        self.addCleanup(self.fleet.close)

    def worker(self) -> Process:
        """A worker that knows its agent by a password, and fetches from this machine only."""
        port = free_port()
        arguments = ["confd-worker", "--port", str(port), "--hit-allow", "127.0.0.1", *PATIENT]
        known = {"WORKER_USERNAME": AGENT[0], "WORKER_PASSWORD": AGENT[1]}
        return self.fleet.add("worker", arguments, f"http://127.0.0.1:{port}/health", **known).start()

    def finds_nothing(self, process: Process, *options: str) -> None:
        """That schemathesis has nothing to say of it, and that nothing went wrong that it could not see."""
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

    def test_controller(self) -> None:
        """But for its streams, which never end."""
        self.finds_nothing(self.fleet.controller(*PATIENT).start(), "--exclude-path-regex", "/(stream|events)$")

    def test_worker(self) -> None:
        """All but what calls out, as nobody knows where to."""
        self.finds_nothing(self.worker(), "--exclude-path", "/hit")

    def test_hit(self) -> None:
        """And that, with something to fetch that is here."""
        with target() as url:
            worker = self.worker()
            took = request("POST", f"{base_of(worker)}/config", {"url": f"{url}/x"}, AGENT)
            self.assertEqual(took.status, 200)
            self.finds_nothing(worker, "--include-path", "/hit")
