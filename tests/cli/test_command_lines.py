"""The command lines of confdctl on the pages, and in the help: each is accepted by the commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
from twisted.trial.unittest import SynchronousTestCase

from confd.cli.app import cli
from confd.cli.command import Command, Group
from tests.cli.test_app import commands

ROOT = Path(__file__).resolve().parents[2]

#: A block of code of a page, with its indentation.
_BLOCK = re.compile(r"^( *)\.\. code-block:: (?:sh|console|bash)\n(?:\1 +:.*\n)*((?:\1   .*\n|\n)+)", re.MULTILINE)
_LITERAL = re.compile(r"``(confdctl [^`]+)``")
#: What ends a command in a line of a shell.
_ENDS = ("|", "||", "&&", ";", "&", ")")


def command_lines(text: str) -> Iterator[str]:
    """Yield the lines of a page that call confdctl, in blocks and in literals."""
    for found in _BLOCK.finditer(text):
        pending = ""
        for line in re.sub(r"\\\n\s*", " ", found[2]).splitlines():
            pending = f"{pending} {line.strip().removeprefix('$ ')}".strip()
            if pending.count('"') % 2 or pending.count("'") % 2:
                continue
            if re.search(r"\bconfdctl ", pending):
                yield pending
            pending = ""
    # A literal may name an option without its value.
    yield from (
        re.sub(r"\s+", " ", found[1]) + " 1" * bool(re.search(r" --?[a-z-]+$", found[1]))
        for found in _LITERAL.finditer(text)
    )


def calls(line: str) -> Iterator[list[str]]:
    """Yield the arguments of each call of confdctl in a line of a shell."""
    line = re.sub(r"\$\((?!confdctl)[^)]*\)|`[^`]*`", "1", line).replace("$(confdctl", "; confdctl")
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;()<>")
    lexer.whitespace_split, lexer.commenters = True, "#"
    words: list[str] | None = None
    for word in [*lexer, ";"]:
        if words is None and re.fullmatch(r"(\S*/)?confdctl", word):
            words = []
        elif (words is not None and word.startswith(_ENDS)) or (words is not None and word[:1] in "<>"):
            yield words
            words = None
        elif words is not None:
            words.append(word)


def problem(arguments: list[str]) -> str | None:
    """Return why the commands do not accept arguments; C{None} if they do."""
    command: click.Command = cli
    context = click.Context(cli, info_name="confdctl", **cli.context_settings)
    rest = list(arguments)
    try:
        while True:
            if isinstance(command, Group) and command.default and rest[:1] and rest[0].startswith("-"):
                rest.insert(0, command.default)
            _, rest, _ = command.make_parser(context).parse_args(args=rest)
            if not isinstance(command, click.Group) or not rest:
                return None
            name = rest.pop(0)
            found = command.get_command(context, name)
            if found is None:
                return f"no command {name}"
            command, context = found, click.Context(found, context, name)
    except click.UsageError as error:
        return error.format_message()


class CommandLineTests(SynchronousTestCase):
    """The command lines."""

    def check(self, lines: list[str]) -> None:
        """Fail where a line calls confdctl with what it does not accept."""
        wrong = [
            f"{shlex.join(words)}: {why}"
            for line in lines
            for words in calls(line)
            if (why := problem(words)) is not None
        ]
        self.assertEqual(wrong, [])

    def test_pages(self) -> None:
        pages = [*ROOT.glob("*.rst"), *(ROOT / "docs").rglob("*.rst"), *(ROOT / "confd").rglob("*.rst")]
        lines = [line for page in pages for line in command_lines(page.read_text("utf-8"))]
        self.assertGreater(len(lines), 150)
        self.check(lines)

    def test_examples_of_the_help(self) -> None:
        lines = [typed for _, command in commands() if isinstance(command, Command) for typed, _ in command.examples]
        self.assertGreater(len(lines), 80)
        self.check(lines)

    def test_mistakes_are_found(self) -> None:
        for line in (
            "confdctl agent",
            "confdctl set --dryrun",
            "confdctl agents list --al",
            "x=$(confdctl get --nope) | cat",
        ):
            self.assertTrue([why for words in calls(line) if (why := problem(words))], line)
