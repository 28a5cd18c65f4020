"""Where the requests of a controller act."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from attrs import define, field
from twisted.internet.defer import Deferred
from zope.interface import implementer

from confd.access.change_requests import unknown_change
from confd.controller.agents.registry import Registry
from confd.controller.configs.reader import ConfigReader
from confd.controller.configs.snapshot import unknown_namespace
from confd.controller.interfaces import IRolloutStore
from confd.errors import ConfdError, NotFound
from confd.interfaces import IChangeRequestStore
from confd.reports import unknown_agent
from confd.rollouts.errors import unknown_rollout
from confd.runtime.lru import put
from confd.web.api.places import IPlaces
from confd.web.auth.principals import CLUSTER, Place

#: Rollouts and changes whose namespaces are remembered.
MAX_REMEMBERED = 1024


@implementer(IPlaces)
@define(eq=False)
class Places:
    """Finds agents, and rollouts and changes in the store; their namespaces never change."""

    _registry: Registry
    _reader: ConfigReader
    _rollouts: IRolloutStore
    _changes: IChangeRequestStore
    _namespaces: dict[tuple[str, int], str] = field(factory=dict, init=False)

    def namespace(self, name: str) -> Place:
        return Place(name, partial(unknown_namespace, name))

    def agent(self, agent_id: str) -> Deferred[Place]:
        return Deferred.fromCoroutine(self._find_agent(agent_id))

    async def _find_agent(self, agent_id: str) -> Place:
        record = self._registry.find(agent_id)
        if record is None:
            await self._reader.look()
            record = self._registry.find(agent_id)
        return Place(CLUSTER if record is None else record.namespace, partial(unknown_agent, agent_id))

    def rollout(self, number: int) -> Deferred[Place]:
        async def read() -> str:
            rollout, _ = await self._rollouts.rollout(number)
            return str(rollout.namespace)

        return Deferred.fromCoroutine(self._find("rollout", number, read, partial(unknown_rollout, number)))

    def change(self, number: int) -> Deferred[Place]:
        async def read() -> str:
            return str((await self._changes.change_request(number)).namespace)

        return Deferred.fromCoroutine(self._find("change", number, read, partial(unknown_change, number)))

    async def _find(
        self, kind: str, number: int, read: Callable[[], Awaitable[str]], unknown: Callable[[], ConfdError]
    ) -> Place:
        """Return the place of a numbered object, and remember its namespace."""
        key = kind, number
        if key not in self._namespaces:
            try:
                put(self._namespaces, key, await read(), MAX_REMEMBERED)
            except NotFound:
                return Place(CLUSTER, unknown)
        return Place(self._namespaces[key], unknown)
