"""Tests of L{confd.cli.app}: the help that people read, and completion."""

import click
from click.shell_completion import ShellComplete
from twisted.trial.unittest import SynchronousTestCase

from confd.cli.app import cli
from confd.cli.errors import Exit
from tests.cli.harness import CliHarness


def commands(group=cli, *before):
    """Each command, with the words that lead to it."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *before, name)
        else:
            yield (*before, name), command


class HelpTests(SynchronousTestCase):
    """What is printed for those who ask."""

    def setUp(self):
        self.cli = CliHarness()

    def test_every_command(self):
        """Explains itself, and its options, with an example of itself; no controller is asked."""
        for words, command in commands():
            with self.subTest(words=words):
                ended = self.cli.type(*words, "--help")
                self.assertEqual(ended.status, 0, ended.err)
                self.assertIn("Examples:", ended.out)
                self.assertIn(" ".join(("confdctl", *words[: 1 if words[-1] in ("list", "show") else 2])), ended.out)
                self.assertTrue(all(each.help for each in command.params if isinstance(each, click.Option)))
                self.assertNotIn("C{", ended.out)
                self.assertNotIn("L{", ended.out)
                self.assertEqual(self.cli.type(*words, "-h").out, ended.out)
        self.assertEqual(self.cli.connected, [])

    def test_overview(self):
        """Every command, the environment, the statuses."""
        out = self.cli.type("--help").out
        for name in cli.commands:
            self.assertIn(f"\n  {name}", out)
        for each in Exit:
            self.assertIn(f"{each.value:>5}  {each.meaning}\n", out)
        for name in ("CONFD_URL", "ADMIN_USERNAME", "ADMIN_PASSWORD", "ADMIN_PASSWORD_FILE", "CONFD_PROFILE"):
            self.assertIn(name, out)
        self.assertFalse([each for each in cli.params if each.name == "password"], "others could see it")

    def test_mistakes(self):
        """Typing errors get a hint and status 2."""
        for words in (["nope"], ["get", "--nope"], ["diff", "x"], ["-o", "xml", "get"], []):
            ended = self.cli.type(*words)
            self.assertEqual(ended.status, Exit.USAGE)
            self.assertNotIn("Traceback", ended.err)

    def test_names_of_other_programs_get_a_hint(self):
        for word, hint in (("publish", "confdctl set."), ("help", "confdctl --help."), ("edit", "set --edit.")):
            ended = self.cli.type(word)
            self.assertEqual(ended.status, Exit.USAGE)
            self.assertIn(f"No such command {word!r}. Use ", ended.err)
            self.assertIn(hint, ended.err)

    def test_completion(self):
        """A script for each shell; anything else is refused."""
        for shell in ("bash", "zsh", "fish"):
            self.assertIn("_CONFDCTL_COMPLETE", self.cli.type("completion", shell).out)
        self.assertEqual(self.cli.type("completion", "csh").status, Exit.USAGE)

    def test_completes(self):
        """Commands, the commands of a group, their options and what these take."""
        for words, incomplete, wanted in (
            ([], "ag", "agents"),
            (["agents"], "", "forget"),
            (["agents"], "bl", "block"),
            (["agents", "--state"], "", "silent"),
            (["epoch", "raise"], "--", "--yes"),
        ):
            found = ShellComplete(cli, {}, "confdctl", "_CONFDCTL_COMPLETE").get_completions(words, incomplete)
            self.assertIn(wanted, [each.value for each in found], words)
