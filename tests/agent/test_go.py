"""confd's agent between the Go system's controller and worker, over real HTTP code in memory."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

from treq.testing import RequestTraversalAgent
from twisted.internet.defer import maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from confd.agent.cache_files import CacheFiles
from confd.agent.composition import Clients, compose
from confd.client.controller import ControllerClient
from confd.client.http import Http
from confd.client.worker import WorkerClient
from confd.runtime.offload import OrderedOffload
from confd.runtime.options import read
from confd.runtime.settings import AgentSettings
from tests.agent.fakes import AGENT_ID, GoController, GoWorker, configuration

DOCUMENT = {"url": "https://ip.me"}


class GoTests(SynchronousTestCase):
    """The agent of confd with a controller and a worker of the Go system."""

    def setUp(self) -> None:
        self.clock: Any = Clock()
        self.controller, self.worker = GoController(1, DOCUMENT), GoWorker()
        folder = Path(self.mktemp())
        folder.mkdir()
        offload = OrderedOffload(maybeDeferred)
        controllers = self.http(self.controller, "agent", "secret123")
        clients = Clients(
            ControllerClient(controllers, ["http://go.example:8080"], offload),
            WorkerClient(self.http(self.worker), "http://go.example:8082", offload),
            offload,
        )
        settings = read(AgentSettings, {"CACHE_FILE": str(folder / "cache")}, {})
        composed = compose(self.clock, settings, {}, clients=clients, in_thread=maybeDeferred, random=Random(1))
        parts = composed.parts
        self.files = CacheFiles(str(folder / "cache"), "default")
        self.cache, self.worker_sync, self.poller = parts.cache, parts.worker_sync, parts.poller
        self.version_guard = parts.version_guard
        for part in (self.cache, self.worker_sync, parts.registration_service, parts.reporter, self.poller):
            part.startService()

    def http(self, resource: Any, username: str | None = None, password: str | None = None) -> Http:
        """Return a client of one of the two."""
        return Http(self.clock, RequestTraversalAgent(resource), username, password)

    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self.clock.pump([0.5] * (seconds * 2))

    def test_a_configuration_arrives(self) -> None:
        self.assertEqual(self.worker.config, DOCUMENT)
        self.assertFalse(self.worker_sync.verified)
        self.assertIsNone(self.worker_sync.problem())

    def test_a_change_arrives(self) -> None:
        self.controller.version, self.controller.data = 2, {"url": "https://example.org"}
        self.wait(33)
        self.assertEqual(self.worker.config, {"url": "https://example.org"})

    def test_no_change_is_no_delivery(self) -> None:
        """The Go controller answers 200 also to a conditional request that matches."""
        self.wait(330)
        self.assertEqual(len(self.worker.posts), 1)
        self.assertIsNone(self.poller.problem())

    def test_an_older_version_is_not_applied(self) -> None:
        """A Go controller that lost its volume begins again at 1."""
        self.controller.version = 7
        self.wait(33)
        self.controller.version, self.controller.data = 2, {"url": "https://lost.example"}
        self.wait(33)
        self.assertEqual(self.worker.config, DOCUMENT)
        self.assertIn("Configuration 2 is older than 7", self.poller.problem() or "")

    def test_a_restarted_worker_is_repaired(self) -> None:
        """C{has_config} is false after the restart."""
        self.wait(10)
        self.worker.config = None
        self.wait(5)
        self.assertEqual(self.worker.config, DOCUMENT)

    def test_requests_fit_the_go_system(self) -> None:
        """Gin refuses none of the requests, except one report an hour."""
        self.controller.version = 2
        self.wait(33)
        asked = [(method, uri) for method, uri, _ in self.controller.requests]
        report = (b"POST", b"/api/v1/report")
        self.assertEqual(set(asked), {(b"POST", b"/api/v1/register"), (b"GET", b"/api/v1/config"), report})
        self.assertEqual(asked.count(report), 1)
        _, _, headers = self.controller.requests[-1]
        self.assertEqual((headers[b"If-None-Match"], headers[b"X-Agent-Id"]), ([b'"1"'], [AGENT_ID.encode()]))

    def test_the_configuration_is_cached(self) -> None:
        kept = self.files.load()
        assert kept.configuration is not None
        self.assertEqual((str(kept.configuration.tag), kept.agent_id), ("1", AGENT_ID))

    def test_a_controller_of_confd_takes_over(self) -> None:
        """The controller is replaced alone, and counts from 1."""
        self.controller.version = 40
        self.wait(33)
        held = self.worker.config
        self.version_guard.offer(configuration(1))
        self.wait(1)
        self.assertEqual(self.worker.config, held, "nobody published it")
        self.version_guard.offer(configuration(2))
        self.wait(1)
        self.assertEqual(self.worker.config, {"url": "https://example.org/2"})
        self.wait(33)
        self.assertIn("another cluster", self.poller.problem() or "", "and there is no way back")
