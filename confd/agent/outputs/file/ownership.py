"""
Ownership rules: who may decide what an agent runs.

Whatever the agent runs or renders from belongs to root or to the agent's user, and no other user can change it. A
document names no path, command, owner or template.
"""

from __future__ import annotations

import os
import stat

#: Bits of a mode that let others than the owner write.
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class Untrusted(Exception):
    """
    A file that another user may change.

    @ivar reason: what is wrong with the file, and what to do; follows the name of the setting.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path} {reason}")
        self.path, self.reason = path, reason


def check_file(path: str) -> None:
    """
    Check a file and its folder, behind symbolic links.

    @raise Untrusted: if another user than root or the agent's may change the file.
    @raise OSError: if the file cannot be examined.
    """
    real = os.path.realpath(path)
    _check(path, os.stat(real))
    folder = os.path.dirname(real)
    if not _read_only(folder):
        _check(folder, os.stat(folder))


def check_descriptor(descriptor: int, path: str) -> None:
    """
    Check an open file, and the folder of its path.

    @raise Untrusted: if another user than root or the agent's may change the file.
    """
    _check(path, os.fstat(descriptor))
    folder = os.path.dirname(os.path.realpath(path))
    if not _read_only(folder):
        _check(folder, os.stat(folder))


def check_program(path: str) -> None:
    """
    Check that a path names a program that only root or the agent's user can change.

    @raise Untrusted: if the path names no program, or another user may change it.
    """
    if not os.path.isfile(path) or not os.access(path, os.X_OK):
        raise Untrusted(path, "is not an executable file.")
    check_file(path)


def _check(path: str, found: os.stat_result) -> None:
    us = os.geteuid()
    if found.st_uid not in (0, us) or found.st_mode & _OTHERS_WRITE:
        who = "root" if us == 0 else f"root or uid {us}"
        raise Untrusted(path, f"can be changed by others; its owner must be {who}, and 'chmod go-w' it.")


def _read_only(folder: str) -> bool:
    try:
        return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
    except OSError:
        return False
