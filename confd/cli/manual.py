"""The manual page of C{confdctl}, in roff, from the commands that also print the help."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click

import confd
from confd.cli.command import Command

#: Width of the lines of a usage; roff breaks its own lines.
_WIDTH = 1000


def manual_page(root: click.Context) -> str:
    """
    Return the manual page.

    @param root: the context of the root command.
    """
    command = root.command
    lines = [
        f'.TH CONFDCTL 1 "" "confd {confd.__version__}" "User Commands"',
        ".SH NAME",
        r"confdctl \- publish configurations to a fleet of agents",
        ".SH SYNOPSIS",
        f".B confdctl\n{_escape(' '.join(command.collect_usage_pieces(root)))}",
        ".SH DESCRIPTION",
        *_paragraphs(command.help or ""),
        ".SH OPTIONS",
        *_options(command, root),
        ".SH COMMANDS",
    ]
    for name, each in _commands(command, root):
        lines.extend(_section(name, each, root))
    lines.extend([".SH ENVIRONMENT AND EXIT STATUS", ".nf", _escape((command.epilog or "").replace("\b\n", "")), ".fi"])
    return "\n".join(lines)


def _commands(group: click.Command, context: click.Context, before: str = "") -> Iterator[tuple[str, click.Command]]:
    """Yield each command with its full name; groups stand before their commands."""
    if not isinstance(group, click.Group):
        return
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is not None and not command.hidden:
            yield f"{before}{name}", command
            yield from _commands(command, context, f"{before}{name} ")


def _section(name: str, command: click.Command, root: click.Context) -> Iterator[str]:
    # Click keeps the help option of a command, whose names come from the root.
    context = click.Context(command, root, name, max_content_width=_WIDTH)
    usage = " ".join(command.collect_usage_pieces(context))
    yield f'.SS "confdctl {_escape(name)} {_escape(usage)}"'
    yield from _paragraphs(command.help or "")
    yield from _options(command, context)
    for typed, does in command.examples if isinstance(command, Command) else ():
        yield f".PP\n{_escape(does[:1].upper() + does[1:])}:\n.PP\n.RS\n.nf\n{_escape(typed)}\n.fi\n.RE"


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    for each in command.get_params(context):
        record = each.get_help_record(context)
        if record is not None and isinstance(each, click.Option):
            yield f".TP\n.B {_escape(record[0])}\n{_escape(record[1])}"


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", text.replace("\b\n", "").strip()):
        yield f".PP\n{_escape(' '.join(paragraph.split()))}"


def _escape(text: str) -> str:
    """Return text that roff prints unchanged: without escapes, hyphens of typography, and requests."""
    escaped = text.replace("\\", r"\e").replace("-", r"\-").replace('"', r"\(dq")
    return re.sub(r"^([.'])", r"\\&\1", escaped, flags=re.MULTILINE)
