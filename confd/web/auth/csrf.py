"""Whether a page of another site sent a request through somebody's browser, which adds the credentials by itself."""

from __future__ import annotations

import re
from typing import Any

from confd.errors import Forbidden

#: What C{Sec-Fetch-Site} says of our own pages, and of what a person typed (W3C Fetch Metadata).
_OWN = (b"same-origin", b"none")

_DEFAULT_PORTS = {b"http": b"80", b"https": b"443"}
_AUTHORITY = re.compile(rb"(.*?)(?::([0-9]*))?", re.DOTALL)


def same_origin(request: Any) -> None:
    """
    Let a request pass that comes from one of our own pages, or from no page at all: only browsers say where from.

    Behind a proxy that ends TLS the scheme may differ from ours, so that host and port decide.

    @raise Forbidden: C{cross_site}.
    """
    get = request.requestHeaders.getRawHeaders
    [host] = get(b"Host") or [b""]
    foreign = [origin for origin in get(b"Origin") or () if not _is_of(origin.lower(), host.lower())]
    if foreign or any(site not in _OWN for site in get(b"Sec-Fetch-Site") or ()):
        raise Forbidden(
            "cross_site",
            "A page of another site asked for this change; use the dashboard itself, and let a proxy in front of it "
            "pass the Host header on.",
        )


def _is_of(origin: bytes, host: bytes) -> bool:
    scheme, _, authority = origin.partition(b"://")
    port = _DEFAULT_PORTS.get(scheme)
    return port is not None and _with_port(authority, port) == _with_port(host, port)


def _with_port(authority: bytes, default: bytes) -> tuple[bytes, bytes]:
    match = _AUTHORITY.fullmatch(authority)
    assert match is not None
    return match[1], match[2] or default
