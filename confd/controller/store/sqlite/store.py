"""The controller's store in SQLite."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TypeVar, cast

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.python.failure import Failure
from zope.interface import implementer

from confd.audit import Attempt, AuditEntry, AuditOutcome
from confd.changes import Batch, Committed, Contents, IdentityRecord, ReceivedReport, ReportVerdict
from confd.codec.labels import format_labels
from confd.controller.interfaces import IControllerStore
from confd.controller.store.change_log import ChangeLog, Written
from confd.controller.store.migrations import shipped_migrations
from confd.controller.store.rollout_rules import describe_start
from confd.controller.store.sqlite.bootstrap import open_database
from confd.controller.store.sqlite.engine import Engine, Work
from confd.controller.store.sqlite.identity_file import IdentityFile
from confd.controller.store.sqlite.queries import (
    agents,
    audit,
    configs,
    contents,
    epoch,
    members,
    pruning,
    rollout_steps,
    rollouts,
)
from confd.controller.store.sqlite.queries import reports as report_queries
from confd.errors import Unavailable
from confd.history import EpochChange, VersionSummary
from confd.model import Draft, Registration, Revision
from confd.reports import AgentRecord, VersionOutcome
from confd.rollouts import Member, Rollout, RolloutStep, Start, Stepped
from confd.runtime.reactor import Reactor
from confd.runtime.timing import Periodic

T = TypeVar("T")

#: Seconds between two probes: while all is well, and while nothing can be written.
PROBE_INTERVAL_SECONDS, PROBE_INTERVAL_WHILE_FAILING_SECONDS = 5.0, 1.0


@implementer(IControllerStore)
class SqliteStore(Service):
    """
    Configurations, agents and the audit in one SQLite database.

    It goes on working after L{stopService}, for services that flush while they stop: the threads end with
    the reactor, or by L{close}.
    """

    interval = None

    def __init__(self, reactor: Reactor, path: str, first: Draft, keep: int = 0, *, busy_timeout: float = 5.0) -> None:
        """
        Open nothing.

        @param reactor: its timers and its threads are used.
        @param path: C{DB_PATH}.
        @param first: version 1 of a new database, with its poll interval.
        @param keep: C{HISTORY_KEEP}, revisions of a namespace; 0 keeps all.
        @param busy_timeout: seconds that a write waits for another process's lock.
        """
        self._path, self._first, self._keep = path, first, keep
        self._reactor, self._busy_timeout = reactor, busy_timeout
        self._log = ChangeLog(reactor.seconds)
        self._opened: tuple[Engine, IdentityFile] | None = None
        self._probes = Periodic(reactor, lambda: self._engine.probe(), self._pause)

    def startService(self) -> None:
        """
        Open the database, or make it.

        @raise StartError: in one line that begins with C{DB_PATH}.
        """
        opened = open_database(self._path, self._first, shipped_migrations())
        engine = Engine(opened.path, self._reactor, self._busy_timeout, self._log.commit)
        self._opened = engine, opened.identity_file
        super().startService()
        self._probes.startService()
        if not opened.checked:
            engine.look_for_damage()
        Deferred.fromCoroutine(self._sweep()).addErrback(_until_it_works)

    def stopService(self) -> Deferred[None]:
        """Fires when every write that was asked for is on disk."""
        super().stopService()
        return maybeDeferred(self._probes.stopService).addCallback(lambda _: self._engine.drain())

    def close(self) -> None:
        """End the threads and give the database free; where the reactor ends, that happens by itself."""
        self._engine.close()
        self._identity_file.release()

    @property
    def _engine(self) -> Engine:
        """
        Return the threads of the open database.

        @raise Unavailable: C{starting}.
        """
        return self._require_open()[0]

    @property
    def _identity_file(self) -> IdentityFile:
        return self._require_open()[1]

    def _require_open(self) -> tuple[Engine, IdentityFile]:
        if self._opened is None:
            raise Unavailable("starting", "The controller is starting; its database is not open yet.")
        return self._opened

    @property
    def waiting(self) -> int:
        return self._engine.waiting

    def problem(self) -> str | None:
        return self._engine.problem()

    def contents(self) -> Deferred[Contents]:
        return self._engine.read(partial(contents.load_contents, seq=self._log.last))

    def changes(self, after: int) -> Deferred[Batch]:
        return succeed(self._log.since(after))

    def subscribe(self, hint: Callable[[], object]) -> None:
        self._log.subscribe(hint)

    def current(self) -> Deferred[Sequence[Revision]]:
        return self._engine.read(configs.current)

    def publish(self, draft: Draft) -> Deferred[Committed[Revision]]:
        return self._audited(partial(configs.publish, draft=draft, keep=self._keep), draft.attempt, _tag)

    def create_namespace(self, draft: Draft) -> Deferred[Committed[Revision]]:
        return self._audited(partial(configs.create_namespace, draft=draft), draft.attempt, _tag)

    def retire_namespace(self, name: str, attempt: Attempt | None = None) -> Deferred[Committed[None]]:
        return self._audited(partial(configs.retire_namespace, name=name), attempt)

    def begin_epoch(self, change: EpochChange) -> Deferred[Committed[Sequence[Revision]]]:
        return Deferred.fromCoroutine(self._begin_epoch(change))

    def history(self, namespace: str, limit: int, before: int | None) -> Deferred[Sequence[VersionSummary]]:
        return self._engine.read(partial(configs.history, namespace=namespace, limit=limit, before=before))

    def revision(self, namespace: str, version: int) -> Deferred[Revision]:
        return self._engine.read(partial(configs.revision, namespace=namespace, version=version))

    def register(self, registration: Registration, token: bytes, at: datetime) -> Deferred[Committed[AgentRecord]]:
        return self._audited(partial(agents.register, registration=registration, token=token, at=at), None)

    def touch(self, polls: Mapping[str, datetime]) -> Deferred[None]:
        return self._engine.write(partial(agents.touch, polls=polls))

    def forget(self, agent_id: str, attempt: Attempt | None = None) -> Deferred[Committed[None]]:
        return self._audited(partial(agents.forget, agent_id=agent_id), attempt)

    def block(self, agent_id: str, attempt: Attempt | None = None) -> Deferred[Committed[None]]:
        return self._audited(partial(agents.block, agent_id=agent_id), attempt, lambda _: "blocked")

    def unblock(self, agent_id: str, attempt: Attempt | None = None) -> Deferred[Committed[None]]:
        return self._audited(partial(agents.unblock, agent_id=agent_id), attempt)

    def set_labels(
        self, agent_id: str, changes: Mapping[str, str | None], attempt: Attempt | None = None
    ) -> Deferred[Committed[Mapping[str, str]]]:
        return self._audited(partial(agents.set_labels, agent_id=agent_id, changes=changes), attempt, format_labels)

    def find(self, agent_id: str) -> Deferred[AgentRecord | None]:
        return self._engine.read(partial(agents.find, agent_id=agent_id))

    def find_token(self, digest: bytes) -> Deferred[str | None]:
        return self._engine.read(partial(agents.find_token, digest=digest))

    def page(self, namespace: str, limit: int, after: str) -> Deferred[Sequence[AgentRecord]]:
        return self._engine.read(partial(agents.page, namespace=namespace, limit=limit, after=after))

    def counts(self) -> Deferred[Mapping[str, int]]:
        return self._engine.read(agents.counts)

    def load_agents(self) -> Deferred[Sequence[AgentRecord]]:
        return self._engine.read(agents.load_agents)

    def save_reports(self, reports: Sequence[ReceivedReport]) -> Deferred[Sequence[ReportVerdict]]:
        return self._engine.write(partial(report_queries.save_reports, reports=reports, times=self._log.times(reports)))

    def load_outcomes(self) -> Deferred[Sequence[tuple[str, int, str, VersionOutcome]]]:
        return self._engine.read(report_queries.load_outcomes)

    def settle(self, archive: Sequence[tuple[str, int, bytes]]) -> Deferred[None]:
        return self._engine.write(partial(report_queries.settle, archive=archive))

    def summary(self, namespace: str, version: int) -> Deferred[bytes | None]:
        return self._engine.read(partial(report_queries.summary, namespace=namespace, version=version))

    def rotate_keys(self, attempt: Attempt | None = None) -> Deferred[Committed[IdentityRecord]]:
        return self._audited(epoch.rotate_keys, attempt, _public)

    def record(self, endings: Sequence[AuditOutcome]) -> Deferred[None]:
        return self._engine.write(partial(audit.append, endings=endings))

    def audit(self, limit: int, before: int | None) -> Deferred[Sequence[AuditEntry]]:
        return self._engine.read(partial(audit.page, limit=limit, before=before))

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

    async def _begin_epoch(self, change: EpochChange) -> Committed[Sequence[Revision]]:
        work = partial(epoch.begin_epoch, change=change, keep=self._keep, announced=self._identity_file.write)
        committed: Committed[Sequence[Revision]] = await self._audited(
            work, change.attempt, lambda _: f"epoch {change.epoch}"
        )
        cluster_id = change.cluster_id
        if cluster_id is not None:
            # The change is on disk already; if this fails the next start does it.
            settled = self._engine.write(lambda _: self._identity_file.write(cluster_id))
            await settled.addErrback(_until_it_works)
        return committed

    async def _sweep(self) -> None:
        """Give up what a shorter history does not keep; where it stops, publishing goes on with it."""
        deleted = pruning.SLICE
        while self.running and deleted == pruning.SLICE:
            deleted = await self._engine.write(partial(pruning.sweep, keep=self._keep))

    def _audited(
        self, work: Work[Written[T]], attempt: Attempt | None, detail: Callable[[T], str] = lambda _: ""
    ) -> Deferred[Committed[T]]:
        """
        Do a work, and put the attempt on record in the same transaction.

        @param detail: returns the detail of the audit entry for the result.
        """
        # The log puts a committed value in the place of each written one.
        return cast("Deferred[Committed[T]]", self._engine.write(audit.audited(work, attempt, detail)))

    def _pause(self) -> float:
        return PROBE_INTERVAL_SECONDS if self.problem() is None else PROBE_INTERVAL_WHILE_FAILING_SECONDS


def _until_it_works(failure: Failure) -> None:
    failure.trap(Unavailable)


def _tag(revision: Revision) -> str:
    return str(revision.configuration.tag)


def _public(identity: IdentityRecord) -> str:
    return identity.keys[0].public
