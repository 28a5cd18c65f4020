"""The addresses that URLs of others may lead to, checked for each connection and each redirect (OWASP API7, SSRF)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from attrs import field, frozen

from confd.errors import Forbidden
from confd.runtime.addresses import is_host_name as is_host_name
from confd.runtime.addresses import parse_host, parse_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

#: Addresses that need an entry of their own: link-local, metadata services of clouds, and addresses of no host.
ALWAYS_DENIED: tuple[Network, ...] = tuple(
    ipaddress.ip_network(text)
    for text in (
        "169.254.0.0/16",
        "fe80::/10",
        "fd00:ec2::/32",  # AWS
        "fd20:ce::/32",  # Google
        "100.100.100.200/32",  # Alibaba
        "168.63.129.16/32",  # Azure
        "192.0.0.192/32",  # Oracle
        "0.0.0.0/8",
        "::/128",
        "224.0.0.0/4",
        "ff00::/8",
        "240.0.0.0/4",
    )
)

_SIX_TO_FOUR = IPv6Network("2002::/16")

#: Networks whose last 32 bits are an IPv4 address: NAT64 (RFC 6052, RFC 8215), stateless translation, IPv4-compatible.
_ENDS_IN_IPV4 = tuple(map(IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48", "::ffff:0:0:0/96", "::/96")))


@frozen
class Rules:
    """Host names and networks, as C{HIT_ALLOW} and C{HIT_DENY} list them."""

    hosts: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Rules:
        """
        Parse a comma list.

        @raise ValueError: the message names the entry that is neither a host name nor a network.
        """
        hosts, networks = set(), []
        for entry in (each.strip() for each in text.split(",")):
            if not entry:
                continue
            try:
                networks.append(parse_network(entry))
            except ValueError as error:
                if "/" in entry and "host bits" in str(error):
                    raise ValueError(f"{entry!r} has host bits set; write the first address of the network") from None
                hosts.add(_host(entry))
        return cls(frozenset(hosts), tuple(networks))

    def __bool__(self) -> bool:
        return bool(self.hosts or self.networks)

    def match(self, host: str, address: Address) -> bool:
        """Tell whether the rules name a host or an address."""
        return _plain(host) in self.hosts or _within(address, self.networks)


@frozen
class AddressPolicy:
    """
    Decides which addresses a URL may lead to.

    If C{allow} has entries, only these pass. C{deny} wins over C{allow}. An address in L{ALWAYS_DENIED} needs a host
    name, or a network that lies inside the listed one. A wide network such as 0.0.0.0/0 does not allow it.

    @ivar refusal: the sentence of the error; C{{host}} stands for the host.
    """

    allow: Rules = field(factory=Rules)
    deny: Rules = field(factory=Rules)
    refusal: str = "/hit may not reach {host}; HIT_ALLOW and HIT_DENY decide."

    def check(self, host: str, addresses: list[Address]) -> None:
        """
        Check all addresses of a host.

        @raise Forbidden: an address is denied. The message names the host only, not its addresses.
        """
        for address in addresses:
            for form in _forms(address):
                if not self._may_reach(host, form):
                    raise Forbidden("address_denied", self.refusal.format(host=host))

    def _may_reach(self, host: str, address: Address) -> bool:
        if self.deny.match(host, address):
            return False
        if _within(address, ALWAYS_DENIED):
            narrow = Rules(self.allow.hosts, tuple(filter(_inside_denied, self.allow.networks)))
            return narrow.match(host, address)
        return not self.allow or self.allow.match(host, address)


def _host(entry: str) -> str:
    try:
        if ":" in entry or not entry.isascii():
            raise ValueError("not as a document can name it")
        return _plain(parse_host(entry))
    except ValueError:
        raise ValueError(f"{entry!r} is neither a host name nor a CIDR such as 10.0.0.0/8") from None


def _plain(host: str) -> str:
    return host.lower().rstrip(".")


def _within(address: Address, networks: tuple[Network, ...]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def _inside_denied(network: Network) -> bool:
    return any(
        network.version == denied.version and network.subnet_of(denied)  # type: ignore[arg-type]
        for denied in ALWAYS_DENIED
    )


def _forms(address: Address) -> Iterator[Address]:
    """Yield an address and the IPv4 address inside it; of a mapped IPv4 address only the latter."""
    if isinstance(address, IPv4Address):
        yield address
        return
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
        return
    yield address
    number = int(address)
    if address in _SIX_TO_FOUR:
        yield IPv4Address((number >> 80) & 0xFFFFFFFF)
    elif address.teredo is not None:
        yield from address.teredo
    elif number > 1 and _within(address, _ENDS_IN_IPV4):
        yield IPv4Address(number & 0xFFFFFFFF)
