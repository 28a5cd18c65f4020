"""The root of every twistd daemon of confd: its log, its clock, failures to start, and an orderly stop."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import IO, NoReturn, Protocol, TypeVar, cast, runtime_checkable

from attrs import AttrsInstance
from twisted.application.service import IService, MultiService
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import ILogObserver, Logger
from twisted.python.components import Componentized

from confd.errors import StartError
from confd.runtime.log_file import LogFile
from confd.runtime.logs import LogOutput, LogSettings, observer
from confd.runtime.offload import RunInThread
from confd.runtime.options import RoleOptions, reread
from confd.runtime.pid_file import PidFile
from confd.runtime.prompt_writes import write_promptly
from confd.runtime.reactor import Reactor
from confd.runtime.reload import ReloadedFiles
from confd.runtime.systemd import Notifier
from confd.runtime.timing import use_monotonic_clock
from confd.runtime.unix_signals import Terminal, UnixSignals

T = TypeVar("T", bound=AttrsInstance)
S = TypeVar("S", bound=LogSettings)
V = TypeVar("V")

#: Seconds that a part may take to stop; HTTP requests in flight have shorter limits of their own.
STOP_TIMEOUT_SECONDS = 15.0

#: Thresholds of Python's cyclic garbage collector for a process with many long-lived objects. With the default
#: (700, 10, 10), the collector scans everything that a controller holds again and again: 5 000 agents take twice the
#: processor time, with pauses of half a second. A small process keeps the default, as it would grow for hours.
GC_THRESHOLDS = (2_000, 10, 1_000)

#: Thresholds while modules are imported: each new object is searched once, as it stays if others need it.
_IMPORT_THRESHOLDS = (5_000, 1_000, 1_000)


def utc_now() -> datetime:
    """Return the wall-clock time, which is for people to read and never decides anything (promise G11)."""
    return datetime.now(UTC)


def in_threads_of(reactor: Reactor) -> RunInThread:
    """Return a function that runs work in the reactor's thread pool, like C{deferToThread}."""
    pool = reactor.getThreadPool()

    def run(work: Callable[..., V], /, *arguments: object) -> Deferred[V]:
        return deferToThreadPool(reactor, pool, work, *arguments)

    return run


def reload_secrets(
    reactor: Reactor, settings: T, environ: Mapping[str, str], changed: Callable[[T], object], *names: str
) -> list[ReloadedFiles[T]]:
    """
    Reload secrets when their files change.

    @param environ: names the files: the environment that the settings were read from.
    @param changed: called with the new settings after each reload.
    @param names: of the secrets.
    @return: the services that watch the files; none if no secret comes from a file.
    @raise StartError: if a file cannot be read.
    """
    files = {name: os.path.abspath(path) for name in names if (path := environ.get(f"{name}_FILE"))}
    if not files:
        return []
    try:
        return [
            ReloadedFiles(
                reactor, in_threads_of(reactor), list(files.values()), lambda: reread(settings, files), changed
            )
        ]
    except ValueError as error:
        raise StartError(f"{error}.") from None


def make_daemon(
    name: str,
    options: RoleOptions[S],
    compose: Callable[[Reactor, S], list[IService]],
    gc_thresholds: tuple[int, int, int] | None = None,
) -> Daemon:
    """
    Return the root service of a daemon.

    @param options: as parsed by twistd.
    @param compose: returns the child services for a reactor and settings; starts nothing.
    @param gc_thresholds: arguments of C{gc.set_threshold}; C{None} keeps Python's defaults.
    @raise SystemExit: if the settings cannot work, with one line for each mistake.
    """
    from twisted.internet import reactor as installed

    reactor = cast(Reactor, installed)
    use_monotonic_clock(reactor)
    write_promptly(reactor)
    twistd: Mapping[str, object] = options.parent or {}
    daemon = Daemon(name, reactor, options.settings, twistd, options.pid_file, options.remarks, options.spell)
    terminal = Terminal(bool(twistd.get("nodaemon") or twistd.get("debug")))
    signals = UnixSignals(
        reactor,
        {
            signal.SIGHUP: lambda: reactor.stop() if terminal.hung_up() else daemon.reload(),
            signal.SIGUSR1: daemon.reopen_log,
            # Until the reactor runs and handles SIGTERM itself: ending a start on request is not a failure.
            signal.SIGTERM: reactor.stop,
        },
    )
    try:
        children = compose(reactor, options.settings)
    except StartError as error:
        raise SystemExit(options.spell(str(error))) from None
    # The notifier starts last, when all ports are open.
    for child in (signals, *children, Notifier(reactor, os.environ)):
        child.setServiceParent(daemon)
    freeze_garbage_collector(gc_thresholds)
    return daemon


@contextmanager
def quick_imports() -> Iterator[None]:
    """
    Import modules with little garbage collection, and keep what they make out of later searches.

    Python searches everything again and again while imports add objects that stay. Without any search, the classes that
    attrs replaces would stay, too: a megabyte.
    """
    thresholds = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(*_IMPORT_THRESHOLDS)
    try:
        yield
    finally:
        gc.collect(0)
        gc.freeze()
        gc.set_threshold(*thresholds)


def freeze_garbage_collector(thresholds: tuple[int, int, int] | None) -> None:
    """
    Keep all objects that exist now out of garbage collection, and return free memory to the system.

    @param thresholds: see L{make_daemon}.
    """
    gc.collect()
    gc.freeze()
    # What imports have left free is half a megabyte; only the GNU library can give it back.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    if thresholds is not None:
        gc.set_threshold(*thresholds)


@runtime_checkable
class IReloadable(Protocol):
    """A service that reads files which may change."""

    def reload(self) -> None:
        """Read the files again; keep the previous content if the new content is invalid."""


class Daemon(MultiService):
    """The root service of a daemon: it sets up the log, reports failures to start, and stops its children in order."""

    log = Logger()

    def __init__(
        self,
        name: str,
        reactor: Reactor,
        settings: LogSettings,
        twistd: Mapping[str, object],
        pid_file: PidFile | None = None,
        remarks: Sequence[str] = (),
        spell: Callable[[str], str] = str,
    ) -> None:
        """
        @param twistd: options of twistd itself: C{--logfile}, C{--nodaemon}; C{--logger} and C{--syslog} win.
        @param pid_file: claimed at the start and removed after the stop.
        @param remarks: warnings to log at the start.
        @param spell: see L{confd.runtime.environment.spelling}.
        """
        super().__init__()
        self.setName(name)
        self._reactor, self._settings, self._twistd, self._pid_file = reactor, settings, twistd, pid_file
        self._remarks, self._spell = remarks, spell
        self._log_file: LogFile | None = None
        self._stderr: IO[str] | None = sys.__stderr__

    def setServiceParent(self, parent: Componentized) -> None:
        """
        Give the application its log observer, then become its child.

        twistd looks for an observer before it starts the application. No later moment lets a plug-in name an observer
        without C{--logger} on the command line.
        """
        if not (self._twistd.get("logger") or self._twistd.get("syslog")):
            parent.setComponent(ILogObserver, self._observer())
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
        """Start the children, and log that the process is up."""
        self._or_exit(super().startService)
        # Twisted would exit with the signal that stopped the process, but a stop on request is not a failure.
        self._reactor.addSystemEventTrigger("after", "shutdown", setattr, self._reactor, "_exitSignal", None)
        if self._daemonises and self._stderr is not None:
            self._stderr.close()
        for remark in self._remarks:
            self.log.warn("{remark}", remark=remark)
        self.log.info("{name} is up", name=self.name)

    def reload(self) -> None:
        """Reload secrets and certificates, and reopen the log; requests in flight continue."""
        self.reopen_log()
        self.log.info("{name}: reloading secrets and certificates", name=self.name)
        for child in self:
            if isinstance(child, IReloadable):
                child.reload()

    def reopen_log(self) -> None:
        """Open the log file by its name again."""
        if self._log_file is not None:
            self._log_file.reopen()

    def stopService(self) -> Deferred[None]:
        """
        Stop the children one by one, the last first: a listener stops before the services that it uses.

        Twisted would stop all children at once.
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

    def _observer(self) -> ILogObserver:
        path = str(self._twistd.get("logfile") or ("twistd.log" if self._daemonises else "-"))
        # Standard output as of now: twistd will redirect it into the log.
        file: LogOutput = sys.stdout
        if path != "-":
            file = self._log_file = _log_file(path, self._settings)
        form = self._settings.log_format or ("text" if file.isatty() else "json")
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
        """Print a message, and end this process and the parent that waits for it to daemonise."""
        print(words, file=self._stderr, flush=True)
        if self._pid_file is not None:
            self._pid_file.release()
        status = self._twistd.get("statusPipe")
        if isinstance(status, int):
            os.write(status, b"1")
        raise SystemExit(1)


def _log_file(path: str, settings: LogSettings) -> LogFile:
    try:
        return LogFile(os.path.abspath(path), settings.log_max_bytes, settings.log_keep)
    except OSError as error:
        raise SystemExit(f"--logfile: {path} cannot be written: {error.strerror}.") from None


def _stderr_beyond_fork() -> IO[str]:
    """
    Return a copy of standard error for a child that twistd will detach from the terminal.

    The parent's standard error is closed, as the parent would repeat the first 100 bytes of the child's error.
    """
    words = os.fdopen(os.dup(2), "w")
    sys.__stderr__ = open(os.devnull, "w")  # type: ignore[misc]  # noqa: SIM115 - until the process ends
    return words
