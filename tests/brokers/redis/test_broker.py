"""Tests of L{confd.brokers.redis.broker}, on real servers."""

from __future__ import annotations

import socket
import unittest
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.ssl import Certificate as TrustedCertificate
from twisted.internet.ssl import trustRootFromCertificates
from twisted.internet.testing import StringTransport
from twisted.protocols.portforward import ProxyFactory as PortForwarder
from twisted.trial.unittest import TestCase

from confd.brokers.link import Misplaced
from confd.brokers.redis.broker import RedisBroker
from confd.brokers.redis.protocol import MISPLACED, RedisConnection
from confd.model import DEFAULT_NAMESPACE
from confd.runtime.tls import client_options
from confd.testing.brokers import RecordingListener, make_ibroker_tests
from tests.brokers import faults
from tests.brokers.faults import MIB, BrokerTestCase
from tests.integration.certificates import Certificate
from tests.integration.fleet import free_port, has_ipv6
from tests.integration.servers import RedisServer, missing
from tests.runtime.test_transport import Resolver


def make_broker(server: Any, host: str = "127.0.0.1", **options: Any) -> RedisBroker:
    """A broker for a server."""
    from twisted.internet import reactor

    return RedisBroker(reactor, host, server.port, random=Random(), **options)


def redis_brokers(test: TestCase) -> Callable[[], RedisBroker]:
    """Brokers of one server."""
    server = RedisServer(Path(test.mktemp()).resolve())
    test.addCleanup(server.stop)
    server.start()
    return lambda: make_broker(server)


class RedisBrokerTests(make_ibroker_tests(redis_brokers)):  # type: ignore[misc]
    """L{RedisBroker} is an L{IBroker}."""

    skip = missing("redis-server")


class OnRedis(BrokerTestCase):
    """What the tests here have in common."""

    server: RedisServer
    skip = missing("redis-server")

    def make_server(self, *options: str, tls: Certificate | None = None) -> RedisServer:
        return RedisServer(self.folder, options, tls)

    def make_broker(self, **options: Any) -> RedisBroker:
        return make_broker(self.server, **options)


class NameTests(OnRedis):
    """Servers by names and addresses of every kind."""

    async def test_host_name_with_an_underscore_is_resolved(self) -> None:
        resolver = Resolver("::1", "127.0.0.1")
        self.addCleanup(self.reactor.installNameResolver, self.reactor.installNameResolver(resolver))
        self.server.start()
        (_, listener), controller = self.agent(host="stack_redis"), self.start(self.make_broker(host="stack_redis"))
        await listener.connects()
        await self.announce(controller, b"{}")
        await listener.hears(b"{}")
        self.assertEqual(set(resolver.asked), {"stack_redis"})

    @unittest.skipUnless(has_ipv6(), "this machine has no IPv6 loopback")
    async def test_ipv6_address_works(self) -> None:
        self.server.host = "::1"
        self.server.start()
        (_, listener), controller = self.agent(host="::1"), self.start(self.make_broker(host="::1"))
        await listener.connects()
        await self.announce(controller, b"{}")
        await listener.hears(b"{}")


class RedisFaultTests(OnRedis, faults.FaultTests):
    """Faults of a Redis server."""

    address, password, tls = "REDIS_ADDRESS", "REDIS_PASSWORD", "REDIS_TLS_ENABLED"

    def locked(self, password: str) -> tuple[str, ...]:
        return ("--requirepass", password)

    def trusting(self, authority: Path | None) -> Any:
        if authority is None:
            return client_options("127.0.0.1")
        root = TrustedCertificate.loadPEM(authority.read_bytes())
        return client_options("127.0.0.1", trustRootFromCertificates([root]))

    def flood(self, message: bytes, times: int) -> None:
        with socket.create_connection(("127.0.0.1", self.server.port)) as connection:
            replies = connection.makefile("rb")
            for _ in range(times):
                connection.sendall(b"*3\r\n$7\r\nPUBLISH\r\n$13\r\nconfig:global\r\n$%d\r\n" % len(message))
                connection.sendall(message + b"\r\n")
                replies.readline()

    async def test_password_corrected_at_the_server(self) -> None:
        self.replace_server(*self.locked("correct-horse"))
        self.server.start()
        agent, listener = self.agent(password="battery-staple")
        await self.problem_of(agent, self.password)
        self.server.call("AUTH correct-horse", "CONFIG SET requirepass battery-staple")
        await listener.connects()

    async def test_superfluous_password_is_named(self) -> None:
        self.server.start()
        agent, _ = self.agent(password="battery-staple")
        await self.problem_of(agent, self.password)
        self.assertEqual(self.said("battery-staple"), 0)

    async def test_killed_subscription_is_opened_again(self) -> None:
        self.server.start()
        (_, listener), controller = self.agent(), self.start(self.make_broker())
        await listener.connects()
        self.assertEqual(self.server.call("CLIENT KILL TYPE pubsub"), [":1"])
        await listener.connects(2)
        await self.works(controller, listener)

    async def test_oversized_messages_are_dropped_and_counted(self) -> None:
        self.server.start()
        (agent, listener), controller = self.agent(), self.start(self.make_broker())
        await listener.connects()
        for size in (8 * MIB + 1, 20 * MIB, 8 * MIB):
            await self.announce(controller, b"x" * size)
        await self.works(controller, listener)
        self.assertEqual([len(message) for message in listener.heard], [8 * MIB, len("it works")])
        self.assertEqual(agent.listeners.dropped, 2)
        await self.announce(controller, b"x" * (20 * MIB))
        self.assertIsNone(await controller.latest(DEFAULT_NAMESPACE))
        self.assertEqual(controller.listeners.dropped, 1)


class Forwarder(PortForwarder):
    """A name that leads to one server after another: connections that are open stay where they are."""

    def __init__(self, port: int) -> None:
        """
        @param port: of the first server, on loopback.
        """
        super().__init__("127.0.0.1", port)


class FailoverTests(OnRedis):
    """The primary is demoted and stays up, and its name leads to another server."""

    def setUp(self) -> None:
        super().setUp()
        self.other = RedisServer(self.folder / "other")
        self.addCleanup(self.other.stop)
        self.server.start()
        self.other.start()
        self.name = Forwarder(self.server.port)
        self.listening = self.reactor.listenTCP(0, self.name, interface="127.0.0.1")
        self.addCleanup(self.listening.stopListening)

    def make_broker(self, **options: Any) -> RedisBroker:
        """One that knows the name only."""
        return RedisBroker(self.reactor, "127.0.0.1", self.listening.getHost().port, random=Random(), **options)

    async def follows(self, *demotion: str) -> None:
        """Prove that controller and agent go where the name leads once the server got this."""
        (agent, listener), controller = self.agent(), self.start(self.make_broker())
        await listener.connects()
        await agent.latest(DEFAULT_NAMESPACE)
        await self.announce(controller, b"before")
        await listener.hears(b"before")
        self.name.port = self.other.port
        self.server.call(*demotion)
        await self.announce(controller, b"after")
        self.assertEqual(self.other.call("STRLEN latest_config"), [":5"])
        self.assertIsNone(controller.problem())
        await listener.connects(2)
        await self.until(lambda: agent.problem() is None)
        await self.announce(controller, b"heard")
        await listener.hears(b"heard")

    async def test_demoted_primary_is_left_for_the_new_one(self) -> None:
        await self.follows(f"REPLICAOF 127.0.0.1 {free_port()}")

    async def test_each_refusal_of_a_misplaced_server_is_recognized(self) -> None:
        for word in sorted(MISPLACED):
            connection = StringTransport()
            redis = RedisConnection(lambda *_: None)
            redis.makeConnection(connection)
            asked = Deferred.fromCoroutine(redis.ask("SET", "k", "v"))
            redis.dataReceived(b"-%s not here\r\n" % word.encode())
            with self.assertRaises(Misplaced, msg=word):
                await asked


class RedisTests(OnRedis):
    """What is particular to Redis."""

    async def test_value_is_set_before_it_is_published_under_the_names_of_the_go_system(self) -> None:
        self.server.start()
        controller = self.start(self.make_broker())
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=10) as monitor:
            monitor.sendall(b"MONITOR\r\n")
            lines = monitor.makefile("r")
            self.assertEqual(lines.readline(), "+OK\n")
            await controller.announce(DEFAULT_NAMESPACE, b"one")
            await controller.announce("team-7", b"two")
            seen = [lines.readline().split("] ")[1].strip() for _ in range(6)]
        expected = [
            '"PING"',
            '"INFO" "replication"',
            '"SET" "latest_config" "one"',
            '"PUBLISH" "config:global" "one"',
            '"SET" "latest_config:team-7" "two"',
            '"PUBLISH" "config:team-7" "two"',
        ]
        self.assertEqual(seen, expected)

    async def test_announcement_of_the_go_controller_is_received(self) -> None:
        self.server.start()
        agent, listener = self.agent()
        await listener.connects()
        self.server.call("SET latest_config kept", "PUBLISH config:global news")
        await listener.hears(b"news")
        self.assertEqual(await agent.latest(DEFAULT_NAMESPACE), b"kept")

    async def test_channel_is_a_setting(self) -> None:
        self.server.start()
        _, listener = self.agent(channel="elsewhere")
        await listener.connects()
        self.assertEqual(self.server.call("PUBLISH config:global no", "PUBLISH elsewhere yes"), [":0", ":1"])
        await listener.hears(b"yes")
        self.assertEqual(listener.heard, [b"yes"])

    async def test_opens_one_connection_to_listen_or_for_commands(self) -> None:
        self.server.start()
        idle = self.start(self.make_broker())
        _, listener = self.agent()
        await listener.connects()
        await self.until(lambda: idle.problem() is None)
        self.assertEqual(self.server.call("CLIENT KILL TYPE normal", "CLIENT KILL TYPE pubsub"), [":1", ":1"])

    async def test_acl_user_and_database_are_used(self) -> None:
        self.replace_server("--user", *["alice", "on", ">wonder", "~latest_config*", "&config:*", "+@all"])
        self.server.start()
        options = {"username": "alice", "password": "wonder", "db": 3}
        (agent, listener), controller = self.agent(**options), self.start(self.make_broker(**options))
        await listener.connects()
        await controller.announce(DEFAULT_NAMESPACE, b"news")
        await listener.hears(b"news")
        self.assertEqual(await agent.latest(DEFAULT_NAMESPACE), b"news")
        where = self.server.call("SELECT 0", "EXISTS latest_config", "SELECT 3", "TTL latest_config")
        self.assertEqual(where, ["+OK", ":0", "+OK", ":-1"])

    async def test_missing_database_is_named(self) -> None:
        self.server.start()
        agent, _ = self.agent(db=99)
        await self.problem_of(agent, "REDIS_DB: ")

    async def test_refusal_of_an_acl_is_reported_in_the_words_of_the_server(self) -> None:
        self.replace_server("--user", *["bob", "on", ">builder", "~nothing", "&nothing", "+@all"])
        self.server.start()
        options = {"username": "bob", "password": "builder"}
        agent, _ = self.agent(**options)
        controller = self.start(self.make_broker(**options))
        self.assertIn("NOPERM", await self.refused(controller.announce(DEFAULT_NAMESPACE, b"{}")))
        self.assertIn("NOPERM", controller.problem())
        await self.problem_of(agent, "REDIS_CHANNEL: ")
        self.server.call("ACL SETUSER bob ~* &*")
        await self.announce(controller, b"{}")
        self.assertIsNone(controller.problem())

    async def test_refused_doorbell_disturbs_no_announcement(self) -> None:
        self.replace_server("--user", *["bob", "on", ">builder", "~*", "&config:global", "+@all"])
        self.server.start()
        options = {"username": "bob", "password": "builder"}
        agent, listener, controller = self.make_broker(**options), RecordingListener(), self.make_broker(**options)
        agent.listen(DEFAULT_NAMESPACE, listener.hear, listener.connected)
        agent.attend(DEFAULT_NAMESPACE, listener.hear)
        for broker in (agent, controller):
            self.start(broker)
        await listener.connects()
        self.assertIn("NOPERM", await self.refused(controller.ring(DEFAULT_NAMESPACE, b"{}")))
        await controller.announce(DEFAULT_NAMESPACE, b"news")
        await listener.hears(b"news")
        self.assertEqual((agent.problem(), controller.problem(), listener.heard), (None, None, [b"news"]))
