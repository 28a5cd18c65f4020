"""Programs that read their configuration from a real agent: C{confd.local}, C{confdctl exec} and an OpenFeature SDK."""

from __future__ import annotations

import importlib.util
import logging
import queue
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from confd.local import Local, LocalConfig
from tests.integration.file_fleet import EXAMPLES, file_fleet
from tests.integration.fleet import PATIENCE, base_of, clean_environment, eventually, free_port, request

NO_SDK = (
    None
    if importlib.util.find_spec("openfeature") and importlib.util.find_spec("openfeature.contrib.provider.ofrep")
    else "openfeature-sdk and openfeature-provider-ofrep are not installed: pip install 'confd[test]'"
)


class ApiTestCase(SynchronousTestCase):
    """A test with a controller, and an agent whose only output is a file that must contain C{good}."""

    def setUp(self) -> None:
        self.files = file_fleet(self)
        logger, quiet = logging.getLogger("confd.local"), logging.NullHandler()
        logger.addHandler(quiet)
        self.addCleanup(logger.removeHandler, quiet)
        self.fleet = self.files.fleet
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.files.start(
            "--file-path", str(self.fleet.folder / "app.json"), "--file-check", "/bin/grep -q good {path}",
            "--agent-api-listen", f"tcp:{port}:interface=127.0.0.1",
        )  # fmt: skip
        self.publish("good 0")
        self.served("/name", "good 0")

    def served(self, pointer: str, value: Any) -> None:
        """Wait until the agent serves a value."""
        eventually(lambda: Local(self.url).get(pointer, None) == value)

    def publish(self, name: str, **members: Any) -> str:
        """Publish a document; return its tag."""
        return self.files.publish(name=name, **members)


class LocalTests(ApiTestCase):
    """L{Local} across changes, kills and restarts of the agent."""

    def watch(self, **given: Any) -> queue.Queue[str]:
        """Watch, and return the names of the documents."""
        names: queue.Queue[str] = queue.Queue()
        local = Local(self.url, **given)
        local.get()
        self.addCleanup(local.watch(lambda change: names.put(change.document["name"])).stop)
        return names

    def kill_after(self, name: str, how: int) -> None:
        """Stop the agent after its cache has a document: a kill before would take it back to the previous version."""
        eventually(lambda: name.encode() in (self.fleet.folder / "agent.cache").read_bytes())
        self.files.agent.stop(how)

    def test_each_change_is_sent_once_across_kills_and_restarts(self) -> None:
        names = self.watch(keep=self.fleet.folder / "kept.json")
        for number, how in enumerate((signal.SIGKILL, signal.SIGTERM, signal.SIGKILL), 1):
            self.publish(f"good {number}.1")
            self.assertEqual(names.get(timeout=PATIENCE), f"good {number}.1")
            self.kill_after(f"good {number}.1", how)
            self.publish(f"good {number}.2")
            self.files.agent.start()
            # The agent first has the document of its cache, which is no change.
            self.assertEqual(names.get(timeout=PATIENCE), f"good {number}.2")
        self.kill_after("good 3.2", signal.SIGKILL)
        self.files.agent.start()
        self.publish("good 4")
        self.assertEqual(names.get(timeout=PATIENCE), "good 4")
        self.assertTrue(names.empty())
        self.files.agent.stop()
        self.assertEqual(Local(self.url, keep=self.fleet.folder / "kept.json").get("/name"), "good 4")

    def test_a_rejected_version_is_not_served(self) -> None:
        names = self.watch()
        before = request("GET", f"{self.url}/config").headers["x-config-version"]
        self.publish("bad")
        self.files.failed("/bin/grep")
        self.assertEqual(Local(self.url).get("/name"), "good 0")
        applied = f"{base_of(self.files.agent)}/applied"
        self.assertEqual(request("GET", applied).json(), {"version": before})
        after = self.publish("good 1")
        self.assertEqual(names.get(timeout=PATIENCE), "good 1")
        self.assertEqual(request("GET", applied).json(), {"version": after})

    def test_a_unix_socket_is_usable_again_after_a_kill(self) -> None:
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        path = f"{folder}/agent.sock"
        self.files.agent.stop()
        self.files.agent.arguments += ["--agent-api-listen", f"unix:{path}:mode=600"]
        for _ in range(2):
            self.files.agent.start()
            eventually(lambda: Local(f"unix:{path}").get("/name", None) == "good 0")
            self.assertEqual(stat.S_IMODE(Path(path).stat().st_mode), 0o600)
            self.files.agent.stop(signal.SIGKILL)

    def test_a_stop_of_the_agent_is_not_delayed_by_programs_that_wait(self) -> None:
        changes: queue.Queue[LocalConfig] = queue.Queue()
        for _ in range(3):
            self.addCleanup(Local(self.url).watch(changes.put).stop)
        for _ in range(3):
            changes.get(timeout=PATIENCE)
        self.assertEqual(self.files.agent.stop(signal.SIGTERM), 0)
        self.assertNotIn("did not stop cleanly", self.files.agent.log)


class ExecTests(ApiTestCase):
    """C{confdctl exec} with the agent and the controller."""

    def test_exec_sets_the_variables_of_the_agent(self) -> None:
        self.publish("good 1", env={"GREETING": "hello world", "COUNT": 3})
        self.served("/env/COUNT", 3)
        program = "import os, signal; print(*map(os.environ.get, ('GREETING', 'ADMIN_PASSWORD')), os.getpid() > 1)"
        done = self.execute("--agent", self.url, "--pointer", "/env", "--", sys.executable, "-c", program)
        self.assertEqual((done.returncode, done.stdout), (0, "hello world None True\n"), done.stderr)
        done = self.execute("--pointer", "/env", "--prefix", "APP_", "sh", "-c", 'echo "$APP_COUNT"; exit 42')
        self.assertEqual((done.returncode, done.stdout), (42, "3\n"), done.stderr)
        self.assertEqual(self.execute("no-such-command").returncode, 127)
        # Python ignores SIGPIPE; the command must not.
        ignored = self.execute("--pointer", "/env", "grep", "SigIgn", "/proc/self/status").stdout.split()[1]
        self.assertFalse(int(ignored, 16) & 1 << signal.SIGPIPE - 1, ignored)
        self.assertEqual(self.execute("--agent", "http://127.0.0.1:1", "sh").returncode, 3)

    def execute(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run C{confdctl exec}."""
        return subprocess.run(
            [sys.executable, "-m", "confd.cli", "exec", *words],
            env=clean_environment() | {"CONFD_URL": self.fleet.url, "ADMIN_PASSWORD": "admin123"},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )


class OpenFeatureTests(ApiTestCase):
    """The OpenFeature SDK with its OFREP provider, as programs use it."""

    skip = NO_SDK

    def test_flags_are_evaluated_and_follow_changes(self) -> None:
        from openfeature import api
        from openfeature.contrib.provider.ofrep import OFREPProvider
        from openfeature.evaluation_context import EvaluationContext
        from openfeature.exception import ErrorCode
        from openfeature.flag_evaluation import Reason

        self.publish("good 0", flags={"new-basket": True})
        self.served("/flags/new-basket", True)
        example = [sys.executable, str(EXAMPLES / "local-api" / "flags.py"), self.url]
        done = subprocess.run(example, capture_output=True, text=True, timeout=PATIENCE, check=True)
        self.assertEqual(done.stdout, "new-basket: True\n")
        flags = {"on": True, "colour": "blue", "count": 3, "ratio": 0.5, "limits": {"a": [1]}, "list": [], "none": None}
        tag = self.publish("good 1", flags=flags)
        self.served("/flags", flags)
        api.set_provider(OFREPProvider(self.url))
        self.addCleanup(api.shutdown)
        client, context = api.get_client(), EvaluationContext("me", {"country": "AT"})
        self.assertEqual(client.get_boolean_value("on", False, context), True)
        self.assertEqual(client.get_string_value("colour", "red", context), "blue")
        self.assertEqual(client.get_integer_value("count", 0), 3)
        self.assertEqual(client.get_float_value("ratio", 0.0), 0.5)
        self.assertEqual(client.get_object_value("limits", {}), {"a": [1]})
        details = client.get_boolean_details("on", False)
        self.assertEqual((details.reason, details.variant), (Reason.STATIC, tag))
        for key in ("list", "none", "nope"):
            missing = client.get_string_details(key, "default")
            self.assertEqual((missing.value, missing.error_code), ("default", ErrorCode.FLAG_NOT_FOUND), key)
        self.assertEqual(client.get_boolean_details("colour", True).error_code, ErrorCode.TYPE_MISMATCH)
        self.publish("good 2", flags=flags | {"on": False})
        eventually(lambda: client.get_boolean_value("on", True) is False)
