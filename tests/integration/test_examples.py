"""The examples of outputs in the documentation that need no service of Debian."""

from __future__ import annotations

import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.file_fleet import EXAMPLES, file_fleet
from tests.integration.fleet import eventually, free_port, request


class WorkerTests(SynchronousTestCase):
    """C{docs/examples/worker}."""

    def test_worker_of_ones_own(self) -> None:
        """The worker takes a document, rejects a wrong one with its own words, and gets the newest after a restart."""
        files, port = file_fleet(self), free_port()
        url = f"http://127.0.0.1:{port}"

        def start() -> subprocess.Popen[bytes]:
            child = subprocess.Popen([sys.executable, str(EXAMPLES / "worker/worker.py"), str(port)], stderr=-3)
            self.addCleanup(child.wait)
            self.addCleanup(child.kill)
            eventually(lambda: request("GET", f"{url}/health").status == 200)
            return child

        child = start()
        files.start(outputs="HTTP", worker=url)
        tag = files.publish(retries=3)
        files.applied(tag)
        self.assertEqual(request("GET", f"{url}/config").json()["config"]["retries"], 3)
        files.publish(retries=11)
        self.assertIn("retries is greater than 10", files.failed("The worker refuses"))
        self.assertEqual(request("GET", f"{url}/config").json()["version"], tag)
        newest = files.publish(retries=4)
        files.applied(newest)
        child.kill()
        child.wait()
        start()
        eventually(lambda: request("GET", f"{url}/health").json()["version"] == newest)

    def test_size(self) -> None:
        """The worker has the 20 lines that the pages speak of."""
        lines = (EXAMPLES / "worker/worker.py").read_text().splitlines()
        code = [each for each in lines if each.strip() and not each.startswith(("import", "from", "#", '"'))]
        self.assertLessEqual(len(code), 20)


class EnvironmentTests(SynchronousTestCase):
    """C{docs/examples/environment}, with a command in place of systemd."""

    def test_environment_file(self) -> None:
        """The program starts again with the new variables, and only if one of them changed."""
        files = file_fleet(self)
        starts, path = files.folder / "starts", f"{files.folder}/shop.env"
        program = f"set -a; . {path}; /usr/bin/env -0 > {files.folder}/in-use; echo started >> {starts}"
        settings = files.settings(
            "environment/outputs.toml",
            {
                "/etc/shop/shop.env": path,
                '"systemd:shop.service"': f'["/bin/sh", "-c", "{program}"]',
                '["/usr/bin/systemctl", "is-active", "--quiet", "shop.service"]': '["/bin/true"]',
            },
        )
        values = {"PORT": "8088", "TITLE": "two words", "QUOTED": 'it\'s "good" \\ # no comment'}
        files.start("--outputs-file", settings)
        files.applied(files.publish(environment=values))
        pairs = dict(each.split("=", 1) for each in (files.folder / "in-use").read_text().split("\0") if each)
        self.assertEqual({name: pairs[name] for name in values}, values)
        files.applied(files.publish(environment=values, elsewhere=1))
        self.assertEqual(starts.read_text(), "started\n")
        files.publish(environment={"PORT": "8088\nLD_PRELOAD=/tmp/evil.so"})
        self.assertIn("/environment/PORT", files.failed("cannot be rendered"))
        self.assertEqual(starts.read_text(), "started\n")
