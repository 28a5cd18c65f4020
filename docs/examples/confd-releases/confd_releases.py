"""
RELEASES: an agent writes each document into a folder of its own, and switches the link C{current} to the newest.

It suits programs that open C{current/config.json} at each start, and people who want to see the documents before.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from zope.interface import implementer

from confd.errors import StartError, Unavailable
from confd.interfaces import IOutput, IStagedChange, OutputContext, OutputState
from confd.model import Configuration
from confd.runtime.offload import RunInThread

#: Documents that stay in the folder.
KEPT = 5


@implementer(IOutput)
@define(eq=False)
class Releases:
    """
    A folder of documents; everything that touches the disk runs in a thread.

    @ivar seen: the answer of C{stat} for the document when it was current.
    """

    folder: Path
    in_thread: RunInThread
    name: str = "releases"
    health: None = None
    seen: tuple[int, ...] = field(default=(), init=False)

    def problem(self) -> str | None:
        return None

    def stage(self, configuration: Configuration) -> Deferred[IStagedChange | None]:
        return self.in_thread(self._stage, configuration)

    def inspect(self) -> Deferred[OutputState]:
        """See L{IOutput}; one C{stat} follows the link."""
        return self.in_thread(self._inspect)

    @property
    def link(self) -> Path:
        """The link to the current document."""
        return self.folder / "current"

    def look(self) -> tuple[int, ...]:
        """Return the identity of the current document, empty if none is there."""
        try:
            found = os.stat(self.link / "config.json")
        except OSError:
            return ()
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns

    def point(self, release: str | None) -> None:
        """Switch the link to a release, C{None} removes the link; no moment is without a whole link."""
        if release is None:
            self.link.unlink(missing_ok=True)
        else:
            fresh = self.folder / ".current.new"
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(release)
            fresh.replace(self.link)
        self.seen = self.look()

    def current(self) -> str | None:
        """Return the release that the link names."""
        return os.readlink(self.link) if self.link.is_symlink() else None

    def _stage(self, configuration: Configuration) -> IStagedChange | None:
        document, current = configuration.document.raw, self.link / "config.json"
        try:
            if current.is_file() and current.read_bytes() == document:
                self.seen = self.look()
                return None
            release = Path(tempfile.mkdtemp(prefix=f"{configuration.version:06}-", dir=self.folder))
            release.chmod(0o755)
            with open(release / "config.json", "wb") as file:
                file.write(document)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise Unavailable("unwritable", f"{self.folder} cannot be written: {error.strerror}.") from None
        return ReleaseChange(self, release.name, self.current())

    def _inspect(self) -> OutputState:
        found = self.look()
        return OutputState(holds=bool(self.seen) and found == self.seen, present=bool(found))


@implementer(IStagedChange)
@frozen(eq=False)
class ReleaseChange:
    """A document on disk whose link does not point to it yet. No program needs a reload."""

    output: Releases
    release: str
    before: str | None
    tests = reloads = probes = ()

    def commit(self) -> Deferred[None]:
        return self.output.in_thread(self._point, self.release)

    def roll_back(self) -> Deferred[None]:
        return self.output.in_thread(self._point, self.before)

    def finish(self) -> Deferred[None]:
        """See L{IStagedChange}: only the newest releases stay."""
        return self.output.in_thread(self._clean)

    def discard(self) -> Deferred[None]:
        return self.output.in_thread(shutil.rmtree, self.output.folder / self.release, True)

    def _point(self, release: str | None) -> None:
        try:
            self.output.point(release)
        except OSError as error:
            raise Unavailable("unwritable", f"{self.output.link} cannot be written: {error.strerror}.") from None

    def _clean(self) -> None:
        found = sorted(each for each in self.output.folder.glob("??????-*") if each.name != self.release)
        for each in found[: -(KEPT - 1)]:
            shutil.rmtree(each, ignore_errors=True)


def make(context: OutputContext) -> Releases:
    """
    Make the output; the drop-in names this function.

    @raise StartError: if the folder is missing.
    """
    folder = context.environ.get("RELEASES_FOLDER")
    if not folder or not os.path.isdir(folder):
        raise StartError("RELEASES_FOLDER: is not a folder; set it to the path of a folder for the documents.")
    return Releases(Path(folder), context.in_thread)
