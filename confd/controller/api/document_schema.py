"""The path of the JSON Schema that documents must match."""

from __future__ import annotations

from attrs import define, field

from confd.codec import strict_json
from confd.controller.api.change_options import CONFIGURATIONS
from confd.controller.configs.schema import Schema
from confd.web.api.endpoint import Answer, AnyQuery, Call, Scope, endpoint
from confd.web.auth.principals import Permission
from confd.web.openapi.docs import Docs

CONTENT_TYPE = "application/schema+json"


@define(eq=False)
class DocumentSchemaApi:
    """Serves the schema to editors, which complete names and explain values with it."""

    _schema: Schema
    _body: bytes = field(init=False)

    @_body.default
    def _encode(self) -> bytes:
        return strict_json.encode(dict(self._schema.source))

    @endpoint(
        "GET",
        "/api/v1/schema",
        Permission.CONFIG_READ,
        "The JSON Schema of documents.",
        query=AnyQuery,
        scope=Scope.ANY,
        docs=Docs({200: CONTENT_TYPE}, tag=CONFIGURATIONS),
    )
    async def schema(self, call: Call) -> Answer:
        """Return the schema that every document must match: the file C{CONFIG_SCHEMA}, or the built-in schema."""
        return Answer(self._body, content_type=CONTENT_TYPE)
