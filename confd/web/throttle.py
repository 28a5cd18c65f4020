"""How often somebody may be wrong about a password: guessing is slowed, and nobody else is (OWASP API2, API4)."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Hashable
from functools import lru_cache

from twisted.internet.interfaces import IAddress, IReactorTime

from confd.bounded import remember
from confd.metrics import Metrics
from confd.model import TooMany

#: Sources that are remembered for their failures, and pairs of a source and a name for a success.
MOST_FAILING, MOST_KNOWN = 16_384, 65_536

#: The source that is this machine: its programs, and whatever a proxy on it passes on.
HERE = ""

Plain = ipaddress.IPv4Address | ipaddress.IPv6Address

LOOPBACK = ipaddress.IPv4Address("127.0.0.1")

_MINUTE = 60.0


class Throttle:
    """
    Counts failures by where they come from: so many at once, and one more for each part of a minute that passes.

    A source that has used them up is answered 429 without a look at what it sends, so that it learns nothing; but for
    names that it proved to be before, which go on as if nothing were: the agents behind one router suffer for none of
    them. From this machine right credentials are always looked at: a proxy on it speaks for everybody. Other sources
    are never touched. Time is monotonic, and memory bounded: what failed longest ago is forgotten first.
    """

    def __init__(self, clock: IReactorTime, per_minute: int) -> None:
        """
        @param per_minute: failures of one source; 0 sets no limit.
        """
        self._clock, self._per_minute = clock, per_minute
        #: When a source will have made up for all of its failures.
        self._even_at: dict[Hashable, float] = {}
        self._known: dict[Hashable, None] = {}
        self._refused = 0

    def expose(self, metrics: Metrics) -> None:
        """Show the figures."""
        metrics.counter(
            "confd_logins_throttled",
            "Requests that were answered 429: wrong credentials came from their address too often.",
            lambda: {(): self._refused},
        )

    def succeed(self, source: str, name: str) -> None:
        """
        Somebody proved to be C{name}.

        @raise TooMany: their source has failed too often to be believed, and was not known as C{name} before.
        """
        if not self._per_minute or source == HERE:
            return
        pair = source, name
        if pair not in self._known:
            if source in self._even_at:
                self._check(source)
            remember(self._known, pair, None, MOST_KNOWN)

    def knows(self, source: str, name: str) -> bool:
        """Whether L{succeed} would change nothing, and raise nothing."""
        return not self._per_minute or source == HERE or (source, name) in self._known

    def fail(self, source: str) -> None:
        """
        Somebody was wrong.

        @raise TooMany: their source has been so too often already.
        """
        if not self._per_minute:
            return
        self._check(source)
        even_at = max(self._even_at.get(source, 0), self._clock.seconds()) + _MINUTE / self._per_minute
        remember(self._even_at, source, even_at, MOST_FAILING)

    def _check(self, source: str) -> None:
        wait = self._even_at.get(source, 0) - self._clock.seconds() - _MINUTE + _MINUTE / self._per_minute
        # A failure more, and it would take more than a minute to make up for all of them.
        if wait > 1e-6:
            self._refused += 1
            raise TooMany(
                "too_many_failures",
                f"Wrong credentials came from this address too often; try again in {math.ceil(wait)} seconds.",
                retry_after=math.ceil(wait),
            )


def source_of(peer: IAddress | None) -> str:
    """Where a caller is: an IPv4 address, an IPv6 network as one subscriber has it (/64), or L{HERE}."""
    host = getattr(peer, "host", None)
    return HERE if host is None else _source(host)


@lru_cache(maxsize=4096)
def _source(host: str) -> str:
    address = plain(host)
    if address.is_loopback:
        return HERE
    return str(address if address.version == 4 else ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))


def plain(host: str) -> Plain:
    """
    The address of a peer, without its zone; an IPv6 socket that also takes IPv4 names peers of that in its own way.

    @raise ValueError: it is none.
    """
    address = ipaddress.ip_address(host.partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address
