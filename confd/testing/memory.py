"""A store that forgets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from twisted.internet.defer import Deferred, execute
from zope.interface import implementer

from confd.audit import BEGINNING, Attempt, AuditEntry, AuditOutcome
from confd.changes import ReceivedReport, ReportVerdict
from confd.codec import headers
from confd.codec.signing import SigningKey
from confd.controller.interfaces import IResidentStore
from confd.errors import Conflict, Gone, NotFound, Unavailable, Unprocessable
from confd.history import EpochChange, VersionSummary, check_expected, check_import, check_renaming
from confd.interfaces import IAuditStore, IConfigStore, IHealth
from confd.model import DEFAULT_NAMESPACE, Configuration, Draft, Registration, Revision
from confd.report_verdicts import PublishTimes
from confd.reports import AgentRecord, VersionOutcome
from confd.testing.memory_agents import MemoryAgents

T = TypeVar("T")


@implementer(IConfigStore, IResidentStore, IAuditStore, IHealth)
class MemoryStore:
    """
    A store that forgets; its L{Deferred}s have fired when they are returned.

    @ivar agents: the rows of agents, and what they reported.
    @ivar broken: why nothing can be written; C{None} where all is well.
    """

    waiting = 0

    def __init__(self, first: Draft, cluster_id: str = "1a2b3c4d-5e6f-4a7b-8c9d-0e1f2a3b4c5d", keep: int = 0) -> None:
        """
        @param first: version 1 of the namespace C{default}, with its poll interval.
        @param keep: revisions of a namespace; 0 keeps all.
        """
        self.cluster_id, self.epoch = cluster_id, 1
        self.keys: tuple[SigningKey, ...] = (SigningKey.generate(),)
        self.broken: str | None = None
        self._revisions: dict[str, list[Revision]] = {}
        self._retired: set[str] = set()
        self._keep, self._pruned = keep, dict[str, int]()
        self._answers: dict[tuple[str, str | None], tuple[Draft, Revision]] = {}
        self.agents = MemoryAgents()
        self._entries: list[AuditEntry] = []
        self._create(first)

    def set_keep(self, keep: int) -> None:
        """Keep so many revisions of a namespace from now on, as after a restart with another C{HISTORY_KEEP}."""
        self._keep = keep
        for name in self._revisions:
            self._prune(name)

    def problem(self) -> str | None:
        """L{IHealth.trouble}."""
        return self.broken

    def rotate_keys(self, attempt: Attempt | None = None) -> Deferred[None]:
        """L{IConfigStore.rotate_keys}."""
        return self._publish_or_preview(attempt, lambda _: self.keys[0].public, self._rotate_keys)

    def in_force(self) -> Deferred[Sequence[Revision]]:
        """L{IConfigStore.in_force}."""
        return execute(lambda: [all_[-1] for name, all_ in self._revisions.items() if name not in self._retired])

    def publish(self, draft: Draft) -> Deferred[Revision]:
        """L{IConfigStore.publish}."""
        return self._publish_or_preview(draft.attempt, _tag, self._publish, draft)

    def create_namespace(self, draft: Draft) -> Deferred[Revision]:
        """L{IConfigStore.create_namespace}."""
        return self._publish_or_preview(draft.attempt, _tag, self._create, draft)

    def retire_namespace(self, name: str, attempt: Attempt | None = None) -> Deferred[None]:
        """L{IConfigStore.retire_namespace}."""
        return self._publish_or_preview(attempt, _nothing, self._retire, name)

    def rename(self, renaming: EpochChange) -> Deferred[Sequence[Revision]]:
        """L{IConfigStore.rename}."""
        return self._publish_or_preview(renaming.attempt, lambda _: f"epoch {renaming.epoch}", self._rename, renaming)

    def history(self, namespace: str, limit: int, before: int | None) -> Deferred[Sequence[VersionSummary]]:
        """L{IConfigStore.history}."""
        pruned = self._pruned.get(namespace, 0)
        older = self._revisions.get(namespace, [])[pruned : None if before is None else max(before - 1, pruned)]
        return execute(lambda: [VersionSummary.of(revision) for revision in older[::-1][:limit]])

    def revision(self, namespace: str, version: int) -> Deferred[Revision]:
        """L{IConfigStore.revision}."""
        return execute(self._revision, namespace, version)

    def register(self, registration: Registration, token: bytes, at: datetime) -> Deferred[AgentRecord]:
        return self._write(self.agents.register, registration, token, at)

    def touch(self, polls: Mapping[str, datetime]) -> Deferred[None]:
        return self._write(self.agents.touch, polls)

    def forget(self, agent_id: str, attempt: Attempt | None = None) -> Deferred[None]:
        return self._publish_or_preview(attempt, _nothing, self.agents.forget, agent_id)

    def block(self, agent_id: str, attempt: Attempt | None = None) -> Deferred[None]:
        return self._publish_or_preview(attempt, lambda _: "blocked", self.agents.block, agent_id)

    def unblock(self, agent_id: str, attempt: Attempt | None = None) -> Deferred[None]:
        return self._publish_or_preview(attempt, _nothing, self.agents.blocked.discard, agent_id)

    def find(self, agent_id: str) -> Deferred[AgentRecord | None]:
        return execute(self.agents.rows.get, agent_id)

    def find_token(self, digest: bytes) -> Deferred[str | None]:
        return execute(self.agents.find_token, digest)

    def page(self, namespace: str, limit: int, after: str) -> Deferred[Sequence[AgentRecord]]:
        return execute(self.agents.page, namespace, limit, after)

    def counts(self) -> Deferred[Mapping[str, int]]:
        return execute(self.agents.counts)

    def load_agents(self) -> Deferred[Sequence[AgentRecord]]:
        return execute(lambda: [record for _, record in sorted(self.agents.rows.items())])

    def load_blocked(self) -> Deferred[Sequence[str]]:
        return execute(lambda: sorted(self.agents.blocked))

    def record(self, endings: Sequence[AuditOutcome]) -> Deferred[None]:
        """L{IAuditStore.record}."""
        return self._write(self._record, endings)

    def audit(self, limit: int, before: int | None) -> Deferred[Sequence[AuditEntry]]:
        """L{IAuditStore.audit}."""
        older = self._entries[: None if before is None else max(before - 1, 0)]
        return execute(lambda: older[::-1][:limit])

    def save_reports(self, reports: Sequence[ReceivedReport], times: PublishTimes) -> Deferred[Sequence[ReportVerdict]]:
        return self._write(self.agents.save_reports, reports, times)

    def load_outcomes(self) -> Deferred[Sequence[tuple[str, int, str, VersionOutcome]]]:
        return execute(lambda: [(*key, outcome) for key, outcome in sorted(self.agents.outcomes.items())])

    def settle(self, archive: Sequence[tuple[str, int, bytes]]) -> Deferred[None]:
        return self._write(self.agents.settle, archive)

    def summary(self, namespace: str, version: int) -> Deferred[bytes | None]:
        return execute(self.agents.summaries.get, (namespace, version))

    def _publish_or_preview(
        self, attempt: Attempt | None, detail: Callable[[T], str], work: Callable[..., T], *arguments: object
    ) -> Deferred[T]:
        def both() -> T:
            result = work(*arguments)
            if attempt is not None:
                self._record([AuditOutcome(attempt, detail=detail(result))])
            return result

        return self._write(both)

    def _write(self, work: Callable[..., T], *arguments: object) -> Deferred[T]:
        return execute(self._unless_broken, work, *arguments)

    def _unless_broken(self, work: Callable[..., T], *arguments: object) -> T:
        if self.broken is not None:
            raise Unavailable("storage_unavailable", self.broken)
        return work(*arguments)

    def _record(self, endings: Sequence[AuditOutcome]) -> None:
        for ending in endings:
            previous = self._entries[-1].hash if self._entries else BEGINNING
            at = headers.rfc3339(ending.attempt.made_at) or ""
            self._entries.append(AuditEntry.following(len(self._entries), previous, at, ending))

    def _in_use(self, namespace: str) -> bool:
        return namespace in self._revisions and namespace not in self._retired

    def _publish(self, draft: Draft) -> Revision:
        if not self._in_use(draft.namespace):
            raise NotFound("unknown_namespace", f"There is no namespace {draft.namespace!r}; make it first.")
        answered = self._answered(draft)
        if answered is not None:
            return answered
        newest = self._revisions[draft.namespace][-1].configuration
        check_expected(draft, newest.tag)
        added = [(newest.version + 1, draft)]
        if draft.continues is not None:
            added = check_import(draft, draft.continues, newest.version)
        for _ in range(newest.version + 1, added[0][0]):
            # Nobody can ask for these.
            self._append(draft, newest.poll_interval)
            self._pruned[draft.namespace] = added[0][0] - 1
        for _, each in added:
            revision = self._append(each, draft.poll_interval or newest.poll_interval)
        self._prune(draft.namespace)
        return revision

    def _create(self, draft: Draft) -> Revision:
        if self._in_use(draft.namespace):
            answered = self._answered(draft)
            if answered is not None:
                return answered
            raise Conflict("namespace_exists", f"The namespace {draft.namespace!r} exists.")
        self._retired.discard(draft.namespace)
        return self._append(
            draft, draft.poll_interval or self._revisions[DEFAULT_NAMESPACE][-1].configuration.poll_interval
        )

    def _retire(self, name: str) -> None:
        if not self._in_use(name):
            raise NotFound("unknown_namespace", f"There is no namespace {name!r}; make it first.")
        self._retired.add(name)
        self._answers = {key: answer for key, answer in self._answers.items() if key[0] != name}

    def _rename(self, renaming: EpochChange) -> Sequence[Revision]:
        check_renaming(renaming, self.cluster_id, self.epoch)
        self.cluster_id, self.epoch = renaming.cluster_id or self.cluster_id, renaming.epoch
        made = []
        for name in self._revisions.keys() - self._retired:
            there = self._revisions[name][-1].configuration
            draft = Draft(name, there.document, renaming.author, renaming.made_at, comment=renaming.comment)
            made.append(self._append(draft, there.poll_interval))
            self._prune(name)
        return made

    def _prune(self, namespace: str) -> None:
        if self._keep:
            newest = len(self._revisions[namespace])
            self._pruned[namespace] = max(self._pruned.get(namespace, 0), newest - self._keep)

    def _revision(self, namespace: str, version: int) -> Revision:
        revisions = self._revisions.get(namespace, [])
        if not 0 < version <= len(revisions):
            raise NotFound("unknown_version", f"The namespace {namespace!r} has no version {version}.")
        if version <= self._pruned.get(namespace, 0):
            raise Gone("version_pruned", f"Version {version} of {namespace!r} is not kept any more.")
        return revisions[version - 1]

    def _answered(self, draft: Draft) -> Revision | None:
        first, revision = self._answers.get((draft.namespace, draft.idempotency_key), (draft, None))
        if _told(first) != _told(draft):
            raise Unprocessable("idempotency_key_reused", "This Idempotency-Key came before with another request.")
        return revision and self._revision(draft.namespace, revision.configuration.version)

    def _append(self, draft: Draft, poll_interval: int) -> Revision:
        revisions = self._revisions.setdefault(draft.namespace, [])
        configuration = Configuration(
            cluster_id=self.cluster_id,
            epoch=self.epoch,
            version=len(revisions) + 1,
            namespace=draft.namespace,
            document=draft.document,
            poll_interval=poll_interval,
            updated_at=headers.parse_rfc3339(headers.rfc3339(draft.made_at) or ""),
        )
        revision = Revision(configuration, draft.author, draft.comment, draft.rollback_of)
        revisions.append(revision)
        if draft.idempotency_key is not None:
            self._answers[draft.namespace, draft.idempotency_key] = draft, revision
        return revision

    def _rotate_keys(self) -> None:
        self.keys = (SigningKey.generate(), self.keys[0])


def _tag(revision: Revision) -> str:
    return str(revision.configuration.tag)


def _nothing(_: object) -> str:
    return ""


def _told(draft: Draft) -> tuple[object, ...]:
    """What must be the same in a retry."""
    return draft.document.checksum, draft.poll_interval, draft.comment, draft.rollback_of
