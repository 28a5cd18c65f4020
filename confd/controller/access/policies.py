"""The policies that a controller knows, kept in memory; they follow the change feed."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define, field
from twisted.internet.defer import Deferred
from zope.interface import implementer

from confd.access.policies import Policy
from confd.audit import Attempt
from confd.changes import BREAK_GLASS, POLICY, Change, Committed, Contents
from confd.controller.interfaces import IPolicyStore
from confd.controller.rollouts.plans import PlanSpec
from confd.interfaces import IChangeListener
from confd.model import Draft
from confd.runtime.metrics import Metrics

#: The policy of a namespace for which no policy was saved.
DEFAULT_POLICY = Policy()


@implementer(IChangeListener)
@define(eq=False)
class Policies:
    """Shows and changes policies. The store refuses what a policy forbids: see L{IPolicyStore}."""

    _store: IPolicyStore
    _known: dict[str, Policy] = field(factory=dict, init=False)
    _uses: int = field(default=0, init=False)

    async def load_rows(self) -> None:
        """Read all policies, and count the calls that passed them."""
        self._known = dict(await self._store.policies())
        self._uses = await self._store.break_glass_count()

    def load(self, contents: Contents) -> None: ...

    def apply(self, change: Change) -> None:
        if change.kind == POLICY:
            self._known[change.subject] = change.value
        elif change.kind == BREAK_GLASS:
            self._uses = max(self._uses, change.value.id)

    def expose(self, metrics: Metrics) -> None:
        """Add the metric of break-glass calls."""
        metrics.counter(
            "confd_break_glass",
            "Calls that passed a policy or a freeze by break-glass; each controller counts all of them.",
            lambda: {(): self._uses},
        )

    def get(self, namespace: str) -> Policy | None:
        """Return the saved policy of a namespace, which may be retired; C{None} without one."""
        return self._known.get(namespace)

    def of(self, namespace: str) -> Policy:
        """Return the policy that applies in a namespace."""
        return self._known.get(namespace, DEFAULT_POLICY)

    def is_freeze_exempt(self, namespace: str) -> bool:
        """Return whether a namespace ignores freezes."""
        return self.of(namespace).freeze_exempt

    async def check_draft(self, draft: Draft, plan: PlanSpec | None) -> None:
        """
        Check that a draft could be published, or start a rollout by a plan: see L{IPolicyStore.check_draft}.

        @param plan: C{None} for a publish.
        """
        await self._store.check_draft(draft, 0 if plan is None else len(plan.waves))

    def save(self, namespace: str, changes: Mapping[str, object], attempt: Attempt) -> Deferred[Committed[Policy]]:
        """Set some fields of the policy of a namespace: see L{IPolicyStore.save_policy}."""
        saved: Deferred[Committed[Policy]] = self._store.save_policy(namespace, changes, attempt)
        return saved
