"""Changes that wait for approvals, in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from attrs import evolve
from twisted.internet.defer import Deferred, execute
from zope.interface import implementer

from confd.access.change_requests import (
    MAX_PENDING,
    READY,
    ChangeJudge,
    ChangeRequest,
    NewChange,
    Origin,
    Situation,
    State,
    applied,
    describe_change,
    too_many_changes,
    unknown_change,
)
from confd.access.policies import Policy, Restrictions
from confd.access.tokens import Token
from confd.audit import Attempt
from confd.changes import Committed
from confd.controller.store.change_log import Written, request_change
from confd.interfaces import IChangeRequestStore
from confd.model import Draft, Revision
from confd.rollouts.rollout import Rollout
from confd.rollouts.steps import RolloutStep
from confd.testing.memory_rows import Rows


@implementer(IChangeRequestStore)
class ChangeRequestRows(Rows):
    """The part of a L{confd.testing.memory.MemoryStore} that keeps changes."""

    _current_of: Callable[[str], Revision]
    _in_use: Callable[[str], bool]
    _check_in_use: Callable[[str], None]
    _revisions: dict[str, list[Revision]]
    _rollouts: list[Rollout]
    _tokens: dict[str, Token]
    _policies: dict[str, Policy]
    _record_break_glass: Callable[..., list[tuple[str, str, object]]]

    def __init__(self) -> None:
        super().__init__()
        self._requests: list[ChangeRequest] = []

    def propose_change(
        self, namespace: str, rollout: int | None, make: NewChange, attempt: Attempt | None = None
    ) -> Deferred[Committed[ChangeRequest]]:
        return self._audited(attempt, describe_change, self._propose, namespace, rollout, make)

    def step_change(
        self, number: int, judge: ChangeJudge, attempt: Attempt | None = None, token_ids: Sequence[str] = ()
    ) -> Deferred[Committed[ChangeRequest]]:
        return self._audited(attempt, describe_change, self._step_change, number, judge, token_ids)

    def change_request(self, number: int) -> Deferred[ChangeRequest]:
        return execute(self._find_change, number)

    def change_requests(
        self, namespace: str, states: Sequence[State], limit: int, before: int | None
    ) -> Deferred[Sequence[ChangeRequest]]:
        found = [
            evolve(each, document=None)
            for each in self._requests[::-1]
            if each.namespace == namespace and each.state in states and (before is None or each.id < before)
        ]
        return execute(lambda: found[:limit])

    def pending_changes(self) -> Deferred[Sequence[ChangeRequest]]:
        return execute(lambda: [evolve(each, document=None) for each in self._requests if each.pending])

    def origins(self, namespace: str, versions: Sequence[int]) -> Deferred[Mapping[int, Origin]]:
        found = [each for each in self._requests if each.namespace == namespace and each.version in versions]
        owners = [each for each in found if each.kind != "review"]
        return execute(lambda: {each.version: Origin(each.id, each.approvals) for each in owners if each.version})

    def _find_change(self, number: int) -> ChangeRequest:
        if not 0 < number <= len(self._requests):
            raise unknown_change(number)
        return self._requests[number - 1]

    def _propose(self, namespace: str, rollout: int | None, make: NewChange) -> Written[ChangeRequest]:
        if namespace not in self._revisions:
            self._check_in_use(namespace)
        change = make(self._situation(namespace, None, rollout))
        if sum(each.namespace == namespace and each.pending for each in self._requests) >= MAX_PENDING:
            raise too_many_changes(namespace)
        self._requests.append(evolve(change, id=len(self._requests) + 1))
        return Written(self._requests[-1], [request_change(self._requests[-1])])

    def _step_change(self, number: int, judge: ChangeJudge, token_ids: Sequence[str]) -> Written[ChangeRequest]:
        change = self._find_change(number)
        following = judge(change, self._situation(change.namespace, change, change.rollout, token_ids))
        if following is None:
            return Written(change)
        return Written(*self._update_change(change, following.change))

    def _update_change(
        self, before: ChangeRequest, after: ChangeRequest
    ) -> tuple[ChangeRequest, list[tuple[str, str, object]]]:
        changed = self._requests[before.id - 1] = evolve(after, step=before.step + 1)
        return changed, [request_change(changed)]

    def _situation(
        self, namespace: str, change: ChangeRequest | None, rollout: int | None, token_ids: Sequence[str] = ()
    ) -> Situation:
        policy = self._policies.get(namespace, Policy())
        tag, checksum, found, candidate = None, "", None, ""
        if self._in_use(namespace):
            current = self._current_of(namespace).configuration
            tag, checksum = current.tag, current.document.checksum
        if rollout is not None and 0 < rollout <= len(self._rollouts):
            found = self._rollouts[rollout - 1]
            candidate = self._revisions[found.namespace][found.candidate - 1].configuration.document.checksum
        ids = {*token_ids, *(each.token_id for each in (() if change is None else change.signers))}
        tokens = {each: token for each, token in self._tokens.items() if each in ids}
        return Situation(tag, checksum, found, candidate, policy.approvals, policy.self_approval, tokens)

    def _admit(self, draft: Draft, restrictions: Restrictions, free: bool = False) -> ChangeRequest | None:
        """Return the change that a draft applies, with the approvals that count."""
        if draft.applies is None:
            if not free:
                restrictions.check_approvals()
            return None
        change = self._find_change(draft.applies.change)
        return draft.applies.judge(change, self._situation(draft.namespace, change, change.rollout))

    def _follow_publish(
        self, draft: Draft, change: ChangeRequest | None, made: Revision, rollout: int | None = None
    ) -> list[tuple[str, str, object]]:
        """Write what a publish, or the start of a rollout, makes of changes; record a break-glass call."""
        changes = [*self._settle(change, made), *self._mark_stale(draft.namespace)]
        return changes + self._record_break_glass(draft.attempt, draft.namespace, made, rollout, change is not None)

    def _follow_step(
        self, step: RolloutStep, rollout: Rollout, change: ChangeRequest | None, made: Revision | None
    ) -> list[tuple[str, str, object]]:
        """Write what a step of a rollout makes of changes; record a break-glass call."""
        changes = [] if made is None else self._settle(change, made)
        changes += self._mark_stale(rollout.namespace)
        return changes + self._record_break_glass(step.attempt, rollout.namespace, made, rollout.id, change is not None)

    def _settle(self, change: ChangeRequest | None, made: Revision) -> list[tuple[str, str, object]]:
        if change is None:
            return []
        return self._update_change(self._find_change(change.id), applied(change, made))[1]

    def _mark_stale(self, namespace: str) -> list[tuple[str, str, object]]:
        changes: list[tuple[str, str, object]] = []
        for each in self._requests:
            here = each.namespace == namespace and each.state in READY
            if here and self._situation(namespace, each, each.rollout).moved(each):
                changes += self._update_change(each, evolve(each, state="stale"))[1]
        return changes
