"""How often somebody may be wrong about a password, or change something: nobody else is slowed (OWASP API2, API4)."""

from __future__ import annotations

import ipaddress
import math
from functools import lru_cache

from twisted.internet.interfaces import IAddress, IReactorTime

from confd.errors import TooMany
from confd.runtime.lru import put
from confd.runtime.metrics import Metrics

#: Sources that are remembered for their failures, and pairs of a source and a name for a success.
MAX_FAILING_ADDRESSES, MAX_KNOWN_ADDRESSES = 16_384, 65_536

#: The source that is this machine: its programs, and whatever a proxy on it passes on.
HERE = ""

Plain = ipaddress.IPv4Address | ipaddress.IPv6Address

LOOPBACK = ipaddress.IPv4Address("127.0.0.1")

_MINUTE = 60.0


class Buckets:
    """So many at once for each of many, and one more for each part of a minute that passes (token buckets)."""

    def __init__(self, clock: IReactorTime, per_minute: int, most: int) -> None:
        """
        @param most: of them that are remembered; the one that took longest ago is forgotten first.
        """
        self._clock, self._per_minute, self._most = clock, per_minute, most
        #: When each will have made up for all that it took.
        self._even_at: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._even_at)

    def wait(self, whose: str) -> int:
        """Seconds until there is one more, 0 if there is one now."""
        # One more, and it would take longer than a minute to make up for all of them.
        left = self._even_at.get(whose, 0) - self._clock.seconds() - _MINUTE + _MINUTE / self._per_minute
        return math.ceil(left) if left > 1e-6 else 0

    def take(self, whose: str) -> None:
        """Take one."""
        even_at = max(self._even_at.get(whose, 0), self._clock.seconds()) + _MINUTE / self._per_minute
        put(self._even_at, whose, even_at, self._most)


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
        self._failures = Buckets(clock, per_minute, MAX_FAILING_ADDRESSES) if per_minute else None
        self._known: dict[tuple[str, str], None] = {}
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
        if not self.knows(source, name):
            self._check(source)
            put(self._known, (source, name), None, MAX_KNOWN_ADDRESSES)

    def knows(self, source: str, name: str) -> bool:
        """Whether L{succeed} would change nothing, and raise nothing."""
        return self._failures is None or source == HERE or (source, name) in self._known

    def fail(self, source: str) -> None:
        """
        Somebody was wrong.

        @raise TooMany: their source has been so too often already.
        """
        if self._failures is not None:
            self._check(source)
            self._failures.take(source)

    def _check(self, source: str) -> None:
        wait = 0 if self._failures is None else self._failures.wait(source)
        if wait:
            self._refused += 1
            raise TooMany(
                "too_many_failures",
                f"Wrong credentials came from this address too often; try again in {wait} seconds.",
                retry_after=wait,
            )


class Allowance:
    """How many changes each identity may ask for: so many at once, and one more for each part of a minute."""

    def __init__(self, clock: IReactorTime, per_minute: int) -> None:
        """
        @param per_minute: changes of one identity; 0 sets no limit.
        """
        self._per_minute = per_minute
        self._changes = Buckets(clock, per_minute, MAX_FAILING_ADDRESSES) if per_minute else None

    def use(self, name: str) -> None:
        """
        Somebody asks for one.

        @raise TooMany: they have asked too often.
        """
        if self._changes is None:
            return
        wait = self._changes.wait(name)
        if wait:
            raise TooMany(
                "too_many_changes",
                f"{name} asked for more than {self._per_minute} changes in a minute; try again in {wait} seconds.",
                retry_after=wait,
            )
        self._changes.take(name)


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
