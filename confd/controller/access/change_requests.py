"""Propose, approve and apply changes, and keep the changes that are not over in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime
from typing import TypeVar

from attrs import define, field, frozen
from zope.interface import implementer

from confd.access.change_requests import (
    FINAL,
    PENDING,
    ApplyChange,
    ChangeJudge,
    ChangeRequest,
    Signer,
    State,
)
from confd.access.policies import PlanRequired
from confd.audit import Attempt
from confd.changes import CHANGE_REQUEST, Change, Contents
from confd.codec import strict_json
from confd.controller.access import change_rules
from confd.controller.access.change_rules import Proposal
from confd.controller.configs.service import Configs
from confd.controller.configs.snapshot import Snapshot
from confd.controller.feed import Feed
from confd.controller.rollouts.plans import DIRECT, PlanSpec
from confd.controller.rollouts.service import Rollouts, Wish
from confd.errors import Conflict
from confd.interfaces import IChangeListener, IChangeRequestStore
from confd.model import Draft, Revision
from confd.rollouts.errors import unknown_plan
from confd.rollouts.plan import SUPERSEDE
from confd.runtime.metrics import Metrics, Values
from confd.runtime.offload import Offload

T = TypeVar("T")

#: The codes of refusals that say that a change cannot be applied as it stands.
_LOST = ("change_stale", "change_suspended")


@implementer(IChangeListener)
@define(eq=False)
class PendingChanges:
    """
    The changes that are not over, kept in memory; they follow the change feed.

    @ivar namespaces: returns the names of the namespaces with series of their own.
    """

    _store: IChangeRequestStore
    _namespaces: Callable[[], Collection[str]]
    _known: dict[int, ChangeRequest] = field(factory=dict, init=False)
    _ended: Counter[str] = field(factory=lambda: Counter(dict.fromkeys(FINAL, 0)), init=False)

    def expose(self, metrics: Metrics) -> None:
        """Add the metrics of changes."""
        metrics.gauge(
            "confd_changes_pending",
            "Changes that are not over, by state.",
            self._count_pending,
            "namespace",
            "state",
        )
        metrics.gauge(
            "confd_review_opened_timestamp_seconds",
            "When the oldest break-glass call without a review was made; absent without one.",
            self._oldest_reviews,
            "namespace",
        )
        metrics.counter("confd_changes", "Changes that ended.", lambda: self._ended, "result")

    async def load_rows(self) -> None:
        """Read the changes that are not over."""
        self._known = {each.id: each for each in await self._store.pending_changes()}

    def load(self, contents: Contents) -> None: ...

    def apply(self, change: Change) -> None:
        if change.kind != CHANGE_REQUEST:
            return
        request: ChangeRequest = change.value
        if request.pending:
            self._known[request.id] = request
            return
        self._known.pop(request.id, None)
        self._ended[request.state] += 1

    def of(self, namespace: str) -> Sequence[ChangeRequest]:
        """Return the changes of a namespace by id, without documents."""
        return [each for _, each in sorted(self._known.items()) if each.namespace == namespace]

    def due(self, now: datetime) -> Sequence[ChangeRequest]:
        """Return the scheduled changes whose time has come, the earliest first, without documents."""
        found = [
            (each.at, number, each)
            for number, each in self._known.items()
            if each.state == "scheduled" and each.at is not None and each.at <= now
        ]
        return [each for *_, each in sorted(found, key=lambda item: item[:2])]

    def _oldest_reviews(self) -> Values:
        shown = set(self._namespaces())
        found: dict[tuple[str, ...], float] = {}
        for each in self._known.values():
            if each.kind == "review" and each.namespace in shown:
                opened, key = each.created_at.timestamp(), (each.namespace,)
                found[key] = min(opened, found.get(key, opened))
        return found

    def _count_pending(self) -> Values:
        counts = Counter((each.namespace, each.state) for each in self._known.values())
        return {(name, state): float(counts[name, state]) for name in self._namespaces() for state in PENDING}


@frozen
class Prepared:
    """
    A change as the write path takes it.

    @ivar draft: names the change, which the store asks again.
    @ivar plan: of the rollout to start; C{None} to publish to all callers.
    """

    change: ChangeRequest
    draft: Draft
    plan: PlanSpec | None = None


@define(eq=False)
class ChangeRequests:
    """
    Proposes, approves and applies changes.

    @ivar now: the wall clock.
    """

    _store: IChangeRequestStore
    _configs: Configs
    _rollouts: Rollouts
    _snapshot: Snapshot
    _feed: Feed
    _offload: Offload
    now: Callable[[], datetime]

    async def find(self, number: int) -> ChangeRequest:
        """
        Return a change and its document.

        @raise NotFound: C{unknown_change}.
        """
        found: ChangeRequest = await self._store.change_request(number)
        return found

    async def page(
        self, namespace: str, states: Sequence[State], limit: int, before: int | None
    ) -> Sequence[ChangeRequest]:
        """Return changes without documents: see L{IChangeRequestStore.change_requests}."""
        found: Sequence[ChangeRequest] = await self._store.change_requests(namespace, states, limit, before)
        return found

    async def check_plan(self, name: str) -> None:
        """
        Check that a plan exists that starts a rollout.

        @raise NotFound: C{unknown_plan}.
        """
        if name in (DIRECT, SUPERSEDE):
            raise unknown_plan(name)
        await self._rollouts.plan(name)

    async def propose(self, namespace: str, proposal: Proposal, author: Signer, attempt: Attempt) -> ChangeRequest:
        """Add a change: see L{IChangeRequestStore.propose_change}."""
        make = change_rules.propose(namespace, proposal, author, attempt.made_at)
        write = self._store.propose_change(namespace, proposal.rollout, make, attempt)
        return await self._feed.follow(write)

    async def step(
        self, number: int, judge: ChangeJudge, attempt: Attempt | None, signer: Signer | None = None
    ) -> ChangeRequest:
        """
        Make a step of a change: see L{IChangeRequestStore.step_change}.

        @param signer: who signs the change with this step.
        """
        token_ids = () if signer is None else (signer.token_id,)
        return await self._feed.follow(self._store.step_change(number, judge, attempt, token_ids))

    async def prepare(
        self, number: int, attempt: Attempt, arrived: float | None = None, scheduled: bool = False
    ) -> Prepared:
        """
        Return what a change publishes. It fits the schema and the plans of today.

        @param arrived: when the request arrived, in seconds of the monotonic clock.
        @param scheduled: whether the clock applies it, and no person.
        @raise NotFound: C{unknown_change}, C{unknown_plan}.
        @raise Unprocessable: the document does not fit the schema.
        @raise Conflict: C{change_over}.
        """
        change = await self.find(number)
        judge = change_rules.apply(change, scheduled, attempt.made_at)
        change_rules.check_document(change)
        assert change.document is not None
        raw = change.document.raw
        draft = self._configs.draft(
            change.namespace,
            await self._offload.run(len(raw), strict_json.decode, raw),
            change.document,
            change.author.who,
            poll_interval=change.poll_interval,
            comment=change.comment,
            rollback_of=change.rollback_of,
            arrived=arrived,
            attempt=attempt,
            rollout=change.plan,
            applies=ApplyChange(number, judge),
        )
        return Prepared(change, draft, await self._rollouts.plan(change.plan) if change.plan else None)

    async def noting(self, number: int, work: Awaitable[T]) -> T:
        """Return the result of work that applies a change; note that the change is stale or suspended if so."""
        try:
            return await work
        except Conflict as error:
            if error.code in _LOST:
                await self.step(number, change_rules.refresh(self.now()), None)
            raise

    async def apply(self, prepared: Prepared, attempt: Attempt) -> None:
        """Publish a change, or start its rollout, or give its rollout the new candidate."""
        change, draft = prepared.change, prepared.draft
        if change.rollout is not None:
            await self._rollouts.replace(change.rollout, draft, Wish(None, attempt, change.comment))
            return
        made = await self.publish(prepared)
        if not isinstance(made, Revision):
            await self._rollouts.start(draft, made)

    async def publish(self, prepared: Prepared) -> Revision | PlanSpec:
        """
        Publish a change to all callers; create its namespace again if it is retired.

        @return: the plan of the rollout to start in its place, if the change or the policy asks for one.
        """
        if prepared.plan is not None:
            return prepared.plan
        if self._snapshot.find(prepared.change.namespace) is None:
            return await self._configs.create_namespace(prepared.draft)
        try:
            return await self._configs.publish(prepared.draft)
        except PlanRequired as error:
            return await self._rollouts.plan(error.plan)
