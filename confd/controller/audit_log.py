"""Attempts that changed nothing, written behind: no answer waits for it, and no flood of them fills the disk."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from attrs import evolve, frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredLock, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from confd.audit import Attempt, AuditOutcome
from confd.codec.headers import rfc3339
from confd.errors import ConfdError, Forbidden, TooMany, Unauthenticated
from confd.interfaces import IAuditStore
from confd.runtime.timing import Periodic
from confd.web.auth.basic import IAuditor

#: Seconds between two writes.
WRITE_INTERVAL_SECONDS = 1.0

#: Attempts without the admin's credentials, or above a limit, that get an entry of their own between two writes.
UNAUTHENTICATED_ENTRIES_MAX = 3

#: Attempts that wait with an entry of their own while the store is unusable.
MAX_WAITING = 1000


@frozen
class _Sum:
    """Several attempts that were refused alike, for which there is one entry."""

    first: datetime
    last: Attempt
    count: int

    def ending(self, outcome: str) -> AuditOutcome:
        told = f"the last of {self.count} refused alike since {rfc3339(self.first)}, of which no other has an entry"
        return AuditOutcome(self.last, outcome, told if self.count > 1 else "")


@implementer(IAuditor)
class AuditLog(Service):
    """
    Puts refusals on record.

    Those of the admin have an entry each. Anybody can be turned away for want of credentials, or for asking too often,
    any number of times: of these a few a second have one each, and the others of the same outcome one together, which
    says how many they were. While the store is unusable they wait, in bounded memory, likewise summed up. A process
    that is killed takes those of its last second with it; what was changed is on record with the change.
    """

    log = Logger()

    def __init__(self, store: IAuditStore, clock: IReactorTime, now: Callable[[], datetime]) -> None:
        """
        @param now: the wall clock.
        """
        self._store = store
        self.now = now
        self._waiting: list[AuditOutcome] = []
        self._sums: dict[str, _Sum] = {}
        self._at_the_door = 0
        self._one_at_a_time = DeferredLock()
        self._writer = Periodic(clock, self.flush, lambda: WRITE_INTERVAL_SECONDS)

    def startService(self) -> None:
        """Begin to write behind."""
        super().startService()
        self._writer.startService()

    def stopService(self) -> Deferred[None]:
        """Fires when all of them are on disk, or nothing can be written."""
        super().stopService()
        stopped = maybeDeferred(self._writer.stopService).addCallback(lambda _: self.flush())
        return stopped.addCallback(lambda _: self._count_the_lost())

    def refused(self, attempt: Attempt, error: Exception) -> None:
        """L{IAuditor.refused}."""
        outcome = error.code if isinstance(error, ConfdError) else "internal_error"
        at_the_door = isinstance(error, (Unauthenticated, Forbidden, TooMany))
        self._at_the_door += at_the_door
        if len(self._waiting) >= MAX_WAITING or (at_the_door and self._at_the_door > UNAUTHENTICATED_ENTRIES_MAX):
            self._sum(outcome, _Sum(attempt.made_at, attempt, 1))
        else:
            self._waiting.append(AuditOutcome(attempt, outcome))

    def flush(self) -> Deferred[None]:
        """Fires when what was refused until now is on disk, or cannot be written; then it waits for the next time."""
        return self._one_at_a_time.run(lambda: Deferred.fromCoroutine(self._flush()))

    async def _flush(self) -> None:
        waiting, sums = self._waiting, self._sums
        self._waiting, self._sums, self._at_the_door = [], {}, 0
        if not waiting and not sums:
            return
        try:
            await self._store.record([*waiting, *(each.ending(outcome) for outcome, each in sums.items())])
        except ConfdError:
            # The store tells of its own trouble.
            later, self._sums = self._sums, sums
            for outcome, each in later.items():
                self._sum(outcome, each)
            self._waiting = waiting + self._waiting

    def _sum(self, outcome: str, more: _Sum) -> None:
        there = self._sums.get(outcome)
        self._sums[outcome] = more if there is None else evolve(more, first=there.first, count=there.count + more.count)

    def _count_the_lost(self) -> None:
        lost = len(self._waiting) + sum(each.count for each in self._sums.values())
        if lost:
            self.log.error("{count} refused attempts to change something are not on record", count=lost)
