"""How the writer starts a front process, and ends it where it has to."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import Factory, ProcessProtocol
from twisted.python.failure import Failure

from confd.controller.fronts.control import Line

#: What is started.
MODULE = "confd.controller.fronts.front"

#: What a front gets of the environment, where secrets may be.
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "PYTHONDONTWRITEBYTECODE", "PYTHONFAULTHANDLER")

#: Starts a process: given the writer's end of the line, the socket to listen on, and what is to be told why it ended;
#: returns what kills it.
Start = Callable[[Line, socket.socket, Callable[[str], None]], Callable[[], None]]


class _Child(ProcessProtocol):
    def __init__(self, ended: Callable[[str], None]) -> None:
        self._ended = ended

    def processExited(self, reason: Failure) -> None:
        self._ended(reason.getErrorMessage())


def starter(reactor: Any, environ: Mapping[str, str]) -> Start:
    """
    What starts fronts.

    @param environ: of the writer.
    """
    passed = {name: environ[name] for name in _PASSED_ON if name in environ}
    # The same modules, wherever the writer has them from.
    passed["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))

    def start(line: Line, listening: socket.socket, ended: Callable[[str], None]) -> Callable[[], None]:
        ours, theirs = socket.socketpair()
        with ours, theirs, open(os.devnull, "rb") as nothing:
            ours.setblocking(False)
            theirs.setblocking(False)
            inherited = {0: nothing.fileno(), 1: 1, 2: 2, 3: theirs.fileno(), 4: listening.fileno()}
            command = [sys.executable, "-P", "-m", MODULE]
            process = reactor.spawnProcess(_Child(ended), command[0], command, passed, childFDs=inherited)
            reactor.adoptStreamConnection(ours.fileno(), ours.family, Factory.forProtocol(lambda: line))

        def kill() -> None:
            with suppress(ProcessExitedAlready):
                process.signalProcess("KILL")

        return kill

    return start
