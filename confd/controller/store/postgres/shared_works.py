"""Requests that are written together: many that come at once cost few statements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import TypeAlias, TypeVar, cast

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from confd.changes import Committed
from confd.controller.store.change_log import Written
from confd.controller.store.cursor import Work
from confd.controller.store.postgres.cursor import PostgresCursor
from confd.errors import ConfdError

#: Requests of one work, at most: other works of its transaction wait for it.
MOST = 256

Q = TypeVar("Q")
T = TypeVar("T")


class NotShared(ConfdError):
    """The result of a request that needs a work of its own; no caller gets it."""

    def __init__(self) -> None:
        super().__init__("not_shared", "This request cannot be done together with others.")


#: Does requests in order; returns for each its result, or why it was refused. It does a single request in any case.
Together: TypeAlias = Callable[[PostgresCursor, Sequence[Q]], Written[Sequence[T | ConfdError]]]
_Results: TypeAlias = Sequence[object]
_Answer: TypeAlias = Deferred[Committed[object]]


class SharedWorks:
    """Gathers the requests that wait for the same transaction into one work."""

    def __init__(self, write: Callable[[Work[Written[_Results]]], Deferred[Committed[_Results]]]) -> None:
        """
        @param write: does a work in a transaction.
        """
        self._write = write
        self._work: _SharedWork | None = None

    def put(self, together: Together[Q, T], request: Q) -> Deferred[Committed[T]]:
        """
        Do a request, with others of its kind.

        @param together: names the kind.
        @raise ConfdError: as C{together} returns it.
        """
        answer: _Answer = Deferred()
        if self._work is None or self._work.together is not together or not self._work.add(request, answer):
            # Works of several kinds follow each other.
            work = _SharedWork(cast("Together[object, object]", together), self._alone)
            self._work = self._begin(work, request, answer)
        return cast("Deferred[Committed[T]]", answer)

    def separate(self) -> None:
        """Begin another work with the next request: a write that was asked for before comes before it."""
        self._work = None

    def _begin(self, work: _SharedWork, request: object, answer: _Answer) -> _SharedWork:
        work.add(request, answer)
        self._write(work).addCallbacks(work.answer, work.fail)
        return work

    def _alone(self, together: Together[object, object], request: object, answer: _Answer) -> None:
        self._begin(_SharedWork(together, self._alone), request, answer).close()


@define(eq=False)
class _SharedWork:
    """
    Requests that are done one after the other; more of them may come until the work begins.

    @ivar _alone: does a request in a work of its own.
    """

    together: Together[object, object]
    _alone: Callable[[Together[object, object], object, _Answer], None]
    _lock: Lock = field(factory=Lock, init=False)
    _begun: bool = field(default=False, init=False)
    _requests: list[object] = field(factory=list, init=False)
    _answers: list[_Answer] = field(factory=list, init=False)

    def __len__(self) -> int:
        return len(self._requests)

    def add(self, request: object, answer: _Answer) -> bool:
        """Add a request; return whether the work takes it."""
        with self._lock:
            if self._begun or len(self._requests) >= MOST:
                return False
            self._requests.append(request)
        self._answers.append(answer)
        return True

    def close(self) -> None:
        """Take no more requests."""
        with self._lock:
            self._begun = True

    def __call__(self, cursor: PostgresCursor) -> Written[_Results]:
        self.close()
        return self.together(cursor, self._requests)

    def answer(self, committed: Committed[_Results]) -> None:
        """Fire the results."""
        for request, answer, result in zip(self._requests, self._answers, committed.value, strict=True):
            if isinstance(result, NotShared):
                self._alone(self.together, request, answer)
            elif isinstance(result, ConfdError):
                answer.errback(result)
            else:
                answer.callback(Committed(result, committed.seq))

    def fail(self, failure: Failure) -> None:
        """Fire the reason why nothing was written; a defect may be one of a single request."""
        # A work that never began would take more.
        self.close()
        shared = len(self._requests) > 1 and not failure.check(ConfdError)
        for request, answer in zip(self._requests, self._answers, strict=True):
            if shared:
                self._alone(self.together, request, answer)
            else:
                answer.errback(failure.value)
