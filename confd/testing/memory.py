"""A store that forgets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from attrs import evolve
from twisted.internet.defer import Deferred, execute
from zope.interface import implementer

from confd.access.change_requests import describe_origin
from confd.audit import Attempt, AuditOutcome
from confd.changes import (
    IDENTITY,
    KEYS,
    RETIRED,
    VERSIONS_LISTED,
    Batch,
    Committed,
    Contents,
    IdentityRecord,
    Published,
    ReceivedReport,
    ReportVerdict,
)
from confd.codec import headers
from confd.codec.signing import SigningKey
from confd.controller.interfaces import IControllerStore
from confd.controller.store.change_log import ChangeLog, Written, revision_change
from confd.controller.store.cursor import ALL
from confd.controller.store.queries.audit import joined
from confd.errors import Conflict, Gone, NotFound, Unavailable, Unprocessable
from confd.history import EpochChange, VersionSummary, check_epoch, check_expected, check_import
from confd.model import DEFAULT_NAMESPACE, Configuration, Draft, Registration, Revision
from confd.reports import AgentRecord, VersionOutcome
from confd.rollouts.plan import SUPERSEDE
from confd.testing.memory_agents import MemoryAgents
from confd.testing.memory_audit import AuditRows
from confd.testing.memory_change_requests import ChangeRequestRows
from confd.testing.memory_freezes import FreezeRows
from confd.testing.memory_policies import PolicyRows
from confd.testing.memory_rollouts import RolloutRows
from confd.testing.memory_tokens import TokenRows
from confd.testing.memory_webhooks import WebhookRows

T = TypeVar("T")


@implementer(IControllerStore)
class MemoryStore(RolloutRows, TokenRows, FreezeRows, PolicyRows, WebhookRows, ChangeRequestRows, AuditRows):
    """
    A store that forgets; its L{Deferred}s have fired when they are returned.

    @ivar agents: the rows of agents, and what they reported.
    @ivar broken: why nothing can be written; C{None} where all is well.
    """

    waiting, interval = 0, None

    def __init__(
        self,
        first: Draft,
        cluster_id: str = "1a2b3c4d-5e6f-4a7b-8c9d-0e1f2a3b4c5d",
        keep: int = 0,
        seconds: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """
        @param first: version 1 of the namespace C{default}, with its poll interval.
        @param keep: revisions of a namespace; 0 keeps all.
        @param seconds: returns the time of the monotonic clock.
        """
        super().__init__()
        self._identity = IdentityRecord(cluster_id, 1, (SigningKey.generate(),))
        self._log = ChangeLog(seconds)
        self.broken: str | None = None
        self._revisions: dict[str, list[Revision]] = {}
        self._retired: set[str] = set()
        self._keep, self._pruned = keep, dict[str, int]()
        self._answers: dict[tuple[str, str | None], tuple[Draft, Revision]] = {}
        self.agents = MemoryAgents()
        self._create(first)

    def set_keep(self, keep: int) -> None:
        """Keep so many revisions of a namespace from now on, as after a restart with another C{HISTORY_KEEP}."""
        self._keep = keep
        for name in self._revisions:
            self._prune(name)

    def restart(self, seconds: Callable[[], float]) -> None:
        """Forget what only the process knew, as a restart does: numbers of changes, and when POSTs arrived."""
        self._log = ChangeLog(seconds)

    def problem(self) -> str | None:
        return self.broken

    def contents(self) -> Deferred[Contents]:
        return execute(self._contents)

    def changes(self, after: int) -> Deferred[Batch]:
        return execute(self._log.since, after)

    def subscribe(self, hint: Callable[[], object]) -> None:
        self._log.subscribe(hint)

    def rotate_keys(self, attempt: Attempt | None = None) -> Deferred[Committed[IdentityRecord]]:
        return self._audited(attempt, lambda identity: identity.keys[0].public, self._rotate_keys)

    def current(self) -> Deferred[Sequence[Revision]]:
        return execute(self._current)

    def publish(self, draft: Draft) -> Deferred[Committed[Revision]]:
        return self._audited(draft.attempt, _tag, self._publish, draft)

    def create_namespace(self, draft: Draft) -> Deferred[Committed[Revision]]:
        return self._audited(draft.attempt, _tag, self._create, draft)

    def retire_namespace(self, name: str, attempt: Attempt | None = None) -> Deferred[Committed[None]]:
        return self._audited(attempt, _nothing, self._retire, name)

    def begin_epoch(self, change: EpochChange) -> Deferred[Committed[Sequence[Revision]]]:
        return self._audited(change.attempt, lambda _: f"epoch {change.epoch}", self._begin_epoch, change)

    def history(self, namespace: str, limit: int, before: int | None) -> Deferred[Sequence[VersionSummary]]:
        older = self._kept(namespace, before)
        return execute(lambda: [VersionSummary.of(revision) for revision in older[::-1][:limit]])

    def revision(self, namespace: str, version: int) -> Deferred[Revision]:
        return execute(self._revision, namespace, version)

    def register(self, registration: Registration, token: bytes, at: datetime) -> Deferred[Committed[AgentRecord]]:
        return self._write(self._register, registration, token, at)

    def find(self, agent_id: str) -> Deferred[AgentRecord | None]:
        return execute(self.agents.rows.get, agent_id)

    def find_token(self, digest: bytes) -> Deferred[str | None]:
        return execute(self.agents.find_token, digest)

    def page(self, namespace: str, limit: int, after: str) -> Deferred[Sequence[AgentRecord]]:
        return execute(self.agents.page, namespace, limit, after)

    def counts(self) -> Deferred[Mapping[str, int]]:
        return execute(self.agents.counts)

    def load_agents(self, after: str = "", limit: int = ALL) -> Deferred[Sequence[AgentRecord]]:
        rows = sorted(self.agents.rows.items())
        return execute(lambda: [record for agent_id, record in rows if agent_id > after][:limit])

    def save_reports(self, reports: Sequence[ReceivedReport]) -> Deferred[Committed[Sequence[ReportVerdict]]]:
        return self._write(self._save_reports, reports)

    def load_outcomes(
        self, after: tuple[str, int, str] = ("", 0, ""), limit: int = ALL
    ) -> Deferred[Sequence[tuple[str, int, str, VersionOutcome]]]:
        rows = sorted(self.agents.outcomes.items())
        return execute(lambda: [(*key, outcome) for key, outcome in rows if key > after][:limit])

    def settle(self, archive: Sequence[tuple[str, int, bytes]]) -> Deferred[None]:
        return self._write(self.agents.settle, archive)

    def summary(self, namespace: str, version: int) -> Deferred[bytes | None]:
        return execute(self.agents.summaries.get, (namespace, version))

    def _audited(
        self,
        attempt: Attempt | None,
        detail: Callable[[T], str],
        work: Callable[..., Written[T]],
        *arguments: object,
    ) -> Deferred[Committed[T]]:
        def both() -> Written[T]:
            result = work(*arguments)
            self._queue_changes(result.changes, attempt)
            if attempt is not None:
                self._record([AuditOutcome(attempt, detail=joined(detail(result.value), result.note))])
            return result

        return self._write(both)

    def _write(self, work: Callable[..., Any], *arguments: object) -> Deferred[Any]:
        return execute(self._unless_broken, work, *arguments)

    def _unless_broken(self, work: Callable[..., Any], *arguments: object) -> Any:
        if self.broken is not None:
            raise Unavailable("storage_unavailable", self.broken)
        [result] = self._log.commit([work(*arguments)])
        return result

    def _contents(self) -> Contents:
        revisions = self._current()
        names = [revision.configuration.namespace for revision in revisions]
        versions = {
            name: [Published(VersionSummary.of(each)) for each in self._kept(name, None)[: -VERSIONS_LISTED - 1 : -1]]
            for name in names
        }
        blocked = frozenset(self.agents.blocked)
        return Contents(self._log.last, self._identity, revisions, versions, blocked, self._lanes())

    def _current(self) -> list[Revision]:
        return [self._current_of(name) for name in self._revisions if name not in self._retired]

    def _kept(self, namespace: str, before: int | None) -> list[Revision]:
        pruned = self._pruned.get(namespace, 0)
        return self._revisions.get(namespace, [])[pruned : None if before is None else max(before - 1, pruned)]

    def _in_use(self, namespace: str) -> bool:
        return namespace in self._revisions and namespace not in self._retired

    def _check_in_use(self, namespace: str) -> None:
        if not self._in_use(namespace):
            raise NotFound("unknown_namespace", f"Namespace {namespace!r} does not exist; create it first.")

    def _publish(self, draft: Draft) -> Written[Revision]:
        self._check_in_use(draft.namespace)
        answered = self._answered(draft)
        if answered is not None:
            self._check_answer(draft, answered)
            return Written(answered)
        newest = self._revisions[draft.namespace][-1].configuration
        current = self._current_of(draft.namespace).configuration
        check_expected(draft.expected, current.tag)
        change = self._check_draft(draft)
        if draft.rollout != SUPERSEDE:
            self._refuse_while_open(draft.namespace)
        self._check_changed(draft)
        added = [(newest.version + 1, draft)]
        if draft.continues is not None:
            added = check_import(draft, draft.continues, newest.version)
        for _ in range(newest.version + 1, added[0][0]):
            # Nobody can ask for these.
            self._append(draft, current.poll_interval)
            self._pruned[draft.namespace] = added[0][0] - 1
        for _, each in added:
            revision = self._append(each, draft.poll_interval or current.poll_interval)
        superseded = self._supersede(draft.namespace, revision.configuration.version, draft.made_at)
        self._prune(draft.namespace)
        changes = [
            *superseded,
            revision_change(revision, draft.arrived),
            *self._follow_publish(draft, change, revision),
        ]
        return Written(revision, changes, describe_origin(change))

    def _create(self, draft: Draft) -> Written[Revision]:
        if self._in_use(draft.namespace):
            answered = self._answered(draft)
            if answered is not None:
                return Written(answered)
            raise Conflict("namespace_exists", f"The namespace {draft.namespace!r} exists.")
        restrictions = self._restrictions(draft.namespace, draft.asked_at, draft.break_glass)
        restrictions.check_freezes()
        change = self._admit(draft, restrictions)
        self._retired.discard(draft.namespace)
        revision = self._append(
            draft, draft.poll_interval or self._revisions[DEFAULT_NAMESPACE][-1].configuration.poll_interval
        )
        changes = [revision_change(revision, draft.arrived), *self._follow_publish(draft, change, revision)]
        return Written(revision, changes, describe_origin(change))

    def _retire(self, name: str) -> Written[None]:
        self._check_in_use(name)
        self._refuse_while_open(name)
        self._retired.add(name)
        self._answers = {key: answer for key, answer in self._answers.items() if key[0] != name}
        return Written(None, [(RETIRED, name, None)])

    def _begin_epoch(self, change: EpochChange) -> Written[Sequence[Revision]]:
        before = self._identity
        check_epoch(change, before.cluster_id, before.epoch)
        self._identity = IdentityRecord(change.cluster_id or before.cluster_id, change.epoch, before.keys)
        made, superseded = [], list[tuple[str, str, object]]()
        for name in self._revisions.keys() - self._retired:
            there = self._current_of(name).configuration
            draft = Draft(name, there.document, change.author, change.made_at, comment=change.comment)
            made.append(self._append(draft, there.poll_interval))
            superseded += self._supersede(name, made[-1].configuration.version, change.made_at)
            self._prune(name)
        changes = [revision_change(revision, change.arrived) for revision in made]
        return Written(made, [(IDENTITY, "", self._identity), *superseded, *changes])

    def _prune(self, namespace: str) -> None:
        if self._keep:
            oldest = len(self._revisions[namespace]) - self._keep
            rollout = self._open(namespace)
            if rollout is not None:
                oldest = min(oldest, rollout.base - 1)
            self._pruned[namespace] = max(self._pruned.get(namespace, 0), oldest)

    def _revision(self, namespace: str, version: int) -> Revision:
        revisions = self._revisions.get(namespace, [])
        if not 0 < version <= len(revisions):
            raise NotFound("unknown_version", f"The namespace {namespace!r} has no version {version}.")
        if version <= self._pruned.get(namespace, 0):
            raise Gone("version_pruned", f"Version {version} of {namespace!r} is not kept any more.")
        return revisions[version - 1]

    def _answered(self, draft: Draft) -> Revision | None:
        first, revision = self._answers.get((draft.namespace, draft.idempotency_key), (draft, None))
        if _fingerprint(first) != _fingerprint(draft):
            raise Unprocessable("idempotency_key_reused", "This Idempotency-Key came before with another request.")
        return revision and self._revision(draft.namespace, revision.configuration.version)

    def _append(self, draft: Draft, poll_interval: int) -> Revision:
        revisions = self._revisions.setdefault(draft.namespace, [])
        configuration = Configuration(
            cluster_id=self._identity.cluster_id,
            epoch=self._identity.epoch,
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

    def _rotate_keys(self) -> Written[IdentityRecord]:
        self._identity = evolve(self._identity, keys=(SigningKey.generate(), self._identity.keys[0]))
        return Written(self._identity, [(KEYS, "", self._identity)])


def _tag(revision: Revision) -> str:
    return str(revision.configuration.tag)


def _nothing(_: object) -> str:
    return ""


def _fingerprint(draft: Draft) -> tuple[object, ...]:
    """What must be the same in a retry."""
    return draft.document.checksum, draft.poll_interval, draft.comment, draft.rollback_of, draft.rollout
