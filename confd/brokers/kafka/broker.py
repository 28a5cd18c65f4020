"""Kafka: announcements are records of a topic, whose key is the namespace; agents read it from its beginning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from ssl import SSLContext

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from zope.interface import implementer

from confd.brokers.kafka.connection import KafkaConnection
from confd.brokers.kafka.records import Record
from confd.brokers.kafka.servers import LONG_POLL_SECONDS, KafkaOptions
from confd.brokers.kafka.topic import KafkaTopic
from confd.brokers.link import CommandRefused, Lost
from confd.brokers.listeners import Listeners
from confd.interfaces import IBroker
from confd.runtime.reactor import Reactor

#: Seconds after which an agent no longer waits for the end of a topic that it reads.
CATCH_UP_MAX_SECONDS = 30.0

#: Values of compression.type that leave announcements as they were written.
_PLAIN = ("", "producer", "uncompressed")


@implementer(IBroker)
class KafkaBroker(MultiService):
    """A topic of a Kafka cluster."""

    name = "KAFKA"
    log = Logger()

    def __init__(
        self,
        reactor: Reactor,
        servers: Sequence[tuple[str, int]],
        *,
        topic: str = "confd.announcements",
        username: str | None = None,
        password: str | None = None,
        tls: SSLContext | None = None,
        wait: float = LONG_POLL_SECONDS,
        random: Random,
    ) -> None:
        """
        @param servers: where to ask for the addresses of the cluster.
        @param topic: of the announcements of all namespaces; it is never created or changed.
        @param tls: verifies the servers; C{None} connects without TLS.
        @param wait: seconds that a server holds a request for records until new ones arrive.
        @raise StartError: the reactor is not that of asyncio.
        """
        super().__init__()
        self._clock = reactor
        self.listeners = Listeners()
        self._returned: Callable[[], None] = lambda: None
        self._publishes = False
        self._refusal: str | None = None
        self._remark: str | None = None
        self._opened: KafkaConnection | None = None
        #: The newest announcements while the topic is read for the first time, and while the listeners connect.
        self._newest: dict[str, bytes | None] | None = None
        self._late: IDelayedCall | None = None
        self._topic = KafkaTopic(
            reactor,
            KafkaOptions(servers, username, password, tls, wait),
            topic,
            random,
            what="KAFKA",
            setting="KAFKA_TOPIC",
            policy="compact",
            prepare=self._look,
            reads=lambda: bool(self.listeners.topics),
            opened=self._begin,
            returned=lambda: self._returned(),
        )
        self._topic.setServiceParent(self)

    def stopService(self) -> Deferred[None]:
        """Close the connections."""
        self._forget_pass()
        stopped: Deferred[None] = super().stopService()
        return stopped

    def problem(self) -> str | None:
        return self._topic.problem() or self._refusal

    def remark(self) -> str | None:
        return self._remark

    def keeps(self) -> bool:
        return self._remark is None

    def present(self, password: str | None, token: str | None) -> None:
        """Take the password; Kafka has no tokens."""
        self._topic.present(password)

    def listen(self, namespace: str, received: Callable[[bytes], object], connected: Callable[[], None]) -> None:
        self.listeners.add(namespace, received, connected)

    def attend(self, namespace: str, rung: Callable[[bytes], object]) -> None:
        self.listeners.add_optional(_doorbell_of(namespace), rung)

    def ring(self, namespace: str, doorbell: bytes) -> Deferred[None]:
        return self._topic.use(lambda connection: connection.send(_doorbell_of(namespace).encode(), doorbell))

    def answer(self, latest: Callable[[str], bytes | None]) -> None:
        """Note that this process publishes: only controllers call this, and the topic keeps the newest announcement."""
        self._publishes = True

    def watch(self, returned: Callable[[], None]) -> None:
        self._returned = returned

    def announce(self, namespace: str, announcement: bytes) -> Deferred[None]:
        async def send(connection: KafkaConnection) -> None:
            try:
                await connection.send(namespace.encode(), announcement)
            except CommandRefused as refused:
                self._refusal = self._topic.sentence(refused)
                raise
            self._refusal = None

        return self._topic.use(send)

    def latest(self, namespace: str) -> Deferred[bytes | None]:
        """Return the newest announcement, without a request where a listener was just connected."""
        if self._newest is not None and namespace in self._newest:
            return succeed(self._newest[namespace])

        async def find(connection: KafkaConnection) -> bytes | None:
            found = await connection.find(namespace.encode())
            return None if found is None else self.listeners.bounded(found)

        return self._topic.use(find)

    async def _look(self, connection: KafkaConnection) -> None:
        if self._publishes:
            await self._look_at_settings(connection)
        self._opened = connection

    async def _look_at_settings(self, connection: KafkaConnection) -> None:
        """Find out whether the topic keeps announcements; only controllers do, and may not be allowed to."""
        found = await connection.settings(("cleanup.policy", "compression.type"))
        before, self._remark = self._remark, None
        if "compact" not in found.get("cleanup.policy", "compact"):
            self._remark = (
                f"KAFKA_TOPIC: {connection.topic} removes announcements after retention.ms; set cleanup.policy=compact."
            )
        if found.get("compression.type", "") not in _PLAIN:
            self._remark = (
                f"KAFKA_TOPIC: {connection.topic} compresses announcements, so agents do not read them; set"
                " compression.type=producer."
            )
        if self._remark not in (None, before):
            self.log.warn("{remark}", remark=self._remark)

    def _begin(self) -> None:
        """Read the topic: the link is connected."""
        connection = self._opened
        if connection is None or not self.listeners.topics:
            return
        self._forget_pass()
        newest = self._newest = dict.fromkeys(self.listeners.topics)
        self._late = self._clock.callLater(CATCH_UP_MAX_SECONDS, self._caught_up, newest)

        Deferred.fromCoroutine(self._follow(connection, newest))

    async def _follow(self, connection: KafkaConnection, newest: dict[str, bytes | None]) -> None:
        try:
            await connection.follow(lambda record: self._received(newest, record), lambda: self._caught_up(newest))
        except CommandRefused as refused:
            self.log.warn("{reason}", reason=self._topic.sentence(refused))
        except Lost:
            # The link says so.
            pass
        except Exception:
            self.log.failure("reading {topic} failed", topic=connection.topic)
        if self._newest is newest:
            self._forget_pass()
        connection.cut()

    def _received(self, newest: dict[str, bytes | None], record: Record) -> None:
        topic = None if record.key is None else record.key.decode("utf-8", "replace")
        if topic is None or record.value is None:
            return
        if self._newest is not newest:
            self.listeners.deliver(topic, record.value)
        elif topic in newest:
            newest[topic] = self.listeners.bounded(record.value) or newest[topic]

    def _caught_up(self, newest: dict[str, bytes | None]) -> None:
        """Tell the listeners that they are connected; they may ask for the newest announcement meanwhile."""
        if self._newest is newest:
            self.listeners.connected()
            self._forget_pass()

    def _forget_pass(self) -> None:
        self._newest = None
        if self._late is not None and self._late.active():
            self._late.cancel()


def _doorbell_of(namespace: str) -> str:
    return f"{namespace}:rollout"
