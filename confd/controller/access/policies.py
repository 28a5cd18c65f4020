"""The policies that a controller knows, kept in memory; they follow the change feed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from zope.interface import implementer

from confd.access.policies import Policy
from confd.audit import Attempt
from confd.changes import POLICY, Change, Committed, Contents
from confd.controller.interfaces import IPolicyStore
from confd.interfaces import IChangeListener

#: The policy of a namespace for which no policy was saved.
DEFAULT_POLICY = Policy()


@implementer(IChangeListener)
@define(eq=False)
class Policies:
    """Shows and changes policies. The store refuses what a policy forbids: see L{IPolicyStore}."""

    _store: IPolicyStore
    _known: dict[str, Policy] = field(factory=dict, init=False)

    async def load_rows(self) -> None:
        """Read all policies."""
        self._known = dict(await self._store.policies())

    def load(self, contents: Contents) -> None: ...

    def apply(self, change: Change) -> None:
        if change.kind == POLICY:
            self._known[change.subject] = change.value

    def get(self, namespace: str) -> Policy | None:
        """Return the saved policy of a namespace, which may be retired; C{None} without one."""
        return self._known.get(namespace)

    def of(self, namespace: str) -> Policy:
        """Return the policy that applies in a namespace."""
        return self._known.get(namespace, DEFAULT_POLICY)

    def is_freeze_exempt(self, namespace: str) -> bool:
        """Return whether a namespace ignores freezes."""
        return self.of(namespace).freeze_exempt

    def save(self, namespace: str, changes: Mapping[str, Any], attempt: Attempt) -> Deferred[Committed[Policy]]:
        """Set some fields of the policy of a namespace: see L{IPolicyStore.save_policy}."""
        saved: Deferred[Committed[Policy]] = self._store.save_policy(namespace, changes, attempt)
        return saved
