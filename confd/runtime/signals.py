"""
Signals of an operator: SIGHUP reloads secrets and certificates, SIGUSR1 reopens the log. Neither ends a request.

SIGTERM ends the process in order, also when it comes before the reactor runs.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping

from twisted.application.service import Service

from confd.runtime.reactor import Reactor


class Signals(Service):
    """
    Calls functions in the reactor when signals arrive, from its construction until it stops.

    Python's handlers run between two instructions of the main thread; so all that they do is to wake the reactor.
    """

    def __init__(self, reactor: Reactor, handlers: Mapping[signal.Signals, Callable[[], object]]) -> None:
        """
        @param handlers: by signal.
        """
        self._before = {}
        for number, handler in handlers.items():

            def wake(_: int, __: object, handler: Callable[[], object] = handler) -> None:
                reactor.callFromThread(handler)

            self._before[number] = signal.signal(number, wake)

    def stopService(self) -> None:
        """Ignore the signals: a process that ends must not be killed by one of them before it has."""
        super().stopService()
        for number in self._before:
            signal.signal(number, signal.SIG_IGN)

    def restore(self) -> None:
        """Give the signals back to those who handled them before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)


class Terminal:
    """The terminal that a process in the foreground was started from."""

    def __init__(self, foreground: bool) -> None:
        """
        @param foreground: whether the process stays there.
        """
        ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        # nohup(1) asks to outlive the terminal.
        self._had = foreground and not ignored and _opens()

    def hung_up(self) -> bool:
        """Return whether the terminal is gone; SIGHUP then means the end, as it does for every program."""
        return self._had and not _opens()


def _opens() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
