"""The file beside a database that says whose it is, and that one controller alone uses it."""

from __future__ import annotations

import fcntl
import os

_LONGEST = 4096


class IdentityFile:
    """
    C{<database>.id}: locked while a controller runs, and from the first start on holding the C{cluster_id}, so that a
    missing database differs from a new one. While the identity changes it holds both, the old and
    the new one, each in a line: whichever the change left behind is right.

    It is written in place: a new file under the name would not be the locked file.
    """

    def __init__(self, database: str) -> None:
        """
        Make the file if need be, and lock it.

        @raise BlockingIOError: if another process has it locked.
        @raise OSError: if it cannot be had.
        """
        self.path = f"{database}.id"
        self._held: int | None = None
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:
            self.release()
            raise

    def hold(self, database: str) -> None:
        """
        Lock the database file itself: a bind mount gives it another path, and so another marker.

        The descriptor stays open until L{release}. To close it earlier would drop the locks of SQLite (fcntl(2)).

        @raise BlockingIOError: if another process has it locked.
        @raise OSError: if it cannot be opened.
        """
        self._held = os.open(database, os.O_RDWR | os.O_CLOEXEC)
        fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def read(self) -> str:
        """Return the contents, empty if the file is empty."""
        return os.pread(self._descriptor, _LONGEST, 0).decode("utf-8", "replace").strip("\0\n ")

    def write(self, *cluster_ids: str) -> None:
        """
        Write them, and be sure that they, the file's name and the name of the database outlive a power cut.

        A cut write leaves one line whole: the first while one is added, the last while one goes.
        """
        line = "".join(f"{each}\n" for each in cluster_ids).encode()
        os.pwrite(self._descriptor, line, 0)
        os.ftruncate(self._descriptor, len(line))
        os.fsync(self._descriptor)
        folder = os.open(os.path.dirname(self.path), os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def release(self) -> None:
        """Release the locks."""
        os.close(self._descriptor)
        if self._held is not None:
            os.close(self._held)
            self._held = None
