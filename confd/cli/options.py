"""Options and values that several commands share."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import click

from confd.cli.errors import CommandError, Exit
from confd.codec.text import printable

_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"([0-9]{1,9})([smhdw])")


F = TypeVar("F", bound=Callable[..., Any])


def yes_option(help_: str = "Proceed without a question.") -> Callable[[F], F]:
    """
    Return the option of commands that ask before a change.

    @param help_: its help text.
    """
    return click.option("-y", "--yes", is_flag=True, help=help_)


#: The option of commands whose change is in the history.
comment_option = click.option("-m", "--comment", metavar="TEXT", help="Reason for the change, for the history.")

#: The option of commands that read a document.
format_option = click.option(
    "--format",
    "format_",
    type=click.Choice(["json", "yaml", "toml"]),
    help="Format of the document.  [default: by the suffix of FILE, else json]",
)

#: The option of lists of what happened.
since_option = click.option(
    "--since", metavar="TIME", help="List only what happened since TIME: 2h, 7d, or a date such as 2026-11-29."
)


def parse_duration(text: str, option: str) -> int:
    """
    Return the seconds of a duration such as C{90d}.

    @param option: names the option in the error.
    @raise CommandError: C{text} is no duration.
    """
    found = _DURATION.fullmatch(text)
    if found is None:
        raise CommandError(
            Exit.USAGE, f"{option}: {printable(text)!r} is no time; give a number and s, m, h, d or w, such as 90d."
        )
    return int(found[1]) * _UNIT_SECONDS[found[2]]


def parse_since(text: str | None, now: datetime) -> datetime | None:
    """
    Return the time that C{--since} names; C{None} without the option.

    @param text: a duration before now, or a date, or an RFC 3339 time; a time without an offset is in UTC.
    @raise CommandError: it is none of them.
    """
    if text is None:
        return None
    found = _DURATION.fullmatch(text)
    try:
        if found is not None:
            return now - timedelta(seconds=int(found[1]) * _UNIT_SECONDS[found[2]])
        at = datetime.fromisoformat(text)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise CommandError(
            Exit.USAGE, f"--since: {printable(text)!r} is no time; write 2h, 7d, or a date such as 2026-11-29."
        ) from None
