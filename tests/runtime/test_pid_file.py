"""Tests of L{confd.runtime.pid_file}."""

import os
import shutil
from pathlib import Path

from twisted.application.twist._options import TwistOptions
from twisted.trial.unittest import SynchronousTestCase

from confd.errors import StartError
from confd.runtime.pid_file import PidFile, take_over


class PidFileTests(SynchronousTestCase):
    """L{PidFile}."""

    def setUp(self) -> None:
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        self.path = folder / "it.pid"

    def refusal(self, path: Path | str) -> str:
        """Why a file cannot be claimed."""
        return self.assertRaises(StartError, PidFile(str(path)).claim, "confd-worker").reasons[0]

    def test_a_stale_file_never_prevents_a_start(self) -> None:
        for content in (b"", b"1", b"1\n", str(os.getppid()).encode(), b"-1", b"9" * 40, b"not a pid\n", b"\0" * 512):
            self.path.write_bytes(content)
            file = PidFile(str(self.path))
            file.claim("confd-worker")
            self.assertEqual(self.path.read_text(), str(os.getpid()))
            file.release()
            self.assertFalse(self.path.exists())

    def test_a_file_that_another_process_holds_is_refused_and_kept(self) -> None:
        file = PidFile(str(self.path))
        file.claim("confd-worker")
        self.addCleanup(file.release)
        said = self.refusal(self.path)
        self.assertIn(f"confd-worker already runs as process {os.getpid()}", said)
        self.assertEqual(self.path.read_text(), str(os.getpid()))

    def test_a_file_that_replaced_ours_is_not_removed(self) -> None:
        file = PidFile(str(self.path))
        file.claim("confd-worker")
        self.path.unlink()
        self.path.write_text("77")
        file.release()
        file.release()
        self.assertEqual(self.path.read_text(), "77")

    def test_a_file_that_is_not_a_pid_file_is_kept(self) -> None:
        self.path.write_bytes(b"x" * 5000)
        fifo = self.path.with_suffix(".fifo")
        os.mkfifo(fifo)
        for path in (self.path, fifo, Path("/dev/null"), self.path.parent):
            self.assertIn("is not a pid file", self.refusal(path))
        self.assertEqual(self.path.stat().st_size, 5000)
        self.assertIn("cannot be written", self.refusal(self.path / "x"))

    def test_an_optional_file_may_be_unwritable_but_not_held(self) -> None:
        nowhere = PidFile(str(self.path.parent / "no" / "it.pid"), optional=True)
        nowhere.claim("confd-worker")
        nowhere.release()

    def test_a_stale_file_of_another_user_is_replaced_if_the_folder_permits(self) -> None:
        if os.geteuid() != 0:
            raise self.skipTest("only root can make files of other users")
        shutil.chown(self.path.parent, 65534)
        self.path.write_text("1")
        parent = self.path.parent
        os.chmod(parent, 0o755)
        child = os.fork()
        if not child:
            status = 1
            try:
                os.chdir(parent)
                os.setresuid(65534, 65534, 65534)
                PidFile("it.pid").claim("confd-worker")
                status = 0 if os.stat("it.pid").st_uid == 65534 else 2
            finally:
                os._exit(status)
        self.assertEqual(os.waitpid(child, 0)[1], 0)

    def test_twist_keeps_no_pid_file(self) -> None:
        options = TwistOptions()
        self.assertIsNone(take_over(options, ["confd-worker"]))
        self.assertNotIn("pidfile", options)
