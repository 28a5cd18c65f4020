"""The commands on policies of namespaces: C{policy show}, C{set}."""

from __future__ import annotations

from urllib.parse import quote

import click

from confd.access.policies import MAX_APPROVALS
from confd.cli.api_client import value_of
from confd.cli.command import Group
from confd.cli.commands.completing import complete_plan
from confd.cli.errors import CommandError, Exit
from confd.cli.session import Session, common, pass_session
from confd.codec.strict_json import JsonObject
from confd.codec.text import printable


@click.group("policy", cls=Group, short_help="Show or set what a namespace asks of its changes.")
def policy() -> None:
    """
    Manage the policy of a namespace: what it asks of its changes, beside the permissions of the caller. Without a
    subcommand: policy show.
    """


policy.default = "show"


@policy.command(
    "show",
    short_help="Show the policy of a namespace.",
    examples=[("confdctl policy -n billing", "show what the namespace asks of its changes")],
)
@common()
@pass_session
def show_policy(session: Session) -> None:
    """Show the policy of a namespace."""
    _show(session, session.controller.get(_path(session)))


@policy.command(
    "set",
    short_help="Set the policy of a namespace.",
    examples=[
        ("confdctl policy set -n billing --plan careful --approvals 1", "deliver in waves, after one approval"),
        ("confdctl policy set -n ops --freeze-exempt", "let freezes pass by this namespace"),
        ("confdctl policy set -n billing --plan direct", "ask for no rollout"),
    ],
)
@click.option(
    "--plan", metavar="NAME", shell_complete=complete_plan, help="Plan of each change; direct asks for no rollout."
)
@click.option(
    "--approvals", type=click.IntRange(0, MAX_APPROVALS), metavar="N", help="Approvals that each change needs."
)
@click.option("--self-approval/--no-self-approval", default=None, help="Count the approval of the author.")
@click.option("--rollback-free/--no-rollback-free", default=None, help="Let an undo pass plan, approvals and freezes.")
@click.option("--freeze-exempt/--no-freeze-exempt", default=None, help="Ignore freezes.")
@common()
@pass_session
def set_policy(session: Session, /, **fields: str | int | bool | None) -> None:
    """Set fields of the policy of a namespace. Fields without an option stay."""
    changes = {name: value for name, value in fields.items() if value is not None}
    if not changes:
        raise CommandError(Exit.USAGE, "Nothing to set: give an option such as --plan or --approvals.")
    _show(session, value_of(session.controller.call("POST", _path(session), changes)))


def _path(session: Session) -> str:
    return f"/api/v1/namespaces/{quote(session.namespace, safe='')}/policy"


def _show(session: Session, found: JsonObject) -> None:
    def words(value: object) -> str:
        return ("no", "yes")[value] if isinstance(value, bool) else printable(str(value))

    rows = [[name, words(value)] for name, value in found.items()]
    session.screen.show(found, lambda: session.screen.table(["FIELD", "VALUE"], rows))
