"""Summaries of old versions."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from confd.codec import strict_json
from confd.codec.headers import rfc3339
from confd.controller.convergence.progress import ConvergenceSummary
from confd.controller.interfaces import IReportStore
from confd.runtime.write_behind import WriteBehind

#: Seconds in which summaries gather for one transaction.
WRITE_INTERVAL_SECONDS = 1.0

_SUMMARY = msgspec.json.Decoder(ConvergenceSummary)


class Archive(WriteBehind[tuple[str, int], ConvergenceSummary]):
    """Summaries in the place of outcomes. Publishes that follow each other closely share one transaction."""

    def __init__(self, store: IReportStore, clock: IReactorTime) -> None:
        super().__init__(clock, WRITE_INTERVAL_SECONDS, self._settle, "summaries of versions")
        self._store = store

    def keep(self, summary: ConvergenceSummary) -> None:
        """Keep a summary in the place of the outcomes of its version and of older ones."""
        self.put((summary.namespace, summary.version), summary)

    async def find(self, namespace: str, version: int) -> ConvergenceSummary | None:
        """Return the summary of a version, C{None} where none is kept."""
        waiting = self.get((namespace, version))
        if waiting is not None:
            return waiting
        stored = await self._store.summary(namespace, version)
        return None if stored is None else _SUMMARY.decode(stored)

    def _settle(self, summaries: Mapping[tuple[str, int], ConvergenceSummary]) -> Deferred[None]:
        return self._store.settle([(*key, _encoded(summary)) for key, summary in summaries.items()])


def _encoded(summary: ConvergenceSummary) -> bytes:
    """Return what earlier releases stored, the body of GET C{/api/v1/config/convergence}: they can read it."""
    stored = msgspec.to_builtins(summary)
    del stored["rollout"]
    later = {"published_at": rfc3339(summary.published_at), "targeted": summary.targeted, "laggards": ()}
    return strict_json.encode(stored | later)
