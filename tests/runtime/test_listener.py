"""Tests of L{confd.runtime.listener}."""

import socket
import subprocess
import sys
from types import SimpleNamespace

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from confd.errors import StartError
from confd.runtime.listener import RESERVED_DESCRIPTORS, Listener


class Refusing(MemoryReactorClock):
    """A reactor on which nothing can listen."""

    def __init__(self, error):
        super().__init__()
        self._error = error

    def listenTCP(self, port, factory, backlog=50, interface=""):
        """Fails."""
        raise self._error


class RaiseFdLimitTests(SynchronousTestCase):
    """Connections and file descriptors."""

    def room(self, soft, hard, wanted):
        """What a process finds that has such limits, and its limit from then on."""
        code = (
            "import resource; from confd.runtime.listener import raise_fd_limit;"
            f"resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}));"
            f"print(raise_fd_limit({wanted}), resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        return tuple(map(int, done.stdout.split()))

    def test_the_limit_of_open_files_is_raised_but_for_a_reserve(self):
        """F-38: all that there is, but for a reserve."""
        for soft, hard, wanted, expected in (
            (1024, 4096, 2000, (2000, 2064)),
            (256, 400, 12000, (400 - RESERVED_DESCRIPTORS, 400)),
            (200, 200, 12000, (200 - RESERVED_DESCRIPTORS, 200)),
            (1024, 1024, 100, (100, 1024)),
        ):
            self.assertEqual(self.room(soft, hard, wanted), expected, (soft, hard, wanted))


class ListenerTests(SynchronousTestCase):
    """Serving on an endpoint."""

    def test_it_accepts_connections_once_ports_are_bound(self):
        reactor = MemoryReactorClock()
        listener = Listener(reactor, "PORT", "tcp:8080:interface=127.0.0.1", Factory())
        self.assertEqual(reactor.tcpServers, [])
        listener.privilegedStartService()
        self.assertEqual([(each[0], each[3]) for each in reactor.tcpServers], [(8080, "127.0.0.1")])

    def test_the_backlog_is_large_unless_the_endpoint_names_one(self):
        for endpoint, room in (("tcp:8080", 1024), ("tcp:8080:backlog=7", 7), ("tcp:port=8080:interface=::1", 1024)):
            reactor = MemoryReactorClock()
            Listener(reactor, "LISTEN", endpoint.replace("::1", r"\:\:1"), Factory()).privilegedStartService()
            self.assertEqual([each[2] for each in reactor.tcpServers], [room], endpoint)

    def test_an_invalid_endpoint_is_refused_with_its_setting(self):
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

    def test_an_address_in_use_is_refused_with_its_setting(self):
        taken = CannotListenError("", 8080, OSError(98, "Address already in use"))
        for error, said in ((taken, "Address already in use"), (ValueError("no such host"), "no such host")):
            listener = Listener(Refusing(error), "PORT", "tcp:8080", Factory())
            raised = self.assertRaises(StartError, listener.privilegedStartService)
            self.assertEqual(str(raised), f"PORT: cannot listen on tcp:8080: {said}.")

    def test_accepted_connections_inherit_the_user_timeout(self):
        """The system gives up on them: connections inherit that from the socket that listens (F-46)."""

        class Real(MemoryReactorClock):
            def listenTCP(self, *arguments, **named):
                return SimpleNamespace(socket=listening)

        with socket.socket() as listening:
            Listener(Real(), "LISTEN", "tcp:8080", Factory()).privilegedStartService()
            self.assertEqual(listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT), 30_000)

    def test_it_stops_when_requests_in_flight_are_finished(self):
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
