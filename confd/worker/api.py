"""The endpoints of the worker."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from attrs import define

from confd.codec import strict_json
from confd.codec.headers import RETURN_REPRESENTATION, prefers_representation, rfc3339
from confd.errors import BadGateway, Conflict, Forbidden, GatewayTimeout, NotFound, Unavailable
from confd.web.api.endpoint import ANYONE, HANDLED, Answer, AnyDocument, AnyQuery, Call, endpoint
from confd.web.auth.principals import POLL, Permission
from confd.web.openapi.docs import (
    ANY_STATUS,
    CONFIG_VERSION,
    PREFER,
    PREFERENCE_APPLIED,
    Docs,
    MessageBody,
    Moment,
    Spliced,
)
from confd.worker.current import CurrentConfig
from confd.worker.upstream import Upstream

#: The JSON Schema of a document that the worker accepts; its error messages are more precise.
DOCUMENT: Mapping[str, object] = {
    "type": "object",
    "required": ["url"],
    "properties": {
        "url": {
            "type": "string",
            "description": "The http or https URL that /hit fetches, without credentials.",
            "maxLength": 2048,
            "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://([A-Za-z0-9._-]+|\\[[0-9A-Fa-f:.]+\\])(:[0-9]{1,5})?([/?#][!-~]*)?$",
        }
    },
}

EXAMPLE = {"url": "https://api.github.com"}


class CurrentBody(msgspec.Struct):
    """The current document, its checksum, its tag if it came with one, and the time since which it is current."""

    config: Spliced
    version: str | None
    checksum: str
    applied_at: Moment


class WorkerHealthBody(msgspec.Struct):
    """The state of the worker. The C{boot_id} is new after each start, so that an agent notices a restart."""

    status: str
    has_config: bool
    version: str | None
    boot_id: str


@define(eq=False)
class WorkerApi:
    """
    Takes configurations from the agent, and fetches the current URL for every caller.

    @ivar boot_id: new after each start.
    """

    _current: CurrentConfig
    _upstream: Upstream
    _boot_id: str

    @endpoint(
        "POST",
        "/config",
        Permission.AGENT_SERVE,
        "Replace the current configuration; X-Config-Version is its tag.",
        body=AnyDocument.OBJECT,
        max_body=None,
        docs=Docs(
            {200: (MessageBody, CurrentBody)},
            errors=(Conflict,),
            takes=(CONFIG_VERSION, PREFER),
            gives=(PREFERENCE_APPLIED,),
            example=EXAMPLE,
            tag="configurations",
        ),
    )
    async def take(self, call: Call) -> MessageBody | Answer:
        """
        Answer 409 to an older configuration and 422 to an unusable one; the current one then stays.

        An agent that prefers the representation reads in the response what the worker then holds.
        """
        self._current.put(call.body, call.document, call.header("X-Config-Version"))
        if prefers_representation(call.request.requestHeaders.getRawHeaders(b"Prefer", [])):
            applied = {"Preference-Applied": RETURN_REPRESENTATION}
            return Answer(strict_json.encode(self._body()), headers=applied)
        return MessageBody("Configuration updated")

    @endpoint(
        "GET",
        "/config",
        POLL,
        "The current configuration.",
        docs=Docs(errors=(NotFound,), tag="configurations"),
    )
    async def current(self, call: Call) -> CurrentBody:
        """Return the configuration as the agent sent it: the agent compares the two."""
        return self._body()

    def _body(self) -> CurrentBody:
        config = self._current.get()
        return CurrentBody(
            msgspec.Raw(config.document.raw), config.version, config.document.checksum, rfc3339(config.applied_at)
        )

    @endpoint(
        "GET",
        "/hit",
        ANYONE,
        "Fetch the URL of the current configuration, and pass its response through.",
        query=AnyQuery,
        docs=Docs({ANY_STATUS: "*/*"}, (Forbidden, Unavailable, BadGateway, GatewayTimeout), tag="work"),
    )
    async def hit(self, call: Call) -> Answer:
        """Stream the response, within the limits of time and size."""
        await self._upstream.fetch(self._current.require().url, call.request)
        return HANDLED

    @endpoint(
        "GET",
        "/health",
        ANYONE,
        "Whether the process is alive, and its current configuration.",
        query=AnyQuery,
        docs=Docs(tag="ops"),
    )
    async def health(self, call: Call) -> WorkerHealthBody:
        """Return what the agent needs to notice a restart and a drift."""
        config = self._current.config
        return WorkerHealthBody("ok", config is not None, None if config is None else config.version, self._boot_id)
