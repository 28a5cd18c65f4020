"""The endpoints of the API document, and the page on which people read it and try it out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from attrs import define
from twisted.internet.interfaces import IReactorTime

from confd.codec import strict_json
from confd.codec.strict_json import JsonObject
from confd.runtime.offload import LARGE_BYTES, Offload
from confd.web.api.endpoint import ANYONE, Answer, AnyQuery, Call, endpoint
from confd.web.openapi.docs import Docs
from confd.web.static import POLICY, Assets

#: Swagger UI sets styles of its own, and has its pictures in its style sheet.
_SWAGGER_POLICY = f"{POLICY}; style-src 'self' 'unsafe-inline'; img-src 'self' data:"

_SWAGGER = {
    "/swagger/index.html": "index.html",
    "/swagger/start.js": "start.js",
    "/swagger/swagger-ui-bundle.js": "swagger-ui-bundle.js",
    "/swagger/swagger-ui.css": "swagger-ui.css",
}


def documented(
    clock: IReactorTime, title: str, apis: Sequence[object], document: Mapping[str, object], offload: Offload
) -> tuple[object, ...]:
    """
    Return the APIs of a role, together with the endpoints that describe them.

    @param document: the JSON Schema of the configuration documents that the role takes.
    @param offload: makes the document, and reads the pages, in a thread, once a client asks for them.
    """
    served = ApiDocument(offload)
    swagger = Assets(clock, offload, "confd.web.openapi.swagger", _SWAGGER, ANYONE, _SWAGGER_POLICY)
    everything = (*apis, served, swagger)

    def describe() -> JsonObject:
        # The first client that asks for the document loads what describes it.
        from confd.web.openapi.document import describe

        return describe(title, everything, document)

    served.describe = describe
    return everything


_DOCS = Docs({200: JsonObject}, tag="ops")


@define(eq=False)
class ApiDocument:
    """
    C{/openapi.json} and C{/swagger/doc.json}.

    @ivar describe: returns the document. It describes these endpoints as well, so it is set after this object is made.
    """

    _offload: Offload
    describe: Callable[[], JsonObject] = dict
    _bodies: tuple[bytes, bytes] | None = None

    @endpoint(
        "GET",
        "/openapi.json",
        ANYONE,
        "This document.",
        query=AnyQuery,
        docs=_DOCS,
    )
    async def openapi(self, call: Call) -> Answer:
        """Return the document, in the format of OpenAPI 3.1."""
        return Answer((await self._encoded())[0])

    @endpoint(
        "GET",
        "/swagger/doc.json",
        ANYONE,
        "This document, at the path of the Go system.",
        query=AnyQuery,
        docs=_DOCS,
    )
    async def swagger(self, call: Call) -> Answer:
        """Return the document with other addresses of servers, which are relative to its path."""
        return Answer((await self._encoded())[1])

    async def _encoded(self) -> tuple[bytes, bytes]:
        """Return the document, and the document for a path one level down."""
        if self._bodies is None:
            self._bodies = await self._offload.run(LARGE_BYTES, self._encode)
        return self._bodies

    def _encode(self) -> tuple[bytes, bytes]:
        described = self.describe()
        return strict_json.encode(described), strict_json.encode({**described, "servers": [{"url": "../"}]})
