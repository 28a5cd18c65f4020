"""Notify systemd that the process is ready, is alive, and is stopping (sd_notify(3))."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import suppress

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from confd.runtime.timing import Periodic

#: Watchdog notifications within the time after which systemd restarts a silent process.
_NOTIFICATIONS_PER_TIMEOUT = 3


class Notifier(Service):
    """
    Send C{READY=1} at the start, C{WATCHDOG=1} while the reactor runs, and C{STOPPING=1} at the stop.

    A blocked reactor or a stopped process sends no C{WATCHDOG=1}, so systemd restarts it. Without C{NOTIFY_SOCKET} the
    service does nothing.
    """

    def __init__(self, clock: IReactorTime, environ: Mapping[str, str]) -> None:
        """
        @param environ: holds C{NOTIFY_SOCKET} and C{WATCHDOG_USEC}, if systemd set them.
        """
        path = environ.get("NOTIFY_SOCKET", "")
        # A leading @ names a socket in the abstract namespace.
        self._address = "\0" + path[1:] if path.startswith("@") else path
        micros = environ.get("WATCHDOG_USEC", "")
        self._watchdog: Periodic | None = None
        if self._address and micros.isascii() and micros.isdigit() and int(micros):
            pause = int(micros) / 1e6 / _NOTIFICATIONS_PER_TIMEOUT
            self._watchdog = Periodic(clock, lambda: self._send("WATCHDOG=1"), lambda: pause)

    def startService(self) -> None:
        """Report that the process is ready: all services before this one have started."""
        super().startService()
        self._send("READY=1")
        if self._watchdog is not None:
            self._watchdog.startService()

    def stopService(self) -> Deferred[None] | None:
        """Report that the process is stopping; fire when the watchdog notifications have ended."""
        super().stopService()
        self._send("STOPPING=1")
        return None if self._watchdog is None else self._watchdog.stopService()

    def _send(self, state: str) -> None:
        if not self._address:
            return
        # Nothing in this process depends on the notification.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as to:
            to.sendto(state.encode(), self._address)
