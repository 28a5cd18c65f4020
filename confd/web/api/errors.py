"""What a caller is told when something went wrong: one table, one body."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from werkzeug.exceptions import MethodNotAllowed
from werkzeug.exceptions import NotFound as NoRoute

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

#: Headers that belong to a status.
HEADERS: dict[type[ConfdError], dict[str, str]] = {
    Unauthenticated: {"WWW-Authenticate": 'Basic realm="confd", charset="UTF-8"'},
    TooMany: {"Retry-After": "1"},
    Unavailable: {"Retry-After": "1"},
}


def status_of(error: ConfdError) -> HTTPStatus:
    """The status that an error is told with."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def headers_of(error: ConfdError) -> Mapping[str, str]:
    """The headers that belong to an error."""
    if isinstance(error, TooMany):
        return {"Retry-After": str(error.retry_after)}
    return next((HEADERS[kind] for kind in type(error).__mro__ if kind in HEADERS), {})


class ErrorBody(msgspec.Struct, omit_defaults=True):
    """The body of every error: one sentence a person can act on, a stable token, and where a field is to blame."""

    error: Annotated[str, msgspec.Meta(examples=["There is no agent 'a1'; it may have to register."])]
    code: Annotated[str, msgspec.Meta(examples=["unknown_agent"])]
    request_id: Annotated[str, msgspec.Meta(examples=["9f86d081884c7d65"])]
    details: Sequence[Mapping[str, Any]] = ()


def error_body(code: str, message: str, request_id: str, details: Sequence[Mapping[str, object]] = ()) -> bytes:
    """An L{ErrorBody} as JSON."""
    return strict_json.encode(ErrorBody(message, code, request_id, details))


def from_routing(error: BaseException | None) -> tuple[int, ConfdError, dict[str, str]]:
    """What the router refused: its status, the error to tell, and the headers that belong to it."""
    if isinstance(error, MethodNotAllowed):
        allowed = ", ".join(sorted(error.valid_methods or ()))
        told = ConfdError("method_not_allowed", f"This path does not take that method; it takes {allowed}.")
        return HTTPStatus.METHOD_NOT_ALLOWED, told, {"Allow": allowed}
    if isinstance(error, NoRoute):
        return HTTPStatus.NOT_FOUND, ConfdError("not_found", "There is nothing at this path."), {}
    return HTTPStatus.BAD_REQUEST, ConfdError("bad_request", "The request cannot be routed."), {}
