"""The commands on changes that wait: C{change propose}, C{list}, C{show}, C{approve} and the other verbs."""

from __future__ import annotations

from collections.abc import Sequence

import click

from confd.cli.api_client import value_of
from confd.cli.command import Group
from confd.cli.commands import documents
from confd.cli.commands.completing import (
    complete_change,
    complete_file,
    complete_plan,
    complete_rollout,
    complete_source,
    complete_version,
)
from confd.cli.commands.publish import break_glass_option, break_glass_query, show_outcome
from confd.cli.errors import CommandError, Exit
from confd.cli.forms import LIST_FORMS
from confd.cli.listing import Kind, column
from confd.cli.options import yes_option
from confd.cli.session import Session, common, pass_session
from confd.cli.text import format_time
from confd.codec.strict_json import JsonObject

_PATH = "/api/v1/changes"

_NUMBER = click.argument("number", type=click.IntRange(min=1), shell_complete=complete_change)


@click.group("change", cls=Group, short_help="Propose, approve, schedule and apply changes.")
def change() -> None:
    """
    Manage changes that wait for approvals or for their time. Without a subcommand: change list.
    """


change.default = "list"


@change.command(
    "propose",
    short_help="Propose a change.",
    examples=[
        ("confdctl change propose config.yaml -m 'the new mirror'", "propose a document"),
        ("confdctl change propose limits.rate=50 --plan careful", "propose a change of one key, in waves"),
        ("confdctl change propose --rollback 7 --at 2026-12-01T09:00:00+01:00", "propose an old version, at a time"),
    ],
)
@click.argument("words", nargs=-1, metavar="[FILE] [KEY=VALUE]...", shell_complete=complete_source)
@click.option(
    "--rollback",
    type=click.IntRange(min=1),
    metavar="VERSION",
    help="Propose the document of a version.",
    shell_complete=complete_version,
)
@click.option("--plan", metavar="NAME", shell_complete=complete_plan, help="Plan of the rollout that it starts.")
@click.option(
    "--replace",
    type=click.IntRange(min=1),
    metavar="ROLLOUT",
    help="Replace the candidate of a rollout.",
    shell_complete=complete_rollout,
)
@click.option("--poll-interval", type=click.IntRange(1, 86400), metavar="SECONDS", help="The new poll interval.")
@click.option("--at", metavar="TIME", help="When it is applied: RFC 3339 with an offset.")
@click.option("-m", "--comment", metavar="TEXT", default="", help="Reason for the change.")
@common()
@pass_session
def propose_change(
    session: Session,
    words: tuple[str, ...],
    rollback: int | None,
    plan: str | None,
    replace: int | None,
    poll_interval: int | None,
    at: str | None,
    comment: str,
) -> None:
    """
    Propose a change: of a document in FILE (- for standard input), or of single keys of the current one. It waits for
    the approvals that the policy of the namespace asks for, and then for its time, or for confdctl change apply.
    """
    if bool(words) == (rollback is not None):
        raise CommandError(Exit.USAGE, "Name a FILE, or keys as KEY=VALUE, or give --rollback VERSION.")
    body: JsonObject = {"comment": comment}
    optional = {"plan": plan, "rollout": replace, "poll_interval_seconds": poll_interval, "at": at}
    body |= {name: value for name, value in optional.items() if value is not None}
    if rollback is not None:
        body["rollback_of"] = rollback
    else:
        body["config"] = _document(session, words)
    query = {"namespace": session.namespace}
    show_outcome(session, value_of(session.controller.call("POST", _PATH, body, {}, query)))


_COLUMNS = [
    column("ID", "id"),
    column("STATE", "state"),
    column("KIND", "kind", spare=2),
    column("AUTHOR", "subject"),
    column("APPROVALS", lambda each: f"{len(each['approvals'])}/{each['needed']}"),
    column("AT", "at", Kind.OPTIONAL_TIME),
    column("CREATED", "created_at", Kind.TIME, spare=1),
    column("COMMENT", "comment", Kind.WORDS),
]


@change.command(
    "list",
    short_help="List the changes of a namespace.",
    examples=[
        ("confdctl change", "list the changes that wait"),
        ("confdctl change list --all", "list all, newest first"),
    ],
)
@click.option("--all", "everything", is_flag=True, help="Changes that have ended, too.")
@common(forms=LIST_FORMS)
@pass_session
def list_changes(session: Session, everything: bool) -> None:
    """List the changes that wait, newest first."""
    query = {} if everything else {"state": "pending"}
    found: Sequence[JsonObject] = session.controller.get(_PATH, namespace=session.namespace, limit=500, **query)[
        "items"
    ]
    which = "" if everything else " that waits"
    session.screen.listing([*found], _COLUMNS, f"{session.namespace} has no change{which}.")


@change.command("show", short_help="Show a change with its diff.", examples=[("confdctl change show 41", "read it")])
@_NUMBER
@common(namespace=False)
@pass_session
def show_change(session: Session, number: int) -> None:
    """Show the change NUMBER: who wrote and approved it, and what it alters in the current document."""
    found = _read(session, number)
    session.screen.show(found, lambda: _draw(session, found))


@change.command(
    "approve",
    short_help="Approve a change.",
    examples=[("confdctl change approve 41", "read the diff, and approve it after a question")],
)
@_NUMBER
@yes_option()
@click.option("-m", "--comment", metavar="TEXT", default="", help="A word for the author.")
@common(namespace=False)
@pass_session
def approve_change(session: Session, number: int, yes: bool, comment: str) -> None:
    """
    Approve the change NUMBER as it is printed. If the change is edited in the meantime, nothing is approved.
    """
    found = _read(session, number)
    if session.screen.form.for_people:
        _draw(session, found)
    session.confirm(f"Approve change {number}?", yes)
    _verb(session, number, "approve", {"checksum": found["checksum"], "comment": comment})


@change.command(
    "reject", short_help="Reject a change.", examples=[("confdctl change reject 41 -m 'the mirror is slow'", "end it")]
)
@_NUMBER
@click.option("-m", "--comment", metavar="TEXT", required=True, help="Why: the author reads it.")
@common(namespace=False)
@pass_session
def reject_change(session: Session, number: int, comment: str) -> None:
    """End the change NUMBER with a reason."""
    _verb(session, number, "reject", {"comment": comment})


@change.command(
    "withdraw", short_help="Withdraw an own change.", examples=[("confdctl change withdraw 41", "end an own change")]
)
@_NUMBER
@click.option("-m", "--comment", metavar="TEXT", default="", help="Why.")
@common(namespace=False)
@pass_session
def withdraw_change(session: Session, number: int, comment: str) -> None:
    """End the own change NUMBER; an admin ends changes of others, too."""
    _verb(session, number, "withdraw", {"comment": comment})


@change.command(
    "schedule",
    short_help="Set the time of a change.",
    examples=[
        ("confdctl change schedule 41 2026-12-01T09:00:00+01:00", "apply it then"),
        ("confdctl change schedule 41 never", "take its time away"),
    ],
)
@_NUMBER
@click.argument("at", metavar="TIME")
@common(namespace=False)
@pass_session
def schedule_change(session: Session, number: int, at: str) -> None:
    """
    Set when the change NUMBER is applied: RFC 3339 with an offset, one minute to 366 days ahead; never takes the time
    away. Approvals, the policy and freezes are checked again at that time.
    """
    _verb(session, number, "schedule", {"at": None if at == "never" else at})


@change.command(
    "rebase",
    short_help="Write a change again, on the current document.",
    examples=[
        ("confdctl change rebase 41", "keep its document"),
        ("confdctl change rebase 41 config.yaml", "give it another document"),
    ],
)
@_NUMBER
@click.argument("words", nargs=-1, metavar="[FILE]", shell_complete=complete_file)
@click.option("-m", "--comment", metavar="TEXT", default="", help="Reason for the change.  [default: as before]")
@common(namespace=False)
@pass_session
def rebase_change(session: Session, number: int, words: tuple[str, ...], comment: str) -> None:
    """Write the change NUMBER again, as its author: its approvals and its time are dropped."""
    if len(words) > 1:
        raise CommandError(Exit.USAGE, "Name one FILE at most.")
    body: JsonObject = {"comment": comment}
    if words:
        body["config"] = documents.read_argument(session, words[0])
    _verb(session, number, "rebase", body)


@change.command("apply", short_help="Apply a change now.", examples=[("confdctl change apply 41", "publish it")])
@_NUMBER
@yes_option()
@break_glass_option
@common(namespace=False)
@pass_session
def apply_change(session: Session, number: int, yes: bool, break_glass: str | None) -> None:
    """Publish the change NUMBER as it is printed, or start its rollout, once it has its approvals."""
    found = _read(session, number)
    if session.screen.form.for_people:
        _draw(session, found)
    session.confirm(f"Apply change {number}?", yes)
    body, query = {"checksum": found["checksum"]}, break_glass_query(break_glass)
    made: JsonObject = value_of(session.controller.call("POST", f"{_PATH}/{number}/apply", body, {}, query))

    def draw() -> None:
        if "rollout" in made:
            session.screen.line(f"Rollout {made['rollout']['id']} of change {number} started.")
        elif "version" in made:
            session.screen.line(f"Change {number} is applied: it is version {made['version']}.")
        else:
            session.screen.line(f"Change {number} is applied: it is the candidate of rollout {made['id']}.")

    session.screen.show(made, draw)


def _document(session: Session, words: tuple[str, ...]) -> JsonObject:
    """Return the document in a file, or the current one, with the assignments of the command line."""
    file, assignments = documents.sources(words)
    if file is not None:
        document = documents.read_argument(session, file)
    else:
        document = session.controller.get("/api/v1/config", namespace=session.namespace)["data"]
    return documents.change(document, assignments, ())


def _read(session: Session, number: int) -> JsonObject:
    found: JsonObject = session.controller.get(f"{_PATH}/{number}")
    return found


def _verb(session: Session, number: int, verb: str, body: JsonObject) -> None:
    show_outcome(session, value_of(session.controller.call("POST", f"{_PATH}/{number}/{verb}", body)))


def _draw(session: Session, change: JsonObject) -> None:
    approvals = [f"{each['subject']} ({each['who']}) {format_time(each['at'])}" for each in change["approvals"]]
    facts: list[tuple[str, object]] = [
        ("Change", f"{change['id']} of {change['namespace']}, {change['kind']}"),
        ("State", change["state"]),
        ("Author", f"{change['subject']} ({change['author']})"),
        ("Comment", change["comment"]),
        ("Base", change["base"]),
        ("Plan", change["plan"]),
        ("At", format_time(change["at"]) if change["at"] else None),
        ("Approvals", f"{len(approvals)} of {change['needed']}: {', '.join(approvals) or 'none yet'}"),
        ("Result", change["result"]),
    ]
    session.screen.facts([(name, value) for name, value in facts if value not in (None, "")])
    if "diff" in change:
        session.screen.line("")
        session.screen.diff(change["diff"]["text"] or "No difference to the current document.")
