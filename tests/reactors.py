"""A reactor for tests of what is joined: it listens on nothing, and its threads are done at once."""

from __future__ import annotations

from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure


class InstantReactor(MemoryReactorClock):
    """Time passes when it is told to."""

    def getThreadPool(self) -> Any:
        return self

    def callInThreadWithCallback(self, done: Any, work: Any, *args: Any, **kwargs: Any) -> None:
        try:
            value = work(*args, **kwargs)
        except Exception:
            done(False, Failure())
        else:
            done(True, value)

    def callFromThread(self, work: Any, *args: Any, **kwargs: Any) -> None:
        work(*args, **kwargs)
