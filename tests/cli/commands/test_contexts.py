"""Tests of C{context}, C{login} and C{logout}, and of C{--trace}."""

import json
import stat
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from confd.cli.errors import Exit
from confd.cli.transport import Unreached
from tests.cli.harness import CliHarness, answer, current_config

TOKEN = "confd_7f3a9c21_" + "A" * 43
PROFILES = """
[profiles.default]
url = "http://localhost:1"
[profiles.prod]
url = "https://confd.example.com"
namespace = "edge"
"""
WHOAMI = {"name": "ci", "subject": "ci", "kind": "token", "expires_at": None, "permissions": {}}


class Case(SynchronousTestCase):
    """A user with two profiles."""

    def setUp(self):
        self.folder = Path(self.mktemp()) / "confd"
        self.folder.mkdir(parents=True)
        (self.folder / "config.toml").write_text(PROFILES)
        (self.folder / "config.toml").chmod(0o600)
        self.cli = CliHarness(environ={"HOME": "/nonexistent", "XDG_CONFIG_HOME": str(self.folder.parent)})
        self.cli.controller.table["GET /api/v1/config"] = current_config({"a": 1})
        self.cli.controller.table["GET /api/v1/whoami"] = answer(WHOAMI)

    def type(self, *words, status=0, **how):
        ended = self.cli.type(*words, **how)
        self.assertEqual(ended.status, status, ended.err)
        return ended


class ContextTests(Case):
    """C{context}"""

    def test_chosen_profile_is_used_until_another_one_is_named(self):
        self.type("context", "use", "prod")
        self.type("get", "a", answers="secret\n")
        self.assertEqual(self.cli.connected[-1][0], "https://confd.example.com")
        self.assertEqual(self.cli.controller.asked[-1].query, {"namespace": "edge"})
        for how in (["--profile", "default"], ["--url", "http://localhost:1"]):
            self.type("get", "a", *how)
            self.assertEqual(self.cli.connected[-1][0], "http://localhost:1")
        self.cli.environ["CONFD_PROFILE"] = "default"
        self.type("get", "a")
        self.assertEqual(self.cli.connected[-1][0], "http://localhost:1")
        del self.cli.environ["CONFD_PROFILE"]
        self.type("context", "use", "default")
        self.type("get", "a")
        self.assertEqual(self.cli.connected[-1][0], "http://localhost:1")

    def test_list_marks_the_chosen_profile(self):
        for name in ("default", "prod"):
            self.type("context", "use", name)
            found = json.loads(self.type("context", "list", "-o", "json").out)
            self.assertEqual({each["name"]: each["chosen"] for each in found}, {
                each: each == name for each in ("default", "prod")
            })  # fmt: skip

    def test_show_names_where_each_value_comes_from(self):
        self.cli.environ["ADMIN_PASSWORD"] = "hunter2"
        out = self.type("context", "--profile", "prod", "-n", "web").out
        self.assertNotIn("hunter2", out)
        for line in (
            ["url", "https://confd.example.com", "url", "of", "profile", "prod"],
            ["namespace", "web", "--namespace"],
            ["password", "is", "set", "ADMIN_PASSWORD"],
        ):
            self.assertIn(line, [each.split() for each in out.splitlines()])
        self.assertEqual(self.cli.controller.asked, [])

    def test_unknown_profiles_are_refused(self):
        self.assertIn("use one of default, prod", self.type("context", "use", "prd", status=Exit.NOT_FOUND).err)
        self.type("context", "use", "prod")
        (self.folder / "config.toml").write_text('[profiles.test]\nurl = "http://localhost:2"\n')
        self.assertIn("no profile prod", self.type("get", status=Exit.USAGE).err)


class LoginTests(Case):
    """C{login} and C{logout}"""

    def authorization(self, *words):
        self.type("get", "a", *words, answers="typed\n")
        return self.cli.controller.asked[-1].headers["Authorization"]

    def test_token_is_checked_kept_for_its_address_and_forgotten(self):
        said = self.type("login", "--token-file", "-", stdin=f"{TOKEN}\n".encode())
        self.assertIn("Signed in at http://localhost:1 as ci.", said.out)
        self.assertNotIn(TOKEN, said.out + said.err)
        kept = self.folder / "tokens.json"
        self.assertEqual(stat.S_IMODE(kept.stat().st_mode), 0o600)
        self.assertEqual(self.authorization(), f"Bearer {TOKEN}")
        self.assertTrue(self.authorization("--url", "http://localhost:2").startswith("Basic "))
        self.cli.environ["ADMIN_PASSWORD"] = "hunter2"
        self.assertTrue(self.authorization().startswith("Basic "), "a variable wins")
        del self.cli.environ["ADMIN_PASSWORD"]
        self.type("logout")
        self.assertTrue(self.authorization().startswith("Basic "))
        self.type("logout", status=Exit.NOT_FOUND)

    def test_token_is_asked_at_a_terminal(self):
        self.type("login", answers=f"{TOKEN}\n")
        self.assertEqual(self.authorization(), f"Bearer {TOKEN}")

    def test_nothing_is_kept_of_a_wrong_token(self):
        self.cli.controller.table["GET /api/v1/whoami"] = answer(
            {"error": "no", "code": "unauthenticated", "request_id": "r"}, 401
        )
        for stdin, status in ((TOKEN, Exit.DENIED), ("hunter2", Exit.USAGE), ("", Exit.USAGE)):
            err = self.type("login", "--token-file", "-", stdin=stdin.encode(), status=status).err
            self.assertNotIn(stdin or "never", err)
        self.type("login", status=Exit.USAGE)
        self.assertFalse((self.folder / "tokens.json").exists())

    def test_other_users_who_could_read_tokens_are_a_warning(self):
        self.type("login", "--token-file", "-", stdin=TOKEN.encode())
        (self.folder / "tokens.json").chmod(0o644)
        self.assertIn("chmod 600", self.type("get", "a").err)
        (self.folder / "tokens.json").write_text("[]")
        self.assertIn("run confdctl login again", self.type("get", "a", status=Exit.USAGE).err)


class TraceTests(Case):
    """C{--trace}"""

    def test_requests_are_printed_without_secrets(self):
        self.cli.environ["ADMIN_PASSWORD"] = "hunter2"
        reply = current_config({"a": 1})
        reply.headers["x-request-id"] = "1a2b"
        self.cli.controller.table["GET /api/v1/config"] = [Unreached("Gone."), reply]
        err = self.type("--trace", "get", "a", status=Exit.UNREACHABLE).err
        self.assertIn("GET /api/v1/config?namespace=default: no answer: Gone., 0 ms\n", err)
        ended = self.type("get", "a", "--trace")
        self.assertEqual(ended.out, "1\n")
        self.assertRegex(ended.err, r"GET /api/v1/config\?namespace=default: 200, request 1a2b, \d+ bytes, 0 ms\n")
        self.assertNotIn("hunter2", ended.err)
        self.assertNotIn("Basic", ended.err)
