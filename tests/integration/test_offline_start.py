"""An agent that starts while no controller answers gets the newest version from a broker that keeps it."""

from __future__ import annotations

import signal
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.budgets import budget
from tests.integration.brokers import Broker, KafkaBroker, NatsStreamBroker
from tests.integration.fleet import Process, base_of, eventually, request, staged
from tests.integration.kafka import why_not
from tests.integration.servers import missing


class OfflineStartTests(SynchronousTestCase):
    """C{NATS_STREAM} and KAFKA, and the keys in the cache of an agent."""

    def test_newest_version_of_a_stream_is_verified_and_applied(self) -> None:
        broker = NatsStreamBroker.make(Path(self.mktemp()).resolve())
        self.start_offline("NATS", broker, broker.options(broker.server.port))

    test_newest_version_of_a_stream_is_verified_and_applied.skip = missing("nats-server")  # type: ignore[attr-defined]

    def test_newest_version_of_a_topic_is_verified_and_applied(self) -> None:
        broker = KafkaBroker.make(Path(self.mktemp()).resolve())
        self.start_offline("KAFKA", broker, ["--kafka-bootstrap", f"127.0.0.1:{broker.server.port}"])

    test_newest_version_of_a_topic_is_verified_and_applied.skip = (  # type: ignore[attr-defined]
        budget("a real server: CONFD_TEST_BUDGET=full", None) or why_not()
    )

    def start_offline(self, strategy: str, broker: Broker, its_options: list[str]) -> None:
        """Publish while an agent is stopped, and start it without a controller."""
        fleet, target = staged(self)
        self.addCleanup(broker.server.stop)
        broker.server.start()
        options = ("--distribution-strategy", strategy, *its_options)
        controller, worker = fleet.controller(*options), fleet.worker()
        agent = fleet.agent(worker, "agent", *options)
        for process in (controller, worker, agent):
            process.start()
        self.assertEqual(fleet.publish({"url": f"{target}/one"}).status, 200)
        eventually(lambda: self.holds(worker, 2))
        self.assertIn("announcements are kept", request("GET", f"{fleet.url}/ready").body.decode())
        # In order, so that the cache is written.
        agent.stop(signal.SIGTERM)
        self.assertEqual(fleet.publish({"url": f"{target}/two"}).status, 200)
        eventually(lambda: b'"version":"3"' in broker.latest())
        controller.stop(signal.SIGKILL)
        agent.start()
        eventually(lambda: self.holds(worker, 3))

    def holds(self, worker: Process, version: int) -> bool:
        """Return whether a worker holds a version."""
        answer = request("GET", f"{base_of(worker)}/config")
        return answer.status == 200 and answer.json()["version"].endswith(f".{version}")
