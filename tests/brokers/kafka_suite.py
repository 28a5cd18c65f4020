"""
Tests of L{confd.brokers.kafka}, on the mock cluster of confluent-kafka, and on a real server with the full budget.

They need the asyncio reactor, so L{tests.brokers.kafka.test_broker} runs them in a trial of their own; to run them by
hand::

    CONFD_TEST_BUDGET=full trial --reactor=asyncio tests.brokers.kafka_suite
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from confd.audit import AuditEntry
from confd.brokers.kafka.audit_sink import KafkaAuditSink
from confd.brokers.kafka.broker import KafkaBroker
from confd.brokers.kafka.servers import MAX_FRAME_BYTES, KafkaOptions
from confd.model import DEFAULT_NAMESPACE
from confd.runtime.addresses import join
from confd.testing.audit_sinks import AuditPlace, make_iauditsink_tests
from confd.testing.brokers import RecordingListener, make_ibroker_tests
from tests.brokers import faults
from tests.brokers.faults import BrokerTestCase
from tests.budgets import budget
from tests.integration.certificates import Certificate
from tests.integration.kafka import TOPIC, USER, KafkaServer, MockCluster, consume, why_not

#: The mock cluster answers a long request late, although new records arrive.
MOCK_WAIT = 0.1


def make_broker(address: tuple[str, int], **options: Any) -> KafkaBroker:
    """A broker for a server."""
    from twisted.internet import reactor

    if options.get("password") is not None:
        options = {"username": "confd", **options}
    return KafkaBroker(reactor, [address], random=Random(), **options)


def mock_brokers(test: TestCase) -> Callable[[], KafkaBroker]:
    """Brokers of one mock cluster."""
    cluster = MockCluster().start()
    return lambda: make_broker(cluster.address, wait=MOCK_WAIT)


class MockedBrokerTests(make_ibroker_tests(mock_brokers)):  # type: ignore[misc]
    """L{KafkaBroker} is an L{IBroker}."""


def mock_place(test: TestCase) -> AuditPlace:
    """A topic of a mock cluster; its topics have four partitions, and the key keeps the entries in one."""
    from twisted.internet import reactor

    cluster = MockCluster(topic="confd.audit").start()
    options = KafkaOptions([cluster.address], None, None, None)

    async def entries() -> list[AuditEntry | None]:
        records = await deferToThread(consume, join(*cluster.address), cluster.topic)
        return [AuditEntry.parse(value) for _, value in records]

    return AuditPlace(
        lambda: KafkaAuditSink(reactor, options, cluster.topic, lambda: "cluster", Random()),
        lambda: Deferred.fromCoroutine(entries()),
    )


class MockedAuditSinkTests(make_iauditsink_tests(mock_place)):  # type: ignore[misc]
    """L{KafkaAuditSink} is an L{IAuditSink}."""


class OnMock(TestCase):
    """Messages of others, on a mock cluster."""

    timeout = 60

    def setUp(self) -> None:
        #: The newest announcement, as each connection gives it at once.
        self.asked: list[Deferred[bytes | None]] = []

    def cluster(self, **options: str) -> MockCluster:
        return MockCluster().start(**options)

    def agent(self, cluster: MockCluster, **options: Any) -> tuple[KafkaBroker, RecordingListener]:
        """A broker that was started, and its listener."""
        broker, listener = make_broker(cluster.address, wait=MOCK_WAIT, **options), RecordingListener()
        # First, so that it has asked when the test continues.
        broker.listen(DEFAULT_NAMESPACE, lambda _: None, lambda: self.asked.append(broker.latest(DEFAULT_NAMESPACE)))
        broker.listen(DEFAULT_NAMESPACE, listener.hear, listener.connected)
        broker.startService()
        self.addCleanup(lambda: broker.stopService() if broker.running else None)
        return broker, listener

    async def test_messages_of_strangers_are_not_heard(self) -> None:
        cluster = self.cluster()
        cluster.produce(DEFAULT_NAMESPACE, b"newest")
        for key, value in ((None, b"no key"), ("other", b"another namespace"), (DEFAULT_NAMESPACE, None), ("", b"")):
            cluster.produce(key, value)
        broker, listener = self.agent(cluster)
        await listener.connects()
        self.assertEqual((listener.heard, self.successResultOf(self.asked[0])), ([], b"newest"))
        for key, value in ((None, b"x"), ("other", b"x"), (DEFAULT_NAMESPACE, None), (DEFAULT_NAMESPACE, b"good")):
            cluster.produce(key, value)
        await listener.hears(b"good")
        self.assertEqual((listener.heard, listener.connections, broker.problem()), ([b"good"], 1, None))

    async def test_compressed_messages_are_skipped(self) -> None:
        plain, bomb = self.cluster(), self.cluster(**{"compression.type": "gzip"})
        bomb.produce(DEFAULT_NAMESPACE, b"0" * 900_000)
        broker, listener = self.agent(bomb)
        await listener.connects()
        self.assertIsNone(await broker.latest(DEFAULT_NAMESPACE))
        self.assertIsNone(broker.problem())
        plain.produce(DEFAULT_NAMESPACE, b"0" * 900_000)
        broker, listener = self.agent(plain)
        await listener.connects()
        self.assertEqual(await broker.latest(DEFAULT_NAMESPACE), b"0" * 900_000)

    async def test_connected_only_after_the_topic_was_read(self) -> None:
        cluster = self.cluster()
        for number in range(300):
            cluster.produce(DEFAULT_NAMESPACE if number % 100 == 0 else str(number), b"%d" % number * 10_000)
        _, listener = self.agent(cluster)
        await listener.connects()
        self.assertEqual((self.successResultOf(self.asked[0]), listener.heard), (b"200" * 10_000, []))

    async def test_missing_topic_is_named_and_not_created(self) -> None:
        cluster = self.cluster()
        broker, listener = self.agent(cluster, topic="elsewhere")
        controller = make_broker(cluster.address, topic="elsewhere")
        controller.startService()
        self.addCleanup(controller.stopService)
        for each in (broker, controller):
            while "not connected yet" in (each.problem() or "not connected yet"):
                await deferToThread(lambda: None)
            host, port = cluster.address
            said = f"KAFKA_TOPIC: elsewhere does not exist at {host}:{port}; create it with cleanup.policy=compact."
            self.assertEqual(each.problem(), said)
        self.assertEqual(listener.connections, 0)

    async def test_endless_answer_is_refused_before_it_is_read(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as impostor:

            def impersonate() -> int:
                connection, _ = impostor.accept()
                sent = 0
                with connection, contextlib.suppress(OSError):
                    connection.settimeout(30)
                    connection.sendall((MAX_FRAME_BYTES + 1).to_bytes(4, "big"))
                    while sent < MAX_FRAME_BYTES:
                        sent += connection.send(b"x" * 65536)
                return sent

            served = deferToThread(impersonate)
            broker = make_broker(impostor.getsockname())
            broker.startService()
            # The impostor could send more only to a client that reads on.
            self.assertLess(await served, MAX_FRAME_BYTES // 4)
            await maybeDeferred(broker.stopService)


class OnKafka(BrokerTestCase):
    """What the tests on a real server have in common."""

    timeout = 300
    skip = budget("real servers: CONFD_TEST_BUDGET=full", None) or why_not()
    server: KafkaServer

    def make_server(self, *options: str, tls: Certificate | None = None, **more: Any) -> KafkaServer:
        return KafkaServer(self.folder, tls=tls, password="".join(options), **more)

    def make_broker(self, **options: Any) -> KafkaBroker:
        return make_broker(("127.0.0.1", self.server.port), **options)


class KafkaFaultTests(OnKafka, faults.FaultTests):
    """Faults of a Kafka server."""

    address, password, tls = "KAFKA_BOOTSTRAP", "KAFKA_PASSWORD", "KAFKA_TLS_ENABLED"

    def locked(self, password: str) -> tuple[str, ...]:
        return (password,)

    def trusting(self, authority: Path | None) -> Any:
        return ssl.create_default_context(cafile=None if authority is None else str(authority))

    def flood(self, message: bytes, times: int) -> None:
        self.server.produce(*[(DEFAULT_NAMESPACE, message)] * times)


class TopicTests(OnKafka):
    """What operators can do wrong with a topic."""

    async def controller(self, **options: Any) -> KafkaBroker:
        """Return the broker of a controller that is connected."""
        made = self.make_broker(**options)
        made.answer(lambda _: None)
        self.start(made)
        await self.until(lambda: made.problem() is None)
        return made

    async def test_missing_topic_is_found_once_it_is_created(self) -> None:
        self.server.topics = {}
        self.server.start()
        agent, listener = self.agent()
        controller = self.start(self.make_broker())
        for each in (agent, controller):
            self.assertIn("create it with cleanup.policy=compact", await self.problem_of(each, "KAFKA_TOPIC: "))
        self.server.topics = {TOPIC: {}}
        await deferToThread(self.server._created)
        await listener.connects()
        await self.announce(controller, b"{}")
        await listener.hears(b"{}")

    async def test_large_message_is_refused_in_a_sentence(self) -> None:
        self.server.topics = {TOPIC: {"max.message.bytes": "100000"}}
        self.server.start()
        controller = await self.controller()
        said = f"KAFKA_TOPIC: {TOPIC} refuses a message of 200000 bytes; raise max.message.bytes."
        self.assertEqual(await self.refused(controller.announce(DEFAULT_NAMESPACE, b"x" * 200_000)), said)
        self.assertEqual(controller.problem(), said)
        await controller.announce(DEFAULT_NAMESPACE, b"x")
        self.assertIsNone(controller.problem())

    async def test_topic_that_does_not_keep_announcements_is_remarked_on(self) -> None:
        self.server.topics = {TOPIC: {"cleanup.policy": "delete"}, "small": {"compression.type": "gzip"}}
        self.server.topics["small"]["cleanup.policy"] = "compact"
        self.server.topics["good"] = {"cleanup.policy": "compact,delete"}
        self.server.start()
        for topic, said in ((TOPIC, "set cleanup.policy=compact"), ("small", "set compression.type=producer")):
            controller = await self.controller(topic=topic)
            self.assertIn(said, controller.remark() or "")
            self.assertEqual((controller.keeps(), self.said(controller.remark() or "")), (False, 1))
        controller = await self.controller(topic="good")
        self.assertEqual((controller.remark(), controller.keeps()), (None, True))

    async def test_retention_that_cut_the_topic_leaves_newer_announcements(self) -> None:
        self.server.topics = {TOPIC: {"cleanup.policy": "compact,delete"}}
        self.server.start()
        agent, listener = self.agent()
        await listener.connects()
        controller = await self.controller()
        for number in range(3):
            await controller.announce(DEFAULT_NAMESPACE, b"%d" % number)
        await listener.hears(b"2")
        await deferToThread(self.server.cut)
        self.assertIsNone(await agent.latest(DEFAULT_NAMESPACE))
        await controller.announce(DEFAULT_NAMESPACE, b"3")
        await listener.hears(b"3")
        late, its_listener = self.agent()
        await its_listener.connects()
        self.assertEqual(await late.latest(DEFAULT_NAMESPACE), b"3")
        self.assertEqual((listener.connections, its_listener.heard), (1, []))

    async def test_permissions_are_named(self) -> None:
        self.server = self.make_server("pw", acls=True)
        self.addCleanup(self.server.stop)
        self.server.start()
        await deferToThread(self.server.allow, "DESCRIBE")
        agent, listener = self.agent(password="pw")
        controller = await self.controller(password="pw")
        self.assertEqual(await self.problem_of(agent, "may not"), f"KAFKA_USERNAME: {USER} may not read {TOPIC}.")
        said = await self.refused(controller.announce(DEFAULT_NAMESPACE, b"{}"))
        self.assertEqual(said, f"KAFKA_USERNAME: {USER} may not write {TOPIC}.")
        self.assertEqual((controller.problem(), controller.remark()), (said, None))
        await deferToThread(self.server.allow, "READ", "WRITE")
        await listener.connects()
        await self.announce(controller, b"{}")
        await listener.hears(b"{}")
        self.assertIsNone(controller.problem())

    async def test_newest_announcement_survives_the_controller_and_the_server(self) -> None:
        self.server = self.make_server(keeps=True, partitions=4)
        self.addCleanup(self.server.stop)
        self.server.start()
        controller = await self.controller()
        for namespace, message in (("default", b"1"), ("edge", b"1e"), ("default", b"2"), ("default", b"2 new key")):
            await controller.announce(namespace, message)
        agent, listener = self.agent()
        await listener.connects()
        self.server.restart()
        await listener.connects(2)
        found = [await agent.latest(namespace) for namespace in ("default", "edge", "other")]
        self.assertEqual(found, [b"2 new key", b"1e", None])
