"""Read files that an operator names, with a limit, and recognise paths that are not regular files."""

from __future__ import annotations

import errno
import os
import stat

#: The reason for which a path other than that of a regular file is refused.
IRREGULAR = "it is a device, a pipe or a socket, not a file"

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def read_file(path: str | os.PathLike[str], limit: int) -> tuple[bytes, int]:
    """
    Return the content and the mode of a regular file.

    @param limit: bytes to read at most.
    @raise OSError: whose C{strerror} completes a sentence.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except ValueError:
        raise OSError(errno.EINVAL, "it is not a valid file name") from None
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
    Return the content of a regular file, or the first line of a pipe or a terminal, and its mode.

    The call waits for the line, and leaves the rest unread.

    @param limit: bytes to read at most.
    @raise OSError: whose C{strerror} completes a sentence.
    """
    try:
        mode = os.stat(path).st_mode
        if not (stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)):
            return read_file(path, limit)
        descriptor = os.open(path, os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except ValueError:
        raise OSError(errno.EINVAL, "it is not a valid file name") from None
    line = bytearray()
    try:
        while len(line) < limit and not line.endswith(b"\n") and (byte := os.read(descriptor, 1)):
            line += byte
    finally:
        os.close(descriptor)
    # Many devices are writable for everyone, which does not make the line less trustworthy.
    return bytes(line), mode if stat.S_ISFIFO(mode) else 0


def find_other_kind(path: str) -> str | None:
    """
    Return the kind of a path that is not a regular file, such as C{a device}.

    @return: C{None} for a regular file, for a link to one, for a missing path, and if the kind is unknown.
    """
    try:
        return _KINDS.get(stat.S_IFMT(os.stat(path).st_mode))
    except (OSError, ValueError):
        return None
