"""The API document as a path, and the page on which people read it and try it out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define
from twisted.internet.interfaces import IReactorTime

from confd.codec import strict_json
from confd.web.api.endpoint import Answer, AnyQuery, Call, endpoint
from confd.web.auth.basic import Role
from confd.web.openapi.docs import Docs
from confd.web.openapi.document import describe
from confd.web.static import POLICY, Assets

#: The page is Swagger UI, which sets styles of its own, and has its pictures in its style sheet.
_SWAGGER_POLICY = f"{POLICY}; style-src 'self' 'unsafe-inline'; img-src 'self' data:"

_SWAGGER = {
    "/swagger/index.html": "index.html",
    "/swagger/start.js": "start.js",
    "/swagger/swagger-ui-bundle.js": "swagger-ui-bundle.js",
    "/swagger/swagger-ui.css": "swagger-ui.css",
}


def documented(
    clock: IReactorTime, title: str, apis: Sequence[object], document: Mapping[str, Any]
) -> tuple[object, ...]:
    """
    The APIs of a role, and what tells of them.

    @param document: the JSON Schema of the configuration documents that the role takes.
    """
    told = ApiDocument()
    everything = (*apis, told, Assets(clock, "confd.web.openapi.swagger", _SWAGGER, Role.ANYONE, _SWAGGER_POLICY))
    described = describe(title, everything, document)
    told.body = strict_json.encode(described)
    told.below = strict_json.encode({**described, "servers": [{"url": "../"}]})
    return everything


@define(eq=False)
class ApiDocument:
    """
    C{/openapi.json} and C{/swagger/doc.json}.

    @ivar body: the document, which also tells of this path, so that it is made after it.
    @ivar below: the document for a path one level down.
    """

    body: bytes = b""
    below: bytes = b""

    @endpoint(
        "GET",
        "/openapi.json",
        Role.ANYONE,
        "This document.",
        query=AnyQuery,
        docs=Docs({200: dict[str, Any]}, tag="ops"),
    )
    async def openapi(self, call: Call) -> Answer:
        """OpenAPI 3.1."""
        return Answer(self.body)

    @endpoint(
        "GET",
        "/swagger/doc.json",
        Role.ANYONE,
        "This document, where the Go system has it.",
        query=AnyQuery,
        docs=Docs({200: dict[str, Any]}, tag="ops"),
    )
    async def swagger(self, call: Call) -> Answer:
        """The same, but for the servers: their addresses are relative to the document."""
        return Answer(self.below)
