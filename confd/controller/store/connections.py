"""Connections to SQLite: how they are opened, made durable and checked, and what failing storage is called."""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

#: The one reason that does not heal by itself.
DAMAGED = "it is damaged; restore it from a backup"

#: The niceness of who waits for all others (setpriority(2)).
_LAST = 19

#: What a person is told, by primary result code.
_REASONS = {
    sqlite3.SQLITE_FULL: "the disk is full; free some space",
    sqlite3.SQLITE_READONLY: "it is read-only; make it writable",
    sqlite3.SQLITE_PERM: "access is denied; let the controller read and write it",
    sqlite3.SQLITE_BUSY: "another process has locked it; end that one",
    sqlite3.SQLITE_LOCKED: "it is locked; try again",
    sqlite3.SQLITE_IOERR: "the disk is full or fails; look at the system's log",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; look at its folder and permissions",
    sqlite3.SQLITE_NOMEM: "there is not enough memory",
    sqlite3.SQLITE_CORRUPT: DAMAGED,
    sqlite3.SQLITE_NOTADB: DAMAGED,
}


class StorageError(Exception):
    """Something is wrong with the storage that SQLite itself does not notice, in words for a person."""


class Damaged(StorageError):
    """The database holds pages that cannot be right."""

    def __init__(self) -> None:
        super().__init__(DAMAGED)


def explain(error: BaseException) -> str | None:
    """What is wrong with the storage, and what to do; C{None} where C{error} is about something else."""
    if isinstance(error, StorageError):
        return str(error)
    return _REASONS.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)


def connect_arguments(path: str, busy_timeout: float) -> tuple[str, dict[str, Any]]:
    """
    What C{sqlite3.connect} takes to open a database that must be there already.

    @param busy_timeout: seconds to wait for another process's lock.
    """
    arguments = {"uri": True, "isolation_level": None, "check_same_thread": False, "timeout": busy_timeout}
    return f"{Path(path).as_uri()}?mode=rw", arguments


def make_durable(connection: sqlite3.Connection) -> None:
    """
    Put commits on disk, and read back that they will be: SQLite ignores a PRAGMA that it cannot follow in silence.

    @raise StorageError: where it cannot be had.
    """
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    (level,) = connection.execute("PRAGMA synchronous").fetchone()
    if (mode, level) != ("wal", 2):
        raise StorageError(
            f"journal_mode is {mode} and synchronous {level}, where wal and 2 are needed; use a local file system"
        )


def find_damage(connection: sqlite3.Connection) -> None:
    """
    Read the whole database.

    @raise Damaged: if a page of it cannot be right.
    """
    if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
        raise Damaged()


def give_way() -> None:
    """Let this thread have what others leave of the processor, until it ends, where it may: there is no way back."""
    # Elsewhere it would be the whole process; and a sandbox may forbid it.
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LAST)


def identity(path: str) -> tuple[int, int] | None:
    """What tells a file from any other, C{None} where it is missing."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
