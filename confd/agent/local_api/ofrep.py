"""
Feature flags by the OpenFeature Remote Evaluation Protocol.

A flag is a member of one object of the applied document, and has the same value for every context.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import msgspec
from attrs import frozen

from confd.agent.local_api.applied import NOT_APPLIED, AppliedDocument, headers_of, matches
from confd.codec import strict_json
from confd.codec.strict_json import JsonObject, JsonValue
from confd.codec.values import FormatError, resolve
from confd.errors import ConfdError, Malformed, NotFound, TooLarge, Unavailable, UnsupportedType
from confd.model import Configuration
from confd.web.api.endpoint import Answer, AnyQuery, Call, endpoint
from confd.web.auth.principals import Permission
from confd.web.openapi.docs import ETAG, IF_NONE_MATCH, Docs

#: Bytes of an evaluation context.
MAX_CONTEXT_BYTES = 65536

#: Types of the values that are flags.
_KINDS = bool | int | float | str | dict


class Evaluation(msgspec.Struct):
    """
    The body of both endpoints.

    @ivar context: ignored.
    """

    context: JsonValue = None


class Flag(msgspec.Struct):
    """
    An evaluated flag.

    @ivar variant: the tag of the configuration; some SDKs need a variant.
    """

    key: str
    value: bool | int | float | str | JsonObject
    variant: str
    reason: str = "STATIC"
    metadata: dict[str, str] = {}


class FlagsBody(msgspec.Struct):
    """All flags."""

    flags: list[Flag]


def _error_body(error: ConfdError, parts: Mapping[str, object]) -> dict[str, object]:
    """Return the body of an error as OFREP defines it."""
    code = "GENERAL"
    if isinstance(error, Malformed | UnsupportedType | TooLarge):
        code = "PARSE_ERROR"
    elif isinstance(error, NotFound):
        code = "FLAG_NOT_FOUND"
    return {**parts, "errorCode": code, "errorDetails": error.message}


@frozen(eq=False)
class OfrepApi:
    """
    The endpoints of OFREP.

    @ivar pointer: JSON pointer of the object whose members are flags.
    """

    _document: AppliedDocument
    _pointer: str

    @endpoint(
        "POST",
        "/ofrep/v1/evaluate/flags",
        Permission.AGENT_SERVE,
        "Evaluate all flags.",
        query=AnyQuery,
        body=Evaluation,
        max_body=MAX_CONTEXT_BYTES,
        optional_body=True,
        docs=Docs(
            {200: FlagsBody, 304: None}, (Unavailable,), takes=(IF_NONE_MATCH,), gives=(ETAG,), tag="feature flags"
        ),
        error_body=_error_body,
    )
    async def flags(self, call: Call) -> Answer:
        """Return every member that is a flag: arrays and C{null} are not."""
        configuration = self._require()
        if matches(call.header("If-None-Match"), configuration):
            return Answer(status=304, headers=headers_of(configuration))
        body = await self._document.render(configuration, partial(_all, self._pointer, str(configuration.tag)))
        return Answer(body, headers=headers_of(configuration))

    @endpoint(
        "POST",
        "/ofrep/v1/evaluate/flags/<path:key>",
        Permission.AGENT_SERVE,
        "Evaluate one flag.",
        query=AnyQuery,
        body=Evaluation,
        max_body=MAX_CONTEXT_BYTES,
        optional_body=True,
        docs=Docs({200: Flag}, (NotFound, Unavailable), tag="feature flags"),
        error_body=_error_body,
    )
    async def flag(self, call: Call, key: str) -> Answer:
        """Return one flag, or 404 with C{FLAG_NOT_FOUND}."""
        configuration = self._require()
        write = partial(_one, self._pointer, str(configuration.tag), key)
        return Answer(await self._document.render(configuration, write), headers=headers_of(configuration))

    def _require(self) -> Configuration:
        configuration = self._document.configuration
        if configuration is None:
            raise Unavailable("not_applied", NOT_APPLIED)
        return configuration


def _members(pointer: str, document: object) -> Mapping[str, object]:
    """Return the object at a pointer; an empty one if the document has none there."""
    try:
        found = resolve(document, pointer)
    except FormatError:
        return {}
    return found if isinstance(found, Mapping) else {}


def _all(pointer: str, tag: str, document: object) -> bytes:
    members = _members(pointer, document).items()
    return strict_json.encode(
        FlagsBody(
            [Flag(key, value, tag) for key, value in members if isinstance(value, bool | int | float | str | dict)]
        )
    )


def _one(pointer: str, tag: str, key: str, document: object) -> bytes:
    value = _members(pointer, document).get(key)
    if not isinstance(value, _KINDS):
        raise NotFound("flag_not_found", f"No flag has the key {key!r}; flags are the members of {pointer!r}.")
    return strict_json.encode(Flag(key, value, tag))
