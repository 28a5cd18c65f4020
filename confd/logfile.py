"""The file of a log: rotated by itself within bounds, and reopened where another program rotates it."""

from __future__ import annotations

import os
from contextlib import suppress

from attrs import define, field


@define(eq=False)
class LogFile:
    """
    A file that grows at its end, however many processes write to it.

    A file that was moved or removed is created again with the next line. A file that was truncated (copytruncate) goes
    on at its new end.

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
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        descriptor = os.open(self.path, flags, 0o666)
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
        elif self.max_bytes and opened.st_size >= self.max_bytes:
            self._rotate()

    def _rotate(self) -> None:
        """Move each file one number up; the oldest goes."""
        with suppress(OSError):
            for number in range(self.keep, 0, -1):
                older = self.path if number == 1 else f"{self.path}.{number - 1}"
                with suppress(FileNotFoundError):
                    os.replace(older, f"{self.path}.{number}")
            if not self.keep:
                os.truncate(self.path, 0)
        self.reopen()
