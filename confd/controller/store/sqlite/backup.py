"""A consistent copy of a database that is in use, in a file without a name."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import BinaryIO

from attrs import frozen

from confd.controller.store.sqlite.connection import explain, give_way
from confd.errors import Unavailable

#: Longest time for a copy; a longer one would keep the write-ahead log from being reset.
TIMEOUT_SECONDS = 600.0

#: Instructions of SQLite between two looks at the clock.
_PROGRESS_STEPS = 100_000
_PREFIX = ".confd-backup-"


@frozen
class Backup:
    """
    A complete copy.

    @ivar file: the copy, open for reading at its beginning. Nothing of it stays on disk once it is closed.
    @ivar size: bytes.
    @ivar checksum: C{sha256:<hex>} of these bytes.
    """

    file: BinaryIO
    size: int
    checksum: str


def copy_database(path: str, seconds: Callable[[], float]) -> Backup:
    """
    Copy a database with C{VACUUM INTO}, beside its writers; for a thread.

    @param path: the database.
    @param seconds: returns monotonic time.
    @raise Unavailable: C{storage_full}, C{storage_unavailable}: the copy cannot be made.
    """
    give_way()
    folder = Path(path).parent
    _require_room(path, folder)
    try:
        number, name = tempfile.mkstemp(prefix=_PREFIX, dir=folder)
    except OSError as error:
        raise _failed(f"{folder} cannot be written: {error.strerror}") from None
    file = os.fdopen(number, "rb")
    try:
        _vacuum(path, name, seconds() + TIMEOUT_SECONDS, seconds)
        return _measured(file)
    except sqlite3.Error as error:
        file.close()
        raise _failed(explain(error) or str(error)) from None
    except BaseException:
        file.close()
        raise
    finally:
        os.unlink(name)


def remove_leftovers(path: str) -> None:
    """Remove the copies that a controller which was killed has left beside a database."""
    for each in Path(path).parent.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            each.unlink()


def _require_room(path: str, folder: Path) -> None:
    missing = os.stat(path).st_size - shutil.disk_usage(folder).free
    if missing > 0:
        raise Unavailable(
            "storage_full",
            f"A copy of the database needs {missing} bytes more than {folder} has free; free some space.",
        )


def _vacuum(path: str, target: str, deadline: float, seconds: Callable[[], float]) -> None:
    uri = f"{Path(path).as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
        # A copy needs no protection from a power cut: its reader checks it.
        connection.set_progress_handler(lambda: int(seconds() > deadline), _PROGRESS_STEPS)
        connection.execute("VACUUM INTO ?", (target,))


def _measured(file: BinaryIO) -> Backup:
    digest, size = hashlib.file_digest(file, "sha256"), file.tell()  # type: ignore[arg-type]
    file.seek(0)
    return Backup(file, size, f"sha256:{digest.hexdigest()}")


def _failed(why: str) -> Unavailable:
    return Unavailable("storage_unavailable", f"The database cannot be copied: {why}.")
