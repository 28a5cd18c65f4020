"""The file of a log: rotated by itself within bounds, and reopened where another program rotates it."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from itertools import pairwise

from attrs import define, field

from confd.runtime.files import find_other_kind

#: Symbolic links that are followed, as by Linux.
_LINKS = 40


@define(eq=False)
class LogFile:
    """
    A file that grows at its end, however many processes write to it.

    A file that was moved or removed is created again with the next line. A file that was truncated (copytruncate) goes
    on at its new end. A device, a FIFO and a descriptor such as C{/dev/stdout} are written to and never rotated. A
    file behind a symbolic link is rotated where it is.

    @ivar path: absolute.
    @ivar max_bytes: the size at which the file becomes C{path.1}; 0 leaves rotation to another program.
    @ivar keep: how many older files stay, C{path.1} the newest.
    """

    path: str
    max_bytes: int
    keep: int
    _descriptor: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._descriptor = self._open()

    def write(self, text: str) -> None:
        """
        Append a line; it is on its way to the disk when this returns.

        @raise OSError: the file cannot be written.
        """
        self._follow()
        raw = text.encode("utf-8", "backslashreplace")
        while raw:
            raw = raw[os.write(self._descriptor, raw) :]

    def flush(self) -> None:
        """Do nothing: what is written is written."""

    def isatty(self) -> bool:
        """Return false: a file gets JSON."""
        return False

    def reopen(self) -> None:
        """Open the file by its name again. Go on with the open file where that is not possible."""
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
            kind = "a FIFO that nobody reads" if stat.S_ISFIFO(os.stat(self.path).st_mode) else "a socket or no device"
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
        """Move each file one number up; the oldest goes. Devices and folders that stand in the way stay."""
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
    Return where the file is that a path leads to by symbolic links; C{None} where it leads to a descriptor.

    Whoever moved C{/dev/stdout} would take it from every other process.
    """
    for _ in range(_LINKS):
        folder = os.path.realpath(os.path.dirname(path))
        if folder == "/dev" or folder.startswith("/proc/"):
            return None
        path = os.path.join(folder, os.path.basename(path))
        if not os.path.islink(path):
            return path
        path = os.path.join(folder, os.readlink(path))
    return None
