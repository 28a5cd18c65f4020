"""
The client behind a proxy: C{Forwarded} (RFC 7239) and C{X-Forwarded-For}, believed from trusted proxies only.

Any client can write these headers, and each proxy adds to their end. So they are read from the end, up to the first
address that does not belong to a trusted proxy. A stranger may have made up all that stands before it.
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

from confd.web.auth.throttle import LOOPBACK, IPAddress, parse_peer

#: The addresses that a request came through, the nearest last; C{None} for an unknown one.
Hops = tuple[IPAddress | None, ...]

#: Hops that are read, from the nearest: a client behind more proxies is not found.
MAX_HOPS = 32

#: An address as a proxy writes it, with or without a port (RFC 7239 section 6).
_NODE = re.compile(r"\[([0-9A-Fa-f:.]{2,45})\](?::[\w.-]+)?|([0-9.]{7,15})(?::[\w.-]+)?|([0-9A-Fa-f:.]{2,45})")

#: A parameter of C{Forwarded}, and its end; a comma begins another hop (RFC 7239 section 4). Every quantifier is
#: possessive, so that a failed match takes linear time.
_PAIR = re.compile(r'[ \t]*+(?:(\w++)=(?:"((?:[^"\\]|\\.)*+)"|([^",;\s]++)))?+[ \t]*+([;,]|\Z)')

_NAMES = (b"Forwarded", b"X-Forwarded-For")


@frozen
class Proxies:
    """
    The trusted proxies.

    @ivar networks: their addresses. A network of loopback includes every client of a unix socket.
    """

    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    def trusts(self, peer: IAddress | None) -> bool:
        """Tell whether a peer is a trusted proxy."""
        return bool(self.networks) and peer is not None and self._has(_address(peer))

    def hops(self, peer: IAddress | None, headers: Headers) -> Hops | None:
        """
        Return the hops that the headers name, at most the nearest L{MAX_HOPS}; none for a peer that is not trusted.

        @return: C{None} if the headers are invalid or contradict each other.
        """
        if not (self.networks and self.trusts(peer) and _are_in(headers)):
            return ()
        ways = [
            read(b",".join(lines).decode("latin-1"))
            for name, read in zip(_NAMES, (_standard, _customary), strict=True)
            if (lines := headers.getRawHeaders(name))
        ]
        return () if not ways else ways[0] if ways[0] == ways[-1] else None

    def same_for_all(self, headers: Headers) -> bool:
        """Tell whether a request with these headers means the same from a trusted proxy as from any other peer."""
        return not (self.networks and _are_in(headers))

    def caller(self, peer: IAddress | None, hops: Hops) -> IAddress | None:
        """
        Return the nearest address that is not a trusted proxy, or the farthest known address if all are trusted.

        @param hops: as L{hops} returns them.
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

    def _has(self, address: IPAddress) -> bool:
        return any(address in network for network in self.networks)


def _are_in(headers: Headers) -> bool:
    return any(map(headers.hasHeader, _NAMES))


def _address(peer: object) -> IPAddress:
    host = getattr(peer, "host", None)
    return LOOPBACK if host is None else parse_peer(host)


def _customary(text: str) -> Hops:
    return tuple(map(_node, text.rsplit(",", MAX_HOPS)[-MAX_HOPS:]))


def _standard(text: str) -> Hops | None:
    try:
        return tuple(map(_node, deque(_elements(text), MAX_HOPS)))
    except ValueError:
        return None


def _elements(text: str) -> Iterator[str]:
    """Yield the C{for} of each hop, empty where it has none."""
    at, node = 0, ""
    while True:
        match = _PAIR.match(text, at)
        if match is None:
            raise ValueError("does not follow RFC 7239")
        name, quoted, token, end = match.groups()
        if name and name.lower() == "for":
            node = quoted or token or ""
        at = match.end()
        if end != ";":
            yield node
            node = ""
        if not end:
            return


def _node(text: str) -> IPAddress | None:
    match = _NODE.fullmatch(text.strip())
    try:
        return parse_peer(match[1] or match[2] or match[3]) if match else None
    except ValueError:
        return None
