"""Tests of L{confd.runtime.log_file}."""

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from confd.runtime.files import find_other_kind
from confd.runtime.log_file import LogFile
from tests.odd_files import KINDS, unmake


class LogFileTests(SynchronousTestCase):
    """L{LogFile}."""

    def setUp(self) -> None:
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        self.path = folder / "it.log"

    def open(self, max_bytes: int = 0, keep: int = 2) -> LogFile:
        """Open the file; it is closed at the end."""
        file = LogFile(str(self.path), max_bytes, keep)
        self.addCleanup(file.close)
        return file

    def names(self) -> dict[str, str]:
        """The files that there are, and what they hold."""
        return {each.name: each.read_text() for each in self.path.parent.iterdir()}

    def test_rotation_deletes_the_oldest_files_and_keeps_the_newest_lines(self) -> None:
        file = self.open(max_bytes=4)
        for number in range(8):
            file.write(f"{number}..\n")
        self.assertEqual(self.names(), {"it.log": "7..\n", "it.log.1": "6..\n", "it.log.2": "5..\n"})

    def test_without_files_to_keep_the_file_is_truncated(self) -> None:
        file = self.open(max_bytes=4, keep=0)
        for number in range(3):
            file.write(f"{number}..\n")
        self.assertEqual(self.names(), {"it.log": "2..\n"})

    def test_lines_go_to_the_named_file_after_a_move_removal_or_truncation(self) -> None:
        file = self.open()
        file.write("a\n")
        self.path.rename(self.path.with_suffix(".old"))
        file.write("b\n")
        self.assertEqual(self.names(), {"it.log": "b\n", "it.old": "a\n"})
        self.path.unlink()
        file.write("c\n")
        self.assertEqual(self.path.read_text(), "c\n")
        os.truncate(self.path, 0)
        file.write("d\n")
        self.assertEqual(self.path.read_text(), "d\n")

    def test_the_open_file_takes_the_lines_while_its_folder_is_missing(self) -> None:
        file = self.open()
        away = self.path.parent.with_name("away")
        self.path.parent.rename(away)
        file.write("a\n")
        self.assertEqual((away / "it.log").read_text(), "a\n")
        self.path.parent.mkdir()
        file.write("b\n")
        self.assertEqual(self.path.read_text(), "b\n")

    def test_devices_and_fifos_are_written_to_and_never_rotated(self) -> None:
        os.mkfifo(self.path)
        said = self.assertRaises(OSError, LogFile, str(self.path), 4, 2)
        self.assertEqual(said.strerror, "it is a FIFO without a reader")
        reader = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        file = self.open(max_bytes=4)
        for line in ("a....\n", "b....\n"):
            file.write(line)
        self.assertEqual(os.read(reader, 99), b"a....\nb....\n")
        self.path.unlink()
        self.path.symlink_to(os.devnull)
        file.write("c....\n")
        file.write("d....\n")
        self.assertEqual([each.name for each in self.path.parent.iterdir()], ["it.log"])
        self.path.unlink()
        self.path.mkdir()
        self.assertRaises(IsADirectoryError, LogFile, str(self.path), 4, 2)

    def test_rotation_follows_links_to_their_file_and_leaves_the_links(self) -> None:
        folder = self.path.parent / "far"
        folder.mkdir()
        self.path.symlink_to("far/real.log")
        file = self.open(max_bytes=4)
        for number in range(5):
            file.write(f"{number}..\n")
        self.assertTrue(self.path.is_symlink())
        found = {each.name: each.read_text() for each in folder.iterdir()}
        self.assertEqual(found, {"real.log": "4..\n", "real.log.1": "3..\n", "real.log.2": "2..\n"})
        out = os.open(folder / "out", os.O_RDWR | os.O_CREAT)
        self.addCleanup(os.close, out)
        self.path.unlink()
        self.path.symlink_to(f"/dev/fd/{out}")
        for number in range(5):
            file.write(f"{number}..\n")
        self.assertEqual(
            (self.path.is_symlink(), sum(each.name.startswith("out") for each in folder.iterdir())), (True, 1)
        )
        self.assertEqual((folder / "out").read_text(), "0..\n1..\n2..\n3..\n4..\n")

    def test_a_folder_under_the_name_of_an_older_file_stays(self) -> None:
        for name, make in KINDS.items():
            blocked = self.path.with_name("it.log.1")
            if not make(str(blocked)):
                continue
            file = self.open(max_bytes=4)
            for number in range(3):
                file.write(f"{number}..\n")
            self.assertEqual(find_other_kind(str(blocked)), name)
            self.assertEqual((self.path.read_text(), self.path.with_name("it.log.2").read_text()), ("2..\n", "1..\n"))
            unmake(str(blocked))
            self.path.unlink()

    def test_two_processes_that_share_a_file_lose_no_line(self) -> None:
        one, other = self.open(max_bytes=16, keep=9), self.open(max_bytes=16, keep=9)
        for number in range(10):
            one.write(f"1 {number}\n")
            other.write(f"2 {number}\n")
        lines = sorted("".join(self.names().values()).splitlines())
        self.assertEqual(lines, [f"{who} {number}" for who in (1, 2) for number in range(10)])
