"""What systemd is told: that the process is ready, that it stops, and that its reactor still turns (sd_notify(3))."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import suppress

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from confd.runtime.timing import Periodic

#: Of the time after which systemd takes a silent process for hung, how much passes between two signs of life.
_HASTE = 3


class Notifier(Service):
    """
    Says C{READY=1} when it starts and C{STOPPING=1} when it stops; does nothing where nobody listens.

    A sign of life needs the reactor: one that is blocked, or a process that is stopped, misses it, and systemd starts
    it anew.
    """

    def __init__(self, clock: IReactorTime, environ: Mapping[str, str]) -> None:
        """
        @param environ: C{NOTIFY_SOCKET} and C{WATCHDOG_USEC} as systemd gave them.
        """
        path = environ.get("NOTIFY_SOCKET", "")
        # A name that begins with @ is in the abstract namespace.
        self._address = "\0" + path[1:] if path.startswith("@") else path
        micros = environ.get("WATCHDOG_USEC", "")
        self._alive: Periodic | None = None
        if self._address and micros.isascii() and micros.isdigit() and int(micros):
            pause = int(micros) / 1e6 / _HASTE
            self._alive = Periodic(clock, lambda: self._say("WATCHDOG=1"), lambda: pause)

    def startService(self) -> None:
        """It is ready: whatever comes before it has started."""
        super().startService()
        self._say("READY=1")
        if self._alive is not None:
            self._alive.startService()

    def stopService(self) -> Deferred[None] | None:
        """It stops, and goes on to show that it lives until it has."""
        super().stopService()
        self._say("STOPPING=1")
        return None if self._alive is None else self._alive.stopService()

    def _say(self, state: str) -> None:
        if not self._address:
            return
        # Nothing depends on it: a systemd that does not listen draws its own conclusions.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as to:
            to.sendto(state.encode(), self._address)
