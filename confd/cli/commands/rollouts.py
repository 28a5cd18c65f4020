"""The commands that show and follow rollouts."""

from __future__ import annotations

import click

from confd.cli.api_client import value_of
from confd.cli.command import Group
from confd.cli.commands.completing import complete_rollout
from confd.cli.commands.rollout_progress import (
    OUTCOMES,
    WAVE_COLUMNS,
    draw_end,
    exposed_agents,
    follow,
    is_open,
    recovery_words,
    require_completed,
    wave_rows,
)
from confd.cli.errors import CommandError, Exit
from confd.cli.forms import LIST_FORMS
from confd.cli.listing import Kind, column
from confd.cli.session import Session, common, pass_session
from confd.cli.text import format_time
from confd.codec.strict_json import JsonObject
from confd.codec.text import printable

_NUMBER = click.IntRange(min=1)


@click.group("rollout", cls=Group, short_help="Show, follow, pause, promote or abort a rollout.")
def rollout() -> None:
    """
    Manage the rollout of the namespace, which delivers a version in waves. Without a subcommand: rollout status.
    """


rollout.default = "status"


@rollout.command(
    "status",
    short_help="Show the open rollout.",
    examples=[("confdctl rollout", "show the waves, the members by outcome, and the next step")],
)
@common()
@pass_session
def status(session: Session) -> None:
    """Show the open rollout of the namespace, if any."""
    number = _open_number(session)
    found = None if number is None else session.controller.get(f"/api/v1/rollouts/{number}")

    def draw() -> None:
        if found is None:
            hint = "to see the ended rollouts, run: confdctl rollout list"
            session.screen.line(f"No rollout of {printable(session.namespace)} is open; {hint}")
        else:
            draw_rollout(session, found)

    session.screen.show(found, draw)


_COLUMNS = [
    column("ID", "id"),
    column("STATE", "state"),
    column("REASON", "reason", Kind.WORDS),
    column("PLAN", lambda each: each["plan"]["name"]),
    column("BASE", "base", spare=4),
    column("CANDIDATE", "candidate"),
    column("WAVE", "wave", spare=3),
    column("STARTED", "started_at", Kind.TIME, spare=1),
    column("BY", "started_by", spare=2),
    column("TAKEN BACK BY", "ended_as", spare=5),
]

_MEMBER_COLUMNS = [
    column("ID", "id", Kind.ID),
    column("HOSTNAME", "hostname"),
    column("WAVE", "wave"),
    column("HOW", "how", spare=2),
    column("OUTCOME", "outcome"),
    column("SINCE", "since", Kind.TIME, spare=1),
    column("ERROR", "error", Kind.WORDS),
]


@rollout.command(
    "list",
    short_help="List the rollouts.",
    examples=[("confdctl rollout list", "list the latest 20 rollouts of the namespace, with their end")],
)
@click.option("--limit", type=_NUMBER, default=20, show_default=True, metavar="N", help="List at most N rollouts.")
@common(forms=LIST_FORMS)
@pass_session
def list_rollouts(session: Session, limit: int) -> None:
    """List the rollouts of a namespace, newest first."""
    items = list(session.controller.pages("/api/v1/rollouts", limit, namespace=session.namespace))
    session.screen.listing(items, _COLUMNS, f"{session.namespace} never had a rollout.")


@rollout.command(
    "show",
    short_help="Show a rollout.",
    examples=[("confdctl rollout show 12", "show rollout 12 with its waves")],
)
@click.argument("number", type=_NUMBER, metavar="N", shell_complete=complete_rollout)
@common(namespace=False)
@pass_session
def show(session: Session, number: int) -> None:
    """Show the rollout N: its waves, and its members by outcome."""
    found = session.controller.get(f"/api/v1/rollouts/{number}")
    session.screen.show(found, lambda: draw_rollout(session, found))


@rollout.command(
    "agents",
    short_help="List the agents that a rollout exposed.",
    examples=[
        ("confdctl rollout agents", "list the members of the latest rollout, failed ones first, with their errors"),
        ("confdctl rollout agents 12 --outcome failed", "list the failed members of rollout 12"),
    ],
)
@click.argument("number", type=_NUMBER, metavar="[N]", required=False, shell_complete=complete_rollout)
@click.option("--outcome", type=click.Choice(OUTCOMES), help="List only members with this outcome.")
@common(forms=LIST_FORMS)
@pass_session
def agents(session: Session, number: int | None, outcome: str | None) -> None:
    """List the members of the rollout N; without N, of the latest rollout of the namespace."""
    found = exposed_agents(session, _number(session, number), outcome)
    session.screen.listing(found, _MEMBER_COLUMNS, "No member matches.")


@rollout.command(
    "watch",
    short_help="Follow a rollout to its end.",
    examples=[
        ("confdctl rollout watch", "follow the latest rollout; the exit status tells how it ended"),
        ("confdctl rollout watch 12 --timeout 600", "follow rollout 12 for ten minutes at most"),
    ],
)
@click.argument("number", type=_NUMBER, metavar="[N]", required=False, shell_complete=complete_rollout)
@click.option("--timeout", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="Time limit.")
@common()
@pass_session
def watch(session: Session, number: int | None, timeout: float | None) -> None:
    """
    Follow the rollout N to its end; without N, the latest rollout of the namespace. The exit status is 0 if it
    completed, 10 if it was aborted or superseded, and 8 if it is open at the time limit.
    """
    finish(session, _number(session, number), timeout)


def _latest(session: Session) -> JsonObject | None:
    """Return the latest rollout of the namespace: only this one can be open."""
    return next(session.controller.pages("/api/v1/rollouts", 1, namespace=session.namespace), None)


def _open_number(session: Session) -> int | None:
    found = _latest(session)
    return found["id"] if found is not None and is_open(found) else None


def _number(session: Session, number: int | None) -> int:
    """
    Return the number that the user named, or that of the latest rollout.

    @raise CommandError: the namespace never had a rollout.
    """
    if number is not None:
        return number
    found = _latest(session)
    if found is None:
        raise CommandError(
            Exit.NOT_FOUND, f"{session.namespace} never had a rollout; start one with confdctl set --rollout PLAN."
        )
    latest: int = found["id"]
    return latest


def open_rollout(session: Session) -> tuple[JsonObject, str]:
    """
    Return the open rollout with its C{ETag}.

    @raise CommandError: no rollout is open.
    """
    number = _open_number(session)
    if number is None:
        hint = "To see the ended rollouts, run: confdctl rollout list"
        raise CommandError(Exit.NOT_FOUND, f"No rollout of {session.namespace} is open. Nothing was changed.", [hint])
    answer = session.controller.call("GET", f"/api/v1/rollouts/{number}")
    found: JsonObject = value_of(answer)
    return found, answer.headers.get("etag", "")


def finish(session: Session, number: int, timeout: float | None) -> None:
    """Follow a rollout, print its end, and fail unless it completed."""
    ended = follow(session, number, timeout)
    exposed = [] if ended["state"] == "completed" else exposed_agents(session, number)
    session.screen.show({**ended, "exposed": exposed}, lambda: draw_end(session, ended, exposed))
    require_completed(ended)


def draw_rollout(session: Session, found: JsonObject) -> None:
    """Print a rollout with its waves."""
    reason = f" ({found['reason']})" if found["reason"] else ""
    facts: list[tuple[str, object]] = [
        ("Rollout", f"{found['id']} of {found['namespace']}, {found['state']}{reason}"),
        ("Version", f"{found['candidate']}; the base is {found['base']}"),
        ("Plan", found["plan"]["name"]),
        ("Started", f"{format_time(found['started_at'])} by {found['started_by']}"),
    ]
    if is_open(found):
        checks = found["gate"].get("checks")
        if checks:
            verdicts = ", ".join(f"{name} {verdict}" for name, verdict in checks.items())
            facts.append(("Checks", f"{verdicts}, in step {found['step']}"))
        facts.append(("Next", found["next"]))
    else:
        facts.append(("Ended", format_time(found["ended_at"])))
    if found["ended_as"] is not None:
        facts.append(("Taken back", recovery_words(found)))
    session.screen.facts(facts)
    session.screen.line("")
    session.screen.table(WAVE_COLUMNS, wave_rows(found))
