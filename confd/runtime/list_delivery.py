"""Bring the items of a list to one receiver, in order and at least once: events, and entries of the audit log."""

from __future__ import annotations

from twisted.application.service import MultiService
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from confd.errors import ConfdError
from confd.runtime.problem import Problem
from confd.runtime.timing import Backoff, Periodic


class ListDelivery(MultiService):
    """Deliver until the list is empty, and again after each L{wake}; a receiver that fails delays nothing else."""

    log = Logger()

    def __init__(self, clock: IReactorTime, part: str, backoff: Backoff) -> None:
        """
        @param part: name in the log.
        @param backoff: between attempts.
        """
        super().__init__()
        self.problem = Problem(part, self.log)
        self._backoff = backoff
        self._wait: float | None = None
        self._loop = Periodic(clock, self._deliver, self._pause)
        self._loop.setServiceParent(self)

    def wake(self) -> None:
        """Look at the list now, unless the last attempt failed."""
        if self._wait is None:
            self._loop.hurry()

    async def advance(self) -> bool:
        """
        Deliver the next items; return whether the list had any.

        @raise ConfdError: the items come again.
        """
        raise NotImplementedError

    def idle_seconds(self) -> float:
        """Return the time until the next look at an empty list without a L{wake}."""
        raise NotImplementedError

    def _pause(self) -> float:
        return self.idle_seconds() if self._wait is None else self._wait

    async def _deliver(self) -> None:
        try:
            while await self.advance():
                self._wait = None
                self._backoff.reset()
                self.problem.end()
            self._wait = None
        except ConfdError as error:
            self._wait = self._backoff.next(error.retry_after)
            self.problem.begin(error.message)
