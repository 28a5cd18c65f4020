"""
Bring each audit entry to a sink.

The sink itself tells where to go on, so that no cursor can disagree with it. Entries come at least once: several
controllers of one database may write the same ones, and readers drop repeats by their number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from confd.audit import BEGINNING, AuditEntry
from confd.changes import REGISTERED, REPORTED, Change, Contents
from confd.codec.headers import parse_rfc3339
from confd.errors import ConfdError, Unavailable
from confd.interfaces import IAuditStore, IChangeListener
from confd.interfaces.audit_sinks import IAuditSink
from confd.runtime.metrics import Metrics, Values
from confd.runtime.timing import Backoff, Periodic

#: Entries that are written at once.
BATCH = 100

#: Longest pause between two attempts, in seconds.
RETRY_MAX_SECONDS = 30.0

#: Seconds between two looks without a hint: another controller may have added entries.
IDLE_SECONDS = 60.0

#: What agents do many times a second. No operator's attempt stands behind it, so it adds no entry.
_UNAUDITED = (REGISTERED, REPORTED)


@implementer(IChangeListener)
class AuditExporter(Service):
    """
    Writes new audit entries to a sink; a sink that is down delays no request.

    @ivar failures: failed attempts so far.
    """

    log = Logger()

    def __init__(
        self, clock: IReactorTime, now: Callable[[], datetime], store: IAuditStore, sink: IAuditSink, backoff: Backoff
    ) -> None:
        """
        @param now: the wall clock.
        @param backoff: between attempts; its cap is L{RETRY_MAX_SECONDS}.
        """
        self._now, self._store, self.sink, self._backoff = now, store, sink, backoff
        self.failures = 0
        self._newest: AuditEntry | None = None
        self._known = False
        self._waiting: tuple[int, str] | None = None
        self._reason: str | None = None
        self._loop = Periodic(clock, self._export, self._pause)

    def startService(self) -> None:
        super().startService()
        self._loop.startService()

    def stopService(self) -> Deferred[None] | None:
        super().stopService()
        return self._loop.stopService()

    def load(self, contents: Contents) -> None:
        self.wake()

    def apply(self, change: Change) -> None:
        if change.kind not in _UNAUDITED:
            self.wake()

    def wake(self) -> None:
        """Look for new entries now, unless the sink failed just before."""
        if self._reason is None:
            self._loop.hurry()

    def fact(self) -> str:
        """Return what C{/ready} says of the sink."""
        return self._reason or "entries are exported"

    def _pause(self) -> float:
        return IDLE_SECONDS if self._reason is None else self._backoff.next()

    async def _export(self) -> None:
        try:
            if not self._known:
                self._newest, self._known = await self.sink.newest(), True
                await self._check(self._newest)
            while entries := await self._next():
                await self.sink.write(entries)
                self._newest = entries[-1]
                self._backoff.reset()
        except ConfdError as error:
            self.failures += 1
            # The sink may have the entries although it did not answer.
            self._known = False
            if error.message != self._reason:
                self._reason = error.message
                self.log.warn("audit entries are not exported: {reason}", reason=error.message)
            return
        if self._reason is not None:
            self._reason = None
            self.log.info("audit entries are exported again")

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
