"""Daemons as twistd runs them: how they start, fail to start, log and end."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.fleet import PATIENCE, Process, clean_environment, eventually, free_port, request
from tests.integration.launcher import fork

#: The daemons that serve, and so can find their port taken.
SERVERS = ("confd-controller", "confd-worker")


def twistd(folder, *arguments, **environ):
    """Run twistd until it returns, which it must."""
    return subprocess.run(
        [str(Path(sys.executable).with_name("twistd")), *arguments],
        cwd=folder,
        env=clean_environment() | environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


class Case(SynchronousTestCase):
    """A test with a folder of its own."""

    def setUp(self):
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def process(self, *arguments, health="/health", **environ):
        """Return a twistd in the foreground, with a port."""
        port = free_port()
        listening = ["--port", str(port)]
        folder, url = self.folder.resolve(), f"http://127.0.0.1:{port}{health}"
        process = Process(folder, "daemon", [*arguments, *listening], url, environ, launch=fork)
        self.addCleanup(process.stop, signal.SIGKILL)
        return process

    def taken_port(self):
        """Return a port with a listener."""
        taken = socket.socket()
        self.addCleanup(taken.close)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        return taken.getsockname()[1]

    def log(self, name):
        """Return the lines of a log after a check of their common fields."""
        lines = [json.loads(line) for line in (self.folder / name).read_text().splitlines()]
        for line in lines:
            self.assertLessEqual({"time", "level", "logger", "message"}, set(line))
        return lines


class EndTests(Case):
    """Daemons that are asked to stop."""

    def test_signals(self):
        """SIGTERM and SIGINT: status 0."""
        for command in SERVERS:
            for how in (signal.SIGTERM, signal.SIGINT):
                with self.subTest(command=command, how=how):
                    process = self.process(command)
                    process.start()
                    self.assertEqual(process.stop(how), 0)
                    self.assertEqual(self.log("daemon.log")[-1]["message"], f"{command} has stopped")

    def test_agent(self):
        """An agent without a controller ends with status 0."""
        arguments = ["confd-agent", "--controller-url", f"http://127.0.0.1:{free_port()}"]
        process = Process(self.folder.resolve(), "daemon", arguments, None, launch=fork)
        self.addCleanup(process.stop, signal.SIGKILL)
        process.start()
        self.assertEqual(process.stop(), 0)


class ReactorTests(Case):
    """The reactors that twistd can install."""

    def test_reactors(self):
        """Each reactor serves, and ends with status 0."""
        for name in ("asyncio", "poll", "select", "epoll"):
            for command in SERVERS:
                with self.subTest(reactor=name, command=command):
                    process = self.process(f"--reactor={name}", command, LOG_LEVEL="debug")
                    process.start()
                    self.assertEqual(process.stop(), 0)
                    self.assertIn(f"twisted.internet.{name}reactor", process.log)


class FailureTests(Case):
    """A start that cannot succeed: a status, one line a mistake, no traceback, nothing left."""

    def _fails(self, *arguments, expected, reverse=False, **environ):
        """
        Start each server in one of the two modes.

        @param reverse: Swap the modes; two tests of a kind try all four.
        """
        for mode, command in zip((["-n"], []), SERVERS[::-1] if reverse else SERVERS, strict=True):
            with self.subTest(mode=mode, command=command):
                ended = twistd(self.folder, *mode, "--pidfile=it.pid", command, *arguments, **environ)
                self.assertNotEqual(ended.returncode, 0)
                lines = ended.stderr.splitlines()
                self.assertEqual([line.partition(":")[0] for line in lines], expected, ended.stderr)
                log = self.folder / "twistd.log"
                written = ended.stdout + ended.stderr + (log.read_text() if log.exists() else "")
                self.assertNotIn("Traceback", written)
                self.assertNotIn("hunter2", written)
                self.assertFalse((self.folder / "it.pid").exists())

    def test_port_taken(self):
        """The setting to change is named: PORT."""
        self._fails("--port", str(self.taken_port()), expected=["PORT"])

    def test_listen_taken(self):
        """The setting to change is named: LISTEN."""
        self._fails(expected=["LISTEN"], reverse=True, LISTEN=f"tcp:{self.taken_port()}:interface=127.0.0.1")

    def test_bad_settings(self):
        """All mistakes appear at once."""
        self._fails("--port=http", expected=["LOG_LEVEL", "PORT"], LOG_LEVEL="loud")

    def test_bad_endpoint(self):
        """An invalid endpoint is named."""
        self._fails(expected=["LISTEN"], reverse=True, LISTEN="unix")

    def test_secrets(self):
        """A wrong secret is not shown."""
        ended = twistd(
            self.folder, "-n", "--pidfile=", "confd-controller", ADMIN_PASSWORD="hunter2", ADMIN_PASSWORD_FILE="x"
        )
        self.assertEqual(ended.stderr, "ADMIN_PASSWORD: is set, and ADMIN_PASSWORD_FILE too; remove one of them.\n")

    def test_log_file(self):
        """A log that cannot be written is named."""
        ended = twistd(self.folder, "--logfile=/nowhere/x", "confd-worker", "--port", str(free_port()))
        self.assertEqual(ended.stderr, "--logfile: /nowhere/x cannot be written: No such file or directory.\n")
        self.assertEqual(ended.returncode, 1)


class DaemonisedTests(Case):
    """Without C{-n}."""

    def _start(self, *options, command="confd-worker", **environ):
        port = free_port()
        ended = twistd(self.folder, *options, "--pidfile=it.pid", command, "--port", str(port), **environ)
        self.assertEqual((ended.returncode, ended.stdout, ended.stderr), (0, "", ""))
        pid = int((self.folder / "it.pid").read_text())
        self.addCleanup(self._kill, pid)
        eventually(lambda: request("GET", f"http://127.0.0.1:{port}/health").status == 200)
        return pid

    def _kill(self, pid):
        if (self.folder / "it.pid").exists():
            os.kill(pid, signal.SIGKILL)

    def test_life(self):
        """A daemon serves, writes JSON into twistd.log, and leaves no pid file."""
        for command in SERVERS:
            with self.subTest(command=command):
                os.kill(self._start(command=command), signal.SIGTERM)
                eventually(lambda: not (self.folder / "it.pid").exists())
                messages = [line["message"] for line in self.log("twistd.log")]
                self.assertIn(f"{command} is up", messages)
                self.assertIn(f"{command} has stopped", messages)

    def test_log_file(self):
        """C{--logfile} and C{LOG_LEVEL} are honoured."""
        os.kill(self._start("--logfile=it.log", LOG_LEVEL="error"), signal.SIGTERM)
        eventually(lambda: not (self.folder / "it.pid").exists())
        self.assertEqual(self.log("it.log"), [])
        self.assertFalse((self.folder / "twistd.log").exists())

    def test_terminal_is_let_go(self):
        """A daemon closes the terminal: its output has an end."""
        pid = self._start()
        opened = [os.readlink(f"/proc/{pid}/fd/{each}") for each in (0, 1, 2)]
        self.assertEqual(opened, ["/dev/null"] * 3)
        os.kill(pid, signal.SIGTERM)
        eventually(lambda: not (self.folder / "it.pid").exists())


class LogTests(Case):
    """With C{-n}."""

    def test_levels(self):
        """C{LOG_LEVEL} filters; standard output that is no terminal gets JSON, unless text is asked for."""
        for environ, expected in (
            ({"LOG_LEVEL": "error"}, r"\A\Z"),
            ({"LOG_LEVEL": "info"}, r'"message": "confd-worker is up"'),
            ({"LOG_FORMAT": "text"}, r"Z info \[confd\.runtime\.daemon\.Daemon\] confd-worker is up\n"),
        ):
            with self.subTest(environ=environ):
                process = self.process("confd-worker", **environ)
                process.start()
                self.assertEqual(process.stop(), 0)
                self.assertRegex(process.log, expected)
                (self.folder / "daemon.log").unlink()
