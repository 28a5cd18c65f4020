"""Every strategy of confd with every fault: see L{tests.integration.conformance}."""

from __future__ import annotations

import os

from tests.budgets import budget
from tests.integration.brokers import KafkaBroker, NatsBroker, NatsStreamBroker, RedisBroker
from tests.integration.conformance import make_conformance_tests
from tests.integration.kafka import why_not as why_not_kafka
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
