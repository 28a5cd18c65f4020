"""The commands on freezes: C{freeze add}, C{list}, C{remove}."""

from __future__ import annotations

from collections.abc import Sequence

import click

from confd.cli.api_client import value_of
from confd.cli.command import Group
from confd.cli.commands.completing import complete_freeze
from confd.cli.errors import CommandError, Exit
from confd.cli.forms import LIST_FORMS
from confd.cli.listing import Kind, column
from confd.cli.session import Session, common, pass_session
from confd.cli.text import format_time
from confd.codec.strict_json import JsonObject
from confd.codec.text import printable

_PATH = "/api/v1/freezes"


@click.group("freeze", cls=Group, short_help="Hold changes for a while, or each week.")
def freeze() -> None:
    """
    Manage freezes: while one is active, its namespaces get no new version. Without a subcommand: freeze list.
    """


freeze.default = "list"


def _names(freeze: JsonObject) -> str:
    return printable(", ".join(freeze["namespaces"]))


def _weekly(freeze: JsonObject) -> str | None:
    weekly = freeze["weekly"]
    if weekly is None:
        return None
    return printable(f"{','.join(weekly['days'])} {weekly['from']}-{weekly['until']} {weekly['zone']}")


_COLUMNS = [
    column("ID", "id"),
    column("NAMESPACES", _names, Kind.WORDS),
    column("ACTIVE", lambda each: "yes" if each["active"] else "no"),
    column("FROM", "next_from", Kind.TIME, spare=1),
    column("UNTIL", "next_until", Kind.TIME),
    column("WEEKLY", _weekly, Kind.WORDS),
    column("REASON", "reason", Kind.WORDS),
]


@freeze.command(
    "add",
    short_help="Make a freeze.",
    examples=[
        ("confdctl freeze add --until 2026-12-27T08:00:00+01:00 -m holidays", "freeze all namespaces from now on"),
        (
            "confdctl freeze add --namespaces 'pay-*' --weekly fri,sat --from 16:00 --until 08:00 --zone Europe/Berlin"
            " -m weekend",
            "freeze some namespaces each week",
        ),
    ],
)
@click.option(
    "--namespaces", metavar="NAME[,NAME]...", default="*", help="Names, or prefixes with a star: pay-*.  [default: *]"
)
@click.option("--from", "begin", metavar="TIME", help="When it begins: RFC 3339, or HH:MM.  [default: now]")
@click.option("--until", "end", metavar="TIME", required=True, help="When it ends: RFC 3339, or HH:MM with --weekly.")
@click.option("--weekly", metavar="DAY[,DAY]...", help="Each week on these days: mon, tue, wed, thu, fri, sat, sun.")
@click.option("--zone", metavar="ZONE", help="The IANA time zone of --weekly, such as Europe/Berlin.")
@click.option("-m", "--reason", metavar="TEXT", required=True, help="Why: people whose change is refused read it.")
@common(namespace=False)
@pass_session
def add_freeze(
    session: Session, namespaces: str, begin: str | None, end: str, weekly: str | None, zone: str | None, reason: str
) -> None:
    """Make a freeze. Aborts, and a rollback to the version before, still work in it."""
    body: JsonObject = {"namespaces": namespaces.split(","), "reason": reason}
    if weekly is None:
        if zone is not None:
            raise CommandError(Exit.USAGE, "--zone: is for --weekly; give times with an offset, such as +01:00.")
        body |= {"until": end} | ({} if begin is None else {"from": begin})
    elif begin is None or zone is None:
        raise CommandError(Exit.USAGE, "--weekly: needs --from, --until and --zone.")
    else:
        body["weekly"] = {"days": weekly.split(","), "from": begin, "until": end, "zone": zone}
    made: JsonObject = value_of(session.controller.call("POST", _PATH, body))
    what = f"Freeze {made['id']} of {_names(made)} is {_when(made)}."
    session.screen.show(made, lambda: session.screen.line(printable(what)))


@freeze.command(
    "list", short_help="List the freezes.", examples=[("confdctl freeze", "list active and coming freezes")]
)
@common(namespace=False, forms=LIST_FORMS)
@pass_session
def list_freezes(session: Session) -> None:
    """List the freezes that are active or will be."""
    found: Sequence[JsonObject] = session.controller.get(_PATH)["items"]
    session.screen.listing([*found], _COLUMNS, "No freeze is active or will be.")


@freeze.command("remove", short_help="Remove a freeze.", examples=[("confdctl freeze remove 3", "end it now")])
@click.argument("number", type=click.IntRange(min=1), shell_complete=complete_freeze)
@common(namespace=False)
@pass_session
def remove_freeze(session: Session, number: int) -> None:
    """Remove the freeze NUMBER: changes are possible at once, and rollouts go on."""
    answer = value_of(session.controller.call("DELETE", f"{_PATH}/{number}"))
    session.screen.show(answer, lambda: session.screen.line(printable(answer["message"])))


def _when(freeze: JsonObject) -> str:
    if freeze["active"]:
        return f"active until {format_time(freeze['next_until'])}"
    return f"made; it begins {format_time(freeze['next_from'])}"
