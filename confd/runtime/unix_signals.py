"""
Unix signals: SIGHUP reloads secrets and certificates, SIGUSR1 reopens the log, and SIGTERM stops the process.

SIGHUP and SIGUSR1 interrupt no request. SIGTERM stops in order even before the reactor runs.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping

from twisted.application.service import Service

from confd.runtime.reactor import Reactor


class UnixSignals(Service):
    """
    Call functions on the reactor when signals arrive, from construction until the service stops.

    Python runs signal handlers between two instructions of the main thread, so the handlers only wake the reactor.
    """

    def __init__(self, reactor: Reactor, handlers: Mapping[signal.Signals, Callable[[], object]]) -> None:
        """
        @param handlers: functions to call, by signal.
        """
        self._before = {}
        for number, handler in handlers.items():

            def wake(_: int, __: object, handler: Callable[[], object] = handler) -> None:
                reactor.callFromThread(handler)

            self._before[number] = signal.signal(number, wake)

    def stopService(self) -> None:
        """Ignore the signals, so that none of them kills the process while it stops."""
        super().stopService()
        for number in self._before:
            signal.signal(number, signal.SIG_IGN)

    def restore(self) -> None:
        """Restore the previous handlers."""
        for number, handler in self._before.items():
            signal.signal(number, handler)


class Terminal:
    """The controlling terminal of a process in the foreground."""

    def __init__(self, foreground: bool) -> None:
        """
        @param foreground: whether the process does not daemonise.
        """
        ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        # nohup(1) ignores SIGHUP so that the process outlives the terminal.
        self._had = foreground and not ignored and _opens()

    def hung_up(self) -> bool:
        """Return whether the terminal is gone. SIGHUP then stops the process, as it does every program."""
        return self._had and not _opens()


def _opens() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
