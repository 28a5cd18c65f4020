"""Private files that are replaced as a whole or not at all, also when the machine crashes. Everything here blocks."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress

from confd.runtime.files import find_other_kind


def check_regular(path: str) -> None:
    """
    Check that a path names a regular file or nothing.

    @raise OSError: if the path names something else, such as a folder.
    """
    kind = find_other_kind(path)
    if kind is not None:
        raise OSError(errno.EINVAL, f"it is {kind}", path)


def replace_file(path: str, content: bytes, previous: str | None = None) -> None:
    """
    Replace a file: write C{path.new}, sync it, rename it, and sync its folder.

    @param content: of the new file, whose mode is 0600.
    @param previous: path that names the replaced file afterwards, where the file system has hard links.
    @raise OSError: if the file is not on disk; the path then names the file that it named before.
    """
    fresh = f"{path}.new"
    check_regular(path)
    remove_file(fresh)
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        if previous is not None:
            _keep_copy(path, previous)
        os.replace(fresh, path)
    except OSError:
        with suppress(OSError):
            remove_file(fresh)
        raise
    sync_folder(path)


def _keep_copy(path: str, previous: str) -> None:
    """Link C{previous} to the file at C{path}; a file system without hard links keeps no copy."""
    link = f"{previous}.new"
    with suppress(OSError):
        remove_file(link)
        os.link(path, link, follow_symlinks=False)
        os.replace(link, previous)
        # Renaming one name of a file to another name of it does nothing.
        remove_file(link)


def remove_file(path: str) -> None:
    """
    Remove a regular file, if it exists.

    @raise OSError: if the file cannot be removed, or is not a regular one.
    """
    with suppress(FileNotFoundError):
        check_regular(path)
        os.unlink(path)


def sync_folder(path: str, sync: Callable[[int], object] = os.fsync) -> None:
    """
    Make the names in the folder of a path durable.

    @param sync: writes the file of a descriptor to the disk.
    @raise OSError: if the folder cannot be synced.
    """
    descriptor = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)
