"""The audit log in memory."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from twisted.internet.defer import Deferred, execute
from zope.interface import implementer

from confd.access.patterns import matches
from confd.audit import BACKUP, BEGINNING, CUT_OFF, DONE, AuditEntry, AuditOutcome
from confd.codec import headers
from confd.interfaces import IAuditStore
from confd.testing.memory_rows import Rows


@implementer(IAuditStore)
class AuditRows(Rows):
    """The part of a L{confd.testing.memory.MemoryStore} that keeps the audit log."""

    def __init__(self) -> None:
        super().__init__()
        self._entries: list[AuditEntry] = []

    def record(self, endings: Sequence[AuditOutcome]) -> Deferred[None]:
        return self._write(self._record, endings)

    def audit(
        self, limit: int, before: int | None, patterns: Sequence[str] | None = None
    ) -> Deferred[Sequence[AuditEntry]]:
        older = self._entries[: None if before is None else max(before - 1, 0)]
        if patterns is not None:
            older = [each for each in older if each.namespace and any(matches(one, each.namespace) for one in patterns)]
        return execute(lambda: older[::-1][:limit])

    def last_backup(self) -> Deferred[datetime | None]:
        return execute(self._last_backup)

    def _last_backup(self) -> datetime | None:
        found: list[str] = []
        for entry in self._entries:
            if entry.action == BACKUP and entry.outcome == DONE:
                found.append(entry.at)
            elif entry.action == BACKUP and entry.outcome == CUT_OFF:
                del found[-1:]
        return headers.parse_rfc3339(found[-1]) if found else None

    def _record(self, endings: Sequence[AuditOutcome]) -> None:
        for ending in endings:
            previous = self._entries[-1].hash if self._entries else BEGINNING
            at = headers.rfc3339(ending.attempt.made_at) or ""
            self._entries.append(AuditEntry.following(len(self._entries), previous, at, ending))
