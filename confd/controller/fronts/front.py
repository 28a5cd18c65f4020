"""
The root of a front process; a controller starts it with C{python -m confd.controller.fronts.front}.

It inherits two sockets: the line to the writer, and the one to listen on. It ends with the line.
"""

from __future__ import annotations

import os
import signal
import socket
import traceback
from typing import Any

from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.protocol import Factory
from twisted.logger import (
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    PredicateResult,
    formatEvent,
    globalLogBeginner,
)
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import provider

from confd.controller.fronts.control import FromWriter, Line, Logged, Message, Setup
from confd.controller.fronts.exchange import Exchange
from confd.daemon import RARELY, in_threads_of, settle
from confd.listening import room_for
from confd.sharing import share
from confd.timing import use_monotonic_clock
from confd.tls import is_tls, serving

#: The file descriptors of the sockets.
LINE, PORT = 3, 4


class Front:
    """Waits for its L{Setup}, and then serves."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.line = Line(FromWriter, self._hear, _end)
        self._exchange: Exchange | None = None
        self._port: Any = None

    def _hear(self, message: Message) -> None:
        try:
            if self._exchange is not None:
                self._exchange.hear(message)
            elif isinstance(message, Setup):
                self._begin(message)
        except Exception:
            # What the writer believes of this process would not be so any more; another one begins anew.
            traceback.print_exc()
            os._exit(1)

    def _begin(self, setup: Setup) -> None:
        self._log_to_writer(setup.log_level)
        room_for(setup.connections)
        exchange = self._exchange = Exchange(self._reactor, self.line.say, setup.idle_seconds, self._stop_listening)
        factory: IProtocolFactory = exchange
        if is_tls(setup.endpoint):
            threads = in_threads_of(self._reactor)
            creator, certificate = serving(self._reactor, threads, setup.endpoint, setup.client_ca)
            certificate.startService()
            factory = TLSMemoryBIOFactory(creator, False, exchange)
        exchange.start()
        self._port = share(self._reactor.adoptStreamPort(PORT, setup.family, factory))
        os.close(PORT)
        settle(RARELY)

    def _stop_listening(self) -> None:
        # Without what Twisted does besides: a socket's name in the file system is the writer's.
        self._port.stopReading()
        self._port.connected = False
        self._port.socket.close()

    def _log_to_writer(self, level: str) -> None:
        predicate = LogLevelFilterPredicate(LogLevel.levelWithName(level))

        @provider(ILogObserver)
        def observe(event: LogEvent) -> None:
            if predicate(event) is PredicateResult.no:
                return
            text, failure = formatEvent(event), event.get("log_failure")
            if failure is not None:
                text = f"{text}\n{failure.getTraceback()}"
            self.line.say(Logged(str(event["log_level"].name), event.get("log_namespace", ""), text))

        globalLogBeginner.beginLoggingTo([observe], redirectStandardIO=False)


def _end() -> None:
    # What this process has is the writer's; without it there is nothing to finish.
    os._exit(0)


def main() -> None:
    """Serve until the writer is gone. A signal is for the writer, which ends its fronts in order."""
    from twisted.internet import reactor

    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    use_monotonic_clock(reactor)
    made: Any = reactor
    front = Front(made)
    made.adoptStreamConnection(LINE, socket.AF_UNIX, Factory.forProtocol(lambda: front.line))
    os.close(LINE)
    made.run(installSignalHandlers=False)


if __name__ == "__main__":
    main()
