"""Apply scheduled changes at their time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from confd.access.change_requests import GRACE, ChangeRequest
from confd.audit import Attempt
from confd.controller.access import change_rules
from confd.controller.access.change_requests import ChangeRequests, PendingChanges
from confd.errors import ConfdError
from confd.runtime.timing import Periodic

#: Seconds between two looks for changes that are due.
LOOK_SECONDS = 1.0


class ChangeSchedule(Periodic):
    """
    Tries each scheduled change from its time on, once a second, until it is applied or missed.

    The store decides in the transaction that publishes, so that several controllers apply a change once at most.
    """

    log = Logger()

    def __init__(
        self, clock: IReactorTime, pending: PendingChanges, changes: ChangeRequests, now: Callable[[], datetime]
    ) -> None:
        """
        @param now: the wall clock, by which changes are due.
        """
        super().__init__(clock, self._look, lambda: LOOK_SECONDS)
        self._pending, self._changes, self._now = pending, changes, now
        #: Why each due change was not applied yet, by id.
        self._reasons: dict[int, str] = {}

    def _look(self) -> Deferred[None] | None:
        due = self._pending.due(self._now())
        self._reasons = {each.id: self._reasons[each.id] for each in due if each.id in self._reasons}
        return Deferred.fromCoroutine(self._try_all([each.id for each in due])) if due else None

    async def _try_all(self, numbers: list[int]) -> None:
        for number in numbers:
            try:
                await self._try(number)
            except ConfdError as error:
                if self._reasons.get(number) != error.message:
                    self.log.warn("change {number} is due: {reason}", number=number, reason=error.message)
                self._reasons[number] = error.message

    async def _try(self, number: int) -> None:
        now, change = self._now(), await self._changes.find(number)
        if change.state != "scheduled" or change.at is None or now < change.at:
            # Applied by another controller, which the feed of this one has yet to show.
            return
        attempt = _attempt(change, now)
        if now >= change.at + GRACE:
            await self._changes.step(number, change_rules.refresh(now, self._reasons.get(number, "")), attempt)
            return
        prepared = await self._changes.prepare(number, attempt, scheduled=True)
        await self._changes.noting(number, self._changes.apply(prepared, attempt))
        self.log.info("change {number} of {namespace} is applied", number=number, namespace=change.namespace)


def _attempt(change: ChangeRequest, now: datetime) -> Attempt:
    """Return the attempt of the caller who scheduled a change."""
    by = change.scheduled_by or change.author
    return Attempt(by.who, "", "scheduled change", str(change.id), "", now, change.namespace, by.subject)
