"""A real pgbouncer between a controller and its server."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psycopg
from attrs import define, field

from tests.controller.store.postgres.server import PostgresServer
from tests.integration.fleet import eventually

#: The time limits that confd asks for.
LIMITS = ("lock_timeout = '1s'", "statement_timeout = '4s'", "idle_in_transaction_session_timeout = '2s'")


def why_missing() -> str | None:
    """Return why no test can use pgbouncer, C{None} if tests can."""
    if _program() is None:
        return "no pgbouncer; install Debian's pgbouncer"
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        return "pgbouncer refuses root, and setpriv is missing"
    return None


def _program() -> str | None:
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def set_limits(server: PostgresServer, user: str) -> None:
    """Set the time limits of a user at the server, since a pooler drops those of connections."""
    with server.connect("postgres") as connection:
        for each in LIMITS:
            connection.execute(f"ALTER ROLE {user} SET {each}")  # type: ignore[call-overload]


@define(eq=False)
class Pooler:
    """
    A pooler of the test's own, which listens on a socket in its folder only.

    @ivar server: the server behind it.
    @ivar user: its only user.
    @ivar settings: of C{pgbouncer.ini}.
    """

    server: PostgresServer
    user: str
    settings: dict[str, str] = field(factory=dict)
    folder: Path = field(factory=lambda: Path(tempfile.mkdtemp(prefix="confd-pool-", dir="/tmp")), init=False)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        """Start the pooler; return once it answers."""
        port = self.server.settings.get("port", "5432")
        settings = {
            "listen_addr": "",
            "unix_socket_dir": str(self.folder),
            "auth_type": "any",
            "logfile": str(self.folder / "log"),
            **self.settings,
        }
        lines = [f"* = host={self.server.folder} port={port} user={self.user}", "[pgbouncer]"]
        lines += [f"{name} = {value}" for name, value in settings.items()]
        (self.folder / "pgbouncer.ini").write_text("\n".join(["[databases]", *lines, ""]))
        self.server.hand_over(self.folder)
        program = _program()
        assert program is not None
        command = self.server.as_user([program, "-q", str(self.folder / "pgbouncer.ini")])
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually(self._answers, 30)

    def stop(self) -> None:
        """Kill the pooler."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(30)
            self._process = None
        (self.folder / ".s.PGSQL.6432").unlink(missing_ok=True)

    def remove(self) -> None:
        """Kill the pooler and delete its folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str) -> str:
        """Return the C{DATABASE_URL} of a database behind the pooler."""
        return f"postgresql://{self.user}@/{database}?host={self.folder}&port=6432"

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url("pgbouncer")).close()
        except psycopg.OperationalError as error:
            return "No such file" not in str(error) and "refused" not in str(error)
        return True
