"""The worker's paths."""

from __future__ import annotations

import msgspec
from attrs import define

from confd.web.endpoint import HANDLED, Answer, AnyDocument, AnyQuery, Call, endpoint
from confd.web.guard import Role
from confd.wire import rfc3339
from confd.worker.target import InForce
from confd.worker.upstream import Upstream


@define(eq=False)
class WorkerApi:
    """
    Takes configurations from the agent, and works by them for everyone.

    @ivar boot_id: made anew at each start, so that an agent sees a restart.
    """

    _in_force: InForce
    _upstream: Upstream
    _boot_id: str

    @endpoint(
        "POST",
        "/config",
        Role.AGENT,
        "Take a configuration over; X-Config-Version names it.",
        body=AnyDocument.OBJECT,
        max_body=None,
    )
    async def take(self, call: Call) -> object:
        """409 for an older one, 422 for one that cannot be used; the old one then stays in force."""
        self._in_force.put(call.body, call.document, call.header("X-Config-Version"))
        return {"message": "Configuration updated"}

    @endpoint("GET", "/config", Role.AGENT, "The configuration in force.")
    async def current(self, call: Call) -> object:
        """What the agent compares with what it sent."""
        target = self._in_force.get()
        return {
            "config": msgspec.Raw(target.document.raw),
            "version": target.version,
            "checksum": target.document.checksum,
            "applied_at": rfc3339(target.applied_at),
        }

    @endpoint("GET", "/hit", Role.ANYONE, "GET the configured URL; its answer comes through.", query=AnyQuery)
    async def hit(self, call: Call) -> Answer:
        """Streamed, within limits."""
        await self._upstream.fetch(self._in_force.require().url, call.request)
        return HANDLED

    @endpoint("GET", "/health", Role.ANYONE, "Whether the process lives, and what it works by.", query=AnyQuery)
    async def health(self, call: Call) -> object:
        """The agent's drift check asks this."""
        target = self._in_force.target
        return {
            "status": "ok",
            "has_config": target is not None,
            "version": None if target is None else target.version,
            "boot_id": self._boot_id,
        }
