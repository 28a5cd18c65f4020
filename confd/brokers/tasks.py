"""Run coroutines of asyncio for Twisted, on the event loop of the asyncio reactor."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

from twisted.internet.defer import CancelledError, Deferred

from confd.brokers.link import Lost
from confd.errors import StartError
from confd.runtime.reactor import Reactor

T = TypeVar("T")


def event_loop(reactor: Reactor, broker: str) -> asyncio.AbstractEventLoop:
    """
    Return the event loop of the asyncio reactor.

    @param broker: the strategy whose library needs the loop.
    @raise StartError: another reactor is installed.
    """
    loop: asyncio.AbstractEventLoop | None = getattr(reactor, "_asyncioEventloop", None)
    if loop is None:
        raise StartError(f"DISTRIBUTION_STRATEGY: {broker} needs the asyncio reactor; use twistd --reactor=asyncio.")
    return loop


class Tasks:
    """The coroutines of one connection; C{cancel} ends all of them."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *lost: type[Exception]) -> None:
        """
        @param lost: errors of the library that mean that the connection was lost.
        """
        self.loop = loop
        self._lost: tuple[type[Exception], ...] = (CancelledError, *lost)
        self._under_way: set[asyncio.Task[object]] = set()

    async def run(self, coroutine: Coroutine[object, object, T]) -> T:
        """
        Run a coroutine of asyncio.

        It is cancelled by L{cancel} only: a library may swallow a cancellation while it sends.

        @raise Lost: the connection was lost.
        """
        task = self.loop.create_task(coroutine)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        try:
            return await as_deferred(task)
        except self._lost:
            raise Lost("it hangs up") from None

    def cancel(self) -> None:
        """Cancel all coroutines; each ends soon, unless it swallows that."""
        for task in self._under_way:
            task.cancel()

    async def ended(self, seconds: float) -> bool:
        """Wait so many seconds for all coroutines to end; return whether they did."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=seconds)
        return not self._under_way


def as_deferred(task: asyncio.Task[T]) -> Deferred[T]:
    """Return a L{Deferred} that fires with the result of a task; cancelling it leaves the task running."""
    answer: Deferred[T] = Deferred()

    def ended(task: asyncio.Task[T]) -> None:
        error = CancelledError() if task.cancelled() else task.exception()
        if error is None:
            answer.callback(task.result())
        else:
            answer.errback(error)

    task.add_done_callback(ended)
    return answer
