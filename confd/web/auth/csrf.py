"""Cross-site requests: a page of another site uses a browser that adds the credentials by itself."""

from __future__ import annotations

import re

from confd.errors import Forbidden
from confd.web.server.request import BoundedRequest

#: C{Sec-Fetch-Site} of our own pages, and of an address that a person typed (W3C Fetch Metadata).
_OWN_SITES = (b"same-origin", b"none")

_DEFAULT_PORTS = {b"http": b"80", b"https": b"443"}
_AUTHORITY = re.compile(rb"(.*?)(?::([0-9]*))?", re.DOTALL)


def same_origin(request: BoundedRequest) -> None:
    """
    Check that a request comes from a page of this site or from no page: only browsers send an C{Origin}.

    Host and port decide. Behind a proxy that terminates TLS, the scheme of the page differs from ours.

    @raise Forbidden: C{cross_site}.
    """
    get = request.requestHeaders.getRawHeaders
    [host] = get(b"Host") or [b""]
    foreign = [origin for origin in get(b"Origin") or () if not _is_of(origin.lower(), host.lower())]
    if foreign or any(site not in _OWN_SITES for site in get(b"Sec-Fetch-Site") or ()):
        raise Forbidden(
            "cross_site",
            "A page of another site sent this change; use the dashboard itself, and let a proxy in front of it pass on"
            " the Host header.",
        )


def _is_of(origin: bytes, host: bytes) -> bool:
    scheme, _, authority = origin.partition(b"://")
    port = _DEFAULT_PORTS.get(scheme)
    return port is not None and _with_port(authority, port) == _with_port(host, port)


def _with_port(authority: bytes, default: bytes) -> tuple[bytes, bytes]:
    match = _AUTHORITY.fullmatch(authority)
    assert match is not None
    return match[1], match[2] or default
