"""Connections to SQLite: how they are opened, made durable and checked, and what failing storage is called."""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

#: The reason once two looks agree, and before the second look.
DAMAGED = "it is damaged; restore it from a backup"
SUSPECTED = "it may be damaged, and is being checked; try again later"

#: The niceness of who waits for all others (setpriority(2)).
_LAST = 19

#: Problems in words for people, by primary result code.
_REASONS = {
    sqlite3.SQLITE_FULL: "the disk is full; free some space",
    sqlite3.SQLITE_READONLY: "it is read-only; make it writable",
    sqlite3.SQLITE_PERM: "access is denied; let the controller read and write it",
    sqlite3.SQLITE_BUSY: "another process has locked it; end that one",
    sqlite3.SQLITE_LOCKED: "it is locked; try again",
    sqlite3.SQLITE_IOERR: "the disk is full or fails; look at the system's log",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; look at its folder and permissions",
    sqlite3.SQLITE_NOMEM: "memory is short",
    sqlite3.SQLITE_CORRUPT: DAMAGED,
    sqlite3.SQLITE_NOTADB: DAMAGED,
}


#: Seconds after which a folder that did not change is looked into again, and seconds until the time of its last change
#: tells it from the next one on every file system.
RECHECK_SECONDS, SETTLED_SECONDS = 1.0, 2.0


class StorageError(Exception):
    """Something is wrong with the storage that SQLite itself does not notice, in words for a person."""


class Damaged(StorageError):
    """The database holds pages that cannot be right."""

    def __init__(self) -> None:
        super().__init__(DAMAGED)


class Replaced(StorageError):
    """
    A file that SQLite writes to is gone from its path.

    @ivar log_lost: whether the database is in place and its write-ahead log is not.
    """

    def __init__(self, path: str, log_lost: bool) -> None:
        name = f"its file {path}" if path.endswith(("-wal", "-shm", ".id")) else "its file"
        super().__init__(f"{name} was removed or replaced; put it back, or restart the controller")
        self.log_lost = log_lost


def save_log(connection: sqlite3.Connection) -> None:
    """Copy what the write-ahead log holds into the database: the log has no name, and no start finds it."""
    with suppress(sqlite3.Error):
        connection.execute("PRAGMA wal_checkpoint(FULL)").fetchall()


def explain(error: BaseException | None) -> str | None:
    """Return the problem of the storage and the remedy; C{None} if C{error} has another cause."""
    if isinstance(error, StorageError):
        return str(error)
    return _REASONS.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)


def connect_arguments(path: str, busy_timeout: float) -> tuple[str, dict[str, Any]]:
    """
    Return the arguments of C{sqlite3.connect} for an existing database.

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
    """Lower this thread's priority for good (Linux only)."""
    # Elsewhere it would be the whole process; and a sandbox may forbid it.
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LAST)


def identity(path: str) -> tuple[int, int] | None:
    """Return the device and inode of a file, C{None} where it is missing."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


class Files:
    """
    The files that SQLite writes to, and the identity marker.

    SQLite keeps writing to an open file whose name was removed. The next start does not find that file.
    """

    def __init__(self, path: str, seconds: Callable[[], float]) -> None:
        """
        @param path: of the database.
        @param seconds: the monotonic clock.
        """
        self._database, self._folder, self._seconds = path, os.path.dirname(path), seconds
        self._known = {path: identity(path), f"{path}.id": identity(f"{path}.id")}
        #: The state of the folder, when it was first seen, and when all files were in place in it, once it is settled.
        self._stamp: tuple[int, int, int] | None = None
        self._seen_at, self._checked_at = 0.0, -RECHECK_SECONDS

    def opened(self) -> None:
        """Record the write-ahead log and its index, which exist once a connection has read the database."""
        for path in (f"{self._database}-wal", f"{self._database}-shm"):
            self._known[path] = identity(path)
        self._stamp = None

    def check(self) -> None:
        """
        Compare each file with the file that was opened; an unchanged folder holds the files of the last look.

        @raise Replaced: if one of them was removed or replaced.
        """
        now, stamp = self._seconds(), _stamp(self._folder)
        if stamp is not None and stamp == self._stamp and now - self._checked_at < RECHECK_SECONDS:
            return
        if stamp != self._stamp:
            self._stamp, self._seen_at = stamp, now
        self._checked_at = now - RECHECK_SECONDS
        for path, known in self._known.items():
            if known is not None and identity(path) != known:
                raise Replaced(path, log_lost=path.endswith("-wal"))
        # Two changes of a folder that follow each other closely may leave the same time.
        if now - self._seen_at >= SETTLED_SECONDS:
            self._checked_at = now


def _stamp(folder: str) -> tuple[int, int, int] | None:
    """Return the device and inode of a folder and when it changed last, in nanoseconds; C{None} where it is missing."""
    try:
        found = os.stat(folder)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_ctime_ns
