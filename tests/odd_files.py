"""What may stand under the name of a file without being a regular one."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress


def _fifo(path: str) -> bool:
    os.mkfifo(path)
    return True


def _socket(path: str) -> bool:
    # By way of a relative name: that of a socket may be 107 bytes long.
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"/proc/self/fd/{folder}/{os.path.basename(path)}")
    finally:
        os.close(folder)
    return True


def _folder(path: str) -> bool:
    os.mkdir(path)
    return True


def _device(path: str) -> bool:
    """A device of its own, with the numbers of C{/dev/null}; only root can make one."""
    with suppress(PermissionError):
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        return True
    return False


#: What makes each kind at a path, and whether it could.
KINDS: Mapping[str, Callable[[str], bool]] = {
    "a FIFO": _fifo,
    "a socket": _socket,
    "a folder": _folder,
    "a device": _device,
}


def unmake(path: str) -> None:
    """Remove what was made."""
    if os.path.isdir(path):
        os.rmdir(path)
    else:
        os.unlink(path)
