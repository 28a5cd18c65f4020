"""Publish a document from a file, from keys or from an editor: the common part of C{set}, C{edit} and C{unset}."""

from __future__ import annotations

from attrs import frozen

from confd.cli.api_client import tag_of, value_of
from confd.cli.commands.documents import changed_by_words, read_argument
from confd.cli.commands.editor import edit
from confd.cli.commands.publish import ChangePublisher, PublishOptions
from confd.cli.commands.submissions import Submission
from confd.cli.errors import CommandError, Exit
from confd.cli.session import Session
from confd.codec.strict_json import JsonObject


@frozen
class DocumentChange:
    """
    A change of the current document.

    @ivar file: file with the whole document, C{-} for standard input; C{None} for the current one.
    @ivar assignments: C{key=value} or C{key:=json}.
    @ivar removed: keys.
    @ivar in_editor: whether the user edits the result.
    @ivar poll_interval: seconds; C{None} for no change.
    @ivar format: C{json}, C{yaml} or C{toml}; C{None} for the format that the suffix of the file says.
    """

    file: str | None = None
    assignments: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    in_editor: bool = False
    poll_interval: int | None = None
    format: str | None = None

    def publish(self, session: Session, options: PublishOptions) -> None:
        """
        Show the diff, ask, publish, and wait for the agents as the options say.

        @raise CommandError: the change is malformed or refused, or the user declined.
        """
        # Before the question for a password, which reads the same standard input.
        given = None if self.file is None else read_argument(session, self.file, self.format)
        publisher = ChangePublisher(session, options)
        if self.in_editor:
            publisher.require_consent()
        answer = session.controller.call("GET", "/api/v1/config", query={"namespace": session.namespace})
        tag = tag_of(answer)
        start = value_of(answer)["data"] if given is None else given
        wanted = changed_by_words(session, start, self.assignments, self.removed)
        query = {"comment": options.comment, "poll_interval": self.poll_interval}

        def send(document: JsonObject) -> bool:
            return publisher.publish(Submission("/api/v1/config", document, tag, query))

        if self.in_editor:
            edit(session, wanted, send)
        else:
            send(wanted)
        publisher.finish()


def roll_back(session: Session, version: int | None, options: PublishOptions) -> None:
    """
    Publish the document of an earlier version again.

    @param version: C{None} for the version that was current before the current one.
    @raise CommandError: no such version exists, the controller refuses, or the user declined.
    """
    publisher = ChangePublisher(session, options)
    answer = session.controller.call("GET", "/api/v1/config", query={"namespace": session.namespace})
    if version is None:
        version = version_before(session, value_of(answer)["version"])
        session.screen.say(f"Rolling back to version {version}.")
    body = {"version": version} | ({"comment": options.comment} if options.comment else {})
    publisher.publish(Submission("/api/v1/config/rollback", body, tag_of(answer)))
    publisher.finish()


def version_before(session: Session, current: int) -> int:
    """
    Return the version that was current before the current one; candidates of rollouts never were.

    @raise CommandError: the current version is the first one.
    """
    before: int | None = current
    while before:
        page = session.controller.get("/api/v1/config/history", namespace=session.namespace, before=before)
        for each in page["items"]:
            if not each.get("state"):
                version: int = each["version"]
                return version
        before = page.get("next")
    raise CommandError(
        Exit.NOT_FOUND, f"Version {current} of {session.namespace} is the first version; no earlier one exists."
    )
