"""Tests of C{confd.agent.outputs.file.commands} and C{.ownership} with real processes."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from confd.agent.outputs.file.commands import (
    KEPT_OUTPUT_BYTES,
    CommandResult,
    CommandRun,
    environment,
    forget,
    split_command,
)
from confd.agent.outputs.file.ownership import Untrusted, check_file, check_program


class CommandTests(SynchronousTestCase):
    """How a command runs, and how its end is reported."""

    def run_command(self, *arguments: str, timeout: float = 30.0) -> CommandResult:
        return CommandRun(arguments, environment({}, {"CONFD_TAG": "7"}), timeout).run()

    def run_shell(self, text: str, timeout: float = 30.0) -> CommandResult:
        return self.run_command("/bin/sh", "-c", text, timeout=timeout)

    def test_ends(self) -> None:
        for text, sentence in (
            ("echo no; exit 3", "The check x ended with status 3: no"),
            ("exit 3", "The check x ended with status 3."),
            ("kill -SEGV $$", "The check x was ended by signal 11."),
            ("printf 'a\\0b\\r\\n\\033[1mc\\377'; exit 1", "The check x ended with status 1: a b [1mc\ufffd"),
        ):
            with self.subTest(text=text):
                self.assertEqual(self.run_shell(text).sentence("The check x", 5), sentence)
        self.assertTrue(self.run_shell("exit 0").ok)
        self.assertNotIn("no", self.run_shell("echo no; exit 3").sentence("It", 5, words=False))

    def test_a_missing_or_strange_program_is_sent(self) -> None:
        for path in ("/nowhere/x", "/etc/passwd", "/tmp"):
            sentence = self.run_command(path).sentence(f"The test {path}", 5)
            self.assertRegex(sentence, f"^The test {path} cannot be started: [^.]+[.]$")

    def test_a_hanging_command_is_killed_with_its_group(self) -> None:
        pids = Path(self.mktemp()).absolute()
        text = f"sleep 1000 & echo $! > {pids}; trap '' TERM; wait"
        result = self.run_shell(text, timeout=2)
        self.assertEqual(result.sentence("The reload x", 2), "The reload x did not end within 2 s and was killed.")
        self.assertTrue(_gone(int(pids.read_text())))

    def test_a_child_that_stays_is_left_alone(self) -> None:
        pids = Path(self.mktemp()).absolute()
        # The child keeps the output of the command open.
        self.assertTrue(self.run_shell(f"sleep 1000 & echo $! > {pids}").ok)
        pid = int(pids.read_text())
        os.kill(pid, 0)
        os.kill(pid, 9)

    def test_a_flood_of_output_is_bounded(self) -> None:
        flood = "import sys\nfor _ in range(1600): sys.stdout.write('x' * 65536)\nprint('the end')\nsys.exit(2)"
        result = self.run_command(sys.executable, "-c", flood)
        self.assertEqual(result.status, 2)
        self.assertLessEqual(len(result.words), 700)
        self.assertTrue(result.words.endswith("the end"))

    def test_the_bound_of_an_output_moves_nothing_that_is_written_meanwhile(self) -> None:
        with tempfile.TemporaryFile(buffering=0) as output:
            written = b"".join(b"%07d\n" % number for number in range(100_000))
            output.write(written)
            for more in (b"", b"the end"):
                output.write(more)
                written += more
                forget(output)
                self.assertEqual(output.tell(), len(written))
                kept = os.pread(output.fileno(), len(written), len(written) - KEPT_OUTPUT_BYTES)
                self.assertEqual(kept, written[-KEPT_OUTPUT_BYTES:])
            self.assertLess(os.fstat(output.fileno()).st_blocks * 512, 4 * KEPT_OUTPUT_BYTES)

    def test_a_command_sees_no_secret_and_no_input(self) -> None:
        given = {"CONTROLLER_PASSWORD": "s3cret", "PATH": "/usr/bin:/bin", "LANG": "C", "HOME": "/root"}
        command = CommandRun(("/usr/bin/env",), environment(given, {"CONFD_TAG": "7"}), 30.0)
        self.assertEqual(set(command.run().words.split()), {"PATH=/usr/bin:/bin", "LANG=C", "CONFD_TAG=7"})
        self.assertEqual(self.run_shell("cat; umask").words, "0077")

    def test_kill_from_another_thread(self) -> None:
        command = CommandRun(("/bin/sleep", "1000"), environment({}, {}), 1000.0)
        results: list[CommandResult] = []
        thread = threading.Thread(target=lambda: results.append(command.run()))
        thread.start()
        command.kill()
        thread.join(30)
        self.assertEqual([each.status for each in results], [None])
        command.kill()

    def test_split(self) -> None:
        self.assertEqual(split_command("nginx -s 'a b'"), ("nginx", "-s", "a b"))
        for text in ("", "  ", "a 'b", "a\0b"):
            self.assertRaises(ValueError, split_command, text)


class OwnershipTests(SynchronousTestCase):
    """Who may change what the agent runs."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(mode=0o755)
        self.program = self.folder / "x"
        self.program.write_text("#!/bin/sh\n")
        self.program.chmod(0o755)

    def test_a_file_that_others_may_change(self) -> None:
        check_program(str(self.program))
        for path, mode in ((self.program, 0o775), (self.program, 0o757), (self.folder, 0o777)):
            before = path.stat().st_mode
            path.chmod(mode)
            error = self.assertRaises(Untrusted, check_program, str(self.program))
            self.assertIn("can be changed by others; its owner must be root", str(error))
            path.chmod(before)
        check_program(str(self.program))

    def test_links_are_resolved(self) -> None:
        link = self.folder / "link"
        link.symlink_to(self.program)
        check_file(str(link))
        other = self.folder / "open"
        other.mkdir()
        other.chmod(0o777)
        (other / "y").write_text("")
        link.unlink()
        link.symlink_to(other / "y")
        self.assertRaises(Untrusted, check_file, str(link))

    def test_what_is_no_program(self) -> None:
        self.program.chmod(0o644)
        for path in (str(self.program), "/nowhere/x", "/tmp"):
            error = self.assertRaises(Untrusted, check_program, path)
            self.assertEqual(str(error), f"{path} is not an executable file.")


def _gone(pid: int) -> bool:
    for _ in range(200):
        try:
            # A zombie is gone, too: its parent is the init of the machine.
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False
