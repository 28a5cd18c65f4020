"""Run work in threads: work that blocks, and work that takes long for large input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from attrs import define
from twisted.internet.defer import Deferred

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
