"""A change on its way: shown, agreed to, published, followed to the machines. What C{set} and C{rollback} share."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click
from attrs import define, field, frozen

from confd.cli.api_client import value_of
from confd.cli.commands.convergence import follow
from confd.cli.errors import CommandError, Exit
from confd.cli.session import Session
from confd.cli.text import counted
from confd.cli.transport import Reply, Unreached
from confd.codec.text import printable
from confd.model import Tag

C = TypeVar("C", bound=Callable[..., Any])

#: A publish whose answer was lost is sent again so often, a second apart; its key makes that harmless.
_ATTEMPTS = 3

#: Percent of the agents, and seconds, where nothing else is wished.
_QUORUM, _TIMEOUT = 100.0, 30.0


@frozen
class Submission:
    """
    What to ask the controller for.

    @ivar path: where a publish of this kind goes.
    @ivar tag: what was in force when the change was made up.
    @ivar query: what goes with it.
    @ivar always: whether it is worth a version although the document stays the same.
    """

    path: str
    body: Mapping[str, Any]
    tag: str
    query: Mapping[str, object] = field(factory=dict)
    always: bool = False


@frozen
class PublishOptions:
    """The options of L{publishing_options}."""

    yes: bool
    dry_run: bool
    if_match: str | None
    comment: str | None
    wait: str | None
    quorum: float | None
    timeout: float | None

    def __attrs_post_init__(self) -> None:
        for name, value in (("quorum", self.quorum), ("timeout", self.timeout)):
            if value is not None and self.wait is None:
                raise CommandError(Exit.USAGE, f"--{name} is for --wait applied; add that.")
        try:
            if self.if_match is not None and self.if_match != "*":
                Tag.parse(self.if_match)
        except ValueError as error:
            raise CommandError(Exit.USAGE, f"--if-match: {error}.") from None


def publishing_options(command: C) -> C:
    """The options of whatever publishes; see L{PublishOptions}."""
    for option in reversed(
        (
            click.option("-y", "--yes", is_flag=True, help="Do not ask."),
            click.option("--dry-run", is_flag=True, help="Check it and show what would change; publish nothing."),
            click.option("-m", "--comment", metavar="TEXT", help="Why, for the history."),
            click.option(
                "--if-match",
                metavar="TAG",
                help="Only if this is in force; * for whatever is.  [default: what was when the command began]",
            ),
            click.option("--wait", type=click.Choice(["applied"]), help="Wait until the agents have applied it."),
            click.option(
                "--quorum",
                type=click.FloatRange(0, 100, min_open=True),
                metavar="PERCENT",
                help="How many agents are enough for --wait.  [default: 100]",
            ),
            click.option(
                "--timeout",
                type=click.FloatRange(0, 600, min_open=True),
                metavar="SECONDS",
                help="How long to --wait.  [default: 30]",
            ),
        )
    ):
        command = option(command)
    return command


@define(eq=False)
class PublishResult:
    """
    A change that somebody makes.

    @ivar _result: what the controller said, once it is published.
    """

    _session: Session
    _publish_options: PublishOptions
    _result: dict[str, Any] | None = None

    def __attrs_post_init__(self) -> None:
        # Before anything is edited or sent.
        self._session.check_somebody(self._publish_options.yes or self._publish_options.dry_run)

    def publish(self, change: Submission) -> bool:
        """
        Show a change, ask, and publish.

        @return: whether it was published, or there was nothing to publish; not so after a dry run.
        @raise Failure: if it was refused, or declined.
        """
        session, screen = self._session, self._session.screen
        tag = self._publish_options.if_match or change.tag
        headers = {"If-Match": tag if tag == "*" else f'"{tag}"'}
        preview = value_of(self._post(change, headers, dry_run=True))
        agents = preview["agents"]
        for_whom = f"version {preview['version']} of {session.namespace}, for {counted(agents['targeted'], 'agent')}"
        if self._publish_options.dry_run:
            screen.show(preview, lambda: screen.diff(preview["text"]))
            screen.say(f"It would be {for_whom}. Nothing was changed.")
            return False
        if not preview["patch"] and not change.always:
            said = {"message": "Nothing to publish: this is what is in force", "tag": change.tag}
            screen.show(said, lambda: screen.line(f"{said['message']}, {change.tag}."))
            return True
        if screen.form == "table" or not self._publish_options.yes:
            screen.diff(preview["text"], aside=True)
        session.confirm(f"Publish this as {for_whom} ({agents['live']} of them alive)?", self._publish_options.yes)
        answer = self._insist(change, headers | {"Idempotency-Key": str(uuid.uuid4())})
        self._result = value_of(answer) | {"tag": answer.headers.get("etag", "").strip('"')}
        if screen.form == "table":
            self._draw(self._result)
        return True

    def finish(self) -> None:
        """
        Follow to the agents what was published, if that is wished; tell scripts what became of it.

        @raise Failure: if not enough of them applied it in time.
        """
        result, publish_options, screen = self._result, self._publish_options, self._session.screen
        if result is None:
            return
        if publish_options.wait is None:
            screen.show(result, lambda: None)
            return
        timeout = publish_options.timeout or _TIMEOUT
        reached, seen = follow(self._session, result["version"], publish_options.quorum or _QUORUM, timeout)
        counts = f"{seen['applied']} of {counted(seen['targeted'], 'agent')} applied version {result['version']}"
        screen.show(result | {"convergence": seen}, lambda: screen.line(f"{counts}."))
        if not reached:
            raise CommandError(
                Exit.NO_QUORUM, f"That is not enough after {timeout:g} s; confdctl status names those that are missing."
            )

    def _draw(self, result: dict[str, Any]) -> None:
        back = f", which repeats version {result['rollback_of']}" if "rollback_of" in result else ""
        what = f"version {result['version']} of {self._session.namespace}"
        self._session.screen.line(f"Published {what} ({printable(result['tag'])}){back}.")
        if result.get("published") is False:
            self._session.screen.say("Not every broker has it yet; agents that listen to one get it a little later.")

    def _post(self, change: Submission, headers: Mapping[str, str], **more: object) -> Reply:
        query = {"namespace": self._session.namespace, **change.query, **more}
        try:
            return self._session.controller.call("POST", change.path, change.body, headers, query)
        except CommandError as failure:
            if failure.code != "version_mismatch":
                raise
            since = headers["If-Match"].strip('"').rpartition(".")[2]
            hint = f"Nothing was changed; to see what the other one did: confdctl diff {since}"
            raise CommandError(failure.status, failure.sentence, [hint], failure.code) from None

    def _insist(self, change: Submission, headers: Mapping[str, str]) -> Reply:
        for _ in range(_ATTEMPTS - 1):
            try:
                return self._post(change, headers)
            except Unreached:
                self._session.clock.sleep(1)
        try:
            return self._post(change, headers)
        except Unreached as failure:
            sentence = f"{failure.sentence} It may have been published; confdctl history tells."
            raise CommandError(failure.status, sentence) from None
