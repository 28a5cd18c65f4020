"""Attempts that changed nothing, written behind: no answer waits for it, and no flood of them fills the disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from attrs import evolve, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from confd.audit import Attempt, AuditOutcome
from confd.codec.headers import rfc3339
from confd.errors import ConfdError, Forbidden, TooMany, Unauthenticated
from confd.interfaces import IAuditStore
from confd.runtime.write_behind import WriteBehind
from confd.web.auth.basic import IAuditor

#: Seconds in which refusals gather for one transaction.
WRITE_INTERVAL_SECONDS = 1.0

#: Attempts without the admin's credentials, or above a limit, that get an entry of their own between two writes.
UNAUTHENTICATED_ENTRIES_MAX = 3

#: Attempts that wait with an entry of their own while the store is unusable.
MAX_WAITING = 1000


@frozen
class _RefusedGroup:
    """
    Attempts that were refused alike, which share one entry.

    @ivar first: when the first one was made.
    """

    first: datetime
    last: Attempt
    outcome: str
    count: int = 1

    def merged(self, newer: _RefusedGroup) -> _RefusedGroup:
        return evolve(newer, first=self.first, count=self.count + newer.count)

    def entry(self) -> AuditOutcome:
        detail = f"the last of {self.count} refused alike since {rfc3339(self.first)}; the others have no entry"
        return AuditOutcome(self.last, self.outcome, detail if self.count > 1 else "")


@implementer(IAuditor)
class AuditLog(WriteBehind[int | str, _RefusedGroup]):
    """
    Records refused attempts.

    Each refusal of the admin has an entry. Callers without credentials, and callers that ask too often, can be refused
    any number of times: a few of these per second have an entry each, and the others of the same outcome share one,
    which tells their number. While the store is unusable, refusals wait in bounded memory and share entries likewise.
    Changes that were made are recorded with the change.

    The keys are numbers for entries of one attempt, and outcomes for shared entries.
    """

    def __init__(
        self,
        store: IAuditStore,
        clock: IReactorTime,
        now: Callable[[], datetime],
        recorded: Callable[[], object] = lambda: None,
    ) -> None:
        """
        @param now: the wall clock.
        @param recorded: called after entries were written.
        """
        super().__init__(clock, WRITE_INTERVAL_SECONDS, self._record, "audit entries of refusals", _RefusedGroup.merged)
        self._store, self.now, self._recorded = store, now, recorded
        self._number = self._at_the_door = 0

    def refused(self, attempt: Attempt, error: Exception) -> None:
        outcome = error.code if isinstance(error, ConfdError) else "internal_error"
        at_the_door = isinstance(error, (Unauthenticated, Forbidden, TooMany))
        self._at_the_door += at_the_door
        self._number += 1
        shared = len(self) >= MAX_WAITING or (at_the_door and self._at_the_door > UNAUTHENTICATED_ENTRIES_MAX)
        self.put(outcome if shared else self._number, _RefusedGroup(attempt.made_at, attempt, outcome))

    def _record(self, refusals: Mapping[int | str, _RefusedGroup]) -> Deferred[None]:
        self._at_the_door = 0
        shared_last = sorted(refusals, key=lambda key: isinstance(key, str))
        recorded = self._store.record([refusals[key].entry() for key in shared_last])
        return recorded.addCallback(lambda _: self._recorded()).addCallback(lambda _: None)
