"""Run work in threads: work that blocks, and work that takes long for large input."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

T = TypeVar("T")

#: Bytes of input from which work leaves the reactor: it takes about 2 ms.
LARGE_BYTES = 8192


class RunInThread(Protocol):
    """Run a function in a thread, like C{deferToThread}."""

    def __call__(self, work: Callable[..., T], /, *arguments: object) -> Deferred[T]:
        """
        Fire with what C{work(*arguments)} returns.

        @param work: touches nothing that the reactor also touches.
        """


@define(eq=False)
class Offload:
    """Run work on the reactor if its input is small, and in a thread if its input is large."""

    _in_thread: RunInThread

    async def run(self, size: int, work: Callable[..., T], *arguments: object) -> T:
        """
        Return what C{work(*arguments)} returns.

        @param size: bytes of the input.
        @param work: touches nothing that the reactor also touches.
        """
        if size < LARGE_BYTES:
            return work(*arguments)
        return await self._in_thread(work, *arguments)


@frozen(eq=False)
class _Work(Generic[T]):
    """
    Work that has not ended.

    @ivar ended: fires with the result of the work, unless its caller cancels it.
    """

    size: int
    work: Callable[[], T]
    ended: Deferred[T] = field(factory=Deferred, init=False)

    async def run(self, in_thread: RunInThread) -> None:
        """Run the work, unless its caller cancelled it, and fire C{ended}."""
        if self.ended.called:
            return
        outcome: T | Failure
        try:
            outcome = await in_thread(self.work)
        except Exception:
            outcome = Failure()
        if not self.ended.called:
            self.ended.callback(outcome)


@define(eq=False)
class OrderedOffload(Offload):
    """
    Run work like L{Offload}, and end it in the order of the calls.

    While work is in the thread, all later work waits for its own turn in the thread, however small its input is. The
    code after C{await run(...)} has run before the next work begins, so callers observe one sequence of results.
    """

    _pending: deque[_Work[Any]] = field(factory=deque, init=False)

    @property
    def pending(self) -> int:
        """Calls of L{run} that have not ended."""
        return len(self._pending)

    @property
    def pending_bytes(self) -> int:
        """Bytes of input of the calls that have not ended."""
        return sum(each.size for each in self._pending)

    async def run(self, size: int, work: Callable[..., T], *arguments: object) -> T:
        """Raise C{CancelledError} after L{cancel}."""
        if not self._pending and size < LARGE_BYTES:
            return work(*arguments)
        added = _Work(size, partial(work, *arguments))
        self._pending.append(added)
        if len(self._pending) == 1:
            Deferred.fromCoroutine(self._run_pending())
        return await added.ended

    def cancel(self) -> None:
        """Cancel all pending calls; work in the thread runs to its end, and later calls wait for that end."""
        for each in list(self._pending):
            each.ended.cancel()

    async def _run_pending(self) -> None:
        while self._pending:
            await self._pending[0].run(self._in_thread)
            # Not before: a call that the caller makes meanwhile must wait behind the others.
            self._pending.popleft()
