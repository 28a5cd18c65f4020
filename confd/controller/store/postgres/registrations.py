"""Registrations that are written together: a fleet that joins costs one statement for many agents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from confd.changes import Committed
from confd.controller.store.change_log import Written
from confd.controller.store.cursor import Cursor, Work
from confd.controller.store.queries.registrations import Joining, register_all
from confd.errors import ConfdError
from confd.reports import AgentRecord

#: Registrations of one work, at most: other works of its transaction wait for it.
MOST = 256

_Results = Sequence[AgentRecord | ConfdError]


class Registrations:
    """Gathers the registrations that wait for the same transaction into one work."""

    def __init__(self, write: Callable[[Work[Written[_Results]]], Deferred[Committed[_Results]]]) -> None:
        """
        @param write: does a work in a transaction.
        """
        self._write = write
        self._work: _SharedWork | None = None

    def register(self, joining: Joining) -> Deferred[Committed[AgentRecord]]:
        """Register an agent: see L{IAgentStore.register}."""
        answer: Deferred[Committed[AgentRecord]] = Deferred()
        if self._work is None or not self._work.add(joining, answer):
            work = self._work = _SharedWork()
            work.add(joining, answer)
            self._write(work).addCallbacks(work.answer, work.fail)
        return answer

    def separate(self) -> None:
        """Begin another work with the next registration: a write that was asked for before comes before it."""
        self._work = None


class _SharedWork:
    """Registrations that are done one after the other; more of them may come until the work begins."""

    def __init__(self) -> None:
        self._lock, self._begun = Lock(), False
        self._joining: list[Joining] = []
        self._answers: list[Deferred[Committed[AgentRecord]]] = []

    def add(self, joining: Joining, answer: Deferred[Committed[AgentRecord]]) -> bool:
        """Add a registration; return whether the work takes it."""
        with self._lock:
            if self._begun or len(self._joining) >= MOST:
                return False
            self._joining.append(joining)
        self._answers.append(answer)
        return True

    def __call__(self, cursor: Cursor) -> Written[_Results]:
        with self._lock:
            self._begun = True
        return register_all(cursor, self._joining)

    def answer(self, committed: Committed[_Results]) -> None:
        """Fire the results."""
        for answer, result in zip(self._answers, committed.value, strict=True):
            if isinstance(result, ConfdError):
                answer.errback(result)
            else:
                answer.callback(Committed(result, committed.seq))

    def fail(self, failure: Failure) -> None:
        """Fire the reason why nothing was written."""
        for answer in self._answers:
            answer.errback(failure.value)
