"""Tests of L{confd.worker.composition}."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.address import IPv4Address
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from confd.errors import StartError
from confd.runtime.listener import Listener
from confd.runtime.options import read
from confd.runtime.reload import CHECK_INTERVAL_SECONDS
from confd.runtime.settings import WorkerSettings
from confd.web.server.site import BoundedSite
from confd.worker.composition import compose
from confd.worker.upstream import Upstream
from tests.conversation import ELSEWHERE, LOOPBACK, Conversation
from tests.reactors import InstantReactor


class ComposeTests(SynchronousTestCase):
    """L{compose}."""

    def site(self, **settings: str) -> tuple[InstantReactor, BoundedSite]:
        """Start a worker with these settings; return its site."""
        reactor = InstantReactor()
        *_, upstream, listener = compose(reactor, read(WorkerSettings, settings, {}), {}).services
        self.assertIsInstance(upstream, Upstream)
        self.assertIsInstance(listener, Listener)
        listener.privilegedStartService()
        [(port, site, _, interface)] = reactor.tcpServers
        self.assertEqual((port, interface), (8082, "127.0.0.1"))
        return reactor, site

    def test_without_credentials_only_loopback_may_post(self) -> None:
        reactor, site = self.site()
        for peer, size, status in ((LOOPBACK, 40_000, 200), (ELSEWHERE, 40, 403), (ELSEWHERE, 40_000, 413)):
            reply = Conversation(site, reactor, peer).post("/config", json={"url": "http://a/", "x": "x" * size})
            self.assertEqual(reply.status, status)

    def test_refused_configuration_is_logged_once_an_hour_for_each_peer(self) -> None:
        reactor, site = self.site()
        document = {"url": "http://user:hunter2@a/"}
        with capturedLogs() as logs:
            for peer in (ELSEWHERE, ELSEWHERE, LOOPBACK, IPv4Address("TCP", "198.51.100.7", 1), ELSEWHERE):
                Conversation(site, reactor, peer).post("/config", json=document)
            Conversation(site, reactor, IPv4Address("TCP", "198.51.100.8", 1)).get("/config")
            lines = [formatEvent(each) for each in logs if each["log_level"] is LogLevel.warn]
            self.assertEqual(len(lines), 2, lines)
            self.assertIn("198.51.100.7", lines[1])
            for line in lines:
                self.assertIn("Set WORKER_USERNAME and WORKER_PASSWORD here", line)
                self.assertIn("WORKER_URL=http://name:password@host:8082", line)
                self.assertNotIn("hunter2", line)
            reactor.advance(3600)
            Conversation(site, reactor, ELSEWHERE).post("/config", json=document)
        self.assertEqual(len([each for each in logs if each["log_level"] is LogLevel.warn]), 3)

    def test_with_credentials_only_their_owner_may_post(self) -> None:
        reactor, site = self.site(WORKER_USERNAME="w", WORKER_PASSWORD="p")
        for auth, status in ((None, 401), (("w", "p"), 200)):
            reply = Conversation(site, reactor, ELSEWHERE).post("/config", json={"url": "http://a/"}, auth=auth)
            self.assertEqual(reply.status, status)

    def test_password_file_is_reloaded(self) -> None:
        path = Path(self.mktemp())
        path.write_text("p")
        given = {"WORKER_USERNAME": "w", "WORKER_PASSWORD_FILE": str(path)}
        reactor = InstantReactor()
        *_, reloaded_files, _, listener = compose(reactor, read(WorkerSettings, given, {}), given).services
        reloaded_files.startService()
        self.addCleanup(reloaded_files.stopService)

        def statuses() -> list[int]:
            callers = {word: Conversation(listener.factory, reactor, ELSEWHERE) for word in "pq"}
            sent = {"url": "http://a/"}
            return [each.post("/config", json=sent, auth=("w", word)).status for word, each in callers.items()]

        self.assertEqual(statuses(), [200, 401])
        path.with_suffix(".new").write_text("q")
        path.with_suffix(".new").replace(path)
        reactor.advance(CHECK_INTERVAL_SECONDS)
        self.assertEqual(statuses(), [401, 200])

    def test_each_start_has_its_own_boot_id(self) -> None:
        ids = set()
        for _ in range(3):
            reactor, site = self.site()
            ids.add(Conversation(site, reactor).get("/health").json["boot_id"])
        self.assertEqual(len(ids), 3)

    def test_invalid_rule_ends_the_start_and_names_its_setting(self) -> None:
        for name in ("HIT_ALLOW", "HIT_DENY"):
            error = self.assertRaises(StartError, self.site, **{name: "10.0.0.0/8,*.example"})
            self.assertEqual(
                error.reasons, (f"{name}: '*.example' is neither a host name nor a CIDR such as 10.0.0.0/8.",)
            )
