"""Reload a value from files when they change, without a restart."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from twisted.application.service import MultiService
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from confd.runtime.offload import RunInThread
from confd.runtime.timing import Periodic

T = TypeVar("T")

#: Seconds between two checks of the files.
CHECK_INTERVAL_SECONDS = 5.0


class ReloadedFiles(MultiService, Generic[T]):
    """
    A value loaded from files, and loaded again when the files change. Invalid files leave the value unchanged.

    @ivar value: the current value.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        in_thread: RunInThread,
        paths: Sequence[str],
        load: Callable[[], T],
        changed: Callable[[T], object] = lambda value: None,
    ) -> None:
        """
        @param in_thread: runs C{load}, which blocks.
        @param load: returns the value; raises L{ValueError} with one sentence if the files are invalid.
        @param changed: called with the new value after each reload.
        @raise ValueError: if the files are invalid now.
        """
        super().__init__()
        self._in_thread, self._paths, self._load, self._changed = in_thread, paths, load, changed
        self._loaded: list[object] | None = self._identify()
        self.value = load()
        self._failed: list[object] | None = self._loaded
        self._checks = Periodic(clock, self._check, lambda: CHECK_INTERVAL_SECONDS)
        self._checks.setServiceParent(self)

    @property
    def changes(self) -> bool:
        """Whether any file can change."""
        return bool(self._paths)

    def reload(self) -> None:
        """Load the files again at once, whether they changed or not."""
        if self._paths:
            self._loaded = self._failed = None
            self._checks.hurry()

    async def _check(self) -> None:
        found = await self._in_thread(self._identify)
        if found == self._loaded:
            return
        try:
            self.value = await self._in_thread(self._load)
        except ValueError as error:
            # Another program may be replacing the files one by one: try again, and log the reason once.
            if found != self._failed:
                self.log.error("{reason}; the previous content stays current", reason=str(error))
            self._failed = found
        else:
            self._loaded = found
            self._changed(self.value)
            self.log.info("reloaded {paths}", paths=", ".join(self._paths))

    def _identify(self) -> list[object]:
        """Return values that differ once a file was changed or replaced."""
        return [_identity(path) for path in self._paths]


def _identity(path: str) -> object:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
