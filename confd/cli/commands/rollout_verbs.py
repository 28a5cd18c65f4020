"""The commands that change the open rollout of a namespace."""

from __future__ import annotations

import difflib
from collections.abc import Callable

import click

from confd.cli.api_client import value_of
from confd.cli.commands.completing import complete_source, complete_version
from confd.cli.commands.documents import as_text, changed_by_words, read_argument, sources
from confd.cli.commands.publish import break_glass_option, break_glass_query
from confd.cli.commands.rollout_progress import follow, recovery_words
from confd.cli.commands.rollouts import draw_rollout, finish, open_rollout, rollout
from confd.cli.errors import CommandError, Exit
from confd.cli.options import yes_option
from confd.cli.session import Session, common, pass_session
from confd.cli.text import plural
from confd.codec.strict_json import JsonObject
from confd.codec.text import printable

_COMMENT = click.option("-m", "--comment", metavar="TEXT", help="Reason for the change, for the audit log.")
_WAIT = click.option("--wait", is_flag=True, help="Follow the rollout to its end.")
_TIMEOUT = click.option(
    "--timeout", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="Time limit of --wait."
)


#: Verbs that a freeze holds.
_HELD = ("resume", "promote", "replace")


_Verb = Callable[..., None]


def _verb(
    name: str, short_help: str, examples: list[tuple[str, str]], waits: bool = True, *options: Callable[[_Verb], _Verb]
) -> Callable[[_Verb], click.Command]:
    """
    Return a decorator that makes a function a command that changes the open rollout.

    @param waits: whether the command has C{--wait}.
    """

    def decorate(command: Callable[..., None]) -> click.Command:
        decorated = common()(pass_session(command))
        held = (break_glass_option,) if name in _HELD else ()
        for option in reversed((*options, _COMMENT, *held, *((_WAIT, _TIMEOUT) if waits else ()))):
            decorated = option(decorated)
        return rollout.command(name, short_help=short_help, examples=examples)(decorated)

    return decorate


@_verb(
    "pause",
    "Pause the open rollout.",
    [("confdctl rollout pause -m 'looking at errors'", "members keep the new version, and no agent is added")],
    False,
)
def pause(session: Session, comment: str | None) -> None:
    """Pause the open rollout: its members keep the new version, and no agent is added."""
    _change(session, "pause", comment)


@_verb(
    "resume",
    "Resume a paused rollout.",
    [("confdctl rollout resume --wait", "accept the failures of the present members, and follow the rollout")],
)
def resume(session: Session, comment: str | None, wait: bool, timeout: float | None, break_glass: str | None) -> None:
    """Resume the paused rollout. The failures of its present members do not count any more."""
    _check_timeout(wait, timeout)
    _change_and_follow(session, "resume", comment, wait, timeout, break_glass=break_glass)


@_verb(
    "promote",
    "Start the next wave now.",
    [
        ("confdctl rollout promote", "do not wait until the present wave has settled; asks first"),
        ("confdctl rollout promote --all --yes --wait", "deliver to all agents now, and follow the rollout"),
    ],
    True,
    yes_option(),
    click.option("--all", "to_all", is_flag=True, help="Start the last wave, which is for all agents."),
)
def promote(
    session: Session,
    comment: str | None,
    wait: bool,
    timeout: float | None,
    yes: bool,
    to_all: bool,
    break_glass: str | None,
) -> None:
    """
    Start the next wave that adds an agent, although not all members of the present wave have settled. A wave with hold
    in its plan waits for this command.
    """
    _check_timeout(wait, timeout)
    session.require_consent(yes)
    found, tag = open_rollout(session)
    whom = "all agents" if to_all else "the next wave"
    session.confirm(f"Deliver version {found['candidate']} to {whom} now? {printable(found['next'])}", yes)
    body = {"to": "all" if to_all else "next"}
    _change_and_follow(session, "promote", comment, wait, timeout, body, (found["id"], tag), break_glass)


@_verb(
    "abort",
    "Take the version of the open rollout back.",
    [
        ("confdctl rollout abort -m 'errors at the edge'", "all agents get the old document, as a new version"),
        ("confdctl rollout abort --wait", "wait until the exposed agents have applied it"),
    ],
)
def abort(session: Session, comment: str | None, wait: bool, timeout: float | None) -> None:
    """
    Abort the open rollout: one new version with the document of the base goes to all agents. This works in each state,
    and asks no question.
    """
    _check_timeout(wait, timeout)
    number = _change(session, "abort", comment, quiet=wait)
    if not wait:
        return
    ended = follow(session, number, timeout)
    session.screen.show(ended, lambda: session.screen.line(recovery_words(ended)))
    recovery = ended["recovery"]
    if recovery is None or recovery["applied"] < recovery["members"]:
        hint = f"To see the agents that are behind, run: confdctl status --version {ended['ended_as']}"
        raise CommandError(Exit.NO_QUORUM, f"Not all exposed agents applied version {ended['ended_as']}.", [hint])


@_verb(
    "replace",
    "Deliver another document to the members of the open rollout.",
    [
        ("confdctl rollout replace config.json", "deliver a file instead; shows the diff and asks first"),
        ("confdctl rollout replace limits.rate=10 -m fix", "change a key of the document that the rollout delivers"),
        ("confdctl rollout replace --version 7", "deliver the document of version 7"),
    ],
    True,
    yes_option(),
    click.option(
        "--version",
        type=click.IntRange(min=1),
        metavar="N",
        help="Deliver the document of version N.",
        shell_complete=complete_version,
    ),
    click.argument("source", nargs=-1, metavar="[FILE|-] [KEY=VALUE]...", shell_complete=complete_source),
)
def replace(
    session: Session,
    comment: str | None,
    wait: bool,
    timeout: float | None,
    yes: bool,
    version: int | None,
    source: tuple[str, ...],
    break_glass: str | None,
) -> None:
    """
    Publish another document for the members of the open rollout, which begins with its first wave again. No agent is
    added until all members have the new document.

    The document comes from FILE (- reads standard input), or is that of the rollout with KEY=VALUE changed.
    """
    _check_timeout(wait, timeout)
    if bool(source) == (version is not None):
        raise CommandError(Exit.USAGE, "Name either a FILE or KEY=VALUE, or --version N.")
    file, assignments = sources(source)
    # Before the question for a password, which reads the same standard input.
    given = None if file is None else read_argument(session, file)
    session.require_consent(yes)
    found, tag = open_rollout(session)
    before = _document(session, found["candidate"])
    body: JsonObject
    if version is None:
        after = changed_by_words(session, before if given is None else given, assignments)
        body = {"config": after}
    else:
        after = _document(session, version)
        body = {"rollback_of": version}
    names = (f"version {found['candidate']}", "the new version")
    lines = difflib.unified_diff(as_text(before).splitlines(), as_text(after).splitlines(), *names, lineterm="")
    session.screen.diff("\n".join(lines), aside=True)
    members = plural(found["members"], "member")
    session.confirm(f"Replace version {found['candidate']} on {members} of rollout {found['id']}?", yes)
    _change_and_follow(session, "replace", comment, wait, timeout, body, (found["id"], tag), break_glass)


@_verb(
    "check",
    "Post the verdict of a check on the open rollout.",
    [
        ("confdctl rollout check slo pass", "the check slo, which the plan requires, passed in this wave"),
        ("confdctl rollout check slo fail -m 'p99 above 300 ms'", "stop the rollout as the plan says"),
        ("confdctl rollout check slo pass --step 3", "refuse the verdict if a later step began during the test"),
    ],
    False,
    click.argument("name"),
    click.argument("verdict", type=click.Choice(["pass", "fail"])),
    click.option(
        "--step",
        type=click.IntRange(min=1),
        metavar="N",
        help="Step that was tested, as confdctl rollout shows it.  [default: present step]",
    ),
)
def check(session: Session, comment: str | None, name: str, verdict: str, step: int | None) -> None:
    """
    Post the verdict of the check NAME, for one step only: each wave, pause and resume begins a step. A wave ends once
    each check of the plan passed in it. A failed check aborts or pauses the rollout at once.
    """
    passed = verdict == "pass"
    found, tag = open_rollout(session)
    seen = (found["id"], tag if step is None else f'"r{found["id"]}.{step}"')
    # A failure without a step stops the rollout in any step.
    _change(session, "checks", comment, {"name": name, "pass": passed}, seen, guarded=passed or step is not None)


def _document(session: Session, version: int) -> JsonObject:
    found = session.controller.get(f"/api/v1/config/versions/{version}", namespace=session.namespace)
    document: JsonObject = found["data"]
    return document


def _check_timeout(wait: bool, timeout: float | None) -> None:
    if timeout is not None and not wait:
        raise CommandError(Exit.USAGE, "--timeout has no effect without --wait; add it.")


def _change_and_follow(
    session: Session,
    verb: str,
    comment: str | None,
    wait: bool,
    timeout: float | None,
    body: JsonObject | None = None,
    seen: tuple[int, str] | None = None,
    break_glass: str | None = None,
) -> None:
    """Change the open rollout unless it made a step in the meantime; with C{--wait}, follow it to its end."""
    query = break_glass_query(break_glass)
    number = _change(session, verb, comment, body, seen, guarded=True, quiet=wait, query=query)
    if wait:
        finish(session, number, timeout)


def _change(
    session: Session,
    verb: str,
    comment: str | None,
    body: JsonObject | None = None,
    seen: tuple[int, str] | None = None,
    guarded: bool = False,
    quiet: bool = False,
    query: JsonObject | None = None,
) -> int:
    """
    Change the open rollout and print it.

    @param seen: its number and its C{ETag}, if they are known.
    @param guarded: whether to refuse the change if the rollout made a step in the meantime.
    @param quiet: whether to print nothing, for a result follows.
    @param query: parameters of the API.
    @return: its number.
    """
    if seen is None:
        found, tag = open_rollout(session)
        seen = found["id"], tag
    number, tag = seen
    sent = {**(body or {}), **({"comment": comment} if comment else {})}
    headers = {"If-Match": tag} if guarded and tag else {}
    changed = value_of(session.controller.call("POST", f"/api/v1/rollouts/{number}/{verb}", sent, headers, query or {}))
    if not quiet:
        session.screen.show(changed, lambda: draw_rollout(session, changed))
    return number
