"""The commands on plans: C{list}, C{show}, C{set}, C{remove}."""

from __future__ import annotations

from urllib.parse import quote

import click

from confd.cli.api_client import value_of
from confd.cli.command import Group
from confd.cli.commands.completing import complete_file, complete_plan
from confd.cli.commands.documents import read_argument
from confd.cli.commands.rollout_progress import wave_size
from confd.cli.errors import CommandError, Exit
from confd.cli.forms import LIST_FORMS
from confd.cli.listing import Kind, column
from confd.cli.session import Session, common, pass_session
from confd.cli.text import as_json
from confd.codec.strict_json import JsonObject
from confd.codec.text import printable

_PATH = "/api/v1/plans"


@click.group("plans", cls=Group, short_help="List, show, save or remove the plans of rollouts.")
def plans() -> None:
    """
    Manage plans: the waves in which a rollout delivers a version, and their limits. Without a subcommand: plans list.
    """


plans.default = "list"


_COLUMNS = [
    column("NAME", "name"),
    column("WAVES", lambda each: ", ".join([*map(wave_size, each["waves"]), "all"]), Kind.WORDS),
    column("SELECT", lambda each: each.get("select"), Kind.WORDS),
    column("BAKE", lambda each: f"{each['bake']} s" if "bake" in each else None),
    column("BUILT IN", lambda each: "yes" if each["built_in"] else None, spare=1),
]


@plans.command(
    "list", short_help="List the plans.", examples=[("confdctl plans", "list the plans that set --rollout takes")]
)
@common(namespace=False, forms=LIST_FORMS)
@pass_session
def list_plans(session: Session) -> None:
    """List all plans with their waves."""
    found = session.controller.get(_PATH)["items"]
    session.screen.listing(found, _COLUMNS, "No plan is saved.")


@plans.command(
    "show",
    short_help="Print a plan as JSON.",
    examples=[
        ("confdctl plans show careful", "print the plan"),
        ("confdctl plans show careful > night.json", "begin a plan of your own; give it another name"),
    ],
)
@click.argument("name", shell_complete=complete_plan)
@common(namespace=False)
@pass_session
def show_plan(session: Session, name: str) -> None:
    """Print the plan NAME as it was saved."""
    found = next((each for each in session.controller.get(_PATH)["items"] if each["name"] == name), None)
    if found is None:
        raise CommandError(Exit.NOT_FOUND, f"No plan is named {name!r}; confdctl plans lists all plans.")
    del found["built_in"]
    session.screen.show(found, lambda: session.screen.raw(as_json(found)))


@plans.command(
    "set",
    short_help="Save a plan.",
    examples=[("confdctl plans set night.json", "save the plan in a file, in place of a plan with its name")],
)
@click.argument("file", metavar="FILE|-", shell_complete=complete_file)
@common(namespace=False)
@pass_session
def set_plan(session: Session, file: str) -> None:
    """Save the plan in FILE (- reads standard input), which has its name. Open rollouts keep their copy."""
    made: JsonObject = value_of(session.controller.call("POST", _PATH, read_argument(session, file)))
    session.screen.show(made, lambda: session.screen.line(f"Plan {printable(made['name'])} is saved."))


@plans.command(
    "remove", short_help="Remove a plan.", examples=[("confdctl plans remove night", "open rollouts keep their copy")]
)
@click.argument("name", shell_complete=complete_plan)
@common(namespace=False)
@pass_session
def remove_plan(session: Session, name: str) -> None:
    """Remove the plan NAME. Open rollouts keep their copy."""
    answer = value_of(session.controller.call("DELETE", f"{_PATH}/{quote(name, safe='')}"))
    session.screen.show(answer, lambda: session.screen.line(printable(answer["message"])))
