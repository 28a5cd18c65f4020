"""An agent that starts while no controller answers gets the newest version from a broker that keeps it."""

from __future__ import annotations

import signal
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.brokers import NatsStreamBroker
from tests.integration.fleet import base_of, eventually, request, staged
from tests.integration.servers import missing


class OfflineStartTests(SynchronousTestCase):
    """C{NATS_STREAM}, and the keys in the cache of an agent."""

    skip = missing("nats-server")

    def test_newest_version_is_verified_and_applied(self) -> None:
        fleet, target = staged(self)
        broker = NatsStreamBroker.make(Path(self.mktemp()).resolve())
        self.addCleanup(broker.server.stop)
        broker.server.start()
        options = ("--distribution-strategy", "NATS", *broker.options(broker.server.port))
        controller, worker = fleet.controller(*options), fleet.worker()
        agent = fleet.agent(worker, "agent", *options)
        for process in (controller, worker, agent):
            process.start()
        self.assertEqual(fleet.publish({"url": f"{target}/one"}, wait="applied", timeout=60).status, 200)
        self.assertIn("announcements are kept", request("GET", f"{fleet.url}/ready").body.decode())
        # In order, so that the cache is written.
        agent.stop(signal.SIGTERM)
        self.assertEqual(fleet.publish({"url": f"{target}/two"}).status, 200)
        eventually(lambda: b'"version":"3"' in broker.latest())
        controller.stop(signal.SIGKILL)
        agent.start()
        eventually(lambda: request("GET", f"{base_of(worker)}/config").json()["version"].endswith(".3"))
