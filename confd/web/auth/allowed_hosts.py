"""
The names by which clients may address a site: the C{Host} header, checked before a request is acted on.

A web page can have its own name resolve to an address of this machine (DNS rebinding). The browser of whoever reads the
page then sends requests here, and shows the page the responses. Only the C{Host} header gives such a page away.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address

from attrs import frozen
from twisted.internet.interfaces import IAddress

#: Where C{Host} has no port, it is the one of http or of https (RFC 9110 section 4.2).
_DEFAULT_PORTS = (80, 443)

#: The longest name of a host (RFC 1035), and what an error repeats of one.
_LONGEST_NAME, _SHOWN = 253, 80

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
        Read one entry: a host name, C{.example.com} with all names below it, an address, or C{*}; each with a port or
        without.

        @raise ValueError: saying what to write instead.
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
        """Return whether it matches a name and a port as L{_split} returns them."""
        if self.port is not None and self.port != port and (port is not None or self.port not in _DEFAULT_PORTS):
            return False
        return self.name in ("*", name) or (self.subdomains and name.endswith(f".{self.name}"))


def host_patterns(text: str) -> tuple[HostPattern, ...]:
    """
    Read a comma list of hosts.

    @raise ValueError: see L{HostPattern.parse}.
    """
    return tuple(HostPattern.parse(each.strip()) for each in text.split(",") if each.strip())


@frozen
class AllowedHosts:
    """
    Decides which values of C{Host} a site answers to. Local names always pass, as no page can make one lead elsewhere.

    @ivar patterns: the only other ones; none of them lets everything pass, unless C{local_only} is set.
    @ivar local_only: whether only local names pass while there are no patterns: a built-in password is current.
    @ivar addresses: whether addresses pass then, too: the site listens beyond loopback, and no page is at an address
        that is not its own.
    """

    patterns: tuple[HostPattern, ...] = ()
    local_only: bool = False
    addresses: bool = False

    def refusal(self, peer: IAddress | None, host: bytes) -> tuple[str, str] | None:
        """
        Return the code and the sentence of a refusal; C{None} where the request may pass.

        @param host: the value of the header, as L{BoundedChannel<confd.web.server.channel.BoundedChannel>} lets it
            pass.
        """
        if not (self.patterns or (self.local_only and hasattr(peer, "host"))) or is_local(host):
            return None
        text = host.decode("ascii", "replace")
        found = _split(text)
        shown = repr(text[:_SHOWN])
        if self.patterns:
            if found is not None and any(each.match(*found) for each in self.patterns):
                return None
            return "host_not_allowed", f"This controller does not answer to the host {shown}; add it to ALLOWED_HOSTS."
        if self.addresses and found is not None and _address(found[0]) is not None:
            return None
        return (
            "not_a_local_name",
            f"With a built-in password this controller does not answer to the host {shown}, only to localhost and"
            " addresses of loopback; set ADMIN_PASSWORD and AGENT_PASSWORD, or add the host to ALLOWED_HOSTS.",
        )


def is_local(host: bytes) -> bool:
    """Return whether C{Host} names this machine, whoever resolves it: C{localhost}, or an address of loopback."""
    found = _split(host.decode("ascii", "replace"))
    if found is None:
        return False
    address = _address(found[0])
    if address is None:
        return found[0] == "localhost" or (found[0].endswith(".localhost") and _is_name(found[0]))
    return address.is_loopback


def _split(text: str) -> tuple[str, int | None] | None:
    """The name, comparable, and the port; C{None} for what is neither."""
    match = _AUTHORITY.fullmatch(text) if len(text) <= _LONGEST_NAME + 8 else None
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
    try:
        address = ip_address(name.strip("[]"))
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_name(text: str) -> bool:
    return len(text) <= _LONGEST_NAME and _NAME.fullmatch(text) is not None
