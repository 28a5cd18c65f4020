"""What the twistd daemons of confd have in common: their log, their clock, how they fail to start and how they end."""

from __future__ import annotations

import gc
import os
import resource
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import IO, Any, NoReturn

from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import IService, MultiService
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.threads import deferToThreadPool
from twisted.logger import ILogObserver, Logger
from twisted.python.logfile import LogFile
from zope.interface import directlyProvides

from confd.logs import observer
from confd.model import StartError
from confd.options import RoleOptions
from confd.settings import LogSettings
from confd.systemd import Notifier
from confd.timing import use_monotonic_clock
from confd.tls import Renewed, is_tls, server_endpoint

#: Seconds that a part may take to stop; HTTP requests in flight have less than that by themselves.
STOP_TIMEOUT = 15.0

#: Seconds for which what was sent to a peer may stay unconfirmed.
VANISHED = 30

#: When Python looks for garbage in cycles: after so many new objects, and so many times more rarely among those that
#: have been there for a while, and for long. Twisted leaves little of it; with the default (700, 10, 10), which stops
#: everything again and again to walk over all that a controller knows, 5 000 agents take twice the time, with pauses of
#: half a second. Young garbage is cheap to find, and what is not found grows the process for hours.
COLLECTIONS = (2_000, 10, 50)


def utc_now() -> datetime:
    """The wall clock: for what people read, never for a decision (G11)."""
    return datetime.now(UTC)


def in_threads_of(reactor: Any) -> Callable[..., Deferred[Any]]:
    """What runs a function in a thread of the reactor's pool, like C{deferToThread}."""
    return partial(deferToThreadPool, reactor, reactor.getThreadPool())


def make_daemon(name: str, options: RoleOptions, compose: Callable[[Any, Any], list[IService]]) -> Daemon:
    """
    The root service of a daemon.

    @param options: what twistd parsed for it.
    @param compose: makes the children of the reactor and the settings; it only constructs.
    @raise SystemExit: with one line a mistake, where the settings cannot work.
    """
    from twisted.internet import reactor

    use_monotonic_clock(reactor)
    daemon = Daemon(name, reactor, options.settings, options.parent or {})
    try:
        children = compose(reactor, options.settings)
    except StartError as error:
        raise SystemExit(str(error)) from None
    # The notifier is the last to start: by then all ports are open.
    for child in (*children, Notifier(reactor, os.environ)):
        child.setServiceParent(daemon)
    settle()
    return daemon


def settle() -> None:
    """What is there by now stays for good, and is never walked over again in search of garbage."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTIONS)


class Daemon(MultiService):
    """The root of a daemon: once twistd adopts it, it logs, fails and ends as the contract says."""

    log = Logger()

    def __init__(self, name: str, reactor: Any, settings: LogSettings, twistd: Mapping[str, Any]) -> None:
        """
        @param twistd: twistd's own options: C{--logfile}, C{--nodaemon}, C{--pidfile}; C{--logger} and C{--syslog} win.
        """
        super().__init__()
        self.setName(name)
        self._reactor, self._settings, self._twistd = reactor, settings, twistd
        self._stderr: IO[str] | None = sys.__stderr__

    def setServiceParent(self, parent: Any) -> None:
        """
        Give the application its log observer, then become its child.

        twistd asks its application for one before it starts it: the only moment at which a plug-in can name an observer
        without C{--logger} on the command line.
        """
        if not (self._twistd.get("logger") or self._twistd.get("syslog")):
            # A named function of its own: a bound method cannot provide an interface.
            observe = self._observer()
            directlyProvides(observe, ILogObserver)
            parent.setComponent(ILogObserver, observe)
        if self._daemonises:
            self._stderr = _stderr_beyond_fork()
        super().setServiceParent(parent)

    def privilegedStartService(self) -> None:
        """Bind the ports."""
        self._or_exit(super().privilegedStartService)

    def startService(self) -> None:
        """Start the children; say that the process is up."""
        self._or_exit(super().startService)
        # Twisted ends a process with the signal that stopped it; to be told to stop is no failure.
        self._reactor.addSystemEventTrigger("after", "shutdown", setattr, self._reactor, "_exitSignal", None)
        if self._daemonises and self._stderr is not None:
            self._stderr.close()
        self.log.info("{name} is up", name=self.name)

    def stopService(self) -> Deferred[None]:
        """
        Stop the children one after the other, the last first: what listens ends before what it needs.

        Twisted would stop all at once.
        """
        self.running = 0
        return Deferred.fromCoroutine(self._stop_children())

    async def _stop_children(self) -> None:
        for child in reversed(list(self)):
            try:
                await maybeDeferred(child.stopService).addTimeout(STOP_TIMEOUT, self._reactor)
            except Exception:
                self.log.failure("{part} did not stop cleanly", part=type(child).__name__)
        self.log.info("{name} has stopped", name=self.name)

    @property
    def _daemonises(self) -> bool:
        return not self._twistd.get("nodaemon", True)

    def _observer(self) -> Any:
        path = self._twistd.get("logfile") or ("twistd.log" if self._daemonises else "-")
        # Standard output as it is now: twistd will redirect it into the log.
        file = sys.stdout if path == "-" else _log_file(path)
        terminal = file is sys.stdout and file.isatty()
        form = self._settings.log_format or ("text" if terminal else "json")
        return observer(file, self._settings.log_level, form)

    def _or_exit(self, start: Callable[[], None]) -> None:
        try:
            start()
        except StartError as error:
            for reason in error.reasons:
                self.log.critical("cannot start: {reason}", reason=reason)
            self._exit(str(error))
        except Exception as error:
            self.log.failure("{name} cannot start", name=self.name)
            self._exit(f"{self.name}: cannot start, and the log says more: {error!r}")

    def _exit(self, words: str) -> NoReturn:
        """End the process, and the one that waits for it to daemonise, with what a person needs to know."""
        print(words, file=self._stderr, flush=True)
        pid_file, status = self._twistd.get("pidfile"), self._twistd.get("statusPipe")
        if pid_file:
            with suppress(OSError):
                os.remove(pid_file)
        if status is not None:
            os.write(status, b"1")
        raise SystemExit(1)


def _log_file(path: str) -> Any:
    try:
        return LogFile.fromFullPath(path)
    except OSError as error:
        raise SystemExit(f"--logfile: {path} cannot be written: {error.strerror}.") from None


def _stderr_beyond_fork() -> IO[str]:
    """
    Standard error, for a child that twistd will cut off from the terminal.

    The parent's own is muted: it would add two lines with the first 100 bytes of the child's error.
    """
    words = os.fdopen(os.dup(2), "w")
    sys.__stderr__ = open(os.devnull, "w")  # type: ignore[misc]  # noqa: SIM115 - until the process ends
    return words


#: File descriptors that are left for files, brokers and whoever has to look into it, when all connections are taken.
RESERVED = 64


def room_for(connections: int) -> int:
    """
    So many connections, or as many as this process may have open: it takes all of the file descriptors that it may.

    What is refused then is refused in order, and the rest of the process goes on.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + RESERVED
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return max(1, soft - RESERVED)
    return connections


#: Connections that may wait to be accepted, where the endpoint says nothing else.
BACKLOG = 1024


class Listener(StreamServerEndpointService):
    """
    Serves on an endpoint, or says in one sentence why it cannot.

    @ivar port: what listens, once it does.
    """

    _raiseSynchronously = True

    port: Any = None

    def __init__(
        self,
        reactor: Any,
        setting: str,
        endpoint: str,
        factory: IProtocolFactory,
        client_ca: str | None = None,
        shared: bool = False,
    ) -> None:
        """
        @param setting: the name of the setting that holds the endpoint, for the error.
        @param client_ca: PEM certificates of those who sign for the clients of an C{ssl} endpoint, if they need that.
        @param shared: whether other processes accept from its socket, too.
        @raise StartError: if the endpoint cannot be understood.
        """
        self._certificate: Renewed[Any] | None = None
        try:
            described = _with_backlog(endpoint)
            if is_tls(described):
                parsed, self._certificate = server_endpoint(reactor, in_threads_of(reactor), described, client_ca)
            else:
                parsed = serverFromString(reactor, described)
        except Exception as error:
            raise StartError(f"{setting}: {endpoint!r} is not an endpoint such as tcp:8080: {error}.") from None
        super().__init__(parsed, factory)
        self._setting, self._described, self._shared = setting, endpoint, shared

    def startService(self) -> None:
        """Serve, and look after the certificate."""
        super().startService()
        if self._certificate is not None:
            self._certificate.startService()

    async def _stop(self) -> None:
        if self._certificate is not None:
            await maybeDeferred(self._certificate.stopService)
        await maybeDeferred(super().stopService)
        drain = getattr(self.factory, "drain", None)
        if drain is not None:
            await drain()

    def stopService(self) -> Deferred[None]:
        """Fires when nothing new is accepted and what was in flight is finished."""
        return Deferred.fromCoroutine(self._stop())

    def privilegedStartService(self) -> None:
        """
        Bind.

        @raise StartError: if the address is taken or may not be used.
        """
        try:
            super().privilegedStartService()
            if self._waitingForPort is not None:
                self._waitingForPort.addCallback(self._listening)
        except Exception as error:
            reason = error.socketError if isinstance(error, CannotListenError) else error
            said = getattr(reason, "strerror", None) or str(reason)
            raise StartError(f"{self._setting}: cannot listen on {self._described}: {said}.") from None

    def _listening(self, port: Any) -> Any:
        self.port = port
        if self._shared:
            share(port)
        _give_up_on_the_vanished(port)
        return port


def _give_up_on_the_vanished(port: Any) -> None:
    """
    Let the system end connections whose peers take nothing and confirm nothing; those that are accepted inherit it.

    What is sent to a peer that has vanished fits into the system's buffers for long, so that nothing else would tell.
    """
    listening = getattr(port, "socket", None)
    if listening is not None and listening.family in (socket.AF_INET, socket.AF_INET6):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, VANISHED * 1000)


#: Connections that a process accepts at once where others accept from the same socket, and seconds until it accepts
#: more: without that the first to wake up has all of those that come together, for as long as they last.
FAIR, TURN = 8, 0.001


class _Fair:
    """A port that leaves connections to others."""

    #: Twisted sets it anew each time, and has no other place for it.
    numberAccepts = property(lambda port: FAIR, lambda port, wanted: None)

    def doRead(self: Any) -> None:
        """Accept some."""
        super().doRead()  # type: ignore[misc]
        self.stopReading()
        self.reactor.callLater(TURN, self._go_on)

    def _go_on(self: Any) -> None:
        if self.connected:
            self.startReading()


def share(port: Any) -> None:
    """Let a port leave connections to others that accept from its socket, too."""
    port.__class__ = type(type(port).__name__, (_Fair, type(port)), {})


def _with_backlog(endpoint: str) -> str:
    """Room for a fleet that connects all at once: what Twisted's 50 places do not hold waits for another SYN."""
    kind = endpoint.partition(":")[0]
    takes_one = kind in ("tcp", "tcp6", "ssl", "unix") and ":backlog=" not in endpoint
    return f"{endpoint}:backlog={BACKLOG}" if takes_one else endpoint
