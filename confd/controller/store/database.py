"""What the stores in databases share: each request as a work of an engine."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Protocol, TypeVar, cast

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from zope.interface import implementer

from confd.access.freezes import Freeze
from confd.access.tokens import Token
from confd.audit import Attempt, AuditEntry, AuditOutcome
from confd.changes import Committed, IdentityRecord, ReceivedReport, ReportVerdict
from confd.codec.labels import format_labels
from confd.controller.interfaces import (
    IFreezeStore,
    IResidentStore,
    IRolloutStore,
    ITokenStore,
)
from confd.controller.store.access_store import AccessStore
from confd.controller.store.batched_reads import BatchedReads
from confd.controller.store.change_log import ChangeLog, Written
from confd.controller.store.cursor import ALL, Dialect, Work
from confd.controller.store.queries import (
    agents,
    audit,
    configs,
    epoch,
    freezes,
    members,
    pruning,
    rollout_steps,
    rollouts,
    tokens,
    webhooks,
)
from confd.controller.store.queries import reports as report_queries
from confd.controller.store.rollout_rules import describe_start
from confd.controller.store.settling import settle_versions
from confd.controller.store.sole import SoleController
from confd.history import EpochChange, VersionSummary
from confd.interfaces import IAuditStore, IConfigStore, IHealth
from confd.interfaces.webhooks import IWebhookStore, Occurrence, QueueState
from confd.model import Draft, Registration, Revision
from confd.reports import AgentRecord, VersionOutcome
from confd.rollouts.rollout import Member, Rollout
from confd.rollouts.steps import RolloutStep, Start, Stepped
from confd.runtime.metrics import Metrics

T = TypeVar("T")


class DatabaseThreads(Protocol):
    """
    The threads of a database.

    @ivar waiting: writes that wait for their transaction.
    """

    @property
    def waiting(self) -> int: ...

    def problem(self) -> str | None:
        """Return why the database cannot be used; C{None} while it works."""

    def read(self, work: Work[T], /) -> Deferred[T]:
        """
        Run a work that only reads.

        @raise Unavailable: C{storage_unavailable}.
        """

    def write(self, work: Work[T], /) -> Deferred[T]:
        """
        Run a work in a transaction, with others; fires once it is on disk.

        @raise Unavailable: C{storage_unavailable}.
        """


@implementer(
    IConfigStore,
    IResidentStore,
    IRolloutStore,
    ITokenStore,
    IFreezeStore,
    IWebhookStore,
    IAuditStore,
    IHealth,
)
class DatabaseStore(AccessStore, SoleController, Service):
    """
    The requests of L{confd.controller.interfaces.IControllerStore} that are alike in all databases.

    @cvar dialect: the statements that differ.
    """

    dialect: Dialect

    def __init__(self, log: ChangeLog, keep: int) -> None:
        """
        @param log: the changes of this process.
        @param keep: C{HISTORY_KEEP}, revisions of a namespace; 0 keeps all.
        """
        self._log, self._keep = log, keep
        self._events: webhooks.ChangeEvents | None = None
        self._finds = BatchedReads[str, AgentRecord](
            lambda agent_ids: self._engine.read(partial(agents.find_all, agent_ids=agent_ids))
        )

    def expose(self, metrics: Metrics) -> None:
        """Add the metrics of the server; a file has none."""

    @property
    def facts(self) -> Mapping[str, Callable[[], str]]:
        """The state of the server for people, by name; a file has none."""
        return {}

    @property
    def _engine(self) -> DatabaseThreads:
        """
        Return the threads of the open database.

        @raise Unavailable: C{starting}.
        """
        raise NotImplementedError

    @property
    def waiting(self) -> int:
        return self._engine.waiting

    def problem(self) -> str | None:
        return self._engine.problem()

    def current(self) -> Deferred[Sequence[Revision]]:
        return self._engine.read(configs.current)

    def publish(self, draft: Draft) -> Deferred[Committed[Revision]]:
        return self._audited(
            partial(configs.publish, draft=draft, keep=self._keep), draft.attempt, audit.describe_version
        )

    def create_namespace(self, draft: Draft) -> Deferred[Committed[Revision]]:
        return self._audited(partial(configs.create_namespace, draft=draft), draft.attempt, audit.describe_version)

    def retire_namespace(self, name: str, attempt: Attempt | None = None) -> Deferred[Committed[None]]:
        return self._audited(partial(configs.retire_namespace, name=name), attempt)

    def begin_epoch(self, change: EpochChange) -> Deferred[Committed[Sequence[Revision]]]:
        work = partial(epoch.begin_epoch, change=change, keep=self._keep, announced=self._announce_cluster)
        return self._audited(work, change.attempt, lambda _: f"epoch {change.epoch}")

    def history(self, namespace: str, limit: int, before: int | None) -> Deferred[Sequence[VersionSummary]]:
        return self._engine.read(partial(configs.history, namespace=namespace, limit=limit, before=before))

    def revision(self, namespace: str, version: int) -> Deferred[Revision]:
        return self._engine.read(partial(configs.revision, namespace=namespace, version=version))

    def register(self, registration: Registration, token: bytes, at: datetime) -> Deferred[Committed[AgentRecord]]:
        return self._audited(partial(agents.register, registration=registration, token=token, at=at), None)

    def forget(self, agent_id: str, attempt: Attempt | None = None) -> Deferred[Committed[None]]:
        return self._audited(partial(agents.forget, agent_id=agent_id), attempt)

    def reset_token(self, agent_id: str, attempt: Attempt | None = None) -> Deferred[Committed[None]]:
        return self._audited(partial(agents.reset_token, agent_id=agent_id), attempt)

    def block(self, agent_id: str, attempt: Attempt | None = None) -> Deferred[Committed[None]]:
        return self._audited(partial(agents.block, agent_id=agent_id), attempt, lambda _: "blocked")

    def unblock(self, agent_id: str, attempt: Attempt | None = None) -> Deferred[Committed[None]]:
        return self._audited(partial(agents.unblock, agent_id=agent_id), attempt)

    def set_labels(
        self, agent_id: str, changes: Mapping[str, str | None], attempt: Attempt | None = None
    ) -> Deferred[Committed[Mapping[str, str]]]:
        return self._audited(partial(agents.set_labels, agent_id=agent_id, changes=changes), attempt, format_labels)

    def find(self, agent_id: str) -> Deferred[AgentRecord | None]:
        return self._finds.find(agent_id)

    def find_token(self, digest: bytes) -> Deferred[str | None]:
        return self._engine.read(partial(agents.find_token, digest=digest))

    def page(self, namespace: str, limit: int, after: str) -> Deferred[Sequence[AgentRecord]]:
        return self._engine.read(partial(agents.page, namespace=namespace, limit=limit, after=after))

    def counts(self) -> Deferred[Mapping[str, int]]:
        return self._engine.read(agents.counts)

    def load_agents(self, after: str = "", limit: int = ALL) -> Deferred[Sequence[AgentRecord]]:
        return self._engine.read(partial(agents.load_agents, after=after, limit=limit))

    def load_outcomes(
        self, after: tuple[str, int, str] = ("", 0, ""), limit: int = ALL
    ) -> Deferred[Sequence[tuple[str, int, str, VersionOutcome]]]:
        return self._engine.read(partial(report_queries.load_outcomes, after=after, limit=limit))

    def settle(self, archive: Sequence[tuple[str, int, bytes]]) -> Deferred[None]:
        return Deferred.fromCoroutine(settle_versions(self._engine.write, archive, lambda: bool(self.running)))

    def summary(self, namespace: str, version: int) -> Deferred[bytes | None]:
        return self._engine.read(partial(report_queries.summary, namespace=namespace, version=version))

    def rotate_keys(self, attempt: Attempt | None = None) -> Deferred[Committed[IdentityRecord]]:
        return self._audited(epoch.rotate_keys, attempt, _public)

    def record(self, endings: Sequence[AuditOutcome]) -> Deferred[None]:
        return self._engine.write(lambda _: Written(None, audited=endings)).addCallback(lambda _: None)

    def audit(
        self, limit: int, before: int | None, patterns: Sequence[str] | None = None
    ) -> Deferred[Sequence[AuditEntry]]:
        return self._engine.read(partial(audit.page, limit=limit, before=before, patterns=patterns))

    def last_backup(self) -> Deferred[datetime | None]:
        return self._engine.read(audit.last_backup)

    def start_rollout(self, start: Start) -> Deferred[Committed[Stepped]]:
        work = partial(rollout_steps.start, start=start, keep=self._keep)
        return self._audited(work, start.draft.attempt, describe_start)

    def step_rollout(self, step: RolloutStep) -> Deferred[Committed[Stepped]]:
        return self._audited(partial(rollout_steps.step, step=step, keep=self._keep), None)

    def detect(self, rollout: int, agent_id: str, fit: bool, at: datetime) -> Deferred[Committed[bool]]:
        work = partial(members.detect, rollout=rollout, agent_id=agent_id, fit=fit, at=at)
        return self._audited(work, None)

    def rollout(self, rollout: int) -> Deferred[tuple[Rollout, Sequence[Member]]]:
        return self._engine.read(partial(rollouts.load, rollout=rollout))

    def rollouts(
        self, namespace: str, states: Sequence[str], limit: int, before: int | None
    ) -> Deferred[Sequence[Rollout]]:
        return self._engine.read(partial(rollouts.page, namespace=namespace, states=states, limit=limit, before=before))

    def next_rollout(self) -> Deferred[int]:
        return self._engine.read(rollouts.next_rollout)

    def open_rollouts(self) -> Deferred[Sequence[tuple[Rollout, Sequence[Member]]]]:
        return self._engine.read(rollouts.load_open)

    def fates(self, namespace: str, versions: Sequence[int]) -> Deferred[Mapping[int, tuple[int, str]]]:
        return self._engine.read(partial(rollouts.fates, namespace=namespace, versions=versions))

    def plans(self) -> Deferred[Mapping[str, str]]:
        return self._engine.read(rollouts.load_plans)

    def save_plan(self, name: str, body: str, attempt: Attempt | None = None) -> Deferred[Committed[None]]:
        return self._audited(partial(rollouts.save_plan, name=name, body=body), attempt, lambda _: name)

    def remove_plan(self, name: str, attempt: Attempt | None = None) -> Deferred[Committed[None]]:
        return self._audited(partial(rollouts.remove_plan, name=name), attempt, lambda _: name)

    def tokens(self) -> Deferred[Sequence[Token]]:
        return self._engine.read(tokens.load)

    def create_token(self, token: Token, attempt: Attempt | None = None) -> Deferred[Committed[Token]]:
        return self._audited(partial(tokens.create, token=token), attempt, describe_token)

    def rotate_token(
        self, token_id: str, digest: bytes, until: datetime | None, attempt: Attempt | None = None
    ) -> Deferred[Committed[Token]]:
        work = partial(tokens.rotate, token_id=token_id, digest=digest, until=until)
        return self._audited(work, attempt, describe_token)

    def revoke_token(self, token_id: str, at: datetime, attempt: Attempt | None = None) -> Deferred[Committed[Token]]:
        return self._audited(partial(tokens.revoke, token_id=token_id, at=at), attempt, describe_token)

    def touch_tokens(self, uses: Mapping[str, tuple[datetime, str]]) -> Deferred[None]:
        return self._engine.write(partial(tokens.touch, uses=uses))

    def freezes(self) -> Deferred[Sequence[Freeze]]:
        return self._engine.read(freezes.load)

    def add_freeze(self, freeze: Freeze, attempt: Attempt | None = None) -> Deferred[Committed[Freeze]]:
        return self._audited(partial(freezes.add, freeze=freeze), attempt, describe_freeze)

    def remove_freeze(self, number: int, at: datetime, attempt: Attempt | None = None) -> Deferred[Committed[Freeze]]:
        return self._audited(partial(freezes.remove, number=number, at=at), attempt, describe_freeze)

    def queue_changes(
        self,
        receivers: int,
        describe: Callable[[tuple[str, str, object], Attempt | None], Sequence[bytes]],
        now: Callable[[], datetime],
    ) -> None:
        self._events = webhooks.ChangeEvents(receivers, describe, now)

    def queue_event(self, body: bytes, at: datetime, once: Occurrence | None = None) -> Deferred[bool]:
        receivers = 0 if self._events is None else self._events.receivers
        return self._engine.write(partial(webhooks.append_once, receivers=receivers, body=body, at=at, once=once))

    def advance(self, receiver: int, done: int | None, holder: str, at: datetime) -> Deferred[QueueState]:
        return self._engine.write(partial(webhooks.advance, receiver=receiver, done=done, holder=holder, at=at))

    def touch(self, polls: Mapping[str, datetime], shared: Collection[str] = ()) -> Deferred[None]:
        return self._engine.write(partial(agents.touch, polls=polls, statement=self.dialect.touch))

    def save_reports(self, reports: Sequence[ReceivedReport]) -> Deferred[Committed[Sequence[ReportVerdict]]]:
        times, statement = self._log.times(reports), self.dialect.load_reported
        work = partial(report_queries.save_reports, reports=reports, times=times, statement=statement)
        return self._audited(work, None)

    def subscribe(self, hint: Callable[[], object]) -> None:
        """Call C{hint} after each change."""
        self._log.subscribe(hint)

    async def _prune(self) -> None:
        """Delete the revisions that a shorter history does not keep; where it stops, publishing goes on with it."""
        deleted = pruning.SLICE
        while self.running and deleted == pruning.SLICE:
            deleted = await self._engine.write(partial(pruning.sweep, keep=self._keep))

    def _announce_cluster(self, before: str, after: str) -> None:
        """Note the new name of the cluster outside of the database, before it is on disk there."""

    def _audited(
        self, work: Work[Written[T]], attempt: Attempt | None, detail: Callable[[T], str] = lambda _: ""
    ) -> Deferred[Committed[T]]:
        """
        Do a work, and put the attempt on record in the same transaction.

        @param detail: returns the detail of the audit entry for the result.
        """
        if self._events is not None:
            work = self._events.along(work, attempt)
        # The log puts a committed value in the place of each written one.
        return cast("Deferred[Committed[T]]", self._engine.write(audit.audited(work, attempt, detail)))


def _public(identity: IdentityRecord) -> str:
    return identity.keys[0].public


def describe_token(token: Token) -> str:
    """Return what the audit says of a change of a token."""
    return f"token {token.name} ({token.id})"


def describe_freeze(freeze: Freeze) -> str:
    """Return what the audit says of a change of a freeze."""
    return f"freeze {freeze.id} of {', '.join(freeze.namespaces)}"
