"""
Connections to the servers of a Kafka cluster, on the wire protocol of aiokafka. Only this module imports aiokafka.

The consumer and the producer of aiokafka are not used: they reconnect on their own and hide the reason of a failure.
Each L{KafkaConnection} has its own connections, which never reconnect; see L{confd.brokers.link}.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import AuthenticationFailedError, KafkaConnectionError, KafkaError, SaslAuthenticationFailed
from aiokafka.protocol.admin import DescribeConfigsRequest
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.protocol.produce import ProduceRequest
from attrs import define, field
from twisted.internet.defer import Deferred

from confd.brokers.kafka.failures import Denied, Silent, WrongPassword, check
from confd.brokers.kafka.records import BatchReader, Record, encode, partition_of
from confd.brokers.kafka.servers import KafkaOptions, ServerConnection
from confd.brokers.link import CommandRefused, Lost
from confd.brokers.tasks import Tasks, as_deferred

#: Time limits in seconds: of the answers while a connection opens, and of other answers.
#: The second is beyond that of L{Link}, which closes a connection whose server is silent.
OPEN_SECONDS, ANSWER_SECONDS = 3.0, 6.0

#: Bytes of records to ask for at once, in all and of one partition. A server sends one record at least, of any size.
_FETCH_BYTES = 1048576

#: Records to read from the end of a partition: more than a batch of any writer.
_LAST_RECORDS = 500

#: Special times in a request for offsets.
_BEGINNING, _END = -2, -1

#: The type of a resource whose settings are asked for.
_TOPIC_RESOURCE = 2


@define(eq=False)
class KafkaConnection:
    """
    The connections that one opening of a L{Link} makes: two for each server that leads partitions of the topic.

    One waits for records, which blocks a connection at the server. The other one carries everything else.
    """

    loop: asyncio.AbstractEventLoop
    options: KafkaOptions
    topic: str
    _reader: BatchReader = field(factory=BatchReader, init=False)
    _leaders: dict[int, int] = field(factory=dict, init=False)
    _addresses: dict[int, tuple[str, int]] = field(factory=dict, init=False)
    _connections: dict[tuple[int, bool], AIOKafkaConnection] = field(factory=dict, init=False)
    _lost: asyncio.Event = field(factory=asyncio.Event, init=False)
    _tasks: Tasks = field(init=False)
    _closing: asyncio.Task[None] | None = field(default=None, init=False)

    @_tasks.default
    def _make_tasks(self) -> Tasks:
        return Tasks(self.loop, KafkaConnectionError, TimeoutError)

    # -- called by Twisted --

    async def open(self, listens: bool) -> None:
        """
        Find the leaders of the topic and connect to them.

        @param listens: whether L{follow} comes next: prove that the topic may be read.
        @raise CommandRefused: names the reason.
        @raise OSError: no server can be reached.
        """
        await self._tasks.run(self._open(listens))

    async def follow(self, received: Callable[[Record], object], caught_up: Callable[[], object]) -> None:
        """
        Read all records of the topic, and then wait for more, until the connection is lost.

        @param received: called with each record; records of one partition come in order.
        @param caught_up: called once, after all records that the topic had at the start.
        """
        await self._tasks.run(self._follow(received, caught_up))

    async def find(self, key: bytes) -> bytes | None:
        """Return the value of the newest record with a key; read the whole topic."""
        return await self._tasks.run(self._find(key))

    async def last(self, key: bytes) -> list[bytes]:
        """Return the values among the last records of the partition of a key, but for those of other keys."""
        return await self._tasks.run(self._last(key))

    async def send(self, key: bytes, *values: bytes) -> None:
        """
        Write a record for each value, all or none of them, and return when all replicas in sync have them.

        @raise CommandRefused: the server refuses them.
        """
        await self._tasks.run(self._send(key, values))

    async def settings(self, names: Sequence[str]) -> Mapping[str, str]:
        """Return settings of the topic; empty if the server tells none."""
        return await self._tasks.run(self._settings(names))

    async def prove(self) -> None:
        """Ask whether the topic exists; a connection that waits for records proves itself, see L{Connection}."""
        if not any(waits for _, waits in self._connections):
            await self._tasks.run(self._look(self._any()))

    def when_lost(self) -> Deferred[bool]:
        """Return a L{Deferred} that fires when all connections are closed."""
        return as_deferred(self.loop.create_task(self._lost.wait()))

    def cut(self) -> None:
        """Close the connections soon; data that is still unsent is dropped."""
        if self._closing is None:
            self._closing = self.loop.create_task(self._cut())

    # -- in asyncio --

    async def _open(self, listens: bool) -> None:
        await self._bootstrap()
        for node in set(self._leaders.values()):
            await self._connection(node)
        if listens:
            for node in set(self._leaders.values()):
                # Short answers: this read only proves that it is allowed.
                await self._fetch(node, await self._offsets(node, _BEGINNING), False, 0.0)

    async def _bootstrap(self) -> None:
        failure: Exception = KafkaConnectionError()
        for server in self.options.servers:
            try:
                connection = await self._connect(*server, OPEN_SECONDS, None)
            except (OSError, KafkaError) as error:
                # A connection that nobody closed tells most.
                failure = failure if isinstance(failure, (WrongPassword, Denied)) else _reason(error)
                continue
            try:
                return await self._look(connection)
            except (OSError, KafkaConnectionError) as error:
                failure = _reason(error)
            finally:
                connection.close()
        raise failure

    async def _look(self, connection: AIOKafkaConnection) -> None:
        """Ask a server for the leaders of the topic."""
        found = await connection.send(MetadataRequest([self.topic], allow_auto_topic_creation=False))
        self._addresses = {node: (host, port) for node, host, port, *_ in found.brokers}
        leaders: dict[int, int] = {}
        for error, _, *_, partitions in found.topics:
            check(error, "describe")
            leaders = {number: leader for _, number, leader, *_ in partitions}
        if not leaders or not set(leaders.values()) <= set(self._addresses):
            raise CommandRefused("a partition has no leader")
        if self._leaders not in ({}, leaders):
            raise Lost("its leaders changed")
        self._leaders = leaders

    async def _connect(
        self, host: str, port: int, seconds: float, closed: Callable[..., object] | None
    ) -> AIOKafkaConnection:
        options = self.options
        scheme = "SSL" if options.tls is not None else "PLAINTEXT"
        connection = ServerConnection(
            host,
            port,
            client_id="confd",
            request_timeout_ms=round(seconds * 1000),
            ssl_context=options.tls,
            security_protocol=scheme if options.username is None else f"SASL_{scheme}",
            on_close=closed,
            sasl_mechanism="SCRAM-SHA-256",
            sasl_plain_username=options.username,
            sasl_plain_password=options.password,
        )
        await connection.connect()
        return connection

    async def _connection(self, node: int, waits: bool = False) -> AIOKafkaConnection:
        key = node, waits
        if key not in self._connections:
            seconds = self.options.wait + OPEN_SECONDS if waits else ANSWER_SECONDS
            host, port = self._addresses[node]
            self._connections[key] = await self._connect(host, port, seconds, lambda *_: self.cut())
        return self._connections[key]

    def _any(self) -> AIOKafkaConnection:
        return next(iter(self._connections.values()))

    async def _offsets(self, node: int, time: int) -> dict[int, int]:
        """Return the first or next offset of each partition that a server leads."""
        wanted = [(number, time) for number, leader in self._leaders.items() if leader == node]
        connection = await self._connection(node)
        found = await connection.send(OffsetRequest(-1, 0, [(self.topic, wanted)]))
        offsets = {}
        for number, error, _, offset, *_ in found.topics[0][1]:
            check(error, "describe")
            offsets[number] = offset
        return offsets

    async def _follow(self, received: Callable[[Record], object], caught_up: Callable[[], object]) -> None:
        nodes = sorted(set(self._leaders.values()))
        positions = {node: await self._read_all(node, True, received) for node in nodes}
        caught_up()

        async def wait(node: int) -> None:
            while True:
                for record in await self._fetch(node, positions[node], True, self.options.wait):
                    received(record)

        await asyncio.gather(*[wait(node) for node in nodes])

    async def _read_all(self, node: int, waits: bool, received: Callable[[Record], object]) -> dict[int, int]:
        """Read what the partitions of a server have now; return where they continue."""
        ends = await self._offsets(node, _END)
        positions = await self._offsets(node, _BEGINNING)
        while any(positions[number] < end for number, end in ends.items()):
            before = dict(positions)
            for record in await self._fetch(node, positions, waits, 0.0):
                received(record)
            if positions == before:
                # Nothing is left before the end: the last records were compacted or belong to a transaction.
                break
        return positions

    async def _find(self, key: bytes) -> bytes | None:
        found: list[Record] = []

        def keep(record: Record) -> None:
            if record.key == key:
                # The newest of several partitions: their number may have changed since.
                found[:] = [max([*found, record], key=lambda each: each.time)]

        for node in set(self._leaders.values()):
            await self._read_all(node, False, keep)
        return found[0].value if found else None

    async def _last(self, key: bytes) -> list[bytes]:
        number = self._number_of(key)
        node = self._leaders[number]
        end = (await self._offsets(node, _END))[number]
        begin = (await self._offsets(node, _BEGINNING))[number]
        position, found = {number: max(begin, end - _LAST_RECORDS)}, list[Record]()
        while position[number] < end and (records := await self._fetch(node, position, False, 0.0)):
            found += records
        return [each.value for each in found if each.key == key and each.value is not None]

    async def _fetch(self, node: int, positions: dict[int, int], waits: bool, seconds: float) -> list[Record]:
        """Return the next records, and move the positions behind them."""
        wanted = [(number, offset, _FETCH_BYTES) for number, offset in positions.items()]
        request = FetchRequest(round(seconds * 1000), 1, _FETCH_BYTES, 0, [(self.topic, wanted)])
        connection = await self._connection(node, waits)
        found: list[Record] = []
        for _, partitions in (await connection.send(request)).topics:
            for number, error, *_, raw in partitions:
                check(error, "read")
                positions[number] = max(positions[number], self._reader.read(raw or b"", positions[number], found))
        return found

    async def _send(self, key: bytes, values: Sequence[bytes]) -> None:
        number = self._number_of(key)
        partitions = [(number, encode(key, values))]
        request = ProduceRequest(None, -1, round(OPEN_SECONDS * 1000), [(self.topic, partitions)])
        connection = await self._connection(self._leaders[number])
        for _, answers in (await connection.send(request)).topics:
            for _, error, *_ in answers:
                check(error, "write", sum(map(len, values)))

    def _number_of(self, key: bytes) -> int:
        return sorted(self._leaders)[partition_of(key, len(self._leaders))]

    async def _settings(self, names: Sequence[str]) -> Mapping[str, str]:
        request = DescribeConfigsRequest([(_TOPIC_RESOURCE, self.topic, list(names))])
        with suppress(KafkaError):
            for error, _, _, _, entries in (await self._any().send(request)).resources:
                if error == 0:
                    return {name: value for name, value, *_ in entries}
        return {}

    async def _cut(self) -> None:
        for each in self._connections.values():
            each.close()
        self._tasks.cancel()
        await self._tasks.ended(OPEN_SECONDS)
        # The coroutines may have opened connections while they ended.
        for each in self._connections.values():
            each.close()
        self._lost.set()


def _reason(error: Exception) -> Exception:
    if isinstance(error, (AuthenticationFailedError, SaslAuthenticationFailed)):
        return WrongPassword()
    if isinstance(error, TimeoutError):
        return Silent(f"{OPEN_SECONDS:.0f}")
    if isinstance(error, KafkaConnectionError):
        return Lost(str(error))
    return CommandRefused(str(error)) if isinstance(error, KafkaError) else error
