"""The changes of one process, for stores that only one process writes: numbered and kept in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from attrs import define, evolve, field, frozen
from twisted.logger import Logger

from confd.access.change_requests import ChangeRequest
from confd.access.tokens import Token
from confd.audit import AuditOutcome
from confd.changes import (
    AGENT,
    CHANGE_REQUEST,
    EXPOSED,
    REGISTERED,
    REPORTED,
    REVISION,
    ROLLOUT,
    TOKEN,
    AgentChange,
    Batch,
    Change,
    Committed,
    Lanes,
    Published,
    ReceivedReport,
    ReportVerdict,
)
from confd.controller.store.report_verdicts import PublishTimes, TimesKey
from confd.history import VersionSummary
from confd.model import Revision
from confd.reports import AgentRecord
from confd.rollouts.rollout import Member, Rollout
from confd.runtime.lru import put

T = TypeVar("T")

#: Changes that a store keeps, and reports in them: a change may hold all reports of a transaction.
MAX_KEPT_CHANGES, MAX_KEPT_REPORTS = 4096, 16384


@frozen
class Written(Generic[T]):
    """
    The result of a work that changes what a controller keeps in memory.

    @ivar changes: kind, subject and value of each change; none for an idempotent replay.
    @ivar note: follows the detail of the audit entry.
    @ivar audited: what the transaction puts on record, behind what the works before it put there.
    """

    value: T
    changes: Sequence[tuple[str, str, object]] = ()
    note: str = ""
    audited: Sequence[AuditOutcome] = ()


@define(eq=False)
class _Exposed:
    """
    When the members of the newest rollout of a namespace were exposed, in seconds of the monotonic clock.

    @ivar version: the candidate.
    @ivar all_at: when the last wave exposed all agents.
    """

    version: int
    all_at: float | None = None
    _by_agent: dict[str, float] = field(factory=dict, init=False)

    def add(self, agent_ids: Iterable[str], now: float) -> None:
        """Note agents; an agent that was noted before keeps its time."""
        for agent_id in agent_ids:
            self._by_agent.setdefault(agent_id, now)

    def at(self, agent_id: str) -> float | None:
        """Return the time of an agent, C{None} for an agent that was not exposed."""
        return self._by_agent.get(agent_id, self.all_at)


@define(eq=False)
class ChangeLog:
    """
    The changes of this process. Their numbers begin at each start, or follow those of the database.

    A revision, or a candidate, keeps its document only until a newer change of its kind and namespace follows.

    @ivar seconds: the monotonic clock.
    @ivar last: number of the last change; 0 before the first.
    @ivar hint: called after each transaction that made changes.
    """

    log = Logger()

    seconds: Callable[[], float]
    last: int = field(default=0, init=False)
    _kept: dict[int, Change] = field(factory=dict, init=False)
    #: Reports in the kept changes.
    _reports: int = field(default=0, init=False)
    #: Number of the newest change with a document, by kind and namespace.
    _newest: dict[tuple[str, str], int] = field(factory=dict, init=False)
    _times: dict[tuple[str, int], tuple[float, float | None]] = field(factory=dict, init=False)
    #: By namespace.
    _exposed: dict[str, _Exposed] = field(factory=dict, init=False)
    hint: Callable[[], object] = field(default=lambda: None, init=False)

    def subscribe(self, hint: Callable[[], object]) -> None:
        """Call C{hint} after each transaction that made changes."""
        self.hint = hint

    def commit(self, results: Sequence[object]) -> list[object]:
        """
        Append the changes of one transaction, and hint. Called once the transaction is on disk, before its results
        fire: the feed applies a change before the write that made it is answered.

        @param results: of its works, in their order.
        @return: the same results, with L{Committed} in place of L{Written}.
        """
        written = [each for each in results if isinstance(each, Written)]
        for each in written:
            for change in each.changes:
                self._append(*change)
        if any(each.changes for each in written):
            try:
                self.hint()
            except Exception:
                self.log.failure("the feed did not take a hint")
        return [Committed(each.value, self.last) if isinstance(each, Written) else each for each in results]

    def follow(self, last: int) -> None:
        """
        Number the next change C{last + 1}.

        Changes of this process are given up if other processes made changes since: readers get all from the database.
        """
        if last != self.last:
            self.last = last
            self._kept.clear()
            self._newest.clear()
            self._reports = 0

    def note(self, changes: Sequence[Change]) -> None:
        """Take the times of versions and exposures from changes that were read from a database."""
        for each in changes:
            self._note_times(each.kind, each.subject, each.value)

    def has(self, after: int) -> bool:
        """Return whether a change follows number C{after}, and all that follow are kept."""
        return self.last - len(self._kept) <= after < self.last

    def times(self, reports: Iterable[ReceivedReport]) -> PublishTimes:
        """Return the times of the versions that reports are about."""
        reports = list(reports)
        keys = {(each.namespace, each.report.tag.version) for each in reports}
        found: dict[TimesKey, tuple[float, float | None]] = {key: self._times[key] for key in keys & self._times.keys()}
        return {**found, **self._exposed_times(reports)} if self._exposed else found

    def since(self, after: int) -> Batch:
        """Return the changes after number C{after}."""
        if self.last - after > len(self._kept):
            return Batch((), complete=False)
        return Batch([self._kept[seq] for seq in range(after + 1, self.last + 1)])

    def _append(self, kind: str, subject: str, value: Any) -> None:
        self.last += 1
        if kind == REVISION and value.posted is not None:
            commit_ms = 1000 * (self.seconds() - value.posted)
            # C{evolve} takes four times as long, for each publish.
            value = Published(value.version, value.configuration, value.posted, commit_ms)
        self._note_times(kind, subject, value)
        if kind in (REVISION, ROLLOUT):
            self._drop_document(self._newest.get((kind, subject)))
            self._newest[kind, subject] = self.last
        self._kept[self.last] = Change(self.last, kind, subject, value)
        self._reports += len(value) if kind == REPORTED else 0
        while len(self._kept) > MAX_KEPT_CHANGES or self._reports > MAX_KEPT_REPORTS:
            oldest = self._kept.pop(next(iter(self._kept)))
            self._reports -= len(oldest.value) if oldest.kind == REPORTED else 0

    def _note_times(self, kind: str, subject: str, value: Any) -> None:
        if kind == REVISION and value.posted is not None:
            key = subject, value.version.tag.version
            if key not in self._times:
                put(self._times, key, (value.posted, value.commit_ms), MAX_KEPT_CHANGES)
        elif kind == ROLLOUT:
            self._note_lanes(subject, value)
        elif kind == EXPOSED and subject in self._exposed:
            self._exposed[subject].add(value, self.seconds())

    def _exposed_times(self, reports: Sequence[ReceivedReport]) -> PublishTimes:
        times: dict[TimesKey, tuple[float, float]] = {}
        for each in reports:
            exposed, version = self._exposed.get(each.namespace), each.report.tag.version
            at = exposed.at(each.agent_id) if exposed is not None and exposed.version == version else None
            if at is not None:
                times[each.namespace, version, each.agent_id] = at, 0.0
        return times

    def _note_lanes(self, namespace: str, lanes: Lanes) -> None:
        """Note when agents were exposed; the last wave exposes all the others."""
        exposed = self._exposed.get(namespace)
        if lanes.candidate is not None:
            version = lanes.candidate.tag.version
            if exposed is None or exposed.version != version:
                exposed = self._exposed[namespace] = _Exposed(version)
            exposed.add(lanes.members, self.seconds())
        elif lanes.open and exposed is not None:
            exposed.all_at = exposed.all_at or self.seconds()
        else:
            self._exposed.pop(namespace, None)

    def _drop_document(self, seq: int | None) -> None:
        older = self._kept.get(seq or 0)
        if older is not None:
            value = older.value
            if older.kind == REVISION:
                value = Published(value.version, None, value.posted, value.commit_ms)
            else:
                value = Lanes(value.rollout, value.step, value.open, value.candidate, value.members)
            self._kept[older.seq] = Change(older.seq, older.kind, older.subject, value)


def registration_changes(namespace: str | None, token: bytes, record: AgentRecord) -> Sequence[tuple[str, str, object]]:
    """
    Return the changes that a registration makes.

    @param namespace: of the agent before; C{None} if there was no such agent.
    @param token: the digest of its token before; empty if it had none.
    """
    changes = list[AgentChange]()
    if namespace is not None and namespace != record.namespace:
        changes.append(AgentChange("moved", record.namespace))
    if token and token != record.token:
        changes.append(AgentChange("token", record.namespace))
    return [*((AGENT, record.id, change) for change in changes), (REGISTERED, record.id, record)]


def judged(reports: Sequence[ReceivedReport], verdicts: Sequence[ReportVerdict]) -> Written[Sequence[ReportVerdict]]:
    """Return verdicts on reports, with the change that the accepted reports make."""
    taken = tuple((each, made) for each, verdict in zip(reports, verdicts, strict=True) if (made := verdict.outcome))
    return Written(verdicts, [(REPORTED, "", taken)] if taken else [])


def revision_change(revision: Revision, posted: float | None) -> tuple[str, str, Published]:
    """Return the change that makes a revision current."""
    configuration = revision.configuration
    return REVISION, configuration.namespace, Published(VersionSummary.of(revision), configuration, posted)


def step_changes(
    before: Rollout, after: Rollout, members: Sequence[Member], candidate: Revision | None, published: Revision | None
) -> list[tuple[str, str, object]]:
    """
    Return the changes of a transition.

    @param candidate: the revision of the candidate of an open rollout.
    @param published: the revision that the transition published.
    """
    changes: list[tuple[str, str, object]] = [rollout_change(after, members, candidate)]
    if after.open and after.in_last_wave and not before.in_last_wave and candidate is not None:
        changes.append(revision_change(candidate, None))
    elif published is not None and not after.open:
        changes.append(revision_change(published, None))
    return changes


def token_change(token: Token) -> tuple[str, str, Token]:
    """Return the change of a token; the time of its last use changes with no change of the feed."""
    return TOKEN, token.id, evolve(token, last_used_at=None, last_used_from=None)


def request_change(change: ChangeRequest) -> tuple[str, str, ChangeRequest]:
    """Return the change of the feed for a row of a change request; it holds no document."""
    return CHANGE_REQUEST, change.namespace, evolve(change, document=None)


def lanes_of(rollout: Rollout, members: Sequence[Member], candidate: Revision | None) -> Lanes:
    """
    Return the versions that agents are served.

    @param candidate: the revision of the candidate; may be C{None} once the candidate is current or dropped.
    """
    if not rollout.open or rollout.in_last_wave or candidate is None:
        return Lanes(rollout.id, rollout.step, rollout.open)
    ids = tuple(each.agent_id for each in members if not each.gone)
    return Lanes(rollout.id, rollout.step, True, VersionSummary.of(candidate), ids, candidate.configuration)


def rollout_change(rollout: Rollout, members: Sequence[Member], candidate: Revision | None) -> tuple[str, str, Lanes]:
    """Return the change that a transition makes; see L{lanes_of} for the parameters."""
    return ROLLOUT, rollout.namespace, lanes_of(rollout, members, candidate)
