"""The worker's paths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from attrs import define

from confd.codec.headers import rfc3339
from confd.errors import BadGateway, Conflict, Forbidden, GatewayTimeout, NotFound, Unavailable
from confd.web.api.endpoint import HANDLED, Answer, AnyDocument, AnyQuery, Call, endpoint
from confd.web.auth.basic import Role
from confd.web.openapi.docs import ANY_STATUS, CONFIG_VERSION, Docs, MessageBody, Moment, Spliced
from confd.worker.current import AppliedConfig
from confd.worker.upstream import Upstream

#: What can be worked by (JSON Schema); the words of a refusal say more.
DOCUMENT: Mapping[str, Any] = {
    "type": "object",
    "required": ["url"],
    "properties": {
        "url": {
            "type": "string",
            "description": "the http or https URL that /hit fetches, without credentials",
            "maxLength": 2048,
            "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://([A-Za-z0-9._-]+|\\[[0-9A-Fa-f:.]+\\])(:[0-9]{1,5})?([/?#][!-~]*)?$",
        }
    },
}

EXAMPLE = {"url": "https://api.github.com"}


class CurrentBody(msgspec.Struct):
    """What is in force: a document and its checksum, the tag that it came with if any, and since when."""

    config: Spliced
    version: str | None
    checksum: str
    applied_at: Moment


class WorkerHealthBody(msgspec.Struct):
    """That the worker lives, and what it works by; the C{boot_id} is another one after each start."""

    status: str
    has_config: bool
    version: str | None
    boot_id: str


@define(eq=False)
class WorkerApi:
    """
    Takes configurations from the agent, and works by them for everyone.

    @ivar boot_id: made anew at each start, so that an agent sees a restart.
    """

    _in_force: AppliedConfig
    _upstream: Upstream
    _boot_id: str

    @endpoint(
        "POST",
        "/config",
        Role.AGENT,
        "Take a configuration over; X-Config-Version names it.",
        body=AnyDocument.OBJECT,
        max_body=None,
        docs=Docs(errors=(Conflict,), takes=(CONFIG_VERSION,), example=EXAMPLE, tag="configurations"),
    )
    async def take(self, call: Call) -> MessageBody:
        """409 for an older one, 422 for one that cannot be used; the old one then stays in force."""
        self._in_force.put(call.body, call.document, call.header("X-Config-Version"))
        return MessageBody("Configuration updated")

    @endpoint(
        "GET",
        "/config",
        Role.AGENT,
        "The configuration in force.",
        docs=Docs(errors=(NotFound,), tag="configurations"),
    )
    async def current(self, call: Call) -> CurrentBody:
        """What the agent compares with what it sent."""
        target = self._in_force.get()
        return CurrentBody(
            msgspec.Raw(target.document.raw), target.version, target.document.checksum, rfc3339(target.applied_at)
        )

    @endpoint(
        "GET",
        "/hit",
        Role.ANYONE,
        "GET the configured URL; its answer comes through.",
        query=AnyQuery,
        docs=Docs({ANY_STATUS: "*/*"}, (Forbidden, Unavailable, BadGateway, GatewayTimeout), tag="work"),
    )
    async def hit(self, call: Call) -> Answer:
        """Streamed, within limits."""
        await self._upstream.fetch(self._in_force.require().url, call.request)
        return HANDLED

    @endpoint(
        "GET",
        "/health",
        Role.ANYONE,
        "Whether the process lives, and what it works by.",
        query=AnyQuery,
        docs=Docs(tag="ops"),
    )
    async def health(self, call: Call) -> WorkerHealthBody:
        """The agent's drift check asks this."""
        target = self._in_force.target
        return WorkerHealthBody("ok", target is not None, None if target is None else target.version, self._boot_id)
