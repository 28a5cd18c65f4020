"""The requests of stores in databases that concern policies, break-glass and changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from zope.interface import implementer

from confd.access.change_requests import ChangeJudge, ChangeRequest, NewChange, Origin, State, describe_change
from confd.access.policies import Policy
from confd.audit import Attempt
from confd.changes import Committed
from confd.controller.interfaces import IPolicyStore
from confd.controller.store.queries import break_glass, change_requests, change_steps, configs, policies
from confd.interfaces import IChangeRequestStore
from confd.model import Draft

T = TypeVar("T")


@implementer(IPolicyStore, IChangeRequestStore)
class AccessStore:
    """The part of a L{confd.controller.store.database.DatabaseStore} that keeps policies and changes."""

    _engine: Any
    _audited: Callable[..., Deferred[Any]]

    def policies(self) -> Deferred[Mapping[str, Policy]]:
        return self._read(policies.load)

    def save_policy(
        self, namespace: str, changes: Mapping[str, object], attempt: Attempt | None = None
    ) -> Deferred[Committed[Policy]]:
        work = partial(policies.save, namespace=namespace, changes=changes)
        return self._audited(work, attempt, lambda policy: policy.text)

    def check_draft(self, draft: Draft, waves: int = 0) -> Deferred[None]:
        return self._read(partial(configs.preview, draft=draft, waves=waves))

    def break_glass_count(self) -> Deferred[int]:
        return self._read(break_glass.count)

    def break_glass_reasons(self, namespace: str, versions: Sequence[int]) -> Deferred[Mapping[int, str]]:
        return self._read(partial(break_glass.reasons, namespace=namespace, versions=versions))

    def propose_change(
        self, namespace: str, rollout: int | None, make: NewChange, attempt: Attempt | None = None
    ) -> Deferred[Committed[ChangeRequest]]:
        work = partial(change_steps.propose, namespace=namespace, rollout=rollout, make=make)
        return self._audited(work, attempt, describe_change)

    def step_change(
        self, number: int, judge: ChangeJudge, attempt: Attempt | None = None, token_ids: Sequence[str] = ()
    ) -> Deferred[Committed[ChangeRequest]]:
        work = partial(change_steps.step, number=number, judge=judge, token_ids=token_ids)
        return self._audited(work, attempt, describe_change)

    def change_request(self, number: int) -> Deferred[ChangeRequest]:
        return self._read(partial(change_requests.find, number=number))

    def change_requests(
        self, namespace: str, states: Sequence[State], limit: int, before: int | None
    ) -> Deferred[Sequence[ChangeRequest]]:
        work = partial(change_requests.page, namespace=namespace, states=states, limit=limit, before=before)
        return self._read(work)

    def pending_changes(self) -> Deferred[Sequence[ChangeRequest]]:
        return self._read(change_requests.load_pending)

    def origins(self, namespace: str, versions: Sequence[int]) -> Deferred[Mapping[int, Origin]]:
        return self._read(partial(change_requests.origins, namespace=namespace, versions=versions))

    def _read(self, work: Callable[..., T]) -> Deferred[T]:
        read: Deferred[T] = self._engine.read(work)
        return read
