"""Every strategy of confd with every fault: see L{tests.integration.conformance}."""

from __future__ import annotations

import os
import signal
import time

from tests.budgets import budget
from tests.integration.brokers import KafkaBroker, NatsBroker, NatsStreamBroker, RedisBroker
from tests.integration.conformance import OUTAGE, Fault, make_conformance_tests
from tests.integration.examples import InstalledExample
from tests.integration.fleet import free_port
from tests.integration.kafka import why_not as why_not_kafka
from tests.integration.recorded_fleet import RecordedFleet
from tests.integration.servers import missing


def why_not(command: str) -> str | None:
    """Return why a suite cannot run; with C{CI} it runs, and fails without its server."""
    return None if os.environ.get("CI") else missing(command)


def why_not_now(reason: str | None) -> str | None:
    """Return why a suite that runs with the full budget only cannot run."""
    return budget("a suite for CONFD_TEST_BUDGET=full", None) or reason


class PollerConformanceTests(make_conformance_tests("POLLER", pushes=False)):  # type: ignore[misc]
    """Agents that poll."""


class StreamConformanceTests(make_conformance_tests("STREAM")):  # type: ignore[misc]
    """Agents that keep a stream open."""


class RedisConformanceTests(  # type: ignore[misc]
    make_conformance_tests("REDIS", RedisBroker.make, why_not=why_not("redis-server"))
):
    """Agents that subscribe to Redis."""


class NatsConformanceTests(  # type: ignore[misc]
    make_conformance_tests("NATS", NatsBroker.make, why_not=why_not("nats-server"))
):
    """Agents that subscribe to NATS."""


class NatsStreamConformanceTests(  # type: ignore[misc]
    make_conformance_tests("NATS", NatsStreamBroker.make, why_not=why_not_now(why_not("nats-server")))
):
    """Agents that subscribe to NATS, whose newest announcement is in a stream."""


class KafkaConformanceTests(  # type: ignore[misc]
    make_conformance_tests("KAFKA", KafkaBroker.make, why_not=why_not_now(why_not_kafka()))
):
    """Agents that read a topic of a real Kafka server."""


class WebSocketConformanceTests(  # type: ignore[misc]
    InstalledExample, make_conformance_tests("WEBSOCKET", why_not=why_not_now(None))
):
    """Agents of the example plug-in, and its gateway."""

    example = "confd-websocket"

    def prepare(self, fleet: RecordedFleet) -> list[Fault]:
        """Start a gateway with a proxy on each of its links."""
        port = free_port()
        gateway = fleet.daemons.add(
            "gateway",
            ["confd-websocket-gateway"],
            PYTHONPATH=self.path,
            GATEWAY_LISTEN=f"tcp:{port}:interface=127.0.0.1",
            CONTROLLER_URL=f"http://127.0.0.1:{fleet.proxy(fleet.daemons.port).port}",
        )
        url = f"ws://127.0.0.1:{fleet.proxy(port).port}"
        for agent in fleet.agents.values():
            agent.environ = {"PYTHONPATH": self.path, "WEBSOCKET_URL": url}
        gateway.start(wait=False)

        def gateway_killed(fleet: RecordedFleet) -> None:
            gateway.stop(signal.SIGKILL)
            fleet.publish()
            time.sleep(OUTAGE)
            gateway.start(wait=False)

        return [gateway_killed]
