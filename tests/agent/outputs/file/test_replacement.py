"""Tests of C{confd.agent.outputs.file.replacement}: what is on the disk, and when."""

from __future__ import annotations

import os
from pathlib import Path

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from confd.agent.outputs.file.replacement import FileReplacement, sha_of
from confd.agent.outputs.file.spec import FileSpec


class SyncTests(SynchronousTestCase):
    """A content is on the disk before its name, and a name before the next step."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.path = self.folder / "x.json"
        self.synced: list[tuple[str, str]] = []

    def sync(self, descriptor: int) -> None:
        """Record the name of the synced file, and the content of the output at this moment."""
        name = os.path.relpath(os.readlink(f"/proc/self/fd/{descriptor}"), self.folder)
        self.synced.append((name, self.path.read_text() if self.path.exists() else ""))

    def replacement(self, in_place: bool = False) -> FileReplacement:
        spec = FileSpec("x", str(self.path), in_place=in_place)
        return FileReplacement(spec, str(self.folder / "kept"), self.sync)

    def test_the_content_comes_before_the_name_and_the_folder_after_it(self) -> None:
        files = self.replacement()
        files.stage(b"1")
        self.assertEqual(self.synced, [(".confd-new.x.json", "")])
        files.commit()
        self.assertEqual(self.synced[1:], [(".", "1")])

    def test_a_roll_back_syncs_the_folder(self) -> None:
        self.path.write_text("0")
        files = self.replacement()
        files.stage(b"1")
        files.commit()
        self.synced.clear()
        files.roll_back(created=False)
        self.assertEqual(self.synced, [(".", "0")])

    def test_an_overwritten_file_has_its_copy_on_the_disk_first(self) -> None:
        self.path.write_text("0")
        files = self.replacement(in_place=True)
        files.stage(b"1")
        files.commit()
        self.assertEqual(self.synced, [(".confd-new.x.json", "0"), ("kept/x.prev", "0"), ("x.json", "1"), (".", "1")])

    def test_an_unchanged_file_is_not_read_again(self) -> None:
        """The known hash is believed: another one would show that the file was read."""
        self.path.write_text("0")
        files = self.replacement()
        known = evolve(files.examine(), sha="believed")
        self.assertEqual(files.examine(known).sha, "believed")
        os.utime(self.path, ns=(1, 1))
        self.assertEqual(files.examine(known).sha, sha_of(b"0"))
