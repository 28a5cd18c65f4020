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

    def test_stale(self) -> None:
        """No number and no rubbish in a file that nobody holds stops a start."""
        for content in (b"", b"1", b"1\n", str(os.getppid()).encode(), b"-1", b"9" * 40, b"not a pid\n", b"\0" * 512):
            self.path.write_bytes(content)
            file = PidFile(str(self.path))
            file.claim("confd-worker")
            self.assertEqual(self.path.read_text(), str(os.getpid()))
            file.release()
            self.assertFalse(self.path.exists())

    def test_held(self) -> None:
        """One that is held is refused by a sentence, and is still its owner's afterwards."""
        file = PidFile(str(self.path))
        file.claim("confd-worker")
        self.addCleanup(file.release)
        said = self.refusal(self.path)
        self.assertIn(f"confd-worker already runs as process {os.getpid()}", said)
        self.assertEqual(self.path.read_text(), str(os.getpid()))

    def test_not_ours(self) -> None:
        """A file that another process has put in its place is not removed."""
        file = PidFile(str(self.path))
        file.claim("confd-worker")
        self.path.unlink()
        self.path.write_text("77")
        file.release()
        file.release()
        self.assertEqual(self.path.read_text(), "77")

    def test_no_pid_files(self) -> None:
        """What is no pid file is left as it is."""
        self.path.write_bytes(b"x" * 5000)
        fifo = self.path.with_suffix(".fifo")
        os.mkfifo(fifo)
        for path in (self.path, fifo, Path("/dev/null"), self.path.parent):
            self.assertIn("is not a pid file", self.refusal(path))
        self.assertEqual(self.path.stat().st_size, 5000)
        self.assertIn("cannot be written", self.refusal(self.path / "x"))

    def test_optional(self) -> None:
        """One that only serves people may be missing; one that is held still tells that its owner runs."""
        nowhere = PidFile(str(self.path.parent / "no" / "it.pid"), optional=True)
        nowhere.claim("confd-worker")
        nowhere.release()

    def test_another_user(self) -> None:
        """A stale file of another user is replaced where the folder is ours, and named where it is not."""
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

    def test_twist(self) -> None:
        """C{twist} runs daemons, too, and keeps no pid file."""
        options = TwistOptions()
        self.assertIsNone(take_over(options, ["confd-worker"]))
        self.assertNotIn("pidfile", options)
