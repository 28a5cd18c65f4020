"""Where the requests of a controller act."""

from __future__ import annotations

from functools import partial

from attrs import define, field
from twisted.internet.defer import Deferred
from zope.interface import implementer

from confd.controller.agents.registry import Registry
from confd.controller.configs.snapshot import unknown_namespace
from confd.controller.interfaces import IRolloutStore
from confd.errors import NotFound
from confd.reports import unknown_agent
from confd.rollouts import unknown_rollout
from confd.runtime.lru import put
from confd.web.api.places import IPlaces
from confd.web.auth.principals import CLUSTER, Place

#: Rollouts whose namespaces are remembered.
MAX_REMEMBERED = 1024


@implementer(IPlaces)
@define(eq=False)
class Places:
    """Finds agents in memory, and rollouts in the store; the namespace of a rollout never changes."""

    _registry: Registry
    _store: IRolloutStore
    _namespaces: dict[int, str] = field(factory=dict, init=False)

    def namespace(self, name: str) -> Place:
        return Place(name, partial(unknown_namespace, name))

    def agent(self, agent_id: str) -> Place:
        record = self._registry.find(agent_id)
        return Place(CLUSTER if record is None else record.namespace, partial(unknown_agent, agent_id))

    def rollout(self, number: int) -> Deferred[Place]:
        return Deferred.fromCoroutine(self._find_rollout(number))

    async def _find_rollout(self, number: int) -> Place:
        if number not in self._namespaces:
            try:
                rollout, _ = await self._store.rollout(number)
            except NotFound:
                return Place(CLUSTER, partial(unknown_rollout, number))
            put(self._namespaces, number, rollout.namespace, MAX_REMEMBERED)
        return Place(self._namespaces[number], partial(unknown_rollout, number))
