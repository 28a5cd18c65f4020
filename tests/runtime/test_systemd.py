"""L{confd.runtime.systemd}: what a service manager hears on its socket."""

from __future__ import annotations

import socket
import tempfile
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from confd.runtime.systemd import Notifier


class NotifierTests(SynchronousTestCase):
    """L{Notifier}, against a real datagram socket."""

    def setUp(self) -> None:
        # Not below the folder of the test: the name of a socket is short.
        folder = tempfile.TemporaryDirectory(prefix="confd-")
        self.addCleanup(folder.cleanup)
        self.path = str(Path(folder.name) / "notify")
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.manager.close)
        self.manager.setblocking(False)
        self.clock = Clock()

    def heard(self) -> list[str]:
        """What has arrived."""
        found = []
        while True:
            try:
                found.append(self.manager.recv(100).decode())
            except BlockingIOError:
                return found

    def run_through(self, **environ: str) -> list[str]:
        """Start, let a minute pass, stop."""
        notifier = Notifier(self.clock, environ)
        notifier.startService()
        self.clock.pump([1] * 60)
        notifier.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        return self.heard()

    def test_the_start_and_the_stop_are_notified(self) -> None:
        self.manager.bind(self.path)
        self.assertEqual(self.run_through(NOTIFY_SOCKET=self.path), ["READY=1", "STOPPING=1"])

    def test_a_leading_at_sign_names_an_abstract_socket(self) -> None:
        name = f"confd-test-{id(self)}"
        self.manager.bind("\0" + name)
        self.assertEqual(self.run_through(NOTIFY_SOCKET="@" + name), ["READY=1", "STOPPING=1"])

    def test_three_notifications_are_sent_within_the_watchdog_timeout(self) -> None:
        self.manager.bind(self.path)
        heard = self.run_through(NOTIFY_SOCKET=self.path, WATCHDOG_USEC="30000000")
        self.assertEqual(heard, ["READY=1", *["WATCHDOG=1"] * 7, "STOPPING=1"])

    def test_a_missing_or_invalid_socket_is_ignored(self) -> None:
        self.assertEqual(self.run_through(), [])
        self.assertEqual(self.run_through(NOTIFY_SOCKET=self.path, WATCHDOG_USEC="30000000"), [])
        self.manager.bind(self.path)
        for rubbish in ("", "0", "-3", "soon", "²"):
            heard = self.run_through(NOTIFY_SOCKET=self.path, WATCHDOG_USEC=rubbish)
            self.assertEqual(heard, ["READY=1", "STOPPING=1"])
