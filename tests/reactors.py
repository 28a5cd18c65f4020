"""A reactor for tests of composed parts: it opens no port, and work in its threads is done at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure


class InstantReactor(MemoryReactorClock):
    """
    A reactor whose time passes when a test advances it.

    @ivar threaded: the functions that were called in a thread, in order.
    @ivar threads_busy: whether calls in a thread wait for ever.
    """

    def __init__(self) -> None:
        super().__init__()
        self.threaded: list[Callable[..., object]] = []
        self.threads_busy = False

    def getThreadPool(self) -> Any:
        return self

    def callInThreadWithCallback(self, done: Any, work: Any, *args: Any, **kwargs: Any) -> None:
        self.threaded.append(work)
        if self.threads_busy:
            return
        try:
            value = work(*args, **kwargs)
        except Exception:
            done(False, Failure())
        else:
            done(True, value)

    def callFromThread(self, work: Any, *args: Any, **kwargs: Any) -> None:
        work(*args, **kwargs)
