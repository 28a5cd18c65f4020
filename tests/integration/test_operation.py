"""The work of operators: start daemons beside each other, send signals, and rotate logs."""

import contextlib
import json
import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

from tests.integration.fleet import ADMIN, PATIENCE, Process, clean_environment, eventually, free_port, request
from tests.integration.launcher import TWISTD, fork
from tests.integration.servers import NatsServer, RedisServer, missing
from tests.integration.test_daemon import Case, twistd

ROLES = ("confd-controller", "confd-worker", "confd-agent", "confd-dev")


class PidFileTests(Case):
    """Pid files, in which twistd alone would believe any number."""

    def start(self, command, *options, name="daemon", **environ):
        """Start a daemon in the foreground."""
        arguments = [command, "--port", str(free_port())]
        folder = self.folder.resolve()
        process = Process(folder, name, arguments, None, environ)
        self.addCleanup(process.stop, signal.SIGKILL)
        with (folder / f"{name}.log").open("ab") as log:
            process._child = fork([TWISTD, "-n", *options, *arguments], folder, clean_environment() | environ, log)
        eventually(lambda: f"{command} is up" in process.log or process.gone())
        self.assertFalse(process.gone(), process.log)
        return process

    def test_stale(self):
        """The number of another program stops no start, and two roles share a folder."""
        for name in ("twistd.pid", "confd-worker.pid"):
            (self.folder / name).write_text(str(os.getpid()))
        worker = self.start("confd-worker", name="worker")
        controller = self.start("confd-controller", name="controller")
        for process, name in ((worker, "confd-worker"), (controller, "confd-controller")):
            self.assertEqual((self.folder / f"{name}.pid").read_text(), str(process.pid))
        for mode in (["-n"], []):
            ended = twistd(self.folder, *mode, "confd-worker", "--port", str(free_port()))
            self.assertEqual(ended.returncode, 1)
            self.assertRegex(
                ended.stderr, rf"\A--pidfile: confd-worker already runs as process {worker.pid} [^\n]+\n\Z"
            )
        self.assertEqual((worker.stop(), controller.stop()), (0, 0))
        self.assertEqual([each.name for each in self.folder.glob("*.pid")], ["twistd.pid"])

    def test_killed(self):
        """A daemon takes over the file of a crashed daemon, also under a name of the operator."""
        process = self.start("confd-worker", "--pidfile=twistd.pid")
        process.stop(signal.SIGKILL)
        self.assertTrue((self.folder / "twistd.pid").exists())
        process = self.start("confd-worker", "--pidfile=twistd.pid", name="again")
        self.assertEqual((self.folder / "twistd.pid").read_text(), str(process.pid))

    def test_read_only_folder(self):
        """A process that may not write to the folder needs no pid file there, or gets an error with a remedy."""
        if os.geteuid() != 0:
            raise self.skipTest("only root can start a process of another user")
        if missing("setpriv"):
            raise self.skipTest(missing("setpriv"))
        folder = Path("/tmp") / f"confd-read-only-{os.getpid()}"
        folder.mkdir(mode=0o755)
        self.addCleanup(shutil.rmtree, folder)
        for command, expected in (
            ("confd-controller", "DB_PATH: ./controller.db cannot be opened: Permission denied; let "),
            ("confd-dev", "DATA_DIR: confd-data cannot be created: Permission denied; name "),
        ):
            ended = subprocess.run(
                ["setpriv", "--reuid=65534", "--clear-groups", str(Path(sys.executable).with_name("twistd")),
                 "-n", command, "--port", str(free_port())],
                cwd=folder, env=clean_environment() | {"HOME": "/"}, capture_output=True, text=True,
                timeout=PATIENCE, check=False,
            )  # fmt: skip
            self.assertEqual(ended.returncode, 1, ended.stdout)
            self.assertTrue(ended.stderr.startswith(expected), ended.stderr)
            self.assertEqual(ended.stderr.count("\n"), 1)
            self.assertNotIn("Traceback", ended.stdout)


class SignalTests(Case):
    """SIGHUP and SIGUSR1."""

    def daemon(self, command, *options, **environ):
        """Start a daemon in the foreground, with its log in a file."""
        listening = [] if command == "confd-agent" else ["--port", str(free_port())]
        more = ["--worker-port", str(free_port())] if command == "confd-dev" else []
        arguments = [*options, command, *listening, *more]
        process = Process(self.folder.resolve(), command, arguments, None, environ, launch=fork)
        self.addCleanup(process.stop, signal.SIGKILL)
        return process

    def test_every_role(self):
        """Neither signal ends a process; both find the log by its name again."""
        for command in ROLES:
            with self.subTest(command=command):
                log = self.folder / f"{command}.it"
                process = self.daemon(command, f"--logfile={log.name}")
                process.start(wait=False)
                eventually(lambda log=log, command=command: f"{command} is up" in log.read_text())
                log.rename(log.with_suffix(".old"))
                process.signal(signal.SIGUSR1)
                eventually(log.exists)
                process.signal(signal.SIGHUP)
                eventually(lambda log=log: "reloading secrets" in log.read_text())
                self.assertEqual(process.stop(), 0)

    def test_end_of_a_start(self):
        """SIGTERM before the reactor runs ends a process with status 0, once it has started."""
        readable, full = os.pipe()
        os.set_blocking(full, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(full, b"\n" * 4096)
        # The first line of the log blocks, and with it the start.
        os.set_blocking(full, True)
        try:
            child = subprocess.Popen(
                [str(Path(sys.executable).with_name("twistd")), "-n", "confd-worker", "--port", str(free_port())],
                cwd=self.folder, env=clean_environment(), stdout=full, stderr=full,
            )  # fmt: skip
        finally:
            os.close(full)
        with open(readable, "rb") as log, child:
            try:
                status = Path(f"/proc/{child.pid}/status")
                eventually(lambda: _catches(status.read_text(), signal.SIGTERM))
                child.send_signal(signal.SIGTERM)
                self.assertIn(b"confd-worker has stopped", log.read())
                self.assertEqual(child.wait(PATIENCE), 0)
            finally:
                child.kill()

    def test_reload(self):
        """A new secret counts at once, even if its file has the same size and time; a POST in flight is answered."""
        secret = self.folder / "secret"
        secret.write_text("first-one")
        before = os.stat(secret)
        process = self.daemon("confd-controller", ADMIN_PASSWORD_FILE="secret").start(wait=False)
        port = int(process.arguments[-1])
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: request("GET", f"{url}/ready").status == 200)
        body = json.dumps({"url": "http://127.0.0.1:1/"}).encode()
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as slow:
            slow.sendall(
                b"POST /api/v1/config HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                b"Authorization: Basic YWRtaW46Zmlyc3Qtb25l\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n" % len(body)
            )
            secret.write_text("other-one")
            os.utime(secret, ns=(before.st_atime_ns, before.st_mtime_ns))
            process.signal(signal.SIGUSR1)
            process.signal(signal.SIGHUP)
            new = ("admin", "other-one")
            eventually(lambda: request("GET", f"{url}/api/v1/namespaces", auth=new).status == 200)
            slow.sendall(body)
            answer = slow.recv(65536)
            self.assertTrue(answer.startswith(b"HTTP/1.1 200 "), answer)
        self.assertEqual(request("GET", f"{url}/api/v1/namespaces", auth=("admin", "first-one")).status, 401)

    def test_broker_password(self):
        """Controller and agent use the new password of their broker for the next connection."""
        if missing("redis-server"):
            raise self.skipTest(missing("redis-server"))
        server = RedisServer(self.folder.resolve() / "redis", ("--requirepass", "other-one"))
        self.addCleanup(server.stop)
        server.start()
        secret = self.folder / "secret"
        secret.write_text("first-one")
        before = os.stat(secret)
        common = {"DISTRIBUTION_STRATEGY": "REDIS", "REDIS_ADDRESS": f"127.0.0.1:{server.port}",
                  "REDIS_PASSWORD_FILE": "secret"}  # fmt: skip
        controller = self.daemon("confd-controller", **common).start(wait=False)
        ready = f"http://127.0.0.1:{controller.arguments[-1]}/ready"
        agent = self.daemon("confd-agent", **common, CONTROLLER_URL=ready.removesuffix("/ready")).start(wait=False)
        logs = "REDIS_PASSWORD: ", "changes arrive by REDIS"
        eventually(lambda: logs[0] in agent.log and "confd-controller is up" in controller.log, PATIENCE * 2)
        url = f"{ready.removesuffix('/ready')}/api/v1/config"
        # A controller that is starting answers polls first.
        eventually(lambda: request("POST", url, {"url": "http://127.0.0.1:1/"}, ADMIN).status == 200)
        eventually(lambda: b"REDIS_PASSWORD" in request("GET", ready).body)
        secret.write_text("other-one")
        os.utime(secret, ns=(before.st_atime_ns, before.st_mtime_ns))
        for process in (controller, agent):
            process.signal(signal.SIGHUP)
        eventually(lambda: logs[1] in agent.log and request("GET", ready).status == 200)
        self.assertNotIn("other-one", controller.log + agent.log)

    def test_terminal(self):
        """A terminal that hangs up ends its daemon."""
        child, terminal = pty.fork()
        if not child:
            os.chdir(self.folder)
            # Not that of tests that run under nohup.
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
            words = ["twistd", "-n", "--pidfile=", "--logfile=it.log", "confd-worker", "--port", str(free_port())]
            os.execve(str(Path(sys.executable).with_name("twistd")), words, clean_environment())
        log = self.folder / "it.log"
        eventually(lambda: log.exists() and "is up" in log.read_text())
        os.close(terminal)
        ended = eventually(lambda: os.waitpid(child, os.WNOHANG)[0] and "ended")
        self.assertEqual(ended, "ended")

    def test_daemonised(self):
        """The same without C{-n}."""
        (self.folder / "secret").write_text("first-one")
        port = free_port()
        ended = twistd(
            self.folder, "--logfile=it.log", "confd-controller", "--port", str(port), ADMIN_PASSWORD_FILE="secret"
        )
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))
        pid = int((self.folder / "confd-controller.pid").read_text())

        def kill():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

        self.addCleanup(kill)
        (self.folder / "it.log").rename(self.folder / "old.log")
        os.kill(pid, signal.SIGUSR1)
        os.kill(pid, signal.SIGHUP)
        eventually(lambda: "reloading secrets" in (self.folder / "it.log").read_text())
        os.kill(pid, signal.SIGTERM)
        eventually(lambda: not (self.folder / "confd-controller.pid").exists())


class BrokerReadinessTests(Case):
    """A controller without a publish, whose broker cannot be reached."""

    def test_fresh_controller_is_not_ready_until_its_broker_is_reachable(self):
        for kind, setting in ((RedisServer, "REDIS_ADDRESS"), (NatsServer, "NATS_URL")):
            strategy = setting.partition("_")[0]
            if missing(f"{strategy.lower()}-server"):
                continue
            with self.subTest(broker=strategy):
                folder = self.folder.resolve() / strategy
                server = kind(folder)
                folder.mkdir()
                self.addCleanup(server.stop)
                address = f"nats://127.0.0.1:{server.port}" if strategy == "NATS" else f"127.0.0.1:{server.port}"
                url = f"http://127.0.0.1:{(port := free_port())}"
                arguments = ["--reactor=asyncio", "confd-controller", "--port", str(port)]
                environ = {"DISTRIBUTION_STRATEGY": strategy, setting: address}
                process = Process(folder, "controller", arguments, f"{url}/health", environ, launch=fork)
                self.addCleanup(process.stop, signal.SIGKILL)
                process.start()
                answer = eventually(lambda url=url: cannot_reach(request("GET", f"{url}/ready")))
                self.assertIn(setting.encode(), answer.body)
                server.start()
                eventually(lambda url=url: request("GET", f"{url}/ready").status == 200)
                if strategy == "REDIS":
                    self.assertEqual(server.call("DBSIZE"), [":0"])


def cannot_reach(response):
    """Return an answer that says that a part cannot be reached; C{None} for another one."""
    return response if response.status == 503 and b"cannot be reached" in response.body else None


def _catches(status: str, number: signal.Signals) -> bool:
    """Return whether a process has a handler for a signal (Linux)."""
    (caught,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught, 16) >> (number - 1) & 1)


class LogrotateTests(Case):
    """The program logrotate with each of its modes."""

    skip = missing("logrotate")

    def test_ways(self):
        """No line is lost or misplaced when logrotate moves, creates, or copies and truncates the log."""
        folder = self.folder.resolve()
        log = folder / "it.log"
        process = Process(
            folder, "out", ["--logfile=it.log", "confd-worker", "--port", str(port := free_port())],
            f"http://127.0.0.1:{port}/health", {"LOG_MAX_BYTES": "0", "LOG_LEVEL": "debug"},
        )  # fmt: skip
        self.addCleanup(process.stop, signal.SIGKILL)
        process.start()
        for way in ("nocreate", "create 0640", "copytruncate", f"postrotate\n kill -USR1 {process.pid}\n endscript"):
            with self.subTest(way=way):
                rules = folder / "rules"
                rules.write_text(f"{log} {{\n rotate 9\n size 1\n su root root\n {way}\n}}\n")
                rules.chmod(0o600)
                command = ["logrotate", "--force", "--state", str(folder / "state"), str(rules)]
                ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
                self.assertEqual(ended.returncode, 0, ended.stderr)
                before = log.stat().st_size if log.exists() else 0
                process.signal(signal.SIGHUP)
                eventually(lambda log=log, before=before: log.exists() and log.stat().st_size > before)
                self.assertNotIn("\0", log.read_text())
        files = [each.read_text() for each in folder.glob("it.log*")]
        self.assertEqual(len(files), 5)
        self.assertEqual(sum(each.count("reloading secrets") for each in files), 4)
        self.assertEqual(sum(each.count("confd-worker is up") for each in files), 1)
