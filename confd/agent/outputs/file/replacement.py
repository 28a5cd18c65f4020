"""
The replacement of one file: staged beside it, put in its place, and put back.

Everything here blocks and belongs in a thread. A file is whole at every moment, unless its output works in place.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable
from contextlib import suppress

from attrs import define, field, frozen
from twisted.logger import Logger

from confd.agent.outputs.file.formats import MAX_FILE_BYTES
from confd.agent.outputs.file.spec import FileSpec
from confd.runtime.atomic_file import sync_folder

_ACL = "system.posix_acl_access"
_SELINUX = "security.selinux"

#: What a file system says that has no extended attributes, or a file that lacks one.
_NO_ATTRIBUTE = {errno.ENODATA, errno.ENOTSUP}


@frozen
class FileState:
    """
    The contents of a path.

    @ivar sha: SHA-256 of the content in hex; empty where no regular file is there.
    @ivar key: inode, size and times; a file with the same key is not read again.
    """

    sha: str = ""
    mode: int = 0
    owner: int = -1
    group: int = -1
    key: tuple[int, ...] = ()

    @property
    def present(self) -> bool:
        """Whether a regular file is there."""
        return bool(self.sha)


def sha_of(content: bytes) -> str:
    """Return the SHA-256 of a content in hex."""
    return hashlib.sha256(content).hexdigest()


@define(eq=False)
class FileReplacement:
    """
    The files of one output: its own, the staged one and the copy for a roll-back.

    @ivar keep_folder: where an output that works in place keeps its copy, and rejected files are kept.
    @ivar sync: writes the file of a descriptor to the disk.
    """

    log = Logger()

    spec: FileSpec
    keep_folder: str
    sync: Callable[[int], object] = os.fsync
    _warned: bool = field(default=False, init=False)

    @property
    def staged_path(self) -> str:
        """The path of the staged file."""
        return self._beside("new")

    @property
    def old_path(self) -> str:
        """The path of the copy for a roll-back."""
        if self.spec.in_place:
            return os.path.join(self.keep_folder, f"{self.spec.name}.prev")
        return self._beside("old")

    def examine(self, known: FileState | None = None) -> FileState:
        """
        Return the contents of the path; read the file only if C{known} has another key.

        @raise OSError: if the file cannot be examined.
        """
        try:
            found = os.lstat(self.spec.path)
        except FileNotFoundError:
            return FileState()
        if not stat.S_ISREG(found.st_mode):
            return FileState()
        key = (found.st_ino, found.st_dev, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        sha = known.sha if known is not None and known.key == key else sha_of(self._read())
        return FileState(sha, stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid, key)

    def matches(self, state: FileState, sha: str) -> bool:
        """Return whether a state has this content, and the mode and owners that the operator wants."""
        owner, group = self._owners()
        return (state.sha, state.mode, state.owner, state.group) == (sha, self.spec.mode, owner, group)

    def has_old(self) -> bool:
        """Return whether a copy for a roll-back exists."""
        return _is_regular(self.old_path)

    def stage(self, content: bytes) -> None:
        """
        Write the staged file with the mode, owners and attributes of the final one, and sync it.

        @raise OSError: if the file cannot be written; nothing is left of it.
        """
        self.discard()
        self._write(self.staged_path, content, self.spec.mode, self._owners(), self._copy_attributes)

    def discard(self) -> None:
        """Remove the staged file."""
        with suppress(FileNotFoundError):
            os.unlink(self.staged_path)

    def keep_refused(self) -> None:
        """Keep the staged file for the operator, where the operator wants that."""
        path = os.path.join(self.keep_folder, f"{self.spec.name}.refused")
        if self.spec.keep_refused:
            try:
                self._copy_staged(path)
            except OSError as error:
                self.log.warn("the rejected {path} cannot be kept: {reason}", path=path, reason=error.strerror)
        self.discard()

    def _copy_staged(self, path: str) -> None:
        self._make_folder()
        with suppress(FileNotFoundError):
            os.unlink(path)
        with open(self.staged_path, "rb") as file:
            self._write(path, file.read(), 0o600)

    def commit(self, keep: bool = True) -> None:
        """
        Put the staged file in place, durably.

        @param keep: whether to keep a copy for a roll-back; a repair has nothing to roll back to.
        @raise OSError: if the file is not in place; the old one still is, unless the output works in place.
        """
        kept = keep and self._keep_old()
        if self.spec.in_place:
            self._overwrite(self.staged_path)
            self.discard()
        else:
            try:
                os.replace(self.staged_path, self.spec.path)
            except OSError:
                # A mount over the file can be gone at the next attempt, and the copy is of what it showed.
                if kept:
                    self.finish()
                raise
        sync_folder(self.spec.path, self.sync)

    def roll_back(self, created: bool) -> None:
        """
        Put the kept copy back.

        @param created: whether the file did not exist before, so that a roll-back removes it.
        @raise OSError: if the content before the change is not back.
        """
        if self.has_old():
            if self.spec.in_place:
                self._overwrite(self.old_path)
                os.unlink(self.old_path)
            else:
                os.replace(self.old_path, self.spec.path)
                # Renaming one name of a file to another name of it does nothing.
                self.finish()
        elif created:
            with suppress(FileNotFoundError):
                os.unlink(self.spec.path)
        sync_folder(self.spec.path, self.sync)

    def finish(self) -> None:
        """Remove the copy for a roll-back."""
        with suppress(FileNotFoundError):
            os.unlink(self.old_path)

    # -- parts --

    def _beside(self, kind: str) -> str:
        folder, name = os.path.split(self.spec.path)
        return os.path.join(folder, f".confd-{kind}.{name}")

    def _owners(self) -> tuple[int, int]:
        return (
            os.geteuid() if self.spec.owner is None else self.spec.owner,
            os.getegid() if self.spec.group is None else self.spec.group,
        )

    def _read(self) -> bytes:
        descriptor = os.open(self.spec.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            return file.read(MAX_FILE_BYTES + 1)

    def _copy_attributes(self, descriptor: int) -> None:
        """Copy the ACL and the SELinux label of the file that is replaced."""
        if not _is_regular(self.spec.path):
            return
        acl = _attribute(self.spec.path, _ACL)
        if acl is not None:
            os.setxattr(descriptor, _ACL, acl)
        label = _attribute(self.spec.path, _SELINUX)
        if label is not None:
            try:
                os.setxattr(descriptor, _SELINUX, label)
            except OSError as error:
                if not self._warned:
                    self._warned = True
                    self.log.warn(
                        "the SELinux label of {path} cannot be copied: {reason}",
                        path=self.spec.path,
                        reason=error.strerror,
                    )

    def _keep_old(self) -> bool:
        """Keep the file, unless a copy of what the whole set applied last exists; return whether it made a copy."""
        if self.has_old() or not _is_regular(self.spec.path):
            return False
        with suppress(FileNotFoundError):
            os.unlink(self.old_path)
        if self.spec.in_place:
            self._make_folder()
            self._write(self.old_path, self._read(), 0o600)
            return True
        try:
            os.link(self.spec.path, self.old_path, follow_symlinks=False)
        except OSError:
            found = os.lstat(self.spec.path)
            self._write(self.old_path, self._read(), stat.S_IMODE(found.st_mode), (found.st_uid, found.st_gid))
        return True

    def _overwrite(self, source: str) -> None:
        with open(source, "rb") as file:
            content = file.read()
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self.spec.path, flags, 0o600)
        with open(descriptor, "wb") as target:
            target.write(content)
            target.truncate()
            target.flush()
            owner, group = self._owners()
            os.fchown(descriptor, owner, group)
            os.fchmod(descriptor, self.spec.mode)
            self.sync(descriptor)

    def _write(
        self,
        path: str,
        content: bytes,
        mode: int,
        owners: tuple[int, int] | None = None,
        copy_attributes: Callable[[int], None] | None = None,
    ) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "wb", closefd=False) as file:
                file.write(content)
                file.flush()
                if owners is not None:
                    os.fchown(descriptor, *owners)
                if copy_attributes is not None:
                    copy_attributes(descriptor)
                # The attributes of an ACL change the mode bits.
                os.fchmod(descriptor, mode)
                self.sync(descriptor)
        except OSError:
            with suppress(FileNotFoundError):
                os.unlink(path)
            raise
        finally:
            os.close(descriptor)

    def _make_folder(self) -> None:
        with suppress(FileExistsError):
            os.mkdir(self.keep_folder, 0o700)


def _is_regular(path: str) -> bool:
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


def _attribute(path: str, name: str) -> bytes | None:
    try:
        return os.getxattr(path, name, follow_symlinks=False)
    except OSError as error:
        if error.errno in _NO_ATTRIBUTE:
            return None
        raise
