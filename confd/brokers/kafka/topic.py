"""A topic of a Kafka cluster, on a connection that is opened again whenever it is lost."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from attrs import evolve
from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred

from confd.brokers.kafka.connection import KafkaConnection
from confd.brokers.kafka.failures import Sentences
from confd.brokers.kafka.servers import KafkaOptions
from confd.brokers.link import RETRY_MAX_SECONDS, CommandRefused, Link, Work
from confd.brokers.log_bridge import StandardLogs
from confd.brokers.tasks import event_loop
from confd.errors import Unavailable
from confd.runtime.addresses import join
from confd.runtime.reactor import Reactor
from confd.runtime.timing import Backoff


class KafkaTopic(Service):
    """Keeps a connection for one topic, and describes its failures in sentences; the topic is never created."""

    def __init__(
        self,
        reactor: Reactor,
        options: KafkaOptions,
        topic: str,
        random: Random,
        *,
        what: str,
        setting: str,
        policy: str,
        prepare: Callable[[KafkaConnection], Work[object]],
        reads: Callable[[], bool] = lambda: False,
        opened: Callable[[], None] = lambda: None,
        returned: Callable[[], None] = lambda: None,
    ) -> None:
        """
        @param what: needs the reactor of asyncio.
        @param setting: names the topic.
        @param policy: the cleanup.policy that the topic should have.
        @param prepare: called with each connection before its first use.
        @param reads: whether the next connection follows the records of the topic.
        @param opened: see L{Link}, as for C{returned}.
        @raise StartError: the reactor is not that of asyncio.
        """
        self._loop, self._options, self._topic = event_loop(reactor, what), options, topic
        self._prepare, self._reads = prepare, reads
        address = ", ".join(join(*each) for each in options.servers)
        self._sentences = Sentences(address, topic, options.username, options.tls is not None, setting, policy)
        self._logs = StandardLogs(["aiokafka", "asyncio"])
        backoff = Backoff(random, RETRY_MAX_SECONDS)
        where = f"KAFKA_BOOTSTRAP: {address}"
        self._link = Link(reactor, where, self._open, backoff, opened, returned=returned)

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
        """Return the reason for which the topic cannot be used: see L{IHealth.problem}."""
        return self._link.problem()

    def present(self, password: str | None) -> None:
        """Use this password for the next connections."""
        self._options = evolve(self._options, password=password)

    def sentence(self, error: Exception) -> str:
        """Return a sentence about a failure of a connection."""
        return self._sentences.of(error)

    def use(self, ask: Callable[[KafkaConnection], Work]) -> Deferred:
        """
        Fire with the result of an operation on the connection.

        @raise Unavailable: see L{Link.use}; the sentence about a refusal names the setting to correct.
        """

        async def described(connection: KafkaConnection) -> object:
            try:
                return await ask(connection)
            except CommandRefused as refused:
                raise self._unavailable(refused) from None

        return Deferred.fromCoroutine(self._link.use(described))

    async def _open(self) -> KafkaConnection:
        connection = KafkaConnection(self._loop, self._options, self._topic)
        try:
            await connection.open(self._reads())
            await self._prepare(connection)
        except Exception as error:
            connection.cut()
            raise self._unavailable(error) from None
        except BaseException:
            connection.cut()
            raise
        return connection

    def _unavailable(self, error: Exception) -> Unavailable:
        return Unavailable("broker_unavailable", self.sentence(error))
