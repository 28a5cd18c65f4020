"""The number of open connections, in all and from one source."""

from __future__ import annotations

from collections import Counter

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from confd.web.auth.throttle import HERE


class ConnectionLimits:
    """Counts the open connections, and refuses more than the limits allow."""

    log = Logger()

    def __init__(self, most: int, from_one: int, refused: Counter[str]) -> None:
        """
        @param most: connections at the same time.
        @param from_one: connections from one source other than this machine; 0 sets no limit.
        @param refused: counts the refused connections by limit, C{all} or C{address}.
        """
        self._most, self._from_one, self._refused = most, from_one, refused
        self._sources: Counter[str] = Counter()
        self._taken = 0
        self._full = False
        self._emptied: Deferred[None] | None = None

    def __len__(self) -> int:
        return self._taken

    def take(self, source: str, many: bool = False) -> bool:
        """
        Take a place for a connection, to be freed later; return C{False} if a limit is reached.

        @param many: whether the source is a proxy, with many clients behind it.
        """
        if self._taken >= self._most:
            self._refused["all"] += 1
            if not self._full:
                self.log.warn("refusing connections: all {limit} are in use", limit=self._most)
            self._full = True
            return False
        self._full = False
        if self._from_one and not (many or source == HERE) and self._sources[source] >= self._from_one:
            self._refused["address"] += 1
            self.log.debug("refused a connection: {source} already has {limit}", limit=self._from_one, source=source)
            return False
        self._taken += 1
        self._sources[source] += 1
        return True

    def free(self, source: str) -> None:
        """Free the place of a closed connection."""
        self._taken -= 1
        self._sources[source] -= 1
        if not self._sources[source]:
            del self._sources[source]
        if self._emptied is not None and not self._taken:
            emptied, self._emptied = self._emptied, None
            emptied.callback(None)

    def emptied(self) -> Deferred[None]:
        """Return a Deferred that fires when no connection is left; call it once."""
        if not self._taken:
            return succeed(None)
        self._emptied = Deferred()
        return self._emptied
