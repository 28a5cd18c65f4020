"""A log file that rotates itself, or follows the rotation of another program."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from itertools import pairwise

from attrs import define, field

from confd.runtime.files import find_other_kind

#: Symbolic links to follow at most, as Linux does.
_MAX_LINKS = 40


@define(eq=False)
class LogFile:
    """
    Append lines to a file, to which other processes may append, too.

    The next line after the file was moved or removed creates it again; after a truncation (copytruncate) the next line
    goes to the new end. Devices, FIFOs and descriptors such as C{/dev/stdout} are never rotated. A file behind a
    symbolic link is rotated in its own directory.

    @ivar path: absolute.
    @ivar max_bytes: size at which the file becomes C{path.1}; 0 never rotates it.
    @ivar keep: number of older files to keep, C{path.1} the newest.
    """

    path: str
    max_bytes: int
    keep: int
    _descriptor: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._descriptor = self._open()

    def write(self, text: str) -> None:
        """
        Append a line, and pass it to the system.

        @raise OSError: if the file cannot be written.
        """
        self._follow()
        raw = text.encode("utf-8", "backslashreplace")
        while raw:
            raw = raw[os.write(self._descriptor, raw) :]

    def flush(self) -> None:
        """Do nothing: L{write} keeps no buffer."""

    def isatty(self) -> bool:
        """Return false."""
        return False

    def reopen(self) -> None:
        """Open the file by its name again; keep the open file if that fails."""
        with suppress(OSError):
            fresh = self._open()
            os.close(self._descriptor)
            self._descriptor = fresh

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _open(self) -> int:
        # A pipe without a reader must not block.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
        try:
            descriptor = os.open(self.path, flags, 0o666)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            kind = "a FIFO without a reader" if stat.S_ISFIFO(os.stat(self.path).st_mode) else "a socket or no device"
            raise OSError(errno.ENXIO, f"it is {kind}") from None
        os.set_blocking(descriptor, True)
        return descriptor

    def _follow(self) -> None:
        opened = os.fstat(self._descriptor)
        try:
            named = os.stat(self.path)
        except OSError:
            self.reopen()
            return
        if not os.path.samestat(opened, named):
            self.reopen()
        elif self.max_bytes and opened.st_size >= self.max_bytes and stat.S_ISREG(opened.st_mode):
            self._rotate()

    def _rotate(self) -> None:
        """Move each file one number up, over the oldest. Leave devices and directories alone."""
        with suppress(OSError):
            path = _find_file(self.path)
            if path is None:
                return
            numbered = [f"{path}.{number}" for number in range(1, self.keep + 1)]
            names = [path, *(each for each in numbered if find_other_kind(each) is None)]
            for older, newer in reversed(list(pairwise(names))):
                with suppress(FileNotFoundError):
                    os.replace(older, newer)
            if len(names) == 1:
                os.truncate(path, 0)
        self.reopen()


def _find_file(path: str) -> str | None:
    """
    Resolve the symbolic links of a path to a file; return C{None} for a descriptor such as C{/dev/stdout}.

    Renaming C{/dev/stdout} would take it away from every other process.
    """
    for _ in range(_MAX_LINKS):
        folder = os.path.realpath(os.path.dirname(path))
        if folder == "/dev" or folder.startswith("/proc/"):
            return None
        path = os.path.join(folder, os.path.basename(path))
        if not os.path.islink(path):
            return path
        path = os.path.join(folder, os.readlink(path))
    return None
