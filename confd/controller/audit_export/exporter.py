"""
Bring each audit entry to a sink.

The sink itself tells where to go on, so that no cursor can disagree with it. Entries come at least once: several
controllers of one database may write the same ones, and readers drop repeats by their number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from confd.audit import BEGINNING, AuditEntry
from confd.changes import REGISTERED, REPORTED, Change, Contents
from confd.codec.headers import parse_rfc3339
from confd.errors import ConfdError, Unavailable
from confd.interfaces import IAuditStore, IChangeListener
from confd.interfaces.audit_sinks import IAuditSink
from confd.runtime.list_delivery import ListDelivery
from confd.runtime.metrics import Metrics, Values
from confd.runtime.timing import Backoff

#: Entries that are written at once.
BATCH = 100

#: Longest pause between two attempts, in seconds.
RETRY_MAX_SECONDS = 30.0

#: Seconds between two looks without a hint, with and without other controllers of the database, which may add entries.
SHARED_SECONDS, ALONE_SECONDS = 60.0, 86400.0

#: What agents do many times a second. No operator's attempt stands behind it, so it adds no entry.
_UNAUDITED = (REGISTERED, REPORTED)


@implementer(IChangeListener)
class AuditExporter(ListDelivery):
    """
    Writes new audit entries to a sink; a sink that is down delays no request.

    @ivar failures: failed attempts so far.
    """

    def __init__(
        self,
        clock: IReactorTime,
        now: Callable[[], datetime],
        store: IAuditStore,
        sink: IAuditSink,
        backoff: Backoff,
        idle_seconds: float,
    ) -> None:
        """
        @param now: the wall clock.
        @param backoff: between attempts; its cap is L{RETRY_MAX_SECONDS}.
        @param idle_seconds: between two looks without a hint.
        """
        super().__init__(clock, "audit export", backoff)
        self._now, self._store, self.sink, self._idle_seconds = now, store, sink, idle_seconds
        self.failures = 0
        self._newest: AuditEntry | None = None
        self._known = False
        self._waiting: tuple[int, str] | None = None

    def load(self, contents: Contents) -> None:
        self.wake()

    def apply(self, change: Change) -> None:
        if change.kind not in _UNAUDITED:
            self.wake()

    def fact(self) -> str:
        """Return what C{/ready} says of the sink."""
        return self.problem.reason or "entries are exported"

    def idle_seconds(self) -> float:
        return self._idle_seconds

    async def advance(self) -> bool:
        """Write the next entries."""
        try:
            if not self._known:
                self._newest, self._known = await self.sink.newest(), True
                await self._check(self._newest)
            entries = await self._next()
            if not entries:
                self.problem.end()
                return False
            await self.sink.write(entries)
            self._newest = entries[-1]
        except ConfdError:
            self.failures += 1
            # The sink may have the entries although it did not answer.
            self._known = False
            raise
        return True

    async def _next(self) -> Sequence[AuditEntry]:
        """Return the entries that follow the newest of the sink, oldest first."""
        last = self._newest
        number, previous = (0, BEGINNING) if last is None else (last.number, last.hash)
        found = await self._store.audit(BATCH, number + BATCH + 1)
        entries = [each for each in reversed(found) if each.number > number]
        self._waiting = (len(entries), entries[0].at) if entries else None
        if entries and (entries[0].number, entries[0].previous) != (number + 1, previous):
            raise self._changed(number)
        return entries

    async def _check(self, newest: AuditEntry | None) -> None:
        """Check that the database has the newest entry of the sink."""
        if newest is not None and list(await self._store.audit(1, newest.number + 1)) != [newest]:
            raise self._changed(newest.number)

    def _changed(self, number: int) -> Unavailable:
        return Unavailable(
            "audit_changed",
            f"{self.sink.name}: entry {number} of the database is not the exported one; run confdctl audit verify"
            " --against an export.",
        )

    def _age(self) -> float:
        oldest = None if self._waiting is None else parse_rfc3339(self._waiting[1])
        return 0.0 if oldest is None else max(0.0, (self._now() - oldest).total_seconds())

    def values(self) -> tuple[int, int, float]:
        """Return the entries that wait, at most L{BATCH}, the failed attempts, and the age of the oldest in seconds."""
        return (0 if self._waiting is None else self._waiting[0]), self.failures, self._age()


def expose(metrics: Metrics, exports: Sequence[AuditExporter]) -> None:
    """Add the metrics of exports."""

    def each(place: int) -> Callable[[], Values]:
        return lambda: {one.sink.name: one.values()[place] for one in exports}

    metrics.gauge(
        "confd_audit_export_entries_waiting",
        "Audit entries that a sink does not have, counted up to 100.",
        each(0),
        "sink",
    )
    metrics.counter("confd_audit_export_failures", "Failed attempts to export audit entries.", each(1), "sink")
    metrics.gauge(
        "confd_audit_export_age_seconds", "Age of the oldest audit entry that a sink does not have.", each(2), "sink"
    )
