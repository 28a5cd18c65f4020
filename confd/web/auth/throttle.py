"""Limits on wrong passwords and on changes, for each source and each identity (OWASP API2, API4)."""

from __future__ import annotations

import ipaddress
import math
from functools import lru_cache

from twisted.internet.interfaces import IAddress, IReactorTime

from confd.errors import TooMany
from confd.runtime.lru import put
from confd.runtime.metrics import Metrics
from confd.runtime.signal import Signal

#: Sources whose failures are remembered, and pairs of a source and a name that have succeeded.
MAX_FAILING_ADDRESSES, MAX_KNOWN_ADDRESSES = 16_384, 65_536

#: The source of this machine: its programs, and the requests that a proxy on it passes on.
HERE = ""

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

LOOPBACK = ipaddress.IPv4Address("127.0.0.1")

_MINUTE_SECONDS = 60.0


class Buckets:
    """Token buckets, one for each key: C{per_minute} tokens at once, which come back evenly in a minute."""

    def __init__(self, clock: IReactorTime, per_minute: int, most: int) -> None:
        """
        @param most: buckets that are kept; the least recently used goes first.
        """
        self._clock, self._per_minute, self._most = clock, per_minute, most
        #: When each bucket is full again, in seconds of the clock.
        self._full_at: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._full_at)

    def wait(self, key: str) -> int:
        """Return the seconds until a bucket has a token; 0 if it has one now."""
        # With one token less, the bucket would need longer than a minute to fill up.
        left = self._full_at.get(key, 0) - self._clock.seconds() - _MINUTE_SECONDS + _MINUTE_SECONDS / self._per_minute
        return math.ceil(left) if left > 1e-6 else 0

    def take(self, key: str) -> None:
        """Take a token out of a bucket."""
        full_at = max(self._full_at.get(key, 0), self._clock.seconds()) + _MINUTE_SECONDS / self._per_minute
        put(self._full_at, key, full_at, self._most)


class Throttle:
    """
    Limits the wrong credentials of each source.

    A source above its limit gets 429 for any credentials, so it learns nothing. Names that the source has proved before
    stay usable: agents behind one router do not suffer for each other. On this machine right credentials always work,
    because a proxy on it speaks for all its clients. Memory is bounded: the oldest failure is forgotten first.

    @ivar lockouts: gets C{(source,)} at each request that is refused.
    """

    def __init__(self, clock: IReactorTime, per_minute: int) -> None:
        """
        @param per_minute: failures of one source; 0 sets no limit.
        """
        self._failures = Buckets(clock, per_minute, MAX_FAILING_ADDRESSES) if per_minute else None
        self._known: dict[tuple[str, str], None] = {}
        self.lockouts = Signal()
        self._refused = 0

    def expose(self, metrics: Metrics) -> None:
        """Add the metric of throttled requests."""
        metrics.counter(
            "confd_logins_throttled",
            "Requests answered 429 after too many wrong credentials from their address.",
            lambda: {(): self._refused},
        )

    def succeed(self, source: str, name: str) -> None:
        """
        Record that a request proved to come from C{name}.

        @raise TooMany: the source has failed too often, and has not proved this name before.
        """
        if not self.knows(source, name):
            self._check(source)
            put(self._known, (source, name), None, MAX_KNOWN_ADDRESSES)

    def knows(self, source: str, name: str) -> bool:
        """Tell whether L{succeed} would change nothing and raise nothing."""
        return self._failures is None or source == HERE or (source, name) in self._known

    def fail(self, source: str) -> None:
        """
        Record wrong credentials.

        @raise TooMany: the source has failed too often before.
        """
        if self._failures is not None:
            self._check(source)
            self._failures.take(source)

    def _check(self, source: str) -> None:
        wait = 0 if self._failures is None else self._failures.wait(source)
        if wait:
            self._refused += 1
            self.lockouts.notify(source)
            raise TooMany(
                "too_many_failures",
                f"Too many wrong credentials came from this address; try again in {wait} seconds.",
                retry_after=wait,
            )


class Allowance:
    """Limits the changes that each identity may request."""

    def __init__(self, clock: IReactorTime, per_minute: int) -> None:
        """
        @param per_minute: changes of one identity; 0 sets no limit.
        """
        self._per_minute = per_minute
        self._changes = Buckets(clock, per_minute, MAX_FAILING_ADDRESSES) if per_minute else None

    def use(self, name: str) -> None:
        """
        Record that an identity requests a change.

        @raise TooMany: it has requested too many.
        """
        if self._changes is None:
            return
        wait = self._changes.wait(name)
        if wait:
            raise TooMany(
                "too_many_changes",
                f"{name} requested more than {self._per_minute} changes in a minute; try again in {wait} seconds.",
                retry_after=wait,
            )
        self._changes.take(name)


def source_of(peer: IAddress | None) -> str:
    """Return where a client is: an IPv4 address, the IPv6 network of one subscriber (/64), or L{HERE}."""
    host = getattr(peer, "host", None)
    return HERE if host is None else _source(host)


@lru_cache(maxsize=4096)
def _source(host: str) -> str:
    address = parse_peer(host)
    if address.is_loopback:
        return HERE
    return str(address if address.version == 4 else ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))


def parse_peer(host: str) -> IPAddress:
    """
    Parse the address of a peer. Its zone is dropped, and an IPv4 address mapped into IPv6 becomes IPv4 again.

    @raise ValueError: C{host} is not an address.
    """
    address = ipaddress.ip_address(host.partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address
