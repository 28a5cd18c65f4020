"""Tests of L{confd.cli.commands.execute}."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from confd.cli.commands.execute import OWN_SECRETS, SHARED_SECRETS
from confd.cli.errors import Exit
from confd.runtime.setting import settings_of
from confd.runtime.settings import all_roles
from tests.cli.harness import CliHarness, CommandResult, current_config, refusal
from tests.local_agent import FakeAgent

ENV = {"NAME": "a b", "COUNT": 3, "RATE": 0.5, "ON": True, "NONE": None, "PATH": "/nowhere"}


class ExecTests(SynchronousTestCase):
    """C{confdctl exec}."""

    def setUp(self) -> None:
        self.executed: list[tuple[str, Sequence[str], Mapping[str, str]]] = []
        self.harness = CliHarness(execute=lambda *given: self.executed.append(given))
        self.harness.environ["PATH"] = os.environ["PATH"]
        self.serve({"env": ENV})

    def serve(self, document: Any) -> None:
        """Make a document current."""
        self.harness.controller.table["GET /api/v1/config"] = current_config(document)

    def type(self, *words: str) -> CommandResult:
        """Run C{confdctl exec}."""
        return self.harness.type("exec", *words)

    def fails(self, status: Exit, *words: str) -> str:
        """Run a command that must fail, and return its sentence."""
        result = self.type(*words)
        self.assertEqual((result.status, self.executed), (status, []), result.err)
        return result.err

    def test_each_member_becomes_a_variable(self) -> None:
        self.assertEqual(self.type("--pointer", "/env", "--", "sh", "-c", "exit 0", "--pointer").status, 0)
        [(program, arguments, environ)] = self.executed
        self.assertEqual((Path(program).name, arguments), ("sh", ("sh", "-c", "exit 0", "--pointer")))
        wanted = {"NAME": "a b", "COUNT": "3", "RATE": "0.5", "ON": "true", "NONE": "", "PATH": "/nowhere"}
        self.assertEqual(environ, {"HOME": "/nonexistent", **wanted})

    def test_a_prefix_is_put_before_each_name(self) -> None:
        self.type("--pointer", "/env", "--prefix", "APP_", "sh")
        self.assertEqual(self.executed[0][2]["APP_NAME"], "a b")
        self.assertEqual(self.executed[0][2]["PATH"], os.environ["PATH"])

    def test_the_namespace_is_asked_for(self) -> None:
        self.type("-n", "edge", "--pointer", "/env", "sh")
        self.assertEqual(self.harness.controller.asked[0].query, {"namespace": "edge"})

    def test_without_a_pointer_it_takes_the_whole_document(self) -> None:
        self.serve({"url": "http://a"})
        self.type("--", "sh")
        self.assertEqual(self.executed[0][2]["url"], "http://a")

    def test_secrets_of_confd_are_not_inherited(self) -> None:
        secrets = [f"{prefix}{name}{suffix}" for name in OWN_SECRETS for prefix in ("", "CONFD_")
                   for suffix in ("", "_FILE")]  # fmt: skip
        secrets += [f"CONFD_{name}" for name in SHARED_SECRETS]
        kept = {
            "REDIS_PASSWORD": "of the program",
            "DATABASE_URL": "of the program",
            "CONFD_URL": "http://localhost:1",
            "ADMIN_USERNAME": "admin",
        }
        agent = FakeAgent()
        self.addCleanup(agent.close)
        agent.apply("1", {"ADMIN_PASSWORD": "of the document"})
        self.harness.environ |= dict.fromkeys(secrets, "s3cret") | kept
        self.type("--agent", agent.url, "sh")
        environ = dict(self.executed[0][2])
        self.assertEqual(environ.pop("ADMIN_PASSWORD"), "of the document")
        self.assertEqual(environ, {name: self.harness.environ[name] for name in ("HOME", "PATH")} | kept)

    def test_the_lists_of_secrets_are_complete(self) -> None:
        secrets = {each.name for role in all_roles() for each in settings_of(role) if each.secret}
        self.assertEqual(set(OWN_SECRETS) | set(SHARED_SECRETS), secrets)

    def test_a_document_that_makes_no_variables(self) -> None:
        for value, said in (
            ([1], "is not an object"), ({"a b": 1}, "has a name"), ({"a": {"b": 1}}, "plain values"),
            ({"a": "b\nc"}, "line break"), ({"": 1}, "has a name"),
        ):  # fmt: skip
            self.serve({"env": value})
            self.assertIn(said, self.fails(Exit.INVALID, "--pointer", "/env", "sh"))

    def test_a_part_that_does_not_exist(self) -> None:
        self.assertIn("nothing at /nope", self.fails(Exit.NOT_FOUND, "--pointer", "/nope", "sh"))

    def test_wrong_arguments(self) -> None:
        self.fails(Exit.USAGE)
        self.assertIn("--pointer", self.fails(Exit.USAGE, "--pointer", "env", "sh"))
        self.assertIn("--prefix", self.fails(Exit.USAGE, "--prefix", "1-", "sh"))
        self.assertIn("--agent", self.fails(Exit.USAGE, "--agent", "localhost:1", "sh"))

    def test_commands_that_cannot_run(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "data").write_text("x")
        for name in (str(folder / "data"), str(folder)):
            self.fails(Exit.CANNOT_EXECUTE, name)
        for name in ("no-such-command", str(folder / "missing")):
            self.assertIn("No command", self.fails(Exit.NO_COMMAND, name))
        self.assertEqual(self.harness.controller.asked, [], "the controller was asked for nothing")

        def fail(*_: object) -> None:
            raise OSError(8, "Exec format error")

        self.harness.execute = fail
        result = self.type("--pointer", "/env", "sh")
        self.assertEqual(result.status, Exit.CANNOT_EXECUTE)
        self.assertIn("Exec format error", result.err)

    def test_errors_of_the_controller_have_their_usual_status(self) -> None:
        table = self.harness.controller.table
        for status, code, wanted in (
            (401, "wrong_credentials", Exit.DENIED),
            (404, "unknown_namespace", Exit.NOT_FOUND),
        ):
            table["GET /api/v1/config"] = refusal(status, code)
            self.fails(wanted, "sh")

    def test_errors_of_the_agent(self) -> None:
        agent = FakeAgent()
        self.addCleanup(agent.close)
        self.fails(Exit.UNREACHABLE, "--agent", agent.url, "sh")
        agent.answer = 401, "unauthenticated"
        self.fails(Exit.DENIED, "--agent", agent.url, "sh")

    def test_the_token_comes_from_the_environment_or_a_file(self) -> None:
        agent = FakeAgent()
        self.addCleanup(agent.close)
        agent.apply("1", {})
        path = Path(self.mktemp())
        path.write_text("from-file\n")
        path.chmod(0o600)
        for name, text, wanted in (
            ("AGENT_API_TOKEN", "plain", "plain"), ("AGENT_API_TOKEN_FILE", str(path), "from-file"),
            ("CONFD_AGENT_API_TOKEN", "prefixed", "prefixed"),
        ):  # fmt: skip
            self.harness.environ = {"PATH": os.environ["PATH"], name: text}
            self.type("--agent", agent.url, "sh")
            self.assertEqual(agent.asked[-1][1], f"Bearer {wanted}")
        self.harness.environ["CONFD_AGENT_API_TOKEN"] = ""
        self.harness.environ["AGENT_API_TOKEN_FILE"] = "/no/such/file"
        result = self.type("--agent", agent.url, "sh")
        self.assertEqual(result.status, Exit.USAGE, result.err)
