"""Parse hosts, ports and URLs (RFC 3986), by the same rules in settings and in documents."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import quote

#: Characters of the URL in a document at most.
MAX_URL_LENGTH = 2048

Network = IPv4Network | IPv6Network

_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<rest>.*)", re.DOTALL)
_HOST_NAME = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*+", re.IGNORECASE)
_PORT = re.compile(":[0-9]{1,5}")
_ZONE = re.compile(r"[A-Za-z0-9._~-]{1,32}")
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE)
_PRINTABLE = re.compile(r"[!-~]*")
_IPV4_MAPPED = IPv6Network("::ffff:0:0/96")

#: Characters of a path that need no percent-encoding.
_PATH_SAFE = "/%:@!$&'()*+,;=~-._"


def is_host_name(text: str) -> bool:
    """Return whether a text is a valid host name: labels of 1 to 63 characters, 253 in total (RFC 1035)."""
    name = text.removesuffix(".")
    return len(name) <= 253 and _HOST_NAME.fullmatch(name) is not None


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine: C{localhost} or a loopback address."""
    if host.lower().removesuffix(".") == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or bool(address.version == 6 and address.ipv4_mapped and address.ipv4_mapped.is_loopback)


def join(host: str, port: int | None) -> str:
    """Join a host and a port as in a URL, with brackets around an IPv6 address."""
    shown = f"[{host}]" if ":" in host else host
    return shown if port is None else f"{shown}:{port}"


def parse_host(text: str) -> str:
    """
    Return a host in the form that a resolver accepts: lower-case ASCII, with other scripts encoded by RFC 5891.

    @param text: a name, an IPv4 address, or an IPv6 address without brackets, optionally with a zone (RFC 4007).
    @raise ValueError: with a reason that completes a sentence after the name of the value.
    """
    if ":" in text:
        return _ipv6(text)
    name = text if text.isascii() else _encode_name(text)
    if not is_host_name(name):
        raise ValueError(
            "must be a host name of letters, digits, - and _, with single dots between labels of up to 63 characters"
        )
    if _NUMERIC_LABEL.fullmatch(name.removesuffix(".").rpartition(".")[2]):
        try:
            return str(ip_address(name.removesuffix(".")))
        except ValueError:
            raise ValueError("must be a host; it looks like an IPv4 address, but is not valid") from None
    return name.lower()


def _encode_name(text: str) -> str:
    # Its tables take 10 ms, and few names need them.
    import idna

    try:
        return idna.encode(text, uts46=True).decode("ascii")
    except idna.IDNAError:
        raise ValueError("must be a valid internationalized host name") from None


def _ipv6(text: str) -> str:
    address, percent, zone = text.partition("%")
    # A URL writes the percent sign itself as %25 (RFC 6874).
    zone = zone.removeprefix("25") if len(zone) > 2 else zone
    try:
        found = IPv6Address(address)
    except ValueError:
        raise ValueError("must be a host; it looks like an IPv6 address, but is not valid") from None
    if percent and not (_ZONE.fullmatch(zone) and found.is_link_local):
        raise ValueError("must have a zone only after a link-local address, such as fe80::1%eth0")
    return f"{found}{percent}{zone}"


def split_authority(text: str) -> tuple[str, int | None]:
    """
    Split C{host:port} into host, without brackets, and port, without checking the host.

    @return: the port is C{None} if it is missing.
    @raise ValueError: see L{parse_host}.
    """
    if "@" in text:
        raise ValueError("must not contain credentials")
    if text.startswith("["):
        host, closed, tail = text[1:].partition("]")
        if not closed or ":" not in host:
            raise ValueError("must have nothing but an IPv6 address in brackets")
    else:
        host, colon, port = text.partition(":")
        tail = colon + port
        if ":" in port:
            raise ValueError("must have brackets around an IPv6 address, such as [::1]")
    if not host:
        raise ValueError("must contain a host")
    if not tail:
        return host, None
    if not _PORT.fullmatch(tail) or not 0 < int(tail[1:]) < 65536:
        raise ValueError("must have a port from 1 to 65535 after the colon")
    return host, int(tail[1:])


def parse_address(text: str) -> tuple[str, int]:
    """
    Split C{host:port} into host and port; both are required.

    @raise ValueError: see L{parse_host}.
    """
    host, port = split_authority(text)
    if port is None:
        raise ValueError("must have a port after the host")
    return parse_host(host), port


def parse_base_url(text: str, schemes: tuple[str, ...]) -> str:
    """
    Return the normal form of a base URL: ASCII, without a slash at the end.

    @raise ValueError: see L{parse_host}.
    """
    match = _URL.fullmatch(text)
    if match is None or match["scheme"].lower() not in schemes:
        raise ValueError(f"must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}")
    if not text.isprintable() or re.search(r"[ ?#\\]", text):
        raise ValueError("must not contain a query, a fragment, spaces or backslashes")
    host, port = split_authority(match["authority"])
    return f"{match['scheme'].lower()}://{join(parse_host(host), port)}{quote(match['rest'], safe=_PATH_SAFE)}".rstrip(
        "/"
    )


def fetchable(url: object) -> str:
    """
    Return the URL of a document in the form that the worker requests.

    @raise ValueError: with a reason that completes a sentence after the name of the value.
    """
    if not isinstance(url, str):
        raise ValueError("must be a string")
    if len(url) > MAX_URL_LENGTH:
        raise ValueError(f"is longer than {MAX_URL_LENGTH} characters")
    match = _URL.fullmatch(url)
    if match is None or match["scheme"].lower() not in ("http", "https"):
        raise ValueError("must begin with http:// or https://")
    if not _PRINTABLE.fullmatch(url):
        raise ValueError("must be ASCII without spaces and control characters; percent-encode all others")
    host, _ = split_authority(match["authority"])
    if "%" in host:
        raise ValueError("must not contain a zone or percent-encoding in its host")
    if ":" in host:
        _ipv6(host)
    elif not is_host_name(host):
        raise ValueError(
            "must be a host name of letters, digits, - and _, with single dots between labels of up to 63 characters"
        )
    path = match["rest"].partition("#")[0]
    slash = "" if path.startswith("/") else "/"
    return f"{match['scheme'].lower()}://{match['authority']}{slash}{path}"


def parse_network(text: str) -> Network:
    """
    Return an address or a network. An IPv4-mapped IPv6 network becomes an IPv4 network (RFC 4291 section 2.5.5.2).

    @raise ValueError: if the text is neither.
    """
    if "%" in text:
        raise ValueError(f"{text!r} has a zone, which a network cannot have")
    found = ip_network(text)
    if found.version == 6 and found.subnet_of(_IPV4_MAPPED):
        return IPv4Network((int(found.network_address) & 0xFFFFFFFF, found.prefixlen - 96))
    return found
