"""
Run real processes of confd on free loopback ports, and send requests to them.

Every call blocks: only the processes have a reactor.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import random
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from attrs import define, field, frozen
from twisted.trial.unittest import SynchronousTestCase

from tests.integration.launcher import TWISTD, Child, Launch, fork, program

ADMIN, AGENT = ("admin", "admin123"), ("agent", "secret123")

#: Seconds after which a wait is given up: many times what the wait takes, for machines that are busy.
PATIENCE = 60.0


@frozen
class Response:
    """The response to a request."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


#: Ports below the range that the kernel picks from, each used once: a port that was found free must stay free until
#: its process binds it.
_PORTS = iter(random.sample(range(20000, 32000), 12000))

#: Names of abstract sockets, which end with this process and keep other runs away from its ports.
_RESERVED: list[socket.socket] = []


def free_port() -> int:
    """Return a free TCP port of loopback that no other caller gets, in any run on this machine."""
    for port in _PORTS:
        name = socket.socket(socket.AF_UNIX)
        with socket.socket() as probe, contextlib.suppress(OSError):
            name.bind(f"\0confd-tests-{port}")
            probe.bind(("127.0.0.1", port))
            _RESERVED.append(name)
            return port
        name.close()
    raise AssertionError("no port is left")


def has_ipv6() -> bool:
    """Tell whether this machine has an IPv6 loopback address."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return True
    return False


def request(
    method: str,
    url: str,
    value: Any = None,
    auth: tuple[str, str] | None = None,
    headers: dict[str, str] | None = None,
    timeout: float = 10,
) -> Response:
    """Send an HTTP request, with C{value} as JSON, and return the response."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
    sent = dict(headers or {})
    if auth is not None:
        sent["Authorization"] = "Basic " + base64.b64encode(":".join(auth).encode()).decode()
    body = None
    if value is not None:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        sent.setdefault("Content-Type", "application/json")
    with contextlib.closing(connection):
        connection.request(method, parts.path + (f"?{parts.query}" if parts.query else ""), body, sent)
        response = connection.getresponse()
        return Response(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())


def eventually(check: Callable[[], Any], seconds: float = PATIENCE, pause: float = 0.02) -> Any:
    """
    Wait until C{check} returns a true value, and return the value.

    @param pause: seconds between two checks.
    @raise AssertionError: after C{seconds}, with the last result or error.
    """
    deadline = time.monotonic() + seconds
    last: Any = None
    while time.monotonic() < deadline:
        try:
            last = check()
        except (OSError, http.client.HTTPException) as error:
            last = error
        else:
            if last:
                return last
        time.sleep(pause)
    raise AssertionError(f"not within {seconds} s; the last was {last!r}")


@define(eq=False)
class Process:
    """
    A process of twistd.

    @ivar arguments: The command and its options.
    @ivar health: The URL that answers 200 once the process serves; C{None} for a process without a port.
    @ivar before: Words before the command line, of a program that runs twistd.
    @ivar launch: See L{tests.integration.launcher}.
    """

    folder: Path
    name: str
    arguments: list[str]
    health: str | None
    environ: dict[str, str] = field(factory=dict)
    before: list[str] = field(factory=list)
    launch: Launch = program
    _child: Child | None = None

    @property
    def log(self) -> str:
        """The log of the process."""
        return (self.folder / f"{self.name}.log").read_text()

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._child is not None
        return self._child.pid

    def start(self, wait: bool = True) -> Process:
        """Start the process; by default return once it serves."""
        command = [*self.before, TWISTD, "-n", "--pidfile=", *self.arguments]
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self._child = self.launch(command, self.folder, clean_environment() | self.environ, log)
        if wait:
            eventually(self.up)
        return self

    def up(self) -> bool:
        """
        Tell whether the process serves.

        @raise AssertionError: if the process has ended.
        """
        if self._child is None or self._child.poll() is not None:
            raise AssertionError(f"{self.name} ended:\n{self.log[-2000:]}")
        if self.health is None:
            return "confd-agent is up" in self.log
        return request("GET", self.health).status == 200

    def gone(self) -> bool:
        """Tell whether the process has ended."""
        return self._child is None or self._child.poll() is not None

    def stop(self, how: int = signal.SIGTERM) -> int:
        """End the process, and return its exit status."""
        if self._child is None:
            return 0
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGCONT)
            self._child.send_signal(how)
        try:
            return self._child.wait(PATIENCE)
        finally:
            if self._child.poll() is None:
                self._child.kill()
                self._child.wait(PATIENCE)
            self._child = None

    def signal(self, which: int) -> None:
        """Send a signal to the process."""
        assert self._child is not None
        self._child.send_signal(which)


def children(pid: int) -> list[int]:
    """Return the living child processes of a process (Linux)."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def clean_environment() -> dict[str, str]:
    """Return an environment without settings of the user."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV") if name in os.environ}
    root = str(Path(__file__).resolve().parents[2])
    return kept | {"PYTHONPATH": root, "PYTHONDONTWRITEBYTECODE": "1"}


@define(eq=False)
class Fleet:
    """
    A controller, workers and agents.

    @ivar folder: The working directory of the processes.
    @ivar interval: Seconds between two polls.
    @ivar launch: How the processes start: see L{tests.integration.launcher}.
    """

    folder: Path
    interval: int = 1
    launch: Launch = program
    port: int = field(factory=free_port)
    processes: list[Process] = field(factory=list)

    def add(self, name: str, arguments: list[str], health: str | None = None, **environ: str) -> Process:
        """Add a process, and do not start it."""
        process = Process(self.folder, name, arguments, health, environ, launch=self.launch)
        self.processes.append(process)
        return process

    def close(self) -> None:
        """Kill all processes."""
        for process in self.processes:
            process.stop(signal.SIGKILL)

    @property
    def url(self) -> str:
        """The address of the controller."""
        return f"http://127.0.0.1:{self.port}"

    def controller(self, *options: str) -> Process:
        """Add the controller."""
        arguments = ["confd-controller", "--port", str(self.port), "--default-poll-interval", str(self.interval)]
        return self.add("controller", [*arguments, *options], f"{self.url}/ready")

    def worker(self, name: str = "worker") -> Process:
        """Add a worker."""
        port = free_port()
        return self.add(name, ["confd-worker", "--port", str(port)], f"http://127.0.0.1:{port}/health")

    def agent(self, worker: Process | str, name: str = "agent", *options: str, ops: bool = False) -> Process:
        """
        Add the agent of a worker.

        @param worker: The worker, or its address.
        @param ops: Whether the agent serves C{/health} and C{/ready}.
        """
        url = worker if isinstance(worker, str) else base_of(worker)
        arguments = ["confd-agent", "--controller-url", self.url, "--worker-url", url, "--cache-file", f"{name}.cache"]
        if not ops:
            return self.add(name, [*arguments, *options])
        port = free_port()
        listen = ["--agent-listen", f"tcp:{port}:interface=127.0.0.1"]
        return self.add(name, [*arguments, *listen, *options], f"http://127.0.0.1:{port}/health")

    def publish(self, document: Any, **query: object) -> Response:
        """Publish a document; C{query} is the query of the request."""
        text = "&".join(f"{name}={value}" for name, value in query.items())
        return request("POST", f"{self.url}/api/v1/config?{text}", document, ADMIN)

    def current(self) -> Any:
        """Return the current configuration."""
        return request("GET", f"{self.url}/api/v1/config", auth=AGENT).json()


def staged(case: SynchronousTestCase, interval: int = 1) -> tuple[Fleet, str]:
    """
    Return a fleet in a new folder, and the address of a L{target}; both end with the test.

    @param interval: Seconds between two polls.
    """
    stack = contextlib.ExitStack()
    case.addCleanup(stack.close)
    address = stack.enter_context(target())
    folder = Path(case.mktemp()).resolve()
    folder.mkdir()
    fleet = Fleet(folder, interval, fork)
    case.addCleanup(fleet.close)
    return fleet, address


def base_of(process: Process) -> str:
    """Return the address of a process."""
    assert process.health is not None
    return process.health.rpartition("/")[0]


def hit(worker: Process) -> str:
    """Return the body of a worker's C{/hit} as text."""
    return request("GET", f"{base_of(worker)}/hit").body.decode()


@contextlib.contextmanager
def target() -> Iterator[str]:
    """Run an HTTP server that answers each path with the path; yield its address."""

    class Echo(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.path.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
