"""The applied configuration, decoded once for all readers."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from twisted.internet.defer import DeferredLock

from confd.codec import strict_json
from confd.codec.headers import entity_tags, etag
from confd.errors import Unavailable
from confd.model import Configuration
from confd.runtime.offload import Offload
from confd.web.api.endpoint import ANYONE, AnyQuery, Call, endpoint
from confd.web.openapi.docs import Docs

NOT_APPLIED = "The agent has not applied a configuration yet; try again later."


@define(eq=False)
class AppliedDocument:
    """
    The last configuration that the outputs accepted, also while a newer one is rejected or unhealthy.

    @ivar applied: returns it; C{None} before the first one.
    @ivar offload: decodes and encodes large documents in a thread.
    """

    _applied: Callable[[], Configuration | None]
    _offload: Offload
    _decoding: DeferredLock = field(factory=DeferredLock, init=False)
    _decoded: tuple[Configuration, object] | None = field(default=None, init=False)

    @property
    def configuration(self) -> Configuration | None:
        """The configuration itself."""
        return self._applied()

    async def render(self, configuration: Configuration, write: Callable[[object], bytes]) -> bytes:
        """
        Return the bytes that C{write} makes of the document.

        @param write: takes the decoded document and leaves it unchanged; it may run in a thread.
        """
        return await self._offload.run(configuration.size, write, await self._decode(configuration))

    async def _decode(self, configuration: Configuration) -> object:
        # One at a time: after a change, many readers ask for the same document at once.
        async with self._decoding:
            if self._decoded is None or self._decoded[0] is not configuration:
                raw = configuration.document.raw
                self._decoded = configuration, await self._offload.run(len(raw), strict_json.decode, raw)
            return self._decoded[1]


def matches(if_none_match: str | None, configuration: Configuration) -> bool:
    """Return whether an C{If-None-Match} header names a configuration."""
    return if_none_match is not None and not entity_tags(if_none_match).isdisjoint({"*", str(configuration.tag)})


def headers_of(configuration: Configuration) -> dict[str, str]:
    """Return the headers that name a configuration."""
    return {"ETag": etag(configuration.tag), "X-Config-Version": str(configuration.tag)}


@define(eq=False)
class AppliedEndpoint:
    """
    C{/applied}: whether an application may start.

    C{/ready} is also red without a controller, so it would hold back the application.
    """

    _applied: Callable[[], Configuration | None]

    @endpoint(
        "GET",
        "/applied",
        ANYONE,
        "The tag of the applied configuration; 503 before the first one.",
        query=AnyQuery,
        docs=Docs(errors=(Unavailable,), tag="ops"),
    )
    async def applied(self, call: Call) -> dict[str, str]:
        """
        Answer 200 as soon as any configuration is applied.

        @raise Unavailable: C{not_applied}.
        """
        configuration = self._applied()
        if configuration is None:
            raise Unavailable("not_applied", NOT_APPLIED)
        return {"version": str(configuration.tag)}
