"""A store that forgets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from twisted.internet.defer import Deferred, execute
from zope.interface import implementer

from confd import wire
from confd.interfaces import IAgentStore, IConfigStore, IHealth
from confd.model import (
    DEFAULT_NAMESPACE,
    AgentRecord,
    Configuration,
    Conflict,
    Draft,
    NotFound,
    PreconditionFailed,
    Revision,
    Unavailable,
    Unprocessable,
)
from confd.signing import SigningKey

T = TypeVar("T")


@implementer(IConfigStore, IAgentStore, IHealth)
class MemoryStore:
    """
    A store that forgets; its L{Deferred}s have fired when they are returned.

    @ivar broken: why nothing can be written; C{None} where all is well.
    """

    def __init__(self, first: Draft, cluster_id: str = "1a2b3c4d-5e6f-4a7b-8c9d-0e1f2a3b4c5d") -> None:
        """
        @param first: version 1 of the namespace C{default}, with its poll interval.
        """
        self.cluster_id, self.epoch = cluster_id, 1
        self.keys: tuple[SigningKey, ...] = (SigningKey.generate(),)
        self.broken: str | None = None
        self._revisions: dict[str, list[Revision]] = {}
        self._retired: set[str] = set()
        self._answers: dict[tuple[str, str | None], tuple[Draft, Revision]] = {}
        self._agents: dict[str, AgentRecord] = {}
        self._create(first)

    def trouble(self) -> str | None:
        """L{IHealth.trouble}."""
        return self.broken

    def rotate_keys(self) -> Deferred[None]:
        """L{IConfigStore.rotate_keys}."""
        return self._write(self._rotate_keys)

    def in_force(self) -> Deferred[Sequence[Revision]]:
        """L{IConfigStore.in_force}."""
        return execute(lambda: [all_[-1] for name, all_ in self._revisions.items() if name not in self._retired])

    def publish(self, draft: Draft) -> Deferred[Revision]:
        """L{IConfigStore.publish}."""
        return self._write(self._publish, draft)

    def create_namespace(self, draft: Draft) -> Deferred[Revision]:
        """L{IConfigStore.create_namespace}."""
        return self._write(self._create, draft)

    def retire_namespace(self, name: str) -> Deferred[None]:
        """L{IConfigStore.retire_namespace}."""
        return self._write(self._retire, name)

    def history(self, namespace: str, limit: int, before: int | None) -> Deferred[Sequence[Revision]]:
        """L{IConfigStore.history}."""
        older = self._revisions.get(namespace, [])[: None if before is None else max(before - 1, 0)]
        return execute(lambda: older[::-1][:limit])

    def revision(self, namespace: str, version: int) -> Deferred[Revision]:
        """L{IConfigStore.revision}."""
        return execute(self._revision, namespace, version)

    def load_agents(self) -> Deferred[Sequence[AgentRecord]]:
        """L{IAgentStore.load_agents}."""
        return execute(lambda: list(self._agents.values()))

    def save_agents(self, records: Sequence[AgentRecord]) -> Deferred[None]:
        """L{IAgentStore.save_agents}."""
        return self._write(self._agents.update, {record.id: record for record in records})

    def forget_agent(self, agent_id: str) -> Deferred[None]:
        """L{IAgentStore.forget_agent}."""
        return self._write(self._forget, agent_id)

    def _write(self, work: Callable[..., T], *arguments: object) -> Deferred[T]:
        return execute(self._unless_broken, work, *arguments)

    def _unless_broken(self, work: Callable[..., T], *arguments: object) -> T:
        if self.broken is not None:
            raise Unavailable("storage_unavailable", self.broken)
        return work(*arguments)

    def _in_use(self, namespace: str) -> bool:
        return namespace in self._revisions and namespace not in self._retired

    def _publish(self, draft: Draft) -> Revision:
        if not self._in_use(draft.namespace):
            raise NotFound("unknown_namespace", f"There is no namespace {draft.namespace!r}; make it first.")
        answered = self._answered(draft)
        if answered is not None:
            return answered
        newest = self._revisions[draft.namespace][-1].configuration
        if draft.expected is not None and draft.expected.isdisjoint({"*", str(newest.tag)}):
            raise PreconditionFailed("version_mismatch", f"The configuration in force is {newest.tag}.")
        return self._append(draft, draft.poll_interval or newest.poll_interval)

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

    def _forget(self, agent_id: str) -> None:
        self._agents.pop(agent_id, None)

    def _revision(self, namespace: str, version: int) -> Revision:
        revisions = self._revisions.get(namespace, [])
        if not 0 < version <= len(revisions):
            raise NotFound("unknown_version", f"The namespace {namespace!r} has no version {version}.")
        return revisions[version - 1]

    def _answered(self, draft: Draft) -> Revision | None:
        first, revision = self._answers.get((draft.namespace, draft.idempotency_key), (draft, None))
        if _told(first) != _told(draft):
            raise Unprocessable("idempotency_key_reused", "This Idempotency-Key came before with another request.")
        return revision

    def _append(self, draft: Draft, poll_interval: int) -> Revision:
        revisions = self._revisions.setdefault(draft.namespace, [])
        configuration = Configuration(
            cluster_id=self.cluster_id,
            epoch=self.epoch,
            version=len(revisions) + 1,
            namespace=draft.namespace,
            document=draft.document,
            poll_interval=poll_interval,
            updated_at=wire.parse_rfc3339(wire.rfc3339(draft.made_at) or ""),
        )
        revision = Revision(configuration, draft.author, draft.comment, draft.rollback_of)
        revisions.append(revision)
        if draft.idempotency_key is not None:
            self._answers[draft.namespace, draft.idempotency_key] = draft, revision
        return revision

    def _rotate_keys(self) -> None:
        self.keys = (SigningKey.generate(), self.keys[0])


def _told(draft: Draft) -> tuple[object, ...]:
    """What must be the same in a retry."""
    return draft.document.checksum, draft.poll_interval, draft.comment, draft.rollback_of
