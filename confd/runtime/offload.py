"""Work whose time grows with its input: in a thread where the input is large."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from attrs import define
from twisted.internet.defer import Deferred

T = TypeVar("T")

#: Bytes of input from which work leaves the reactor: about 2 ms of it.
LARGE_BYTES = 8192


@define(eq=False)
class Offload:
    """
    Run work on the reactor where its input is small, and in a thread where its input is large.

    @ivar in_thread: runs a function off the reactor, like C{deferToThread}.
    """

    _in_thread: Callable[..., Deferred[Any]]

    async def run(self, size: int, work: Callable[..., T], *arguments: object) -> T:
        """
        Return what C{work} returns.

        @param size: bytes of its input.
        @param work: touches nothing that the reactor also touches.
        """
        if size < LARGE_BYTES:
            return work(*arguments)
        result: T = await self._in_thread(work, *arguments)
        return result
