"""The audit log in a topic of Kafka: a record for each entry, whose key is the id of the cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

import msgspec
from attrs import evolve
from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from zope.interface import implementer

from confd.audit import AuditEntry
from confd.brokers.kafka.connection import KafkaConnection
from confd.brokers.kafka.failures import Sentences
from confd.brokers.kafka.servers import KafkaOptions
from confd.brokers.link import RETRY_MAX_SECONDS, CommandRefused, Link, Work
from confd.brokers.log_bridge import StandardLogs
from confd.brokers.tasks import event_loop
from confd.errors import Unavailable
from confd.interfaces.audit_sinks import IAuditSink
from confd.runtime.addresses import join
from confd.runtime.reactor import Reactor
from confd.runtime.timing import Backoff


@implementer(IAuditSink)
class KafkaAuditSink(Service):
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
        self._loop, self._options, self._topic, self._cluster = event_loop(reactor, self.name), options, topic, cluster
        address = ", ".join(join(*each) for each in options.servers)
        self._sentences = Sentences(
            address, topic, options.username, options.tls is not None, topic_setting=self.name, policy="delete"
        )
        self._logs = StandardLogs(["aiokafka", "asyncio"])
        where = f"KAFKA_BOOTSTRAP: {address}"
        self._link = Link(reactor, where, self._open, Backoff(random, RETRY_MAX_SECONDS))

    def startService(self) -> None:
        """Connect in the background."""
        super().startService()
        self._logs.install()
        self._link.startService()

    def stopService(self) -> Deferred[None]:
        """Close the connections."""
        super().stopService()
        return maybeDeferred(self._link.stopService).addCallback(lambda _: self._logs.remove())

    def problem(self) -> str | None:
        """See L{IHealth.problem}."""
        return self._link.problem()

    def present(self, password: str | None) -> None:
        """Use this password for the next connections."""
        self._options = evolve(self._options, password=password)

    def newest(self) -> Deferred[AuditEntry | None]:
        """See L{IAuditSink.newest}; records of others are passed over."""

        async def read(connection: KafkaConnection) -> AuditEntry | None:
            found = [each for value in await connection.last(self._key) if (each := _entry(value)) is not None]
            return max(found, key=lambda each: each.number, default=None)

        return self._command(read)

    def write(self, entries: Sequence[AuditEntry]) -> Deferred[None]:
        """See L{IAuditSink.write}."""
        return self._command(lambda connection: connection.send(self._key, *map(msgspec.json.encode, entries)))

    @property
    def _key(self) -> bytes:
        return self._cluster().encode()

    def _command(self, ask: Callable[[KafkaConnection], Work]) -> Deferred:
        async def described(connection: KafkaConnection) -> object:
            try:
                return await ask(connection)
            except CommandRefused as refused:
                raise self._unavailable(refused) from None

        return Deferred.fromCoroutine(self._link.use(described))

    async def _open(self) -> KafkaConnection:
        connection = KafkaConnection(self._loop, self._options, self._topic)
        try:
            await connection.open(False)
            found = await connection.settings(("cleanup.policy", "retention.ms"))
        except Exception as error:
            connection.cut()
            raise self._unavailable(error) from None
        except BaseException:
            connection.cut()
            raise
        if "compact" in found.get("cleanup.policy", "") or found.get("retention.ms", "-1") != "-1":
            self.log.warn(
                "KAFKA_AUDIT_TOPIC: {topic} removes entries; set cleanup.policy=delete and retention.ms=-1.",
                topic=self._topic,
            )
        return connection

    def _unavailable(self, error: Exception) -> Unavailable:
        return Unavailable("broker_unavailable", self._sentences.of(error))


def _entry(value: bytes) -> AuditEntry | None:
    try:
        entry = msgspec.json.decode(value, type=AuditEntry)
    except (msgspec.DecodeError, ValueError):
        return None
    return entry if entry.hash == entry.digest() else None
