"""The bodies of the events that webhooks send. A body never contains a document."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Sequence
from datetime import datetime

from attrs import frozen
from twisted.logger import Logger

from confd.audit import Attempt
from confd.changes import RETIRED, Published
from confd.codec import strict_json
from confd.codec.headers import rfc3339
from confd.codec.text import printable
from confd.controller.convergence.progress import ConvergenceSummary, LaggingAgent
from confd.rollouts.rollout import Rollout

#: Agents that an event lists.
MAX_AGENTS = 10

#: Characters of a text of others that an event repeats.
_MAX_CHARS = 500

#: Action of the request that creates a namespace.
_CREATE = "POST /api/v1/namespaces"


@frozen
class Events:
    """
    Describe what happened as JSON.

    @ivar cluster_id: returns the UUID of the cluster.
    @ivar targeted: returns the number of agents of a namespace.
    @ivar now: the wall clock.
    @ivar wanted: the kinds of events to send.
    """

    log = Logger()

    cluster_id: Callable[[], str]
    targeted: Callable[[str], int]
    now: Callable[[], datetime]
    wanted: Collection[str]

    def of_change(self, change: tuple[str, str, object], attempt: Attempt | None) -> Sequence[bytes]:
        """Return the events of a change; an error in here does not stop the change."""
        try:
            return list(filter(None, self._of_change(change, attempt)))
        except Exception:
            self.log.failure("a change could not be described for webhooks")
            return ()

    def _of_change(self, change: tuple[str, str, object], attempt: Attempt | None) -> Sequence[bytes | None]:
        kind, namespace, value = change
        who = "" if attempt is None else attempt.who
        if kind == RETIRED:
            return [self._namespace("retired", namespace, who)]
        if not isinstance(value, Published):
            return []
        published = self._published(namespace, value)
        if attempt is not None and attempt.action == _CREATE:
            return [self._namespace("created", namespace, who), published]
        return [published]

    def _published(self, namespace: str, value: Published) -> bytes | None:
        version = value.version
        number, comment = version.tag.version, version.comment[:_MAX_CHARS]
        fields: dict[str, object] = {
            "author": version.author,
            "comment": comment,
            "checksum": version.checksum,
            "targeted": self.targeted(namespace),
        }
        event, text = "published", f"{namespace}: {version.author} published version {number}"
        if version.rollback_of is not None:
            event, fields["rollback_of"] = "rolled_back", version.rollback_of
            text = f"{namespace}: {version.author} rolled back to version {version.rollback_of}, as version {number}"
        text += f": {comment}" if comment else "."
        return self._body(event, text, namespace, str(version.tag), **fields)

    def _namespace(self, action: str, namespace: str, who: str) -> bytes | None:
        text = f"{who or 'The controller'} {action} the namespace {namespace}."
        return self._body("namespace", text, namespace, action=action, author=who)

    def converged(self, summary: ConvergenceSummary) -> bytes | None:
        """Describe that enough agents have applied a version."""
        seconds = round((self.now() - summary.published_at).total_seconds(), 3)
        counts = {"applied": summary.applied, "targeted": summary.targeted}
        text = f"{summary.namespace}: version {summary.version} is applied by {_of(summary.applied, summary)}."
        return self._body("converged", text, summary.namespace, summary.tag, **counts, seconds=seconds)

    def failed(self, summary: ConvergenceSummary, agents: Sequence[LaggingAgent]) -> bytes | None:
        """Describe that a version failed on agents."""
        listed = _listed([each for each in agents if each.state == "failed"])
        text = f"{summary.namespace}: version {summary.version} failed on {_of(summary.failed, summary)}."
        if listed:
            text += f" {listed[0]['hostname'] or listed[0]['id']}: {listed[0]['error']}"
        counts = {"failed": summary.failed, "targeted": summary.targeted}
        return self._body("failed", text, summary.namespace, summary.tag, **counts, agents=listed)

    def stalled(self, summary: ConvergenceSummary, agents: Sequence[LaggingAgent], seconds: int) -> bytes | None:
        """Describe that no agent applied a version lately, and not enough agents did before."""
        counts = {name: getattr(summary, name) for name in ("applied", "failed", "pending", "silent", "targeted")}
        text = (
            f"{summary.namespace}: version {summary.version} is applied by {_of(summary.applied, summary)}, and by"
            f" no other agent in the last {seconds} seconds."
        )
        return self._body("stalled", text, summary.namespace, summary.tag, **counts, agents=_listed(agents))

    def rollout(self, rollout: Rollout) -> bytes | None:
        """Describe the state of a rollout."""
        reason = printable(rollout.reason, _MAX_CHARS)
        text = f"{rollout.namespace}: rollout {rollout.id} of version {rollout.candidate} is {rollout.state}"
        text += f" in wave {rollout.wave}: {reason}" if reason else f" in wave {rollout.wave}."
        return self._body(
            "rollout",
            text,
            rollout.namespace,
            rollout=rollout.id,
            candidate=rollout.candidate,
            state=rollout.state,
            wave=rollout.wave,
            reason=reason,
        )

    def login_lockout(self, address: str) -> bytes | None:
        """Describe that an address sent too many wrong credentials."""
        text = f"The controller refuses logins from {address} after too many wrong credentials."
        return self._body("login_lockout", text, address=address)

    def ping(self) -> bytes:
        """Describe a test."""
        return self._encode("ping", "This is a test of the webhook.")

    def _body(self, event: str, text: str, namespace: str = "", tag: str = "", **fields: object) -> bytes | None:
        return self._encode(event, text, namespace, tag, **fields) if event in self.wanted else None

    def _encode(self, event: str, text: str, namespace: str = "", tag: str = "", **fields: object) -> bytes:
        common = {
            "id": uuid.uuid4().hex,
            "event": event,
            "at": rfc3339(self.now()),
            "cluster_id": self.cluster_id(),
            "namespace": namespace,
            "tag": tag,
        }
        return strict_json.encode({key: value for key, value in common.items() if value} | fields | {"text": text})


def _of(count: int, summary: ConvergenceSummary) -> str:
    return f"{count} of {summary.targeted} agent{'' if summary.targeted == 1 else 's'}"


def _listed(agents: Sequence[LaggingAgent]) -> list[dict[str, str]]:
    return [
        {
            "id": each.agent.id,
            "hostname": printable(each.agent.hostname, _MAX_CHARS),
            "error": printable(each.error, _MAX_CHARS),
        }
        for each in agents[:MAX_AGENTS]
    ]
