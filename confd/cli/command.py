"""The classes of commands and groups: examples in the help, and a default command for a group."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click


class LazyCommands(UserDict[str, Any]):
    """
    Commands by name. A command is imported on first use: one command needs few of the modules of all.

    Values that are put in are commands, or texts C{module:attribute} that name one.
    """

    def __getitem__(self, name: str) -> click.Command:
        found = self.data[name]
        if isinstance(found, str):
            module, _, attribute = found.partition(":")
            found = self.data[name] = getattr(import_module(module), attribute)
        assert isinstance(found, click.Command)
        return found


class Command(click.Command):
    """A command whose help has examples."""

    def __init__(self, *args: Any, examples: Sequence[tuple[str, str]] = (), **kwargs: Any) -> None:
        """@param examples: pairs of a command line and its effect."""
        super().__init__(*args, **kwargs)
        self.examples = examples

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples behind the options."""
        if self.examples:
            with formatter.section("Examples"):
                for typed, does in self.examples:
                    formatter.write(f"  # {does}\n  {typed}\n")


class Group(click.Group):
    """
    A group of commands on one subject.

    @ivar default: name of the command that runs where the user names none; C{None} without such a command.
    """

    command_class = Command
    default: str | None = None

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        """Insert the default command before an option, or where no command is named; not while a shell completes."""
        named = args and (not args[0].startswith("-") or args[0] in context.help_option_names)
        if self.default and not named and (args or not context.resilient_parsing):
            args = [self.default, *args]
        return super().parse_args(context, args)

    def list_commands(self, context: click.Context) -> list[str]:
        """Return the names in the order of their declaration: frequent commands first."""
        return list(self.commands)
