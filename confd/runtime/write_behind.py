"""Gather values in memory, and write them together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from confd.errors import ConfdError

K = TypeVar("K")
V = TypeVar("V")


def _newer(old: V, new: V) -> V:
    return new


class WriteBehind(Service, Generic[K, V]):
    """
    Gathers values by key, and writes all of them a while after the first one.

    Values that cannot be written are tried again, merged with what came since. A stop waits for the write under way and
    writes the rest. A process that is killed loses the values of the last interval.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        interval: float,
        write: Callable[[Mapping[K, V]], Deferred[None]],
        what: str,
        merge: Callable[[V, V], V] = _newer,
    ) -> None:
        """
        @param interval: seconds from the first value to the write, and from a failed write to the next one.
        @param write: fires once the values are on disk. The store logs its own problems.
        @param what: names the values in the log, in the plural.
        @param merge: returns the value in the place of an older and a newer one of the same key; by default the newer.
        """
        self._clock, self._interval, self._write = clock, interval, write
        self._what, self._merge = what, merge
        self._gathered: dict[K, V] = {}
        self._taken: dict[K, V] = {}
        self._writing = False
        self._one_at_a_time = DeferredLock()
        self._timer: IDelayedCall | None = None

    def __len__(self) -> int:
        """Return the number of keys with a value that is not on disk."""
        return len(self._gathered) + sum(key not in self._gathered for key in self._taken)

    def __bool__(self) -> bool:
        return True

    def get(self, key: K) -> V | None:
        """Return a value that is not on disk yet, C{None} where all of its key is."""
        return self._gathered.get(key, self._taken.get(key))

    def put(self, key: K, value: V) -> None:
        """Gather a value. After the stop of the service it is written at once."""
        self._gather(key, value)
        self._schedule()

    def discard(self, key: K) -> None:
        """Forget a value that no write has taken yet."""
        self._gathered.pop(key, None)

    def flush(self) -> Deferred[None]:
        """Return a L{Deferred} that fires once all values gathered before this call are written, or cannot be."""
        return self._one_at_a_time.run(lambda: Deferred.fromCoroutine(self._flush()))

    def startService(self) -> None:
        super().startService()
        self._schedule()

    def stopService(self) -> Deferred[None]:
        super().stopService()
        self._stop_timer()
        return self.flush().addCallback(lambda _: self._report_loss())

    def _schedule(self) -> None:
        if not self._gathered or self._timer is not None or self._writing:
            return
        if self.running:
            self._timer = self._clock.callLater(self._interval, self.flush)
        else:
            self.flush()

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    async def _flush(self) -> None:
        self._stop_timer()
        if not self._gathered:
            return
        self._taken, self._gathered, self._writing = self._gathered, {}, True
        try:
            await self._write(self._taken)
        except Exception as error:
            newer, self._gathered = self._gathered, self._taken
            for key, value in newer.items():
                self._gather(key, value)
            if not isinstance(error, ConfdError):
                self.log.failure("cannot write {what}; trying again", what=self._what)
        self._taken, self._writing = {}, False
        if self.running:
            self._schedule()

    def _gather(self, key: K, value: V) -> None:
        self._gathered[key] = self._merge(self._gathered[key], value) if key in self._gathered else value

    def _report_loss(self) -> None:
        if len(self):
            self.log.error("{count} {what} are lost: they could not be written", count=len(self), what=self._what)
