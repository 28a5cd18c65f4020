"""What the agent keeps on disk, written in the background: a disk that fails delays nothing, and heals alone (F-09)."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from confd.agent.cache_files import CacheContents, CacheFiles
from confd.errors import StartError
from confd.interfaces import IHealth
from confd.model import Configuration
from confd.runtime.files import find_other_kind
from confd.runtime.problem import Problem
from confd.runtime.timing import Periodic

#: Seconds between attempts to write what could not be written.
RETRY_SECONDS = 5.0

#: Seconds that a write under way gets when the agent stops.
STOP_GRACE_SECONDS = 2.0


@implementer(IHealth)
class Cache(Service):
    """The last good configuration and the agent's id, on disk as soon as the disk allows."""

    log = Logger()

    def __init__(self, clock: IReactorTime, files: CacheFiles, in_thread: Callable[..., Deferred[Any]]) -> None:
        """
        @param in_thread: calls a function with arguments where it may block; fires with its result.
        """
        self._files = files
        self._in_thread = in_thread
        self._writer = Periodic(clock, self._write, lambda: RETRY_SECONDS, STOP_GRACE_SECONDS)
        self._kept: Configuration | None = None
        #: What is still to be written, by what it is; the newer takes the place of the older.
        self._pending: dict[str, Callable[[], None]] = {}
        self._problem = Problem("cache", self.log)
        self._lock: int | None = None

    def claim(self) -> None:
        """
        See that there is a folder to write in, and that no other agent uses these files; that they can be written to
        just now is not asked. To be called before the reactor runs.

        @raise StartError: there is none, or another agent does; or one of them is no regular file.
        """
        path, folder = self._files.path, os.path.dirname(self._files.path) or "."
        if not os.path.isdir(folder):
            raise StartError(f"CACHE_FILE: {folder} is not a folder; make it, or name a file in another one.")
        for each in self._files.names():
            kind = find_other_kind(each)
            if kind is not None:
                remedy = "name a file" if each == path else "remove it, or name another file"
                raise StartError(f"CACHE_FILE: {each} is {kind}; {remedy}.")
        try:
            self._lock = self._files.lock()
        except BlockingIOError:
            raise StartError(
                f"CACHE_FILE: {path} is in use by another agent; stop that one first, or name another file."
            ) from None
        except OSError as error:
            self.log.warn("{path} cannot be locked against another agent: {reason}", path=path, reason=error.strerror)

    def release(self) -> None:
        """Let another agent use the files."""
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    async def load(self) -> CacheContents:
        """What an earlier run left."""
        kept: CacheContents = await self._in_thread(self._files.load)
        for finding in kept.findings:
            self.log.warn("{finding}", finding=finding)
        self._kept = kept.configuration
        return kept

    def keep(self, configuration: Configuration) -> None:
        """Write the configuration soon."""
        if configuration != self._kept:
            self._kept = configuration
            self._want("configuration", partial(self._files.save, configuration))

    def keep_id(self, agent_id: str) -> None:
        """Write the agent's id soon."""
        self._want("id", partial(self._files.save_id, agent_id))

    def keep_token(self, token: str) -> None:
        """Write the agent's token soon."""
        self._want("token", partial(self._files.save_token, token))

    def problem(self) -> str | None:
        """See L{IHealth}."""
        return self._problem.reason

    def startService(self) -> None:
        """Begin to write."""
        super().startService()
        self._writer.startService()

    def stopService(self) -> Deferred[None]:
        """Fires when all is written, or could not be."""
        super().stopService()
        return Deferred.fromCoroutine(self._flush())

    async def _flush(self) -> None:
        await maybeDeferred(self._writer.stopService)
        await self._write()

    def _want(self, what: str, save: Callable[[], None]) -> None:
        self._pending[what] = save
        self._writer.hurry()

    async def _write(self) -> None:
        saves, self._pending = self._pending, {}
        if not saves:
            return
        try:
            await self._in_thread(_call_all, list(saves.values()))
        except OSError as error:
            self._pending = saves | self._pending
            self._problem.begin(f"cache_unwritable: {self._files.path} cannot be written: {error.strerror}.")
        else:
            self._problem.end()


def _call_all(saves: list[Callable[[], None]]) -> None:
    for save in saves:
        save()
