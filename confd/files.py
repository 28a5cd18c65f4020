"""Reading files that an operator names: bounded in size, and never waiting for a pipe or an endless device."""

from __future__ import annotations

import errno
import os
import stat

#: What a reason says of a path that names something else than a file.
IRREGULAR = "it is a device, a pipe or a socket, and no file"


def read_file(path: str | os.PathLike[str], limit: int) -> tuple[bytes, int]:
    """
    Return what a regular file holds, and its mode.

    @param limit: bytes that are read at most.
    @raise OSError: with a reason fit for a sentence in C{strerror}.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except ValueError:
        raise OSError(errno.EINVAL, "it is no name of a file") from None
    with open(descriptor, "rb", closefd=False) as file:
        try:
            mode = os.fstat(descriptor).st_mode
            if stat.S_ISDIR(mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            if not stat.S_ISREG(mode):
                raise OSError(errno.EINVAL, IRREGULAR)
            return file.read(limit), mode
        finally:
            os.close(descriptor)
