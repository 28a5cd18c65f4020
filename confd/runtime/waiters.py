"""Let callers wait until something is decided, each with a time limit of its own."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime


@define(eq=False)
class Waiters:
    """Each wait is answered once; a cancelled wait leaves nothing behind."""

    _clock: IReactorTime
    _waiting: dict[Deferred[bool], tuple[Callable[[], bool | None], IDelayedCall]] = field(factory=dict)

    def __len__(self) -> int:
        return len(self._waiting)

    def wait(self, reached: Callable[[], bool | None], timeout: float) -> Deferred[bool]:
        """
        Fire with the result of C{reached} once a call of L{look} finds it not C{None}; with false after C{timeout}
        seconds.
        """
        answer: Deferred[bool] = Deferred(self._forget)
        timer = self._clock.callLater(timeout, self._answer, answer, False)
        self._waiting[answer] = reached, timer
        self._look(answer)
        return answer

    def look(self) -> None:
        """Check all waits after a change."""
        for answer in list(self._waiting):
            self._look(answer)

    def give_up(self) -> None:
        """Answer all callers with false."""
        for answer in list(self._waiting):
            self._answer(answer, False)

    def _look(self, answer: Deferred[bool]) -> None:
        # The answer to one caller may make another one cancel.
        if answer in self._waiting and (reached := self._waiting[answer][0]()) is not None:
            self._answer(answer, reached)

    def _answer(self, answer: Deferred[bool], reached: bool) -> None:
        if answer in self._waiting:
            self._forget(answer)
            answer.callback(reached)

    def _forget(self, answer: Deferred[bool]) -> None:
        _, timer = self._waiting.pop(answer)
        if timer.active():
            timer.cancel()
