"""Preview, confirm and publish a change, and wait for its agents: the common part of C{set} and C{rollback}."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from functools import wraps
from typing import Any

import click
from attrs import define, evolve, frozen

from confd.cli.commands.completing import complete_rollout_plan
from confd.cli.commands.convergence import wait_for_quorum
from confd.cli.commands.rollout_progress import draw_end, exposed_agents, follow, require_completed
from confd.cli.commands.submissions import Submission, Submitter
from confd.cli.errors import CommandError, Exit
from confd.cli.options import comment_option, yes_option
from confd.cli.session import Session
from confd.cli.text import format_time, plural
from confd.codec.strict_json import JsonObject
from confd.codec.text import printable
from confd.model import Tag

#: Values of C{--rollout} that start no rollout.
_NO_PLANS = (None, "direct", "abort")

#: Default of C{--quorum}.
QUORUM_PERCENT = 100.0
#: Default of C{--timeout}.
TIMEOUT_SECONDS = 30.0
#: Largest value of C{--timeout}: a week, for the longest bake.
_MAX_TIMEOUT_SECONDS = 604_800


@frozen
class PublishOptions:
    """The values of the L{publishing_options}."""

    yes: bool
    dry_run: bool
    comment: str | None
    wait: str | None
    quorum: float | None
    timeout: float | None
    rollout: str | None
    force: bool = False
    if_match: str | None = None
    break_glass: str | None = None
    propose: bool = False

    @property
    def plan(self) -> str | None:
        """The plan of the rollout; C{None} if all agents get the version at once."""
        return None if self.rollout in _NO_PLANS else self.rollout

    def __attrs_post_init__(self) -> None:
        require_wait(self.wait, self.quorum, self.timeout)
        if self.plan is not None and self.quorum is not None:
            raise CommandError(
                Exit.USAGE, "--quorum has no effect with --rollout: the plan has a quorum for each wave; leave it out."
            )
        if self.propose:
            publishing = {
                "--dry-run": self.dry_run,
                "--wait": self.wait,
                "--break-glass": self.break_glass,
                "--rollout abort": self.rollout == "abort",
            }
            for option in (name for name, given in publishing.items() if given):
                raise CommandError(Exit.USAGE, f"{option} has no effect with --propose, which publishes nothing.")
        try:
            if self.if_match is not None and self.if_match != "*":
                Tag.parse(self.if_match)
        except ValueError as error:
            raise CommandError(Exit.USAGE, f"--if-match: {error}.") from None


def require_wait(wait: object, quorum: float | None, timeout: float | None) -> None:
    """
    Check that the options of a wait come with C{--wait}.

    @raise CommandError: one of them stands alone.
    """
    for name, value in (("quorum", quorum), ("timeout", timeout)):
        if value is not None and wait is None:
            raise CommandError(Exit.USAGE, f"--{name} has no effect without --wait; add it.")


#: The option of commands that policies and freezes hold.
break_glass_option = click.option(
    "--break-glass",
    metavar="REASON",
    help="Pass the policy and the freezes of the namespace in an emergency; only an admin may, and the audit shows it.",
)

quorum_option = click.option(
    "--quorum",
    type=click.FloatRange(0, 100, min_open=True),
    metavar="PERCENT",
    help="Share of the agents that --wait needs.  [default: 100]",
)
timeout_option = click.option(
    "--timeout",
    type=click.FloatRange(0, _MAX_TIMEOUT_SECONDS, min_open=True),
    metavar="SECONDS",
    help="Time limit of --wait.  [default: 30; with a rollout: none]",
)

_OPTIONS = {
    "yes": yes_option("Publish without a question."),
    "dry_run": click.option("--dry-run", is_flag=True, help="Validate and show the diff; publish nothing."),
    "force": click.option("--force", is_flag=True, help="Publish although nothing differs from the current version."),
    "comment": comment_option,
    "if_match": click.option(
        "--if-match",
        metavar="TAG",
        help="Publish only if this is the current tag; * skips the check.  [default: current tag at the start]",
    ),
    "break_glass": break_glass_option,
    "propose": click.option(
        "--propose",
        is_flag=True,
        help="Propose the change without a question, and publish nothing: it waits for approvals; see confdctl change.",
    ),
    "rollout": click.option(
        "--rollout",
        metavar="PLAN",
        shell_complete=complete_rollout_plan,
        help="Deliver the version in the waves of PLAN, such as canary or careful; see confdctl plans. The value abort"
        " publishes to all agents at once, although a rollout is open.",
    ),
    "wait": click.option(
        "--wait",
        is_flag=False,
        flag_value="applied",
        type=click.Choice(["applied"]),
        help="Wait until the agents have applied the version; with a rollout, until its end.",
    ),
    "quorum": quorum_option,
    "timeout": timeout_option,
}


def publishing_options(command: Callable[..., None], without: Container[str] = frozenset()) -> Callable[..., None]:
    """
    Add the options of a command that publishes; the command gets them as C{options}, a L{PublishOptions}.

    @param without: names of fields whose options the command does not have.
    """
    chosen = [name for name in _OPTIONS if name not in without]

    @wraps(command)
    def with_options(*arguments: object, **values: Any) -> None:
        options = PublishOptions(**{name: values.pop(name) for name in chosen})
        command(*arguments, options=options, **values)

    for name in reversed(chosen):
        with_options = _OPTIONS[name](with_options)
    return with_options


def break_glass_query(reason: str | None) -> dict[str, object]:
    """Return the parameter of the API for the L{break_glass_option}."""
    return {} if reason is None else {"break_glass": reason}


@define(eq=False)
class ChangePublisher:
    """
    Publishes one change.

    @ivar _result: the answer of the controller after the publish.
    """

    _session: Session
    _options: PublishOptions
    _result: JsonObject | None = None

    def require_consent(self) -> None:
        """
        Refuse to begin a change that no question could confirm, before the user edits anything.

        @raise CommandError: neither an option that agrees in advance nor a terminal.
        """
        self._session.require_consent(self._options.yes or self._options.dry_run or self._options.propose)

    def publish(self, change: Submission) -> bool:
        """
        Show the diff of a change, ask, and publish; or propose it.

        @return: whether it was published or proposed, or was no change; false after a dry run.
        @raise CommandError: the controller refused it, or the user declined.
        """
        session, screen = self._session, self._session.screen
        current, query = change.tag, break_glass_query(self._options.break_glass)
        if not self._options.force:
            query["if_changed"] = True
        change = evolve(change, tag=self._options.if_match or current, query={**change.query, **query})
        submitter = Submitter(session, session.namespace, self._options.rollout)
        try:
            if self._options.propose:
                show_outcome(session, submitter.propose(change))
                return True
            preview = submitter.preview(change)
        except CommandError as failure:
            if failure.code != "unchanged":
                raise
            said = "Nothing to publish: the document and the poll interval are unchanged"
            screen.show({"message": said, "tag": current}, lambda: screen.line(f"{said}; {current} is current."))
            return True
        agents = preview["agents"]
        for_whom = f"version {preview['version']} of {session.namespace}, for {plural(agents['targeted'], 'agent')}"
        if self._options.dry_run:
            screen.show(preview, lambda: self._draw_preview(preview))
            screen.say(f"Dry run: this would be {for_whom}. Nothing was changed.")
            return False
        if screen.form.for_people or not self._options.yes:
            screen.diff(preview["text"], aside=True)
        how = f" ({agents['live']} of them live){_waves_in_words(preview)}"
        session.confirm(f"Publish this as {for_whom}{how}?", self._options.yes)
        self._result = submitter.publish(change)
        if screen.form.for_people:
            self._draw(self._result)
        return True

    def finish(self) -> None:
        """
        Wait for the agents, if C{--wait} asks for it, and print the result for scripts.

        @raise CommandError: too few agents applied the version in time, or the rollout was taken back.
        """
        result, options, screen = self._result, self._options, self._session.screen
        if result is None:
            return
        if options.wait is None:
            screen.show(result, lambda: None)
            return
        if "rollout" in result:
            self._finish_rollout(result)
            return
        version, timeout = result["version"], options.timeout or TIMEOUT_SECONDS
        reached, seen = wait_for_quorum(
            self._session, self._session.namespace, version, options.quorum or QUORUM_PERCENT, timeout
        )
        counts = f"{seen['applied']} of {plural(seen['targeted'], 'agent')} applied version {version}"
        screen.show(result | {"convergence": seen}, lambda: screen.line(f"{counts}."))
        if not reached:
            when = f" after {timeout:g} s" if reached is None else f": {plural(seen['failed'], 'agent')} failed"
            raise CommandError(
                Exit.NO_QUORUM,
                f"Quorum not reached{when}. Run confdctl status to see which agents are missing.",
            )

    def _finish_rollout(self, result: JsonObject) -> None:
        ended = follow(self._session, result["rollout"]["id"], self._options.timeout)
        exposed = [] if ended["state"] == "completed" else exposed_agents(self._session, ended["id"])
        value = result | {"rollout": ended} | ({"exposed": exposed} if exposed else {})
        self._session.screen.show(value, lambda: draw_end(self._session, ended, exposed))
        require_completed(ended)

    def _draw_preview(self, preview: JsonObject) -> None:
        screen = self._session.screen
        screen.diff(preview["text"])
        if "waves" not in preview:
            return
        screen.line("")
        screen.table(["WAVE", "MEMBERS", "ADDS"], _wave_rows(preview["waves"]))
        if preview["unfit"]:
            screen.say(f"The failure of {plural(preview['unfit'], 'agent')} does not count: the last report failed.")
        if preview["cannot_report"]:
            silent = plural(preview["cannot_report"], "agent")
            screen.say(f"Only the last wave is for {silent} without a report.")

    def _draw(self, result: JsonObject) -> None:
        back = f", with the document of version {result['rollback_of']}" if "rollback_of" in result else ""
        what = f"version {result['version']} of {self._session.namespace} ({printable(result['tag'])})"
        screen = self._session.screen
        if "rollout" in result:
            started = result["rollout"]
            plan = printable(started["plan"]["name"])
            waves = plural(len(started["waves"]), "wave")
            screen.line(f"Rollout {started['id']} started: {what} goes out in {waves} of the plan {plan}{back}.")
            for warning in started.get("warnings", ()):
                screen.say(printable(warning))
            if self._options.wait is None:
                screen.say("To follow it, run: confdctl rollout watch")
            return
        screen.line(f"Published {what}{back}.")
        if result.get("published") is False:
            screen.say(
                "Some brokers are not notified yet. Their agents receive the version at their next poll at the latest."
            )


def show_outcome(session: Session, change: JsonObject) -> None:
    """Print what a change waits for."""
    session.screen.show(change, lambda: session.screen.line(printable(_next(change))))


def _next(change: JsonObject) -> str:
    """Return the state of a change, and what follows, in one sentence."""
    number, state = change["id"], change["state"]
    if state == "open":
        missing = max(1, change["needed"] - len(change["approvals"]))
        return f"Change {number} is open: {plural(missing, 'approval')} to go; confdctl change approve {number}"
    if state == "approved":
        return f"Change {number} is approved; confdctl change apply {number}"
    if state == "scheduled":
        return f"Change {number} is scheduled for {format_time(change['at'])}."
    return f"Change {number} is {state}."


def _waves_in_words(preview: JsonObject) -> str:
    """Return the waves of a preview for the question; nothing without a rollout."""
    if "waves" not in preview:
        return ""
    first = preview["waves"][0]
    named = ", ".join(map(printable, first["sample"])) if first["members"] == len(first["sample"]) else ""
    return f", in {plural(len(preview['waves']), 'wave')}, first to {named or plural(first['members'], 'agent')}"


def _wave_rows(waves: Sequence[JsonObject]) -> list[list[object]]:
    rows: list[list[object]] = []
    before = 0
    for number, wave in enumerate(waves, 1):
        unnamed = wave["members"] - before - len(wave["sample"])
        names = ", ".join(wave["sample"]) + (f" and {unnamed} more" if unnamed > 0 else "")
        rows.append([number, wave["members"], names])
        before = wave["members"]
    return rows
