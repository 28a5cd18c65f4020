"""
Start twistd: as a program, or by a fork of a process that has imported confd.

Imports are most of the cost of a start: 0.9 s of processor time, and a fork takes a tenth of that. The child parses the
same command line, installs its own reactor, and has an id, signals, an exit status and a log like any process.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from attrs import define, field

from tests import GC_THRESHOLDS
from tests.budgets import budget

#: The program of a start.
TWISTD = str(Path(sys.executable).with_name("twistd"))

#: Modules that the daemons import late. txredisapi is not among them: it uses the reactor of its import.
_MODULES = (
    "twisted.scripts.twistd",
    "confd.dev",
    "confd.controller.tap",
    "confd.controller.composition",
    "confd.agent.tap",
    "confd.agent.composition",
    "confd.agent.outputs.file.output",
    "confd.agent.outputs.http",
    "confd.agent.strategies.poll_only",
    "confd.agent.strategies.stream",
    "confd.worker.tap",
    "confd.worker.composition",
)

#: Seconds for the answer to an order; the first answer follows the imports.
_ANSWER_SECONDS = 60.0

#: Bytes of the largest order: an argument of a program has at most 128 kB.
_MAX_ORDER_BYTES = 200_000


class Child(Protocol):
    """The part of L{subprocess.Popen} that tests use."""

    pid: int

    def poll(self) -> int | None:
        """Return the exit status; C{None} for a running process."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the exit status."""

    def send_signal(self, sig: int) -> None:
        """Send a signal to a running process."""

    def kill(self) -> None:
        """Kill a running process."""


#: Starts a command line in a folder with an environment, and appends its output to a log.
Launch = Callable[[Sequence[str], Path, Mapping[str, str], BinaryIO], Child]


def program(command: Sequence[str], folder: Path, environ: Mapping[str, str], log: BinaryIO) -> Child:
    """Start a program."""
    return subprocess.Popen(command, cwd=folder, env=environ, stdout=log, stderr=log)


def fork(command: Sequence[str], folder: Path, environ: Mapping[str, str], log: BinaryIO) -> Child:
    """
    Start twistd by a fork.

    Another program starts as L{program} does, and so does a twistd with settings for its interpreter or its linker.
    C{make test-full} starts programs only.
    """
    special = {name: text for name, text in environ.items() if name.startswith(("PYTHON", "LD_"))}
    usual = {"PYTHONPATH": str(Path(__file__).resolve().parents[2]), "PYTHONDONTWRITEBYTECODE": "1"}
    if command[0] != TWISTD or special != usual or budget(0, 1):
        return program(command, folder, environ, log)
    return _server().start(command, folder, environ, log)


@define(eq=False)
class _Forked:
    """
    A forked process.

    @ivar pid: The id of the process.
    """

    pid: int
    _server: _Server
    _status: int | None = None

    def poll(self) -> int | None:
        if self._status is None:
            self._status = self._server.ask({"poll": self.pid})
        return self._status

    def wait(self, timeout: float | None = None) -> int:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError), _opened(os.pidfd_open(self.pid)) as process:
                if not select.select([process], [], [], timeout)[0]:
                    raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        status = self.poll()
        assert status is not None
        return status

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@contextlib.contextmanager
def _opened(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@define(eq=False)
class _Server:
    """The process that forks. It ends with the process that started it."""

    _link: socket.socket
    _process: subprocess.Popen[bytes]
    _lock: threading.Lock = field(factory=threading.Lock)

    @classmethod
    def make(cls) -> _Server:
        """Start the process."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(_ANSWER_SECONDS)
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                cwd=Path(__file__).resolve().parents[2],
                pass_fds=[theirs.fileno()],
            )
        return cls(ours, process)

    def ask(self, order: object, *descriptors: int) -> Any:
        """Send an order with file descriptors, and return the answer."""
        with self._lock:
            socket.send_fds(self._link, [json.dumps(order).encode()], descriptors)
            return json.loads(self._link.recv(1000))

    def start(self, command: Sequence[str], folder: Path, environ: Mapping[str, str], log: BinaryIO) -> _Forked:
        """Fork a process for a command line."""
        order = {"command": list(command), "folder": str(folder), "environ": dict(environ)}
        return _Forked(self.ask(order, log.fileno()), self)

    def close(self) -> None:
        """End the process; the processes that it forked go on."""
        self._link.close()
        self._process.wait()


@functools.cache
def _server() -> _Server:
    server = _Server.make()
    atexit.register(server.close)
    return server


def _import_all() -> None:
    """
    Import confd without a reactor.

    klein names the default reactor for L{klein.Klein.run}, which confd does not use. The import would install it, and
    forked processes would share it.
    """
    name = "twisted.internet.reactor"
    sys.modules[name] = types.ModuleType(name)
    for each in _MODULES:
        importlib.import_module(each)
    from twisted.application.service import IServiceMaker
    from twisted.plugin import getPlugins

    for plugin in getPlugins(IServiceMaker):
        str(plugin.tapname)
    del sys.modules[name]
    gc.set_threshold(*GC_THRESHOLDS)
    gc.collect()
    gc.freeze()


def _serve(link: socket.socket) -> tuple[dict[str, Any], int] | None:
    """
    Carry out orders until the other end closes.

    @return: In a forked process its order and its log; C{None} in the server.
    """
    while True:
        text, descriptors, _, _ = socket.recv_fds(link, _MAX_ORDER_BYTES, 1)
        if not text:
            return None
        order = json.loads(text)
        answer: int | None
        if "poll" in order:
            answer = _status(order["poll"])
        else:
            answer = os.fork()
            if answer == 0:
                return order, descriptors[0]
            os.close(descriptors[0])
        link.send(json.dumps(answer).encode())


def _status(pid: int) -> int | None:
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def main(descriptor: int) -> None:
    """Fork on request; in a forked process run twistd."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _import_all()
    with socket.socket(fileno=descriptor) as link:
        found = _serve(link)
    if found is None:
        return
    order, log = found
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environ"])
    # In place: defaults of parameters refer to the list.
    sys.argv[:] = order["command"]
    from twisted.scripts.twistd import run

    run()


if __name__ == "__main__":
    main(int(sys.argv[1]))
