"""How many connections there may be, in all and from one source, whichever process holds them."""

from __future__ import annotations

from collections import Counter

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from confd.web.auth.throttle import HERE


class ConnectionLimits:
    """Each connection takes one while it is open."""

    log = Logger()

    def __init__(self, most: int, from_one: int, refused: Counter[str]) -> None:
        """
        @param most: at the same time.
        @param from_one: of these, from one source other than this machine; 0 sets no limit.
        @param refused: counts those that got none.
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
        Whether there is one for a connection from a source; to be freed then.

        @param many: whether that is many callers in one.
        """
        if self._taken >= self._most:
            self._refused["all"] += 1
            if not self._full:
                self.log.warn("connections are refused: {limit} are open", limit=self._most)
            self._full = True
            return False
        self._full = False
        if self._from_one and not (many or source == HERE) and self._sources[source] >= self._from_one:
            self._refused["address"] += 1
            self.log.debug(
                "a connection is refused: {limit} are open from {source}", limit=self._from_one, source=source
            )
            return False
        self._taken += 1
        self._sources[source] += 1
        return True

    def free(self, source: str) -> None:
        """A connection from a source is gone."""
        self._taken -= 1
        self._sources[source] -= 1
        if not self._sources[source]:
            del self._sources[source]
        if self._emptied is not None and not self._taken:
            emptied, self._emptied = self._emptied, None
            emptied.callback(None)

    def emptied(self) -> Deferred[None]:
        """Fires when none is taken; to be asked for once."""
        if not self._taken:
            return succeed(None)
        self._emptied = Deferred()
        return self._emptied
