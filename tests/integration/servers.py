"""
Real brokers on free loopback ports: C{redis-server} and C{nats-server} as they are on PATH.

Blocking, as L{tests.integration.fleet}: a server is up within some tens of milliseconds.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

from attrs import define, field

from confd.runtime.addresses import join
from tests.integration.certificates import Certificate
from tests.integration.fleet import PATIENCE, children, eventually, free_port


def missing(command: str) -> str | None:
    """Return why tests of a server are skipped; C{None} if its program is on PATH."""
    return None if shutil.which(command) else f"{command} is not on PATH"


@define(eq=False)
class Server:
    """
    The process of a broker.

    @ivar folder: The folder of its files; L{start} creates it.
    @ivar options: More words of the command line.
    @ivar tls: The certificate; C{None} for connections without TLS.
    @ivar host: The address to listen on.
    """

    folder: Path
    options: tuple[str, ...] = ()
    tls: Certificate | None = None
    port: int = field(factory=free_port)
    _child: subprocess.Popen[bytes] | None = None
    host: str = field(default="127.0.0.1", kw_only=True)

    def command(self) -> list[str]:
        """Return the command line."""
        raise NotImplementedError

    def greets(self, connection: socket.socket) -> bool:
        """Return whether the server is ready."""
        raise NotImplementedError

    def start(self) -> None:
        """Start the server, and return once it is ready."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "server.log").open("ab") as log:
            self._child = subprocess.Popen(
                [*self.command(), *self.options], cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        eventually(self._up)

    def stop(self, how: int = signal.SIGKILL) -> None:
        """End the server, by default as a crash does; it loses its data."""
        child, self._child = self._child, None
        if child is None:
            return
        workers = children(child.pid) if how == signal.SIGKILL and child.poll() is None else []
        child.send_signal(signal.SIGCONT)
        child.send_signal(how)
        try:
            child.wait(PATIENCE)
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
            # A killed server leaves its worker processes.
            for each in workers:
                with suppress(ProcessLookupError):
                    os.kill(each, signal.SIGKILL)

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._child is not None
        return self._child.pid

    def restart(self) -> None:
        """Kill the server, and start it empty."""
        self.stop()
        self.start()

    def hang(self) -> None:
        """Suspend the server with its port open; return once all its threads are suspended."""
        tasks = Path(f"/proc/{self._signal(signal.SIGSTOP)}/task")
        eventually(lambda: all(") T " in (each / "stat").read_text() for each in tasks.iterdir()))

    def resume(self) -> None:
        """Resume the server."""
        self._signal(signal.SIGCONT)

    def _signal(self, which: int) -> int:
        assert self._child is not None
        self._child.send_signal(which)
        return self._child.pid

    def _up(self) -> bool:
        if self._child is None or self._child.poll() is not None:
            raise AssertionError(f"the server ended:\n{(self.folder / 'server.log').read_text()[-2000:]}")
        with socket.create_connection((self.host, self.port), timeout=5) as connection:
            return self.tls is not None or self.greets(connection)


class RedisServer(Server):
    """C{redis-server}, which keeps nothing on disk."""

    def command(self) -> list[str]:
        """Return the command line."""
        ports = ["--port", str(self.port)]
        if self.tls is not None:
            ports = ["--port", "0", "--tls-port", str(self.port), "--tls-auth-clients", "no"]
            ports += ["--tls-cert-file", str(self.tls.certificate), "--tls-key-file", str(self.tls.key)]
            ports += ["--tls-ca-cert-file", str(self.tls.authority)]
        return ["redis-server", *ports, "--bind", self.host, "--save", "", "--appendonly", "no"]

    def greets(self, connection: socket.socket) -> bool:
        """Return whether the server answers, if only to ask for a password."""
        connection.sendall(b"PING\r\n")
        return connection.recv(100).startswith((b"+PONG", b"-NOAUTH"))

    def call(self, *commands: str) -> list[str]:
        """Send inline commands on one connection; return a line of each reply."""
        with socket.create_connection((self.host, self.port), timeout=PATIENCE) as connection:
            replies = connection.makefile("rb")
            found = []
            for command in commands:
                connection.sendall(f"{command}\r\n".encode())
                found.append(replies.readline().decode().strip())
            return found


class NatsServer(Server):
    """C{nats-server}, without JetStream."""

    def command(self) -> list[str]:
        """Return the command line."""
        tls = []
        if self.tls is not None:
            tls = ["--tls", "--tlscert", str(self.tls.certificate), "--tlskey", str(self.tls.key)]
        return ["nats-server", "-a", self.host, "-p", str(self.port), *tls]

    def greets(self, connection: socket.socket) -> bool:
        """Return whether the server sends its introduction."""
        return connection.recv(100).startswith(b"INFO")

    @property
    def url(self) -> str:
        """The address of the server."""
        return f"nats://{join(self.host, self.port)}"
