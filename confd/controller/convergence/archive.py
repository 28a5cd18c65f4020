"""What is kept of versions that are too old for more."""

from __future__ import annotations

import msgspec
from attrs import asdict
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from confd.codec import strict_json
from confd.codec.headers import rfc3339
from confd.controller.interfaces import IReportStore
from confd.errors import ConfdError
from confd.progress import ConvergenceSummary

#: Seconds in which summaries gather for one transaction.
WRITE_INTERVAL_SECONDS = 1.0

_SUMMARY = msgspec.json.Decoder(ConvergenceSummary)


class Archive:
    """
    Summaries, written behind: publishes that follow each other closely do not wait for a transaction more each.

    One that cannot be written is given up, and a process that is killed takes those of its last second with it.
    """

    log = Logger()

    def __init__(self, store: IReportStore, clock: IReactorTime) -> None:
        self._store, self._clock = store, clock
        self._waiting: dict[tuple[str, int], ConvergenceSummary] = {}
        self._timer: IDelayedCall | None = None

    def keep(self, summary: ConvergenceSummary) -> None:
        """Keep a summary in the place of the outcomes of its version and of older ones."""
        self._waiting[summary.namespace, summary.version] = summary
        if self._timer is None:
            self._timer = self._clock.callLater(WRITE_INTERVAL_SECONDS, self.write)

    async def find(self, namespace: str, version: int) -> ConvergenceSummary | None:
        """Return the summary of a version, C{None} where none is kept."""
        waiting = self._waiting.get((namespace, version))
        if waiting is not None:
            return waiting
        stored = await self._store.summary(namespace, version)
        return None if stored is None else _SUMMARY.decode(stored)

    def write(self) -> Deferred[None]:
        """Fires when all are on disk, or cannot be."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        taken = list(self._waiting)
        if not taken:
            return succeed(None)
        done: Deferred[None] = self._store.settle([(*each, _encoded(self._waiting[each])) for each in taken])
        return done.addErrback(self._unwritten).addCallback(self._forget, taken)

    def _forget(self, _: None, taken: list[tuple[str, int]]) -> None:
        for each in taken:
            self._waiting.pop(each, None)

    def _unwritten(self, failure: Failure) -> None:
        if not failure.check(ConfdError):
            self.log.failure("summaries of versions were not written", failure)


def _encoded(summary: ConvergenceSummary) -> bytes:
    """Return what earlier releases stored, the body of GET C{/api/v1/config/convergence}: they can read it."""
    later = {"published_at": rfc3339(summary.published_at), "targeted": summary.targeted, "laggards": ()}
    return strict_json.encode(asdict(summary) | later)
