"""Policies in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from attrs import evolve
from twisted.internet.defer import Deferred, execute
from zope.interface import implementer

from confd.access.break_glass import BreakGlass
from confd.access.change_requests import ChangeRequest, review_of
from confd.access.freezes import ActiveFreezes, Freeze
from confd.access.policies import Policy, Restrictions
from confd.audit import Attempt
from confd.changes import BREAK_GLASS, POLICY, Committed
from confd.controller.interfaces import IPolicyStore
from confd.controller.store.change_log import Written, request_change
from confd.model import Draft, Revision
from confd.testing.memory_rows import Rows


@implementer(IPolicyStore)
class PolicyRows(Rows):
    """The part of a L{confd.testing.memory.MemoryStore} that keeps policies."""

    _freezes: list[Freeze]
    _requests: list[ChangeRequest]
    _admit: Callable[..., ChangeRequest | None]
    _undoes: Callable[[Draft], bool]

    def __init__(self) -> None:
        super().__init__()
        self._policies: dict[str, Policy] = {}
        self._break_glass: list[BreakGlass] = []

    def policies(self) -> Deferred[Mapping[str, Policy]]:
        return execute(dict, sorted(self._policies.items()))

    def save_policy(
        self, namespace: str, changes: Mapping[str, object], attempt: Attempt | None = None
    ) -> Deferred[Committed[Policy]]:
        return self._audited(attempt, lambda policy: policy.text, self._save_policy, namespace, changes)

    def check_draft(self, draft: Draft, waves: int = 0) -> Deferred[None]:
        return execute(self._check_draft, draft, waves).addCallback(lambda _: None)

    def break_glass_count(self) -> Deferred[int]:
        return execute(len, self._break_glass)

    def break_glass_reasons(self, namespace: str, versions: Sequence[int]) -> Deferred[Mapping[int, str]]:
        found = {each.version: each.reason for each in self._break_glass if each.namespace == namespace}
        return execute(lambda: {version: found[version] for version in versions if version in found})

    def _check_draft(self, draft: Draft, waves: int = 0) -> ChangeRequest | None:
        restrictions = self._restrictions(draft.namespace, draft.asked_at, draft.break_glass)
        free = not waves and restrictions.policy.rollback_free and self._undoes(draft)
        if not free:
            restrictions.check_freezes()
            restrictions.check_plan(waves)
        return self._admit(draft, restrictions, free)

    def _record_break_glass(
        self,
        attempt: Attempt | None,
        namespace: str,
        revision: Revision | None,
        rollout: int | None = None,
        applied: bool = False,
    ) -> list[tuple[str, str, object]]:
        if attempt is None or not attempt.break_glass:
            return []
        version = None if revision is None else revision.configuration.version
        made = BreakGlass.of(attempt, len(self._break_glass) + 1, namespace, version, rollout)
        self._break_glass.append(made)
        review = review_of(attempt, namespace, revision, rollout, applied)
        self._requests.append(evolve(review, id=len(self._requests) + 1))
        return [(BREAK_GLASS, namespace, made), request_change(self._requests[-1])]

    def _save_policy(self, namespace: str, changes: Mapping[str, object]) -> Written[Policy]:
        policy = self._policies[namespace] = self._policies.get(namespace, Policy()).changed({**changes})
        return Written(policy, [(POLICY, namespace, policy)])

    def _restrictions(self, namespace: str, now: datetime, break_glass: str = "") -> Restrictions:
        if break_glass:
            return Restrictions(namespace, Policy(), ActiveFreezes(now))
        freezes = ActiveFreezes.of(self._freezes, namespace, now)
        return Restrictions(namespace, self._policies.get(namespace, Policy()), freezes)
