"""The changes that make a controller equal to a folder of documents: find them, publish them, and wait for agents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal
from urllib.parse import quote

from attrs import define, field

from confd.cli.api_client import tag_of
from confd.cli.commands.convergence import wait_for_quorum
from confd.cli.commands.documents import as_text
from confd.cli.commands.publish import QUORUM_PERCENT, TIMEOUT_SECONDS, PublishOptions, break_glass_query
from confd.cli.commands.rollout_progress import follow, require_completed
from confd.cli.commands.submissions import Submission, Submitter
from confd.cli.document_files import LoadedDocument
from confd.cli.errors import CommandError, Exit
from confd.cli.session import Session
from confd.cli.text import plural
from confd.codec import strict_json
from confd.codec.strict_json import JsonObject, JsonValue
from confd.errors import Unprocessable
from confd.model import DEFAULT_NAMESPACE

_CONFIG, _NAMESPACES = "/api/v1/config", "/api/v1/namespaces"

Action = Literal["unchanged", "published", "created", "retired"]


@define(eq=False)
class NamespaceChange:
    """
    A namespace of a folder, of a controller, or of both.

    @ivar document: the wanted document; C{None} for a namespace without a file.
    @ivar tag: tag of the current version; C{None} for a namespace that does not exist.
    @ivar patch: the difference, as RFC 6902.
    @ivar text: the difference, as unified text.
    @ivar agents: number of agents of the namespace.
    @ivar live: number of agents that were heard of lately.
    @ivar done: whether the change is carried out.
    @ivar result: answer of the controller to the publish.
    @ivar convergence: the convergence of the published version, after C{--wait}.
    """

    namespace: str
    action: Action
    document: JsonObject | None = None
    tag: str | None = None
    patch: JsonValue = field(factory=list)
    text: str = ""
    agents: int = 0
    live: int = 0
    done: bool = False
    result: JsonObject = field(factory=dict)
    convergence: JsonObject | None = None

    def described(self) -> JsonObject:
        """Return the change for scripts."""
        action = self.action if self.done or self.action == "unchanged" else f"would_be_{self.action}"
        described = {"namespace": self.namespace, "action": action, "tag": self.tag, "patch": self.patch}
        more = {"rollout": self.result.get("rollout"), "convergence": self.convergence}
        return described | {name: value for name, value in more.items() if value is not None}


@define(eq=False)
class FolderChanges:
    """
    Compares a folder with a controller, and publishes the difference.

    @ivar comment: the comment of each version.
    """

    _session: Session
    _documents: Mapping[str, LoadedDocument]
    _options: PublishOptions
    _comment: str
    _failures: list[CommandError] = field(factory=list)

    def compare(self, create: bool, prune: bool) -> list[NamespaceChange]:
        """
        Return a change for each file, and with C{prune} for each namespace without a file, in the order of the names.

        The controller has validated each document; nothing is changed.

        @param create: whether namespaces may be created.
        @raise CommandError: the controller refuses a document, or a namespace does not exist.
        """
        standing = {each["name"]: each for each in self._session.controller.get(_NAMESPACES)}
        missing = [name for name in self._documents if name not in standing]
        if missing and not create:
            which = f"namespace {missing[0]} does" if len(missing) == 1 else f"namespaces {', '.join(missing)} do"
            raise CommandError(Exit.NOT_FOUND, f"The {which} not exist; add --create, or remove the file.")
        found = [
            self._compare(name, document.value) if name in standing else self._creation(name, document.value)
            for name, document in self._documents.items()
        ]
        if prune:
            found += [
                NamespaceChange(name, "retired", agents=each["agents"], live=each["live_agents"])
                for name, each in standing.items()
                if name not in self._documents and name != DEFAULT_NAMESPACE
            ]
        return sorted(found, key=lambda each: each.namespace)

    def _compare(self, namespace: str, document: JsonObject) -> NamespaceChange:
        answer = self._session.controller.call("GET", _CONFIG, query={"namespace": namespace})
        change = NamespaceChange(namespace, "unchanged", document, tag_of(answer))
        try:
            checksum = strict_json.checksum(document)
        except Unprocessable as error:
            raise CommandError(Exit.INVALID, f"{self._documents[namespace].name}: {error.message}") from None
        if checksum == answer.headers.get("x-config-checksum"):
            return change
        with self._naming(namespace):
            preview = self._submitter(namespace).preview(self._submission(change))
        if preview["patch"]:
            change.action, change.patch, change.text = "published", preview["patch"], preview["text"]
            change.agents, change.live = preview["agents"]["targeted"], preview["agents"]["live"]
        return change

    def _creation(self, namespace: str, document: JsonObject) -> NamespaceChange:
        with self._naming(namespace):
            self._create(namespace, document, dry_run=True)
        added = "".join(f"+{line}\n" for line in as_text(document).splitlines())
        patch = [{"op": "add", "path": "", "value": document}]
        return NamespaceChange(namespace, "created", document, patch=patch, text=f"+++ {namespace}\n{added}")

    def publish(self, changes: Sequence[NamespaceChange]) -> None:
        """
        Apply changes to the controller in their order, then wait for the agents of all if C{--wait} asks for it.

        @raise CommandError: the controller refuses a change; the details name the namespaces that were changed. After
            the other changes: agents refused a version, or a namespace has live agents and cannot be retired.
        """
        for change in changes:
            try:
                self._carry_out(change)
            except CommandError as failure:
                if change.action == "retired" and failure.status is Exit.CONFLICT:
                    self._failures.append(CommandError(failure.status, f"{change.namespace} stays: {failure.sentence}"))
                    continue
                raise CommandError(
                    failure.status,
                    f"{change.namespace}: {failure.sentence}",
                    [*failure.details, *_progress(changes)],
                    failure.code,
                ) from None
        if self._options.wait is not None:
            self._wait([each for each in changes if each.action == "published"])

    def _carry_out(self, change: NamespaceChange) -> None:
        controller = self._session.controller
        if change.action == "retired":
            controller.call("DELETE", f"{_NAMESPACES}/{quote(change.namespace, safe='')}")
        elif change.action == "created":
            assert change.document is not None
            self._create(change.namespace, change.document)
            made = controller.call("GET", _CONFIG, query={"namespace": change.namespace})
            change.tag = tag_of(made)
        else:
            change.result = self._submitter(change.namespace).publish(self._submission(change))
            change.tag = change.result["tag"]
        change.done = True

    def _wait(self, changes: Sequence[NamespaceChange]) -> None:
        """Wait for all changes together: one time limit covers them."""
        clock, options = self._session.clock, self._options
        limit = options.timeout if options.plan is not None else options.timeout or TIMEOUT_SECONDS
        deadline = None if limit is None else clock.monotonic() + limit
        for change in changes:
            left = None if deadline is None else max(deadline - clock.monotonic(), 0)
            try:
                self._wait_for(change, left)
            except CommandError as failure:
                self._failures.append(CommandError(failure.status, f"{change.namespace}: {failure.sentence}"))

    def _wait_for(self, change: NamespaceChange, seconds: float | None) -> None:
        if "rollout" in change.result:
            change.result["rollout"] = follow(self._session, change.result["rollout"]["id"], seconds)
            require_completed(change.result["rollout"])
            return
        assert seconds is not None
        quorum, version = self._options.quorum or QUORUM_PERCENT, change.result["version"]
        reached, seen = wait_for_quorum(self._session, change.namespace, version, quorum, seconds)
        change.convergence = seen
        if not reached:
            counts = f"{seen['applied']} of {plural(seen['targeted'], 'agent')} applied version {version}"
            failed = f", and {plural(seen['failed'], 'agent')} failed" if seen["failed"] else ""
            raise CommandError(
                Exit.NO_QUORUM, f"{counts}{failed}; run confdctl status -n {change.namespace} to see which."
            )

    def raise_failure(self) -> None:
        """
        Report what failed after the publishes; the first failure decides the exit status.

        @raise CommandError: anything failed.
        """
        if self._failures:
            first, *others = self._failures
            raise CommandError(first.status, first.sentence, [*first.details, *(each.sentence for each in others)])

    def _submitter(self, namespace: str) -> Submitter:
        return Submitter(self._session, namespace, self._options.rollout)

    def _submission(self, change: NamespaceChange) -> Submission:
        assert change.document is not None and change.tag is not None
        query = {"comment": self._comment or None, **break_glass_query(self._options.break_glass)}
        return Submission(_CONFIG, change.document, change.tag, query)

    def _create(self, namespace: str, document: JsonObject, **query: object) -> None:
        body = {"name": namespace, "config": document} | ({"comment": self._comment} if self._comment else {})
        query |= break_glass_query(self._options.break_glass)
        self._session.controller.call("POST", _NAMESPACES, body, query=query)

    @contextmanager
    def _naming(self, namespace: str) -> Iterator[None]:
        """Name the file in a refusal of its document."""
        try:
            yield
        except CommandError as failure:
            name = self._documents[namespace].name
            details = [*failure.details, "Nothing was changed."]
            raise CommandError(failure.status, f"{name}: {failure.sentence}", details, failure.code) from None


def _progress(changes: Sequence[NamespaceChange]) -> Iterator[str]:
    """Yield what was done and what was not, for a command that stops in between."""
    for done, title in ((True, "Done"), (False, "Not done")):
        names = [each.namespace for each in changes if each.done is done]
        yield f"{title}: {', '.join(names) or 'nothing'}."
    yield "It is safe to run the command again."
