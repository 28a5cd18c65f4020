"""Tests of L{confd.cli.commands.completing}."""

from pathlib import Path
from threading import Event

import click
from click.shell_completion import ShellComplete
from twisted.trial.unittest import SynchronousTestCase

from confd.cli.app import cli
from tests.cli.harness import CliHarness, answer, current_config
from tests.cli.test_app import commands


class CompletionTests(SynchronousTestCase):
    """Values of a controller, as a shell completes them."""

    def setUp(self):
        self.cli = CliHarness()
        versions = [{"version": 12, "comment": "why"}, {"version": 3, "comment": ""}]
        self.cli.controller.table |= {
            "GET /api/v1/namespaces": answer([{"name": "default"}, {"name": "edge"}]),
            "GET /api/v1/agents": answer([{"id": "web-1", "hostname": "h1"}, {"id": "db-1", "hostname": "h2"}]),
            "GET /api/v1/config/history": answer({"items": versions}),
            "GET /api/v1/config": current_config({"url": "x", "limits": {"rate": 1, "a.b": 2}, "list": [1]}),
        }

    def complete(self, words, incomplete=""):
        """Return the values and their types."""
        with self.cli.session() as session:
            found = ShellComplete(cli, {"obj": session}, "confdctl", "_").get_completions(words, incomplete)
        return [(each.value, each.type) for each in found]

    def test_values_come_from_the_controller(self):
        for words, incomplete, wanted in (
            (["status", "-n"], "", ["default", "edge"]),
            (["namespaces", "retire"], "e", ["edge"]),
            (["agents", "show"], "", ["web-1", "db-1"]),
            (["agents", "forget"], "db", ["db-1"]),
            (["agents", "show"], "h", ["h1", "h2"]),
            (["get", "--version"], "", ["12", "3"]),
            (["rollback"], "", ["12", "3"]),
            (["diff", "3"], "1", ["12"]),
            (["get"], "", ["url", "limits", "limits.rate", "limits.a\\.b", "list"]),
            (["set", "--unset"], "limits.", ["limits.rate", "limits.a\\.b"]),
        ):
            self.assertEqual([value for value, kind in self.complete(words, incomplete) if kind == "plain"], wanted)

    def test_documents_are_files_or_assignments(self):
        self.assertEqual(self.complete(["set"], "u"), [("url=", "plain"), ("u", "file")])
        self.assertEqual(self.complete(["set"], "url="), [])
        self.assertEqual(self.complete(["get", "--ca-file"], "/etc"), [("/etc", "file")])

    def test_each_file_and_version_is_completed(self):
        for words, command in commands():
            for each in command.params:
                kind = next((kind for kind in ("FILE", "DIR") if kind in (each.metavar or "")), None)
                if kind is None or words[-1] in ("exec", "backup"):
                    continue
                found = each.shell_complete(click.Context(command, obj=None), "do")
                self.assertIn(("do", "file"), [(item.value, item.type) for item in found], (words, each.name))

    def test_agents_behind_the_first_page_are_found_by_their_ids(self):
        fleet = [{"id": f"id-{number:04}", "hostname": ""} for number in range(1200)]

        def page(request):
            return answer([each for each in fleet if each["id"] > request.query.get("after", "")][:500])

        self.cli.controller.table["GET /api/v1/agents"] = page
        self.assertEqual([value for value, _ in self.complete(["agents", "show"], "id-119")], [
            f"id-{number:04}" for number in range(1190, 1200)
        ])  # fmt: skip

    def test_profiles_come_from_the_file(self):
        folder = Path(self.mktemp()) / "confd"
        folder.mkdir(parents=True)
        self.cli.environ["XDG_CONFIG_HOME"] = str(folder.parent)
        (folder / "config.toml").write_text('[profiles.prod]\nurl = "https://a.example"\n[profiles.test]\n')
        self.assertEqual(self.complete(["get", "--profile"], "p"), [("prod", "plain")])
        (folder / "config.toml").write_text("broken")
        self.assertEqual(self.complete(["get", "--profile"], "p"), [])

    def test_name_server_that_hangs_costs_a_second(self):
        released = Event()
        self.cli.controller.table["GET /api/v1/namespaces"] = lambda request: released.wait() and answer([])
        self.assertEqual(self.complete(["status", "-n"]), [])
        self.assertFalse(released.is_set())
        released.set()

    def test_controller_that_does_not_answer_completes_nothing(self):
        self.cli.controller.table.clear()
        for words in (["rollback"], ["agents", "show"], ["status", "-n"], ["get"]):
            self.assertEqual(self.complete(words), [])
