"""What the registry looks after once a second."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from attrs import define
from twisted.internet.defer import Deferred, gatherResults

from confd.controller.agents.newcomers import Newcomers
from confd.controller.interfaces import IAgentStore
from confd.errors import ConfdError, Unavailable
from confd.reports import HeardElsewhere


@define(eq=False)
class Rounds:
    """
    Finds agents that fell silent, that other controllers heard, and that expired.

    @ivar sweep: looks for agents that fell silent; may raise L{Unavailable}.
    @ivar heard: shows what other controllers heard of agents.
    @ivar forget: deletes an agent.
    """

    _store: IAgentStore
    _newcomers: Newcomers
    _sweep: Callable[[], None]
    _heard: Callable[[HeardElsewhere], Awaitable[None]]
    _forget: Callable[[str], Awaitable[object]]

    async def run(self) -> None:
        """Do one round. A part that fails is tried again in the next round; the store logs its own problems."""
        try:
            self._sweep()
            await self._heard(await self._store.heard())
        except Unavailable:
            # The intervals are not loaded yet, or the store cannot be read.
            pass
        await self._expire(self._newcomers.expired())

    async def _expire(self, agent_ids: Iterable[str]) -> None:
        """Forget agents that never gave a sign of life, in one transaction."""
        forgotten = [Deferred.fromCoroutine(self._expire_one(each)) for each in agent_ids]
        for each in forgotten:
            each.addErrback(lambda failure: failure.trap(ConfdError))
        await gatherResults(forgotten)

    async def _expire_one(self, agent_id: str) -> None:
        there = await self._store.find(agent_id)
        if there is None or there.last_poll is not None or there.report is not None:
            # Another controller heard it.
            self._newcomers.proven(agent_id)
        else:
            await self._forget(agent_id)
