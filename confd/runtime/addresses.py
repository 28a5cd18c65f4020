"""Hosts, ports and URLs: one rule for the settings of every role and for the URL of a document (RFC 3986)."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import quote

import idna

#: Characters of a URL in a document at most.
MAX_URL_LENGTH = 2048

Network = IPv4Network | IPv6Network

_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<rest>.*)", re.DOTALL)
_LABEL = re.compile(r"[a-z0-9_-]{1,63}", re.IGNORECASE)
_ZONE = re.compile(r"[A-Za-z0-9._~-]{1,32}")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE)
_PRINTABLE = re.compile(r"[!-~]*")
_MAPPED = IPv6Network("::ffff:0:0/96")

#: Characters of a path that stay as they are.
_PATH = "/%:@!$&'()*+,;=~-._"


def is_host_name(text: str) -> bool:
    """Tell whether a text can be the name of a host: labels of 1 to 63 characters, 253 in all (RFC 1035)."""
    name = text.removesuffix(".")
    return len(name) <= 253 and all(_LABEL.fullmatch(label) for label in name.split("."))


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine: C{localhost}, or an address of loopback."""
    if host.lower().removesuffix(".") == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or bool(address.version == 6 and address.ipv4_mapped and address.ipv4_mapped.is_loopback)


def join(host: str, port: int | None) -> str:
    """Write a host and a port as they stand in a URL: with brackets around an IPv6 address."""
    shown = f"[{host}]" if ":" in host else host
    return shown if port is None else f"{shown}:{port}"


def parse_host(text: str) -> str:
    """
    Return the form of a host that a resolver takes: ASCII in lower case; names of other scripts as RFC 5891 has them.

    @param text: a name, an IPv4 address, or an IPv6 address without brackets and perhaps with a zone (RFC 4007).
    @raise ValueError: saying what is wrong, in words that follow the name of a value.
    """
    if ":" in text:
        return _ipv6(text)
    try:
        name = text if text.isascii() else idna.encode(text, uts46=True).decode("ascii")
    except idna.IDNAError:
        raise ValueError("must name a host that a domain can have") from None
    if not is_host_name(name):
        raise ValueError("must name a host by letters, digits, - and _, with single dots between labels of up to 63")
    if _NUMBER.fullmatch(name.removesuffix(".").rpartition(".")[2]):
        try:
            return str(ip_address(name.removesuffix(".")))
        except ValueError:
            raise ValueError("must name a host; this one looks like an IPv4 address and is none") from None
    return name.lower()


def _ipv6(text: str) -> str:
    address, percent, zone = text.partition("%")
    # A URL writes the percent sign itself as %25 (RFC 6874).
    zone = zone.removeprefix("25") if len(zone) > 2 else zone
    try:
        found = IPv6Address(address)
    except ValueError:
        raise ValueError("must name a host; this one looks like an IPv6 address and is none") from None
    if percent and not (_ZONE.fullmatch(zone) and found.is_link_local):
        raise ValueError("must have a zone with a link-local address only, such as fe80::1%eth0")
    return f"{found}{percent}{zone}"


def split_authority(text: str) -> tuple[str, int | None]:
    """
    Return host, without brackets, and port of C{host:port}; the host is not checked.

    @return: C{None} for the port where there is none.
    @raise ValueError: see L{parse_host}.
    """
    if "@" in text:
        raise ValueError("must not hold credentials")
    if text.startswith("["):
        host, closed, tail = text[1:].partition("]")
        if not closed or ":" not in host:
            raise ValueError("must have an IPv6 address, and nothing else, in brackets")
    else:
        host, colon, port = text.partition(":")
        tail = colon + port
        if ":" in port:
            raise ValueError("must have brackets around an IPv6 address, such as [::1]")
    if not host:
        raise ValueError("must name a host")
    if not tail:
        return host, None
    if not re.fullmatch(":[0-9]{1,5}", tail) or not 0 < int(tail[1:]) < 65536:
        raise ValueError("must have a port from 1 to 65535 after the colon")
    return host, int(tail[1:])


def parse_address(text: str) -> tuple[str, int]:
    """
    Return host and port of C{host:port}, both of which must be there.

    @raise ValueError: see L{parse_host}.
    """
    host, port = split_authority(text)
    if port is None:
        raise ValueError("must have a port after the host")
    return parse_host(host), port


def parse_base_url(text: str, schemes: tuple[str, ...]) -> str:
    """
    Return the normal form of a URL that paths are appended to: in ASCII, without a slash at its end.

    @raise ValueError: see L{parse_host}.
    """
    match = _URL.fullmatch(text)
    if match is None or match["scheme"].lower() not in schemes:
        raise ValueError(f"must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}")
    if not text.isprintable() or re.search(r"[ ?#\\]", text):
        raise ValueError("must not hold a query, a fragment, spaces or backslashes")
    host, port = split_authority(match["authority"])
    return f"{match['scheme'].lower()}://{join(parse_host(host), port)}{quote(match['rest'], safe=_PATH)}".rstrip("/")


def fetchable(url: object) -> str:
    """
    Return the form in which the worker fetches the URL of a document.

    @raise ValueError: saying what is wrong, in words that follow the name of a value.
    """
    if not isinstance(url, str):
        raise ValueError("must be a string")
    if len(url) > MAX_URL_LENGTH:
        raise ValueError(f"is longer than {MAX_URL_LENGTH} characters")
    match = _URL.fullmatch(url)
    if match is None or match["scheme"].lower() not in ("http", "https"):
        raise ValueError("must begin with http:// or https://")
    if not _PRINTABLE.fullmatch(url):
        raise ValueError("must be ASCII without spaces and control characters; percent-encode the rest")
    host, _ = split_authority(match["authority"])
    if "%" in host:
        raise ValueError("must not have a zone or percent-encoding in its host")
    if ":" in host:
        _ipv6(host)
    elif not is_host_name(host):
        raise ValueError("must name a host by letters, digits, - and _, with single dots between labels of up to 63")
    path = match["rest"].partition("#")[0]
    slash = "" if path.startswith("/") else "/"
    return f"{match['scheme'].lower()}://{match['authority']}{slash}{path}"


def parse_network(text: str) -> Network:
    """
    Return an address or a network; an IPv4 network in IPv6 form becomes an IPv4 network.

    Callers are compared in IPv4 form where they have one (RFC 4291 section 2.5.5.2).

    @raise ValueError: if it is neither.
    """
    if "%" in text:
        raise ValueError(f"{text!r} has a zone, which no network can have")
    found = ip_network(text)
    if found.version == 6 and found.subnet_of(_MAPPED):
        return IPv4Network((int(found.network_address) & 0xFFFFFFFF, found.prefixlen - 96))
    return found
