"""The dialects by strategy, and the programs that they need."""

from __future__ import annotations

from benchmarks.dialects import Dialect, Nats, Poller, Redis, Stream
from benchmarks.etcd_dialect import Etcd
from benchmarks.kafka_dialect import Kafka
from tests.integration.kafka import why_not
from tests.integration.servers import missing

#: The dialect of each strategy.
DIALECTS: dict[str, type[Dialect]] = {
    "STREAM": Stream,
    "REDIS": Redis,
    "NATS": Nats,
    "KAFKA": Kafka,
    "POLLER": Poller,
    "ETCD": Etcd,
}

#: The program that a strategy needs besides confd.
PROGRAMS = {"REDIS": "redis-server", "NATS": "nats-server", "KAFKA": "java", "ETCD": "etcd"}


def lacking(strategy: str) -> str | None:
    """Return why a strategy cannot be measured here."""
    if strategy == "KAFKA":
        return why_not()
    return missing(PROGRAMS[strategy]) if strategy in PROGRAMS else None
