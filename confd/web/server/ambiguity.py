"""
Requests that two readers may take for different ones: a proxy in front of confd, and confd itself.

Stock twisted.web answers folded headers, no Host, two Hosts, and C{//path} (RFC 9112 sections 3.2, 5.2 and 11.2).
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from twisted.web.http_headers import Headers

#: Empty, dot and encoded-slash segments: two readers may resolve them to two paths (CWE-22, CWE-436).
_AMBIGUOUS_PATH = re.compile(rb"//|%2f|%5c|%00|(?:^|/)(?:\.|%2e){1,2}(?:/|$)|[^\x21-\x7e]", re.IGNORECASE)

#: A registered name, an IPv4 or an IPv6 address, and a port (RFC 3986 section 3.2).
_HOST = re.compile(rb"(?:[A-Za-z0-9._~%!$&'()*+,;=-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?")

#: A field after a chunked body: no white space before it, and no bare CR or LF in it.
_TRAILER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\x00\r\n]*")


def ambiguity_in_headers(headers: Headers, version: bytes) -> str | None:
    """
    Return a sentence that names an ambiguous C{Host} or C{Transfer-Encoding}, or C{None}.

    @param version: of the protocol, as in the request line.
    """
    hosts = headers.getRawHeaders(b"Host") or []
    if len(hosts) > 1 or (not hosts and version == b"HTTP/1.1"):
        return "The request must have exactly one Host header."
    if hosts and not _HOST.fullmatch(hosts[0]):
        return "The Host header must be a host name or an address, with or without a port."
    encodings = headers.getRawHeaders(b"Transfer-Encoding")
    # Twisted accepts any number of identity encodings beside a chunked one.
    if encodings is not None and (version != b"HTTP/1.1" or [each.lower() for each in encodings] != [b"chunked"]):
        return "The only Transfer-Encoding is chunked, in HTTP/1.1."
    return None


def ambiguity_in_path(uri: bytes) -> str | None:
    """Return a sentence that names an ambiguous path, or C{None}."""
    path = uri.partition(b"?")[0]
    if not path.startswith(b"/") or _AMBIGUOUS_PATH.search(path) or not _is_utf8(path):
        return "The path must be absolute, in UTF-8, without empty, dot or encoded-slash segments."
    return None


def is_trailer(line: bytes) -> bool:
    """Tell whether a line after a chunked body is a header field (RFC 9112 section 7.1.2)."""
    return _TRAILER.fullmatch(line) is not None


def _is_utf8(path: bytes) -> bool:
    if b"%" not in path:
        return True
    try:
        unquote_to_bytes(path).decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
