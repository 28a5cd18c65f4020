"""The audit log in a topic of Kafka: a record for each entry, whose key is the id of the cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from confd.audit import AuditEntry
from confd.brokers.kafka.connection import KafkaConnection
from confd.brokers.kafka.servers import KafkaOptions
from confd.brokers.kafka.topic import KafkaTopic
from confd.interfaces.audit_sinks import IAuditSink
from confd.runtime.reactor import Reactor


@implementer(IAuditSink)
class KafkaAuditSink(MultiService):
    """A topic of a Kafka cluster, which keeps all its records."""

    name = "KAFKA_AUDIT_TOPIC"
    log = Logger()

    def __init__(
        self, reactor: Reactor, options: KafkaOptions, topic: str, cluster: Callable[[], str], random: Random
    ) -> None:
        """
        @param topic: is never created or changed.
        @param cluster: returns the id of the cluster.
        @raise StartError: the reactor is not that of asyncio.
        """
        super().__init__()
        self._cluster = cluster
        self._topic = KafkaTopic(
            reactor, options, topic, random, what=self.name, setting=self.name, policy="delete", prepare=self._look
        )
        self._topic.setServiceParent(self)

    def problem(self) -> str | None:
        return self._topic.problem()

    def present(self, password: str | None) -> None:
        """Use this password for the next connections."""
        self._topic.present(password)

    def newest(self) -> Deferred[AuditEntry | None]:
        """Return the newest entry, and pass over the records of others."""

        async def read(connection: KafkaConnection) -> AuditEntry | None:
            found = map(AuditEntry.parse, await connection.last(self._key))
            return max(filter(None, found), key=lambda each: each.number, default=None)

        return self._topic.use(read)

    def write(self, entries: Sequence[AuditEntry]) -> Deferred[None]:
        return self._topic.use(lambda connection: connection.send(self._key, *(each.line() for each in entries)))

    @property
    def _key(self) -> bytes:
        return self._cluster().encode()

    async def _look(self, connection: KafkaConnection) -> None:
        """Warn of settings that remove entries."""
        found = await connection.settings(("cleanup.policy", "retention.ms"))
        if "compact" in found.get("cleanup.policy", "") or found.get("retention.ms", "-1") != "-1":
            self.log.warn(
                "KAFKA_AUDIT_TOPIC: {topic} removes entries; set cleanup.policy=delete and retention.ms=-1.",
                topic=connection.topic,
            )
