"""Error responses: one table of statuses, one type of body."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Annotated

import msgspec

from confd.codec import strict_json
from confd.errors import (
    BadGateway,
    ConfdError,
    Conflict,
    Forbidden,
    GatewayTimeout,
    Gone,
    Malformed,
    NotFound,
    PreconditionFailed,
    TokenRequired,
    TooLarge,
    TooMany,
    Unauthenticated,
    Unavailable,
    Unprocessable,
    UnsupportedType,
)

STATUS: dict[type[ConfdError], HTTPStatus] = {
    Malformed: HTTPStatus.BAD_REQUEST,
    Unauthenticated: HTTPStatus.UNAUTHORIZED,
    Forbidden: HTTPStatus.FORBIDDEN,
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    Gone: HTTPStatus.GONE,
    PreconditionFailed: HTTPStatus.PRECONDITION_FAILED,
    TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    UnsupportedType: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    Unprocessable: HTTPStatus.UNPROCESSABLE_ENTITY,
    TooMany: HTTPStatus.TOO_MANY_REQUESTS,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    BadGateway: HTTPStatus.BAD_GATEWAY,
    GatewayTimeout: HTTPStatus.GATEWAY_TIMEOUT,
}

#: Headers that come with a status.
HEADERS: dict[type[ConfdError], dict[str, str]] = {
    TokenRequired: {"WWW-Authenticate": 'Bearer realm="confd"'},
    Unauthenticated: {"WWW-Authenticate": 'Basic realm="confd", charset="UTF-8"'},
    TooMany: {"Retry-After": "1"},
    Unavailable: {"Retry-After": "1"},
}


def status_of(error: ConfdError) -> HTTPStatus:
    """Return the status of the response to an error."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def headers_of(error: ConfdError) -> Mapping[str, str]:
    """Return the headers of the response to an error."""
    if error.retry_after is not None:
        return {"Retry-After": f"{error.retry_after:.0f}"}
    return next((HEADERS[kind] for kind in type(error).__mro__ if kind in HEADERS), {})


class ErrorBody(msgspec.Struct, omit_defaults=True):
    """The body of every error: a sentence for people, a stable code for programs, and the fields at fault."""

    error: Annotated[str, msgspec.Meta(examples=["Agent 'a1' is not registered."])]
    code: Annotated[str, msgspec.Meta(examples=["unknown_agent"])]
    request_id: Annotated[str, msgspec.Meta(examples=["9f86d081884c7d65"])]
    details: Sequence[Mapping[str, strict_json.JsonValue]] = ()


def error_body(code: str, message: str, request_id: str, details: Sequence[Mapping[str, object]] = ()) -> bytes:
    """Encode an L{ErrorBody} as JSON."""
    return strict_json.encode(ErrorBody(message, code, request_id, details))
