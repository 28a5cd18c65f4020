"""
Who sent what a proxy passes on: C{Forwarded} (RFC 7239) and C{X-Forwarded-For}, believed from trusted proxies only.

Anybody can write these headers; a proxy adds to them at their end. So they are read from the end, and no further than
to the first address that is not a trusted proxy's: what stands before it, a stranger may have made up.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network

from attrs import frozen
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress
from twisted.web.http_headers import Headers

from confd.web.auth.throttle import LOOPBACK, Plain, plain

#: Whom a request came through, the nearest last; C{None} for one whose address is not told.
Hops = tuple[Plain | None, ...]

#: Hops that are read, the nearest: an address is looked for behind no more proxies than that.
MAX_HOPS = 32

#: An address as a proxy writes it, with or without a port (RFC 7239 section 6).
_NODE = re.compile(r"\[([0-9A-Fa-f:.]{2,45})\](?::[\w.-]+)?|([0-9.]{7,15})(?::[\w.-]+)?|([0-9A-Fa-f:.]{2,45})")

#: A parameter of C{Forwarded}, and what ends it: with a comma another hop begins (RFC 7239 section 4). Every quantifier
#: is possessive, so that a match that fails takes linear time.
_PAIR = re.compile(r'[ \t]*+(?:(\w++)=(?:"((?:[^"\\]|\\.)*+)"|([^",;\s]++)))?+[ \t]*+([;,]|\Z)')

_NAMES = (b"Forwarded", b"X-Forwarded-For")


@frozen
class Proxies:
    """
    The proxies that are trusted.

    @ivar networks: where they are; one of loopback takes in who comes through a unix socket.
    """

    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    def trusts(self, peer: IAddress | None) -> bool:
        """Whether a peer is one of them."""
        return bool(self.networks) and peer is not None and self._has(_address(peer))

    def hops(self, peer: IAddress | None, headers: Headers) -> Hops | None:
        """
        Return what headers tell of the way, the nearest L{MAX_HOPS}; nothing is read for a peer that is not trusted.

        @return: C{None} where the headers cannot be read, or contradict each other.
        """
        if not (self.trusts(peer) and _are_in(headers)):
            return ()
        said = [
            read(b",".join(lines).decode("latin-1"))
            for name, read in zip(_NAMES, (_standard, _customary), strict=True)
            if (lines := headers.getRawHeaders(name))
        ]
        return () if not said else said[0] if said[0] == said[-1] else None

    def same_for_all(self, headers: Headers) -> bool:
        """Whether a request with these headers means the same from a trusted peer as from any other one."""
        return not (self.networks and _are_in(headers))

    def caller(self, peer: IAddress | None, hops: Hops) -> IAddress | None:
        """
        The nearest one on the way who is no trusted proxy; of a way that ends among them, or is not told any further,
        the last one who is known.
        """
        if not (hops and self.trusts(peer)):
            return peer
        found = here = _address(peer)
        for hop in reversed(hops):
            # The loopback of another machine is not ours.
            if hop is None or (hop.is_loopback and not found.is_loopback):
                break
            found = hop
            if not self._has(found):
                break
        if found is here:
            return peer
        return (IPv4Address if found.version == 4 else IPv6Address)("TCP", str(found), 0)

    def _has(self, address: Plain) -> bool:
        return any(address in network for network in self.networks)


def _are_in(headers: Headers) -> bool:
    return any(map(headers.hasHeader, _NAMES))


def _address(peer: object) -> Plain:
    host = getattr(peer, "host", None)
    return LOOPBACK if host is None else plain(host)


def _customary(text: str) -> Hops:
    return tuple(map(_node, text.rsplit(",", MAX_HOPS)[-MAX_HOPS:]))


def _standard(text: str) -> Hops | None:
    try:
        return tuple(map(_node, deque(_elements(text), MAX_HOPS)))
    except ValueError:
        return None


def _elements(text: str) -> Iterator[str]:
    """The C{for} of each hop, empty where it has none."""
    at, node = 0, ""
    while True:
        match = _PAIR.match(text, at)
        if match is None:
            raise ValueError("not as RFC 7239 has it")
        name, quoted, token, end = match.groups()
        if name and name.lower() == "for":
            node = quoted or token or ""
        at = match.end()
        if end != ";":
            yield node
            node = ""
        if not end:
            return


def _node(text: str) -> Plain | None:
    match = _NODE.fullmatch(text.strip())
    try:
        return plain(match[1] or match[2] or match[3]) if match else None
    except ValueError:
        return None
