"""Responses that the server sends without routing a request, and the headers of every response."""

from __future__ import annotations

from twisted.web.http import datetimeToString

from confd.web.api.errors import error_body
from confd.web.server.headers import canonical

#: Headers of every response; pages replace the policy with a wider one.
SECURITY_HEADERS = {
    "Server": "confd",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}

_SERVER, *_OTHERS = [(canonical(name.encode()), [text.encode()]) for name, text in SECURITY_HEADERS.items()]
#: The headers of every response in their order. Responses share the lists.
_COMMON: dict[bytes, list[bytes]] = {**dict([_SERVER]), b"Date": [], **dict(_OTHERS), b"X-Request-Id": []}

_PHRASES = {
    400: "Bad Request",
    403: "Forbidden",
    408: "Request Timeout",
    413: "Content Too Large",
    431: "Request Header Fields Too Large",
}


def common_headers(request_id: str, date: bytes) -> dict[bytes, list[bytes]]:
    """Return the headers of a response that the others are added to."""
    return _COMMON | {b"Date": [date], b"X-Request-Id": [request_id.encode()]}


def refusal(status: int, code: str, message: str, request_id: str) -> bytes:
    """Return the bytes of an error response that ends its connection."""
    body = error_body(code, message, request_id)
    headers = SECURITY_HEADERS | {
        "Date": datetimeToString().decode("ascii"),
        "Connection": "close",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "X-Request-ID": request_id,
    }
    lines = [f"HTTP/1.1 {status} {_PHRASES[status]}", *(f"{name}: {text}" for name, text in headers.items()), "", ""]
    return "\r\n".join(lines).encode("ascii") + body
