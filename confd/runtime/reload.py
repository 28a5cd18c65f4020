"""What is made of files, and made anew when those change, without a restart."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from confd.runtime.timing import Periodic

T = TypeVar("T")

#: Seconds between two looks at the files.
CHECK_INTERVAL_SECONDS = 5.0


class ReloadedFiles(Service, Generic[T]):
    """
    What is made of some files, and made anew once they are others; where they cannot be used, the one before stays.

    @ivar value: what was made last.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        in_thread: Callable[..., Deferred[Any]],
        paths: Sequence[str],
        load: Callable[[], T],
        tell: Callable[[T], object] = lambda value: None,
    ) -> None:
        """
        @param in_thread: calls a function where it may block; fires with its result.
        @param load: makes it; blocks, and raises L{ValueError} in one sentence where it cannot.
        @param tell: called with what was made anew.
        @raise ValueError: it cannot be made now.
        """
        self._in_thread, self._paths, self._load, self._tell = in_thread, paths, load, tell
        self._seen: list[object] | None = self._look()
        self.value = load()
        self._failed: list[object] | None = self._seen
        self._looking = Periodic(clock, self._renew, lambda: CHECK_INTERVAL_SECONDS)

    @property
    def changes(self) -> bool:
        """Whether there is any file to look at."""
        return bool(self._paths)

    def reload(self) -> None:
        """Load the files again soon, whether they look changed or not."""
        if self._paths:
            self._seen = self._failed = None
            self._looking.hurry()

    def startService(self) -> None:
        """Begin to look at the files."""
        super().startService()
        self._looking.startService()

    def stopService(self) -> Deferred[None] | None:
        """Fires when nobody looks any more."""
        super().stopService()
        return self._looking.stopService()

    async def _renew(self) -> None:
        found = await self._in_thread(self._look)
        if found == self._seen:
            return
        try:
            self.value = await self._in_thread(self._load)
        except ValueError as error:
            # Perhaps they are being replaced one by one: it is tried again, and said once.
            if found != self._failed:
                self.log.error("{reason}; what was there before stays in force", reason=str(error))
            self._failed = found
        else:
            self._seen = found
            self._tell(self.value)
            self.log.info("renewed from {paths}", paths=", ".join(self._paths))

    def _look(self) -> list[object]:
        """What tells that a file is another one."""
        return [_identity(path) for path in self._paths]


def _identity(path: str) -> object:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
