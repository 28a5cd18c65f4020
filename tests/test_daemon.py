"""Tests of L{confd.daemon}; what real processes do is in L{tests.integration.test_daemon}."""

import gc
import json
import os
import socket
import subprocess
import sys
from io import StringIO
from types import SimpleNamespace

from twisted.application.service import Application, Service
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.tcp import Port
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import ILogObserver, LogLevel
from twisted.trial.unittest import SynchronousTestCase

from confd.daemon import COLLECTIONS, FAIR, RESERVED, STOP_TIMEOUT, TURN, Daemon, Listener, make_daemon, share
from confd.model import StartError
from confd.options import RoleOptions, read
from confd.settings import LogSettings


class Part(Service):
    """A child that tells what happens to it."""

    def __init__(self, name, told, stopped=None, starting=None):
        self._name, self._told, self._stopped, self._starting = name, told, stopped, starting

    def startService(self):
        """Starts, or fails as it was told."""
        super().startService()
        self._told.append(f"{self._name} starts")
        if self._starting is not None:
            raise self._starting

    def stopService(self):
        """Fires with what it was told to."""
        super().stopService()
        self._told.append(f"{self._name} stops")
        return self._stopped


class Refusing(MemoryReactorClock):
    """A reactor on which nothing can listen."""

    def __init__(self, error):
        super().__init__()
        self._error = error

    def listenTCP(self, port, factory, backlog=50, interface=""):
        """Fails."""
        raise self._error


def settings(**given):
    """Log settings."""
    return read(LogSettings, {name.upper(): text for name, text in given.items()}, {})


class StopTests(SynchronousTestCase):
    """How a daemon ends."""

    def setUp(self):
        self.told = []
        self.clock = MemoryReactorClock()
        self.daemon = Daemon("test", self.clock, settings(), {})

    def test_order(self):
        """The last part stops first, and each waits for the one that needs it."""
        slow = Deferred()
        Part("store", self.told).setServiceParent(self.daemon)
        Part("listener", self.told, slow).setServiceParent(self.daemon)
        self.daemon.startService()
        stopped = self.daemon.stopService()
        self.assertEqual(self.told, ["store starts", "listener starts", "listener stops"])
        self.assertNoResult(stopped)
        slow.callback(None)
        self.assertEqual(self.told[-1], "store stops")
        self.successResultOf(stopped)

    def test_broken_part(self):
        """One that fails to stop costs the others nothing."""
        broken = Deferred()
        broken.errback(ZeroDivisionError())
        Part("store", self.told).setServiceParent(self.daemon)
        Part("broken", self.told, broken).setServiceParent(self.daemon)
        self.daemon.startService()
        self.successResultOf(self.daemon.stopService())
        self.assertEqual(self.told[-1], "store stops")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_hung_part(self):
        """One that never stops is left behind."""
        Part("store", self.told).setServiceParent(self.daemon)
        Part("hung", self.told, Deferred()).setServiceParent(self.daemon)
        self.daemon.startService()
        stopped = self.daemon.stopService()
        self.assertNoResult(stopped)
        self.clock.advance(STOP_TIMEOUT)
        self.successResultOf(stopped)
        self.assertEqual(self.told[-1], "store stops")
        self.assertEqual(len(self.flushLoggedErrors(TimeoutError)), 1)

    def test_signal(self):
        """Being told to stop is no failure: the signal is forgotten after the shutdown."""
        self.daemon.startService()
        self.clock._exitSignal = 15
        for function, args, kwargs in self.clock.triggers["after"]["shutdown"]:
            function(*args, **kwargs)
        self.assertIsNone(self.clock._exitSignal)


class StartTests(SynchronousTestCase):
    """How a daemon that cannot start ends."""

    def setUp(self):
        self.said = StringIO()
        self.patch(sys, "__stderr__", self.said)

    def _fail(self, error, **twistd):
        daemon = Daemon("test", Clock(), settings(), twistd)
        Part("part", [], starting=error).setServiceParent(daemon)
        return self.assertRaises(SystemExit, daemon.startService)

    def test_mistakes(self):
        """A line for each, a status, and no pid file."""
        pid_file = self.mktemp()
        with open(pid_file, "w") as file:
            file.write("1")
        error = self._fail(StartError("A: is wrong.", "B: too."), pidfile=pid_file)
        self.assertEqual((error.code, self.said.getvalue()), (1, "A: is wrong.\nB: too.\n"))
        self.assertFalse(os.path.exists(pid_file))

    def test_defect(self):
        """What nobody thought of is one line too; the traceback is for the log."""
        self._fail(ZeroDivisionError("by zero"), pidfile="")
        self.assertEqual(
            self.said.getvalue(), "test: cannot start, and the log says more: ZeroDivisionError('by zero')\n"
        )
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_waiting_parent(self):
        """The process that waits for this one to daemonise is told, or it would wait for ever."""
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        self.addCleanup(os.close, writer)
        self._fail(StartError("A: is wrong."), statusPipe=writer)
        self.assertEqual(os.read(reader, 100), b"1")

    def _make(self, compose):
        from twisted.internet import reactor

        # The clock of the tests' own reactor, which a daemon would make monotonic.
        self.patch(reactor, "seconds", reactor.seconds)

        class Options(RoleOptions):
            role = LogSettings

        options = Options({})
        options.parseOptions([])
        return make_daemon("test", options, compose)

    def test_composition(self):
        """Settings that cannot work together end it before there is a daemon."""

        def compose(reactor, settings):
            raise StartError("A: is wrong.", "B: too.")

        error = self.assertRaises(SystemExit, self._make, compose)
        self.assertEqual(str(error), "A: is wrong.\nB: too.")

    def test_garbage(self):
        """What a daemon begins with is never looked through for garbage, all else less often than by default."""
        self.addCleanup(gc.set_threshold, *gc.get_threshold())
        self.addCleanup(gc.unfreeze)
        daemon = self._make(lambda reactor, settings: [])
        self.assertEqual(gc.get_threshold(), COLLECTIONS)
        self.assertNotIn(id(daemon), map(id, gc.get_objects()))


class LogTests(SynchronousTestCase):
    """Where a daemon's log goes."""

    def observer_of(self, log_settings, **twistd):
        application = Application("test")
        Daemon("test", Clock(), log_settings, {"nodaemon": True, **twistd}).setServiceParent(application)
        return application.getComponent(ILogObserver, None)

    def test_file(self):
        """C{--logfile} gets JSON lines of the level asked for."""
        path = self.mktemp()
        observe = self.observer_of(settings(log_level="warn"), logfile=path)
        observe({"log_format": "too quiet", "log_level": LogLevel.info, "log_namespace": "a"})
        observe({"log_format": "loud enough", "log_level": LogLevel.warn, "log_namespace": "a"})
        with open(path) as file:
            self.assertEqual([json.loads(line)["message"] for line in file], ["loud enough"])

    def test_output(self):
        """Without a file it is standard output: text on a terminal, unless one is asked for."""

        class Terminal(StringIO):
            def isatty(self):
                return True

        for output, log_format, json_expected in (
            (StringIO(), None, True),
            (StringIO(), "text", False),
            (Terminal(), None, False),
            (Terminal(), "json", True),
        ):
            self.patch(sys, "stdout", output)
            chosen = settings() if log_format is None else settings(log_format=log_format)
            observe = self.observer_of(chosen, logfile="-")
            observe({"log_format": "x", "log_level": LogLevel.info, "log_namespace": "a"})
            self.assertEqual(output.getvalue().startswith("{"), json_expected)

    def test_choice_of_twistd(self):
        """C{--logger} and C{--syslog} win."""
        for option in ({"logger": object()}, {"syslog": True}):
            self.assertIsNone(self.observer_of(settings(), **option))

    def test_bad_file(self):
        """A file that cannot be written is named."""
        error = self.assertRaises(SystemExit, self.observer_of, settings(), logfile="/nowhere/x")
        self.assertEqual(str(error), "--logfile: /nowhere/x cannot be written: No such file or directory.")


class RoomTests(SynchronousTestCase):
    """Connections and file descriptors."""

    def room(self, soft, hard, wanted):
        """What a process finds that has such limits, and its limit from then on."""
        code = (
            "import resource; from confd.daemon import room_for;"
            f"resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}));"
            f"print(room_for({wanted}), resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        return tuple(map(int, done.stdout.split()))

    def test_room(self):
        """F-38: all that there is, but for a reserve."""
        for soft, hard, wanted, expected in (
            (1024, 4096, 2000, (2000, 2064)),
            (256, 400, 12000, (400 - RESERVED, 400)),
            (200, 200, 12000, (200 - RESERVED, 200)),
            (1024, 1024, 100, (100, 1024)),
        ):
            self.assertEqual(self.room(soft, hard, wanted), expected, (soft, hard, wanted))


class ListenerTests(SynchronousTestCase):
    """Serving on an endpoint."""

    def test_serves(self):
        """On the endpoint's address, from the moment that ports are bound."""
        reactor = MemoryReactorClock()
        listener = Listener(reactor, "PORT", "tcp:8080:interface=127.0.0.1", Factory())
        self.assertEqual(reactor.tcpServers, [])
        listener.privilegedStartService()
        self.assertEqual([(each[0], each[3]) for each in reactor.tcpServers], [(8080, "127.0.0.1")])

    def test_backlog(self):
        """Room for a fleet that comes back at once; an endpoint that names its own room keeps it."""
        for endpoint, room in (("tcp:8080", 1024), ("tcp:8080:backlog=7", 7), ("tcp:port=8080:interface=::1", 1024)):
            reactor = MemoryReactorClock()
            Listener(reactor, "LISTEN", endpoint.replace("::1", r"\:\:1"), Factory()).privilegedStartService()
            self.assertEqual([each[2] for each in reactor.tcpServers], [room], endpoint)

    def test_shared(self):
        """Of connections that come together it takes some, and no more before others had their turn."""

        class Counts(Factory):
            noisy = False
            taken = 0

            def buildProtocol(self, addr):
                self.taken += 1

        factory, reactor = Counts(), MemoryReactorClock()
        port = Port(0, factory, interface="127.0.0.1", reactor=reactor)
        port.startListening()
        self.addCleanup(port.socket.close)
        share(port)
        for _ in range(2 * FAIR):
            self.addCleanup(socket.create_connection(port.socket.getsockname()).close)
        taken = []
        for _ in range(3):
            port.doRead()
            self.assertEqual(reactor.getReaders(), [])
            reactor.advance(TURN)
            self.assertEqual(reactor.getReaders(), [port])
            taken.append(factory.taken)
        self.assertEqual(taken, [FAIR, 2 * FAIR, 2 * FAIR])

    def test_shared_and_closed(self):
        """One that is closed meanwhile stays so."""
        reactor = MemoryReactorClock()
        port = Port(0, Factory(), interface="127.0.0.1", reactor=reactor)
        port.startListening()
        share(port)
        port.doRead()
        port.stopListening()
        reactor.advance(TURN)
        self.assertEqual(reactor.getReaders(), [])

    def test_bad_endpoints(self):
        """What is no endpoint is refused by the name of its setting."""
        for endpoint in (
            "",
            "8080",
            "tcp",
            "tcp:port",
            "nowhere:1",
            "tcp:80:colour=red",
            "ssl:443:privateKey=/nowhere",
        ):
            with self.subTest(endpoint=endpoint):
                error = self.assertRaises(StartError, Listener, MemoryReactorClock(), "LISTEN", endpoint, Factory())
                self.assertRegex(str(error), r"\ALISTEN: .* is not an endpoint such as tcp:8080: [^\n]+\.\Z")

    def test_taken(self):
        """So is an address that is taken, or that cannot be used for whatever reason."""
        taken = CannotListenError("", 8080, OSError(98, "Address already in use"))
        for error, said in ((taken, "Address already in use"), (ValueError("no such host"), "no such host")):
            listener = Listener(Refusing(error), "PORT", "tcp:8080", Factory())
            raised = self.assertRaises(StartError, listener.privilegedStartService)
            self.assertEqual(str(raised), f"PORT: cannot listen on tcp:8080: {said}.")

    def test_peers_that_vanish(self):
        """The system gives up on them: connections inherit that from the socket that listens (F-46)."""

        class Real(MemoryReactorClock):
            def listenTCP(self, *arguments, **named):
                return SimpleNamespace(socket=listening)

        with socket.socket() as listening:
            Listener(Real(), "LISTEN", "tcp:8080", Factory()).privilegedStartService()
            self.assertEqual(listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT), 30_000)

    def test_drains(self):
        """It has stopped when what was in flight is finished."""
        factory, finished = Factory(), Deferred()
        factory.drain = lambda: finished
        reactor = MemoryReactorClock()
        listener = Listener(reactor, "PORT", "tcp:8080", factory)
        listener.privilegedStartService()
        listener.startService()
        stopped = listener.stopService()
        self.assertNoResult(stopped)
        finished.callback(None)
        self.successResultOf(stopped)
