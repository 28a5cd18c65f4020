"""Tests of L{confd.cli.commands.completing}."""

from click.shell_completion import ShellComplete
from twisted.trial.unittest import SynchronousTestCase

from confd.cli.app import cli
from tests.cli.harness import CliHarness, answer, current_config


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
            (["rollback"], "", ["12", "3"]),
            (["diff", "3"], "1", ["12"]),
            (["get"], "", ["url", "limits", "limits.rate", "limits.a\\.b", "list"]),
            (["set", "--unset"], "limits.", ["limits.rate", "limits.a\\.b"]),
        ):
            self.assertEqual([value for value, _ in self.complete(words, incomplete)], wanted, words)

    def test_documents_are_files_or_assignments(self):
        self.assertEqual(self.complete(["set"], "u"), [("url=", "plain"), ("u", "file")])
        self.assertEqual(self.complete(["set"], "url="), [])
        self.assertEqual(self.complete(["get", "--ca-file"], "/etc"), [("/etc", "file")])

    def test_controller_that_does_not_answer_completes_nothing(self):
        self.cli.controller.table.clear()
        for words in (["rollback"], ["agents", "show"], ["status", "-n"], ["get"]):
            self.assertEqual(self.complete(words), [])
