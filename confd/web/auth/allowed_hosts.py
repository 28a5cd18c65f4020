"""
The names by which clients may address a site: the C{Host} header, checked before any handler runs.

A web page can make its own name resolve to an address of this machine (DNS rebinding). The browser that shows the page
then sends requests here, and gives the responses to the page. Only the C{Host} header gives such a page away.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from attrs import frozen
from twisted.internet.interfaces import IAddress

#: A C{Host} without a port means the port of http or https (RFC 9110 section 4.2).
_DEFAULT_PORTS = (80, 443)

#: Characters of the longest host name (RFC 1035), and of a name in an error.
_MAX_NAME_CHARS, _MAX_SHOWN_CHARS = 253, 80

#: With a dot at the end of the name, brackets and a port.
_MAX_HOST_CHARS = _MAX_NAME_CHARS + 8

_AUTHORITY = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[^\[\]:]*)(?::([0-9]*))?", re.IGNORECASE)

_NAME = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*", re.IGNORECASE)


@frozen
class HostPattern:
    """
    An entry of C{ALLOWED_HOSTS}.

    @ivar name: in lower case, without a dot at its end; an IPv6 address in brackets; C{"*"} for any.
    @ivar port: C{None} for any.
    @ivar subdomains: whether names below this one match, too.
    """

    name: str
    port: int | None = None
    subdomains: bool = False

    @classmethod
    def parse(cls, text: str) -> HostPattern:
        """
        Parse one entry, with or without a port: a host name, an address, C{*}, or C{.example.com} for a whole domain.

        @raise ValueError: with the forms that an entry may have.
        """
        try:
            # An IPv6 address needs no brackets where no port follows.
            return cls(_spelled(IPv6Address(text)))
        except ValueError:
            pass
        host = _split(text.removeprefix("."))
        if host is None or not (host[0] == "*" or host[0].startswith("[") or _is_name(host[0])):
            raise ValueError(
                f"{text!r} is not a host; write controller, ctl.example.com:8080, .example.com, 10.0.0.7 or [fd00::7]"
            )
        return cls(*host, subdomains=text.startswith("."))

    def match(self, name: str, port: int | None) -> bool:
        """Tell whether the pattern matches a name and a port, as L{_split} returns them."""
        if self.port is not None and self.port != port and (port is not None or self.port not in _DEFAULT_PORTS):
            return False
        return self.name in ("*", name) or (self.subdomains and name.endswith(f".{self.name}"))


def host_patterns(text: str) -> tuple[HostPattern, ...]:
    """
    Parse a comma list of hosts.

    @raise ValueError: see L{HostPattern.parse}.
    """
    return tuple(HostPattern.parse(each.strip()) for each in text.split(",") if each.strip())


@frozen
class AllowedHosts:
    """
    Decides which values of C{Host} a site answers to. Local names always pass: no page can make one lead elsewhere.

    @ivar patterns: the other hosts that pass. Without patterns every host passes, unless C{local_only} is set.
    @ivar local_only: whether only local names pass without patterns, because a built-in password is in use.
    @ivar addresses: whether addresses pass under C{local_only} as well, because the site listens beyond loopback. A
        page at an address can only reach that address.
    """

    patterns: tuple[HostPattern, ...] = ()
    local_only: bool = False
    addresses: bool = False

    def refusal(self, peer: IAddress | None, host: bytes) -> tuple[str, str] | None:
        """
        Return the code and the sentence of a refusal; C{None} where the request may pass.

        @param host: the value of the header, after L{ambiguity_in_headers} has found nothing wrong with it.
        """
        if not (self.patterns or (self.local_only and hasattr(peer, "host"))) or is_local(host):
            return None
        found = _read(host)[0]
        if found is not None and any(each.match(*found) for each in self.patterns):
            return None
        shown = repr(host.decode("ascii", "replace")[:_MAX_SHOWN_CHARS])
        if self.patterns:
            return "host_not_allowed", f"This controller does not answer to the host {shown}; add it to ALLOWED_HOSTS."
        if self.addresses and found is not None and _address(found[0]) is not None:
            return None
        return (
            "not_a_local_name",
            f"With a built-in password this controller does not answer to the host {shown}, only to localhost and"
            " addresses of loopback; set ADMIN_PASSWORD and AGENT_PASSWORD, or add the host to ALLOWED_HOSTS.",
        )


def is_local(host: bytes) -> bool:
    """Tell whether C{Host} names this machine on every machine: C{localhost}, or an address of loopback."""
    return _read(host)[1]


def _read(host: bytes) -> tuple[tuple[str, int | None] | None, bool]:
    """Return a host as L{_split} does, and whether it is local. Most requests have one of a few hosts."""
    return _read_once(host) if len(host) <= _MAX_HOST_CHARS else (None, False)


@lru_cache(1024)
def _read_once(host: bytes) -> tuple[tuple[str, int | None] | None, bool]:
    found = _split(host.decode("ascii", "replace"))
    if found is None:
        return None, False
    address = _address(found[0])
    if address is None:
        return found, found[0] == "localhost" or (found[0].endswith(".localhost") and _is_name(found[0]))
    return found, address.is_loopback


def _split(text: str) -> tuple[str, int | None] | None:
    """Return the name, in lower case, and the port, if any; C{None} if the text is not a host."""
    match = _AUTHORITY.fullmatch(text) if len(text) <= _MAX_HOST_CHARS else None
    if match is None or len(match[2] or "") > 5:
        return None
    name = match[1].lower().removesuffix(".")
    if name.startswith("["):
        try:
            name = _spelled(IPv6Address(name[1:-1]))
        except ValueError:
            return None
    return name, int(match[2]) if match[2] else None


def _spelled(address: IPv6Address) -> str:
    return f"[{address.compressed}]"


def _address(name: str) -> IPv4Address | IPv6Address | None:
    if not (name.startswith("[") or name[-1:].isdigit()):
        return None
    try:
        address = ip_address(name.strip("[]"))
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_name(text: str) -> bool:
    return len(text) <= _MAX_NAME_CHARS and _NAME.fullmatch(text) is not None
