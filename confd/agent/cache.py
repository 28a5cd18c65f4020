"""Write the files of the agent in the background: a failing disk delays nothing, and writes are retried."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial

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
from confd.runtime.offload import RunInThread
from confd.runtime.problem import Problem
from confd.runtime.timing import Periodic

#: Seconds between attempts to write.
RETRY_SECONDS = 5.0

#: Longest time that a write in progress may take when the agent stops.
STOP_GRACE_SECONDS = 2.0


@implementer(IHealth)
class Cache(Service):
    """Keep the last applied configuration, the keys of its controller, the id and the token on disk."""

    log = Logger()

    def __init__(self, clock: IReactorTime, files: CacheFiles, in_thread: RunInThread) -> None:
        """
        @param in_thread: Runs functions that block.
        """
        self._files = files
        self._in_thread = in_thread
        self._writer = Periodic(clock, self._write, lambda: RETRY_SECONDS, STOP_GRACE_SECONDS)
        self._kept: Configuration | None = None
        self._keys: tuple[str, ...] = ()
        #: The last unwritten version of each file, as the function that writes it.
        self._pending: dict[str, Callable[[], None]] = {}
        self._problem = Problem("cache", self.log)
        self._lock: int | None = None

    def claim(self) -> None:
        """
        Check the folder and the kinds of the files, and lock the files. Call this before the reactor runs.

        @raise StartError: if the folder does not exist, if a file is not a regular file, or if another agent uses the
            files.
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
            self.log.warn(
                "{path} cannot be locked against other agents: {reason}",
                path=path,
                reason=error.strerror,
            )

    def release(self) -> None:
        """Release the lock."""
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    async def load(self) -> CacheContents:
        """Load the files of the previous process, and log their problems."""
        contents = await self._in_thread(self._files.load)
        for finding in contents.findings:
            self.log.warn("{finding}", finding=finding)
        self._kept, self._keys = contents.configuration, contents.keys
        return contents

    def keep(self, configuration: Configuration) -> None:
        """Schedule the write of an applied configuration."""
        if configuration != self._kept:
            self._kept = configuration
            self._schedule("configuration", partial(self._files.save, configuration, self._keys))

    def keep_keys(self, keys: tuple[str, ...]) -> None:
        """Schedule the write of the public keys of the controller; keys mean nothing without a cluster."""
        if keys != self._keys:
            self._keys = keys
            if self._kept is not None and self._kept.cluster_id:
                self._schedule("configuration", partial(self._files.save, self._kept, keys))

    def keep_id(self, agent_id: str) -> None:
        """Schedule the write of the id."""
        self._schedule("id", partial(self._files.save_id, agent_id))

    def keep_token(self, token: str) -> None:
        """Schedule the write of the token."""
        self._schedule("token", partial(self._files.save_token, token))

    def problem(self) -> str | None:
        return self._problem.reason

    def startService(self) -> None:
        super().startService()
        self._writer.startService()

    def stopService(self) -> Deferred[None]:
        """Write the pending contents; fire after one attempt."""
        super().stopService()
        return Deferred.fromCoroutine(self._flush())

    async def _flush(self) -> None:
        await maybeDeferred(self._writer.stopService)
        await self._write()

    def _schedule(self, file: str, save: Callable[[], None]) -> None:
        self._pending[file] = save
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
