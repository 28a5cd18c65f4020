"""How commands read and explain themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click


class Command(click.Command):
    """A command with examples in its help."""

    def __init__(self, *args: Any, examples: Sequence[tuple[str, str]] = (), **kwargs: Any) -> None:
        """@param examples: what to type, and what that does."""
        super().__init__(*args, **kwargs)
        self._examples = examples

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """The examples."""
        if self._examples:
            with formatter.section("Examples"):
                for typed, does in self._examples:
                    formatter.write(f"  # {does}\n  {typed}\n")


class Group(click.Group):
    """
    Commands about one thing, of which one is meant where none is named.

    @cvar command_class: of the commands in it.
    """

    command_class = Command

    def __init__(self, *args: Any, default: str | None = None, **kwargs: Any) -> None:
        """@param default: the name of the command that is meant where none is named."""
        super().__init__(*args, **kwargs)
        self._default = default

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        """What begins with an option is for the default command; where nothing is typed yet, a shell completes all."""
        named = args and (not args[0].startswith("-") or args[0] in context.help_option_names)
        if self._default and not named and (args or not context.resilient_parsing):
            args = [self._default, *args]
        return super().parse_args(context, args)

    def list_commands(self, context: click.Context) -> list[str]:
        """In the order in which they were declared: what is used most comes first."""
        return list(self.commands)
