"""The writes that wait for a transaction: one at a time takes many of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

from confd.controller.store.cursor import Work
from confd.errors import Unavailable

T = TypeVar("T")
_Answer: TypeAlias = Deferred[Any]
_Write: TypeAlias = tuple[Work[Any], _Answer]

#: Writes that may wait for their transaction, and writes that one transaction takes.
MAX_WAITING_WRITES, MAX_GROUP_WRITES = 10_000, 256


@define(eq=False)
class WriteQueue:
    """
    Writes that come while a transaction is under way wait, and the next one takes them all: each is answered after its
    commit, in the order in which they came. A caller that cancels hears no answer; its write is done all the same.

    @ivar transact: does works in one transaction. Fires with the outcome of each: its result, or its exception.
    @ivar committed: called with the outcomes of each transaction once it is on disk; returns the outcomes to fire.
    @ivar refused: called with the failure of a transaction, for each of its works. Returns the error to fire, and
        whether the writes that wait get it, too: they would wait as long again, for a lock perhaps, and hear the same.
    """

    _transact: Callable[[Sequence[Work[object]]], Deferred[list[object]]]
    _on_commit: Callable[[list[object]], Sequence[object]]
    _on_refusal: Callable[[Failure], tuple[BaseException, bool]]
    _waiting: deque[_Write] = field(factory=deque, init=False)
    _under_way: bool = field(default=False, init=False)
    _drained: list[Deferred[None]] = field(factory=list, init=False)

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, work: Work[T]) -> Deferred[T]:
        """
        Add a work; return a L{Deferred} that fires once it is on disk.

        @raise Unavailable: C{storage_unavailable}: too many works wait.
        """
        if len(self._waiting) >= MAX_WAITING_WRITES:
            return fail(unavailable("too many writes wait for it; try again later"))
        answer: Deferred[T] = Deferred()
        self._waiting.append((work, answer))
        self._begin()
        return answer

    def drain(self) -> Deferred[None]:
        """Return a L{Deferred} that fires once no write waits; writes that come later are done too."""
        if not self._under_way:
            return succeed(None)
        drained: Deferred[None] = Deferred()
        self._drained.append(drained)
        return drained

    def _begin(self) -> None:
        if self._under_way or not self._waiting:
            return
        self._under_way = True
        group = [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_GROUP_WRITES))]
        answers = [answer for _, answer in group]
        done = self._transact([work for work, _ in group])
        done.addCallbacks(self._committed, self._refused, callbackArgs=(answers,), errbackArgs=(answers,))

    def _committed(self, outcomes: list[object], answers: list[_Answer]) -> None:
        self._under_way = False
        self._begin()
        for answer, outcome in zip(answers, self._on_commit(outcomes), strict=True):
            if isinstance(outcome, Exception):
                answer.errback(outcome)
            else:
                answer.callback(outcome)
        self._settle()

    def _refused(self, failure: Failure, answers: list[_Answer]) -> None:
        if self._on_refusal(failure)[1]:
            answers += [answer for _, answer in self._waiting]
            self._waiting.clear()
        self._under_way = False
        self._begin()
        for answer in answers:
            answer.errback(self._on_refusal(failure)[0])
        self._settle()

    def _settle(self) -> None:
        if not self._under_way:
            drained, self._drained = self._drained, []
            for each in drained:
                each.callback(None)


def ignore_unavailable(failure: Failure) -> None:
    """Ignore that the database cannot be used, for work that is done again later."""
    failure.trap(Unavailable)


def unavailable(reason: str) -> Unavailable:
    """Return the error for a request while the database cannot be used; C{reason} ends its sentence."""
    return Unavailable("storage_unavailable", f"The controller's database cannot be used now: {reason}.")
