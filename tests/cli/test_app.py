"""Tests of L{confd.cli.app}: help and completion."""

import subprocess
import sys

import click
from click.shell_completion import ShellComplete
from twisted.trial.unittest import SynchronousTestCase

from confd.cli.app import cli
from confd.cli.errors import Exit
from tests.cli.harness import CliHarness


def commands(group=cli, *before):
    """Yield each command with its words on the command line."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *before, name)
        else:
            yield (*before, name), command


class HelpTests(SynchronousTestCase):
    """The help, wrong command lines, and completion."""

    def setUp(self):
        self.cli = CliHarness()

    def test_every_command_explains_itself_with_an_example(self):
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

    def test_help_lists_commands_environment_and_statuses(self):
        out = self.cli.type("--help").out
        for name in cli.commands:
            self.assertIn(f"\n  {name}", out)
        for each in Exit:
            self.assertIn(f"{each.value:>5}  {each.meaning}\n", out)
        for name in ("CONFD_URL", "ADMIN_USERNAME", "ADMIN_PASSWORD", "ADMIN_PASSWORD_FILE", "CONFD_PROFILE"):
            self.assertIn(name, out)
        self.assertFalse([each for each in cli.params if each.name == "password"], "others could see it")

    def test_typing_errors_end_with_the_status_of_usage(self):
        for words in (["nope"], ["get", "--nope"], ["diff", "x"], ["-o", "xml", "get"], []):
            ended = self.cli.type(*words)
            self.assertEqual(ended.status, Exit.USAGE)
            self.assertNotIn("Traceback", ended.err)

    def test_names_of_other_programs_get_a_hint(self):
        for word, hint in (("publish", "confdctl set."), ("help", "confdctl --help."), ("show", "confdctl get.")):
            ended = self.cli.type(word)
            self.assertEqual(ended.status, Exit.USAGE)
            self.assertIn(f"No such command {word!r}. Use ", ended.err)
            self.assertIn(hint, ended.err)

    def test_completion_prints_a_script_for_each_shell(self):
        for shell in ("bash", "zsh", "fish"):
            self.assertIn("_CONFDCTL_COMPLETE", self.cli.type("completion", shell).out)
        self.assertEqual(self.cli.type("completion", "csh").status, Exit.USAGE)

    def test_completion_knows_commands_options_and_values(self):
        for words, incomplete, wanted in (
            ([], "ag", "agents"),
            (["agents"], "", "forget"),
            (["agents"], "bl", "block"),
            (["agents", "--state"], "", "silent"),
            (["epoch", "raise"], "--", "--yes"),
        ):
            found = ShellComplete(cli, {}, "confdctl", "_CONFDCTL_COMPLETE").get_completions(words, incomplete)
            self.assertIn(wanted, [each.value for each in found], words)


class LazyCommandsTests(SynchronousTestCase):
    """Commands that are imported on first use."""

    def test_one_command_loads_no_other(self):
        script = (
            "import sys\n"
            "from confd.cli.app import cli\n"
            "assert cli.get_command(None, 'audit').name == 'audit'\n"
            "print(*sorted(name for name in sys.modules if name.startswith('confd.cli.commands.')))"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
        self.assertIn("confd.cli.commands.admin", done.stdout)
        for name in ("importing", "execute", "rollout_verbs", "bisect", "certificates"):
            self.assertNotIn(f"confd.cli.commands.{name}", done.stdout)

    def test_each_name_leads_to_the_command_of_this_name(self):
        self.assertEqual([command.name for command in cli.commands.values()], list(cli.commands))
