"""Files that an operator names: reads bounded in size, and the kinds of file that confd must not replace."""

from __future__ import annotations

import errno
import os
import stat

#: What a reason says of a path that names something else than a file.
IRREGULAR = "it is a device, a pipe or a socket, and no file"

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


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


def read_file_or_pipe(path: str | os.PathLike[str], limit: int) -> tuple[bytes, int]:
    """
    Return what a regular file holds, or the first line of a pipe or a terminal, and its mode.

    This waits for the line, and leaves what follows it unread.

    @param limit: bytes that are read at most.
    @raise OSError: with a reason fit for a sentence in C{strerror}.
    """
    try:
        mode = os.stat(path).st_mode
        if not (stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)):
            return read_file(path, limit)
        descriptor = os.open(path, os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except ValueError:
        raise OSError(errno.EINVAL, "it is no name of a file") from None
    line = bytearray()
    try:
        while len(line) < limit and not line.endswith(b"\n") and (byte := os.read(descriptor, 1)):
            line += byte
    finally:
        os.close(descriptor)
    # Everybody may write to many devices; what was read is the caller's own all the same.
    return bytes(line), mode if stat.S_ISFIFO(mode) else 0


def find_other_kind(path: str) -> str | None:
    """
    Return what stands at a path in place of a regular file, such as C{a device}.

    @return: C{None} for a regular file, behind links, too; and where there is nothing, or nobody can tell.
    """
    try:
        return _KINDS.get(stat.S_IFMT(os.stat(path).st_mode))
    except (OSError, ValueError):
        return None
