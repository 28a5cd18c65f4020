"""Policies in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from twisted.internet.defer import Deferred, execute
from zope.interface import implementer

from confd.access.freezes import ActiveFreezes, Freeze
from confd.access.policies import Policy, Restrictions
from confd.audit import Attempt
from confd.changes import POLICY, Committed
from confd.controller.interfaces import IPolicyStore
from confd.controller.store.change_log import Written


@implementer(IPolicyStore)
class PolicyRows:
    """The part of a L{confd.testing.memory.MemoryStore} that keeps policies."""

    _audited: Callable[..., Deferred[Any]]
    _freezes: list[Freeze]

    def __init__(self) -> None:
        super().__init__()
        self._policies: dict[str, Policy] = {}

    def policies(self) -> Deferred[Mapping[str, Policy]]:
        return execute(dict, sorted(self._policies.items()))

    def save_policy(
        self, namespace: str, changes: Mapping[str, Any], attempt: Attempt | None = None
    ) -> Deferred[Committed[Policy]]:
        return self._audited(attempt, lambda policy: policy.text, self._save_policy, namespace, changes)

    def _save_policy(self, namespace: str, changes: Mapping[str, Any]) -> Written[Policy]:
        policy = self._policies[namespace] = self._policies.get(namespace, Policy()).changed({**changes})
        return Written(policy, [(POLICY, namespace, policy)])

    def _restrictions(self, namespace: str, now: datetime) -> Restrictions:
        freezes = ActiveFreezes.of(self._freezes, namespace, now)
        return Restrictions(namespace, self._policies.get(namespace, Policy()), freezes)
