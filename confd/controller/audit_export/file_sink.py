"""The audit log in a file: one JSON object a line, as in GET C{/api/v1/audit}."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Sequence
from typing import TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from zope.interface import implementer

from confd.audit import AuditEntry
from confd.errors import StartError, Unavailable
from confd.interfaces.audit_sinks import IAuditSink
from confd.runtime.atomic_file import sync_folder
from confd.runtime.files import IRREGULAR, find_other_kind
from confd.runtime.offload import RunInThread

T = TypeVar("T")

#: Bytes to search for the newest entry: many times a whole batch.
_TAIL_BYTES = 1048576

_FLAGS = os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@implementer(IAuditSink)
class FileAuditSink(Service):
    """
    A file that only its owner may read. Each batch opens the file by its name, so that other programs may rotate it.

    A line that a crash or a full disk cut stays; its entry follows again.
    """

    name = "AUDIT_FILE"

    def __init__(
        self,
        in_thread: RunInThread,
        path: str,
        write: Callable[[int, bytes], int] = os.write,
        sync: Callable[[int], object] = os.fsync,
    ) -> None:
        """
        @param in_thread: runs what waits for the disk.
        @param write: as L{os.write}.
        @param sync: writes the file of a descriptor to the disk.
        """
        self._in_thread, self._path, self._write, self._sync = in_thread, path, write, sync

    def startService(self) -> None:
        """
        Check the path.

        @raise StartError: the path cannot become that of a file.
        """
        super().startService()
        folder = os.path.dirname(self._path) or "."
        if os.path.islink(self._path):
            raise StartError(f"AUDIT_FILE: {self._path} is a symbolic link; name the file itself.")
        if not os.path.isdir(folder):
            raise StartError(f"AUDIT_FILE: {folder} is no folder; create it, or name another file.")
        if (kind := find_other_kind(self._path)) is not None:
            raise StartError(f"AUDIT_FILE: {self._path} is {kind}; name a file.")

    def problem(self) -> str | None:
        """Return nothing: the next write tells."""
        return None

    def newest(self) -> Deferred[AuditEntry | None]:
        return Deferred.fromCoroutine(self._run("read", self._newest))

    def write(self, entries: Sequence[AuditEntry]) -> Deferred[None]:
        lines = b"".join(each.line() + b"\n" for each in entries)
        return Deferred.fromCoroutine(self._run("written", lambda: self._append(lines)))

    async def _run(self, what: str, work: Callable[[], T]) -> T:
        try:
            return await self._in_thread(work)
        except OSError as error:
            reason = "it is a symbolic link" if error.errno == errno.ELOOP else error.strerror
            sentence = f"AUDIT_FILE: {self._path} cannot be {what}: {reason}."
        raise Unavailable("audit_export_failed", sentence)

    def _newest(self) -> AuditEntry | None:
        with open(self._open(), "rb") as file:
            if file.read(1) not in (b"{", b""):
                raise OSError(errno.EINVAL, "it holds something other than an audit log; name another file")
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            whole = file.read().split(b"\n")[:-1]
        return next((entry for line in reversed(whole) if (entry := AuditEntry.parse(line)) is not None), None)

    def _append(self, lines: bytes) -> None:
        descriptor = self._open()
        try:
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                lines = b"\n" + lines
            while lines:
                lines = lines[self._write(descriptor, lines) :]
            self._sync(descriptor)
        finally:
            os.close(descriptor)
        if not size:
            sync_folder(self._path, self._sync)

    def _open(self) -> int:
        descriptor = os.open(self._path, os.O_RDWR | _FLAGS, 0o600)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(errno.EINVAL, IRREGULAR)
        return descriptor
