"""What the twistd daemons of confd have in common: their log, their clock, how they fail to start and how they end."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import IO, Any, NoReturn, Protocol, TypeVar, cast, runtime_checkable

from attrs import AttrsInstance
from twisted.application.service import IService, MultiService
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import ILogObserver, Logger
from zope.interface import directlyProvides

from confd.errors import StartError
from confd.runtime.log_file import LogFile
from confd.runtime.logs import LogSettings, observer
from confd.runtime.options import RoleOptions, reread
from confd.runtime.pid_file import PidFile
from confd.runtime.reactor import Reactor
from confd.runtime.reload import ReloadedFiles
from confd.runtime.signals import Signals, Terminal
from confd.runtime.systemd import Notifier
from confd.runtime.timing import use_monotonic_clock

T = TypeVar("T", bound=AttrsInstance)

#: Seconds that a part may take to stop; HTTP requests in flight have less than that by themselves.
STOP_TIMEOUT_SECONDS = 15.0

#: When Python looks for garbage in cycles in a process that knows much. Twisted leaves little of it, and with the
#: default (700, 10, 10) to walk over all that a controller knows, again and again, makes 5 000 agents take twice the
#: time, with pauses of half a second. A process that knows little grows for hours where the young are left alone.
GC_THRESHOLDS = (2_000, 10, 1_000)


def utc_now() -> datetime:
    """The wall clock: for what people read, never for a decision (promise G11)."""
    return datetime.now(UTC)


def in_threads_of(reactor: Reactor) -> Callable[..., Deferred[Any]]:
    """What runs a function in a thread of the reactor's pool, like C{deferToThread}."""
    return partial(deferToThreadPool, reactor, reactor.getThreadPool())


def reload_secrets(
    reactor: Reactor, settings: T, environ: Mapping[str, str], tell: Callable[[T], object], *names: str
) -> list[ReloadedFiles[T]]:
    """
    Have secrets that come from files taken anew once those change.

    @param environ: what the settings were read from: it names the files.
    @param tell: called with the settings as they are from then on.
    @param names: of the secrets.
    @return: what looks at the files, where there are any; to be started.
    @raise StartError: if one cannot be read any more.
    """
    files = {name: os.path.abspath(path) for name in names if (path := environ.get(f"{name}_FILE"))}
    if not files:
        return []
    try:
        return [
            ReloadedFiles(reactor, in_threads_of(reactor), list(files.values()), lambda: reread(settings, files), tell)
        ]
    except ValueError as error:
        raise StartError(f"{error}.") from None


def make_daemon(
    name: str, options: RoleOptions, compose: Callable[[Any, Any], list[IService]], collections: Sequence[int] = ()
) -> Daemon:
    """
    The root service of a daemon.

    @param options: what twistd parsed for it.
    @param compose: makes the children of the reactor and the settings; it only constructs.
    @param collections: when to look for garbage, for C{gc.set_threshold}; empty leaves that to Python.
    @raise SystemExit: with one line a mistake, where the settings cannot work.
    """
    from twisted.internet import reactor as installed

    reactor = cast(Reactor, installed)
    use_monotonic_clock(reactor)
    twistd: Mapping[str, Any] = options.parent or {}
    daemon = Daemon(name, reactor, options.settings, twistd, options.pid_file, options.remarks, options.spell)
    terminal = Terminal(bool(twistd.get("nodaemon") or twistd.get("debug")))
    signals = Signals(
        reactor,
        {
            signal.SIGHUP: lambda: reactor.stop() if terminal.hung_up() else daemon.reload(),
            signal.SIGUSR1: daemon.reopen_log,
            # Until the reactor runs and handles it: a start that is asked to end is no failure either.
            signal.SIGTERM: reactor.stop,
        },
    )
    try:
        children = compose(reactor, options.settings)
    except StartError as error:
        raise SystemExit(options.spell(str(error))) from None
    # The notifier is the last to start: by then all ports are open.
    for child in (signals, *children, Notifier(reactor, os.environ)):
        child.setServiceParent(daemon)
    freeze_garbage_collector(collections)
    return daemon


def freeze_garbage_collector(collections: Sequence[int]) -> None:
    """
    What is there by now stays for good, and is never walked over in search of garbage.

    @param collections: see L{make_daemon}.
    """
    gc.collect()
    gc.freeze()
    if collections:
        gc.set_threshold(*collections)


@runtime_checkable
class IReloadable(Protocol):
    """A part that reads files which may change."""

    def reload(self) -> None:
        """Read the files again; keep what was read before where they are of no use."""


class Daemon(MultiService):
    """The root of a daemon: once twistd adopts it, it logs, fails and ends as the contract says."""

    log = Logger()

    def __init__(
        self,
        name: str,
        reactor: Reactor,
        settings: LogSettings,
        twistd: Mapping[str, Any],
        pid_file: PidFile | None = None,
        remarks: Sequence[str] = (),
        spell: Callable[[str], str] = str,
    ) -> None:
        """
        @param twistd: twistd's own options: C{--logfile}, C{--nodaemon}; C{--logger} and C{--syslog} win.
        @param pid_file: claimed when the daemon starts, and removed when it has stopped.
        @param remarks: logged as warnings at the start.
        @param spell: see L{confd.runtime.environment.spelling}.
        """
        super().__init__()
        self.setName(name)
        self._reactor, self._settings, self._twistd, self._pid_file = reactor, settings, twistd, pid_file
        self._remarks, self._spell = remarks, spell
        self._log_file: LogFile | None = None
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
        """Claim the pid file and bind the ports."""
        if self._pid_file is not None:
            self._or_exit(partial(self._pid_file.claim, str(self.name)))
            self._reactor.addSystemEventTrigger("after", "shutdown", self._pid_file.release)
        self._or_exit(super().privilegedStartService)

    def startService(self) -> None:
        """Start the children; say that the process is up."""
        self._or_exit(super().startService)
        # Twisted ends a process with the signal that stopped it; to be told to stop is no failure.
        self._reactor.addSystemEventTrigger("after", "shutdown", setattr, self._reactor, "_exitSignal", None)
        if self._daemonises and self._stderr is not None:
            self._stderr.close()
        for remark in self._remarks:
            self.log.warn("{remark}", remark=remark)
        self.log.info("{name} is up", name=self.name)

    def reload(self) -> None:
        """Load secrets and certificates again, and reopen the log; what is in flight goes on."""
        self.reopen_log()
        self.log.info("{name} reloads its secrets and certificates", name=self.name)
        for child in self:
            if isinstance(child, IReloadable):
                child.reload()

    def reopen_log(self) -> None:
        """Open the file of the log by its name again."""
        if self._log_file is not None:
            self._log_file.reopen()

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
                await maybeDeferred(child.stopService).addTimeout(STOP_TIMEOUT_SECONDS, self._reactor)
            except Exception:
                self.log.failure("{part} did not stop cleanly", part=type(child).__name__)
        self.log.info("{name} has stopped", name=self.name)

    @property
    def _daemonises(self) -> bool:
        return not self._twistd.get("nodaemon", True)

    def _observer(self) -> Any:
        path = self._twistd.get("logfile") or ("twistd.log" if self._daemonises else "-")
        # Standard output as it is now: twistd will redirect it into the log.
        file: Any = sys.stdout
        if path != "-":
            file = self._log_file = _log_file(path, self._settings)
        terminal = file is sys.stdout and file.isatty()
        form = self._settings.log_format or ("text" if terminal else "json")
        return observer(file, self._settings.log_level, form)

    def _or_exit(self, start: Callable[[], None]) -> None:
        try:
            start()
        except StartError as error:
            reasons = [self._spell(reason) for reason in error.reasons]
            for reason in reasons:
                self.log.critical("cannot start: {reason}", reason=reason)
            self._exit("\n".join(reasons))
        except Exception as error:
            self.log.failure("{name} cannot start", name=self.name)
            self._exit(f"{self.name}: cannot start, and the log says more: {error!r}")

    def _exit(self, words: str) -> NoReturn:
        """End the process, and the one that waits for it to daemonise, with what a person needs to know."""
        print(words, file=self._stderr, flush=True)
        if self._pid_file is not None:
            self._pid_file.release()
        status = self._twistd.get("statusPipe")
        if status is not None:
            os.write(status, b"1")
        raise SystemExit(1)


def _log_file(path: str, settings: LogSettings) -> LogFile:
    try:
        return LogFile(os.path.abspath(path), settings.log_max_bytes, settings.log_keep)
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
