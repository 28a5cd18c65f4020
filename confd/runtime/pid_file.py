"""The pid file of a daemon, locked by its owner, so that a stale file never prevents a start."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Sequence
from contextlib import suppress

from attrs import define, field
from twisted.python import usage

from confd.errors import StartError

#: Bytes of a stale file at most. A larger file is not a pid file, and is not overwritten.
MAX_STALE_BYTES = 4096

#: Attempts to open and lock the file while other processes remove it.
_MAX_TRIES = 10


class _Denied(Exception):
    """The file cannot be opened or created here."""


@define(eq=False)
class PidFile:
    """
    The file that contains the id of this process while it runs.

    The owner keeps a lock on the file (flock(2)). The system releases the lock whenever the process ends. The number in
    the file is for people and scripts; confd decides nothing by it.

    @ivar path: absolute.
    @ivar optional: whether to run without the file if it cannot be written.
    """

    path: str
    optional: bool = False
    _descriptor: int | None = field(default=None, init=False)

    def claim(self, name: str) -> None:
        """
        Lock the file and write the id of this process to it.

        @param name: of the daemon, for error messages.
        @raise StartError: if another process holds the file, or if the file cannot be written and is not optional.
        """
        try:
            for _ in range(_MAX_TRIES):
                if self._locked(name):
                    return
        except _Denied as error:
            if not self.optional:
                raise StartError(
                    f"--pidfile: {self.path} cannot be written: {error}; remove it, or name another file."
                ) from None
            return
        raise StartError(f"--pidfile: {self.path} is replaced again and again; name another file with --pidfile.")

    def release(self) -> None:
        """Remove and unlock the file, if this process holds it."""
        if self._descriptor is not None:
            with suppress(OSError):
                if _is(self._descriptor, self.path):
                    os.unlink(self.path)
            os.close(self._descriptor)
            self._descriptor = None

    def _locked(self, name: str) -> bool:
        """Try once to lock the file; return whether this process holds it now."""
        descriptor, writable = _open(self.path)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_STALE_BYTES:
                raise StartError(f"--pidfile: {self.path} is not a pid file; name another file with --pidfile.")
            if not _lock(descriptor):
                raise StartError(self._running(name, descriptor))
            if not writable:
                # A stale file of another user: write access to the folder permits its removal.
                _remove(self.path)
            elif _is(descriptor, self.path):
                self._write(descriptor)
                self._descriptor, descriptor = descriptor, -1
                return True
            return False
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def _write(self, descriptor: int) -> None:
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, b"%d" % os.getpid(), 0)
        except OSError as error:
            raise _Denied(error.strerror) from None

    def _running(self, name: str, descriptor: int) -> str:
        number = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
        who = f" as process {number}" if number.isdecimal() else ""
        return (
            f"--pidfile: {name} already runs{who} and holds {self.path}; stop it, or name another file with --pidfile."
        )


def _open(path: str) -> tuple[int, bool]:
    """Open or create the file; also return whether it is open for writing."""
    # A pipe must not block the start.
    flags = os.O_CLOEXEC | os.O_NONBLOCK
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o644), True
    except OSError as error:
        reason = error.strerror
    try:
        return os.open(path, os.O_RDONLY | flags), False
    except OSError:
        raise _Denied(reason) from None


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        # The file system has no locks. A stale file must not prevent a start.
        return True
    return True


def take_over(twistd: usage.Options, words: Sequence[str]) -> PidFile | None:
    """
    Take the pid file over from twistd, which trusts the number in a stale file.

    The default file is named after the role, and optional in the foreground.

    @param twistd: the options of twistd; C{pidfile} is emptied.
    @param words: the command line.
    @return: C{None} if C{--pidfile=} disables the file, and for C{twist}, which has none.
    @raise SystemExit: if C{--rundir} is not a folder.
    """
    if "pidfile" not in twistd:
        return None
    if not os.path.isdir(twistd["rundir"]):
        raise SystemExit(f"--rundir: {twistd['rundir']} is not a folder; create it, or name another.")
    path, twistd["pidfile"] = twistd["pidfile"], ""
    # twistd accepts abbreviated options.
    named = any(each.startswith("--pi") for each in words)
    if not named:
        path = f"{twistd.subCommand}.pid"
    if not path:
        return None
    foreground = bool(twistd["nodaemon"] or twistd["debug"])
    return PidFile(os.path.abspath(path), optional=foreground and not named)


def _is(descriptor: int, path: str) -> bool:
    """Return whether the path still names the open file."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except OSError:
        return False


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise _Denied(error.strerror) from None
