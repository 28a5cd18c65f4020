"""
FILEWATCH: an agent polls its controller whenever a file on its machine is touched.

It suits machines that learn of changes in their own way: a cron job, a mount, a person at a prompt.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from zope.interface import implementer

from confd.errors import StartError
from confd.interfaces import POLL, ISink, IStrategy, StrategyContext
from confd.runtime.timing import Periodic

#: Seconds between two looks at the file.
LOOK = 0.5


@implementer(IStrategy)
class FileWatch:
    """Hints whenever the time of the file changes, and when the file appears: it may have been touched unseen."""

    name = "FILEWATCH"
    pushes = True
    log = Logger()

    def __init__(self, clock: IReactorTime, file: str, in_thread: Callable[..., Deferred[Any]]) -> None:
        """
        @param file: its path; it need not exist yet.
        @param in_thread: calls a function where it may block, as the file may be on a mount that hangs.
        """
        self._file, self._in_thread = file, in_thread
        self._loop = Periodic(clock, self._look, lambda: LOOK)
        self._touched: int | None = None
        self.connections = 0

    def start(self, sink: ISink) -> None:
        self._sink = sink
        self._loop.startService()

    def stop(self) -> Deferred[None]:
        self._touched = None
        return self._loop.stopService() or succeed(None)

    def path(self) -> str:
        """Return C{POLL} while the file is missing."""
        return POLL if self._touched is None else self.name

    async def _look(self) -> None:
        touched = await self._in_thread(_touched_at, self._file)
        if touched is not None and touched != self._touched:
            self._sink.hint()
            self.connections += self._touched is None
        self._touched = touched


def _touched_at(file: str) -> int | None:
    try:
        return os.stat(file).st_mtime_ns
    except OSError:
        return None


def make(context: StrategyContext) -> FileWatch:
    """
    What the drop-in names.

    @raise StartError: no file was given.
    """
    file = context.environ.get("FILEWATCH_FILE")
    if not file:
        raise StartError("FILEWATCH_FILE: is unset; set it to the path of the file to watch.")
    reactor = context.reactor
    return FileWatch(reactor, file, partial(deferToThreadPool, reactor, reactor.getThreadPool()))
