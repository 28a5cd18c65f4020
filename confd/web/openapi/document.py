"""
The API document (OpenAPI 3.1), built from the declarations of the endpoints and their types.

So the document needs no upkeep: it describes the endpoints that are served, and no others.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import get_type_hints

import msgspec

from confd import __version__
from confd.codec.strict_json import JsonObject
from confd.errors import (
    ConfdError,
    Forbidden,
    Malformed,
    NotFound,
    TooLarge,
    TooMany,
    Unauthenticated,
    Unavailable,
    Unprocessable,
    UnsupportedType,
)
from confd.web.api.endpoint import (
    Answer,
    AnyDocument,
    AnyQuery,
    Endpoint,
    Handler,
    NamespaceQuery,
    NoQuery,
    Open,
    endpoints_of,
)
from confd.web.api.errors import HEADERS, STATUS, ErrorBody
from confd.web.api.streaming import StreamingAnswer
from confd.web.auth.principals import Permission
from confd.web.openapi.docs import HeaderDocs

_REF = "#/components/schemas/{name}"
_JSON = "application/json"

#: A variable of a path in the notation of Klein: C{<name>} or C{<int:name>}.
_VARIABLE = re.compile(r"<(?:(\w+):)?(\w+)>")

#: A segment of a path that all parties read alike, as an ECMA-262 regular expression.
_SEGMENT = r"^(?!\.{1,2}$)[^/\\]+$"

#: Markup and fields of docstrings, which are for readers of the code.
_MARKUP = re.compile(r"[A-Z]\{([^}]*)\}")
_FIELD = re.compile(r"^@.*", re.MULTILINE | re.DOTALL)
_FIELD_TEXT = re.compile(r"^@ivar (\w+?)_?: ((?:[^@]|(?<!\n)@)*)", re.MULTILINE)

_DESCRIPTION = (
    "Every response has an `X-Request-ID`, which the log repeats. Every error is an `ErrorBody`. On every path, "
    "invalid HTTP gets 400, an unknown path 404, and a method that the path does not allow 405. A request that is too "
    "slow or too large gets 408, 413 or 431, and a defect of confd 500."
)

_SECURITY = {
    "admin": {
        "type": "http",
        "scheme": "basic",
        "description": "An administrator: ADMIN_USERNAME.",
    },
    "agent": {
        "type": "http",
        "scheme": "basic",
        "description": "An agent: AGENT_USERNAME, or its own id and token. A worker takes WORKER_USERNAME.",
    },
}

#: Chapters at the end of the document: readers seldom look for them.
_LAST_TAGS = ("ops", "pages")


def describe(title: str, apis: Sequence[object], document: Mapping[str, object]) -> JsonObject:
    """
    Build the API document of a role.

    @param document: the JSON Schema of configuration documents.
    @raise TypeError: an endpoint declares no response.
    """
    declared = [each for api in apis for each in endpoints_of(api)]
    types = _Types([kind for each, handler in declared for kind in _kinds(each, handler)])
    paths: dict[str, JsonObject] = {}
    for each, handler in sorted(declared, key=lambda pair: (pair[0].path, pair[0].method)):
        operation = _operation(each, handler, types)
        paths.setdefault(_VARIABLE.sub(r"{\2}", each.path), {})[each.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": title,
            "description": _DESCRIPTION,
            "version": __version__,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "./"}],
        "tags": [{"name": name} for name in sorted({each.docs.tag for each, _ in declared}, key=_chapter)],
        "paths": paths,
        "components": {
            "schemas": types.components | {"Document": document},
            "responses": {kind.__name__: _refusal(kind, types) for kind in STATUS},
            "securitySchemes": _SECURITY,
        },
    }


def _chapter(tag: str) -> tuple[bool, str]:
    return tag in _LAST_TAGS, tag


class _Types:
    """The schemas of types, built together, so that each has one name."""

    def __init__(self, kinds: Sequence[object]) -> None:
        kinds = list(dict.fromkeys([*kinds, ErrorBody]))
        schemas, self.components = msgspec.json.schema_components(kinds, ref_template=_REF)
        self._schemas = dict(zip(kinds, schemas, strict=True))
        for component in self.components.values():
            component["description"] = _prose(component.get("description", ""))

    def schema(self, kind: object) -> Mapping[str, object]:
        """Return the schema of a type, or a reference to it."""
        if isinstance(kind, AnyDocument):
            return {"$ref": _REF.format(name="Document")}
        return {"anyOf": [*map(self.schema, kind)]} if isinstance(kind, tuple) else self._schemas[kind]


def _answers(declared: Endpoint, handler: Handler) -> Mapping[int | str, object]:
    if declared.docs.answers:
        return declared.docs.answers
    returned = get_type_hints(handler).get("return")
    if returned in (None, object, Answer, StreamingAnswer):
        raise TypeError(
            f"{declared.method} {declared.path}: neither docs nor the annotation of the handler describes the response"
        )
    return {200: returned}


def _kinds(declared: Endpoint, handler: Handler) -> Iterator[object]:
    """Yield the types of the bodies of an endpoint."""
    if declared.body is not None and not isinstance(declared.body, AnyDocument):
        yield declared.body
    for kind in _answers(declared, handler).values():
        if not isinstance(kind, str | None):
            yield from kind if isinstance(kind, tuple) else (kind,)


def _operation(declared: Endpoint, handler: Handler, types: _Types) -> JsonObject:
    docs = declared.docs
    answers = _answers(declared, handler)
    responses = {str(status): _success(status, kind, docs.gives, types) for status, kind in answers.items()}
    for kind in _errors(declared):
        responses.setdefault(str(int(STATUS[kind])), {"$ref": f"#/components/responses/{kind.__name__}"})
    operation: JsonObject = {
        "operationId": re.sub(r"\W+", "_", f"{declared.method.lower()}{declared.path}").strip("_"),
        "summary": declared.summary,
        "description": _prose(handler.__doc__),
        "tags": [docs.tag],
        "security": _security(declared),
        "parameters": [*_path_parameters(declared), *_query_parameters(declared), *map(_header_parameter, docs.takes)],
        "responses": dict(sorted(responses.items())),
    }
    if declared.body is not None:
        content = {"schema": types.schema(declared.body)} | ({"example": docs.example} if docs.example else {})
        operation["requestBody"] = {"required": not declared.optional_body, "content": {_JSON: content}}
    return operation


def _errors(declared: Endpoint) -> Iterator[type[ConfdError]]:
    """Yield the errors of the dispatcher, then those of the handler."""
    if declared.needs is not Open.ANYONE:
        yield from (Unauthenticated, Forbidden, TooMany, Unavailable)
    if declared.query is not AnyQuery or declared.body is not None or declared.docs.takes:
        yield Malformed
    if declared.body is not None:
        yield from (TooLarge, UnsupportedType)
    if isinstance(declared.body, AnyDocument):
        yield Unprocessable
    if issubclass(declared.query, NamespaceQuery):
        yield from (NotFound, Unavailable)
    if _VARIABLE.search(declared.path):
        yield NotFound
    if declared.audited:
        yield Unavailable
    yield from declared.docs.errors


def _success(status: int | str, kind: object, gives: Sequence[HeaderDocs], types: _Types) -> JsonObject:
    response: JsonObject = {
        "description": HTTPStatus(status).phrase if isinstance(status, int) else "Any other status."
    }
    if gives:
        response["headers"] = {each.name: _header(each) for each in gives}
    if isinstance(kind, str):
        response["content"] = {kind: {}}
    elif kind is not None:
        response["content"] = {_JSON: {"schema": types.schema(kind)}}
    return response


def _refusal(kind: type[ConfdError], types: _Types) -> JsonObject:
    response = {
        "description": _prose(kind.__doc__),
        "content": {_JSON: {"schema": types.schema(ErrorBody)}},
    }
    headers = {name: {"required": True, "schema": {"type": "string"}} for name in HEADERS.get(kind, ())}
    return response | ({"headers": headers} if headers else {})


def _security(declared: Endpoint) -> list[dict[str, list[str]]]:
    if declared.needs is Open.ANYONE:
        return []
    serves = Permission.AGENT_SERVE in declared.permissions or declared.needs is Open.CALLER
    names = (["agent"] if serves else []) + (["admin"] if declared.needs is not Permission.AGENT_SERVE else [])
    return [{name: []} for name in names]


def _path_parameters(declared: Endpoint) -> Iterator[JsonObject]:
    for converter, name in _VARIABLE.findall(declared.path):
        schema = {"type": "integer", "minimum": 0} if converter == "int" else {"type": "string", "pattern": _SEGMENT}
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameters(declared: Endpoint) -> Iterator[JsonObject]:
    if declared.query in (NoQuery, AnyQuery):
        return
    _, components = msgspec.json.schema_components([declared.query], ref_template=_REF)
    kind, texts = components[declared.query.__name__], _texts_of_fields(declared.query)
    for name, schema in kind["properties"].items():
        description = {"description": texts[name]} if name in texts else {}
        yield {
            "name": name,
            "in": "query",
            "required": name in kind["required"],
            "schema": _without_null(schema),
            **description,
        }


def _texts_of_fields(kind: type) -> dict[str, str]:
    """Return the documentation of each field, from the docstrings of a class and of its base classes."""
    docstrings = [inspect.cleandoc(each.__doc__ or "") for each in reversed(kind.__mro__)]
    return {
        name: " ".join(_prose(text).split())
        for docstring in docstrings
        for name, text in _FIELD_TEXT.findall(docstring)
    }


def _without_null(schema: JsonObject) -> JsonObject:
    """Remove null from the schema of a parameter: a query cannot express it."""
    kinds = [_without_null(each) for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    if not kinds:
        return schema
    kept = {name: each for name, each in schema.items() if name != "anyOf" and each is not None}
    return kept | (kinds[0] if len(kinds) == 1 else {"anyOf": kinds})


def _header_parameter(header: HeaderDocs) -> JsonObject:
    return {"name": header.name, "in": "header", **_header(header)}


def _header(header: HeaderDocs) -> JsonObject:
    schema = {"type": "string"} | ({"pattern": header.pattern} if header.pattern else {})
    return {"description": header.description, "schema": schema}


def _prose(docstring: str | None) -> str:
    """Return a docstring without its markup and its fields."""
    return _MARKUP.sub(r"`\1`", _FIELD.sub("", inspect.cleandoc(docstring or ""))).strip()
