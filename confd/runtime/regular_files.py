"""Files that are kept under a name: only a regular file may be replaced, renamed or written there."""

from __future__ import annotations

import os
import stat

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def find_other_kind(path: str) -> str | None:
    """
    Return what stands at a path in place of a regular file, such as C{a device}.

    @return: C{None} for a regular file, behind links, too; and where there is nothing, or nobody can tell.
    """
    try:
        return _KINDS.get(stat.S_IFMT(os.stat(path).st_mode))
    except (OSError, ValueError):
        return None
