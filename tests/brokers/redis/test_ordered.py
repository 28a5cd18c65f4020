"""Tests of L{confd.brokers.redis.ordered}."""

from __future__ import annotations

from itertools import permutations
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from confd.brokers.redis.broker import RedisBroker
from confd.brokers.redis.ordered import announce_newer
from confd.brokers.redis.protocol import RedisConnection
from confd.codec import announcement
from confd.codec.signing import SigningKey
from confd.model import DEFAULT_NAMESPACE
from confd.testing.examples import a_configuration
from tests.brokers.faults import BrokerTestCase
from tests.integration.servers import RedisServer, missing

_KEY = SigningKey.generate()
_OTHER = "9b9b9b9b-5e6f-4a7b-8c9d-0e1f2a3b4c5d"
_REFUSAL = "with which a slow controller"


def message(version: int, epoch: int = 1, **changes: Any) -> bytes:
    """Return an announcement whose document looks like the end of another one."""
    tail = f'"epoch":{epoch + 1},"cluster_id":"{_OTHER}","poll_interval_seconds":30,"checksum":"","key_id":"",'
    value = {"version": "9", "text": tail + '"signature":""}', "long": "x" * 2000}
    return announcement.announce(a_configuration(version, value, epoch=epoch, **changes), _KEY)


#: From the oldest to the newest of one cluster.
_IN_ORDER = (message(9), message(10), message(2, epoch=2), message(11, epoch=2))


class OnOrderedRedis(BrokerTestCase):
    """
    Several controllers that announce to one Redis.

    @cvar rights: of their user.
    """

    server: RedisServer
    skip = missing("redis-server")
    rights = "+@all"

    def make_server(self, *options: str, tls: object = None) -> RedisServer:
        return RedisServer(self.folder, options)

    def make_broker(self, **options: Any) -> RedisBroker:
        user: dict[str, Any] = {"username": "bob", "password": "x", "shared": True, "random": Random()}
        return RedisBroker(self.reactor, "127.0.0.1", self.server.port, **user | options)

    def started(self) -> RedisBroker:
        """Start the server and a broker whose user has only some rights."""
        self.server.start()
        self.assertEqual(self.server.call(f"ACL SETUSER bob on nopass ~* &* {self.rights}"), ["+OK"])
        broker: RedisBroker = self.start(self.make_broker())
        return broker


class RedisOrderTests(OnOrderedRedis):
    """What Redis stores and publishes of the announcements of several controllers."""

    refusals = 0

    async def test_older_announcement_of_the_cluster_is_neither_stored_nor_published(self) -> None:
        controller = self.started()
        _, listener = self.agent(username=None, password=None)
        await listener.connects()
        told: list[bytes] = []
        for order in permutations(range(len(_IN_ORDER))):
            self.assertEqual(self.server.call("DEL latest_config")[0][0], ":")
            newest = -1
            for each in order:
                await controller.announce(DEFAULT_NAMESPACE, _IN_ORDER[each])
                if each > newest:
                    newest = each
                    told.append(_IN_ORDER[each])
            self.assertEqual(await controller.latest(DEFAULT_NAMESPACE), _IN_ORDER[-1])
        await self.until(lambda: len(listener.heard) >= len(told))
        self.assertEqual(listener.heard, told)
        self.assertEqual(self.said(_REFUSAL), self.refusals)

    async def test_repetition_and_what_cannot_be_compared_are_stored(self) -> None:
        controller = self.started()
        again = message(11, epoch=2, poll_interval=60)
        for each in (_IN_ORDER[-1], again, message(1, cluster_id=_OTHER), b"of a controller of the Go system", again):
            await controller.announce(DEFAULT_NAMESPACE, each)
            self.assertEqual(await controller.latest(DEFAULT_NAMESPACE), each)

    async def test_newest_stays_whoever_comes_last(self) -> None:
        first, second = self.started(), self.start(self.make_broker())
        versions = list(range(1, 41))
        Random(1).shuffle(versions)
        sent = [each.announce(DEFAULT_NAMESPACE, message(number)) for number in versions for each in (first, second)]
        await gatherResults(sent)
        self.assertEqual(await first.latest(DEFAULT_NAMESPACE), message(40))

    async def test_refusal_to_publish_names_the_channel(self) -> None:
        self.rights = f"{self.rights} resetchannels"
        said = await self.refused(self.started().announce(DEFAULT_NAMESPACE, message(1)))
        self.assertIn("channel", said)


class RedisOrderWithoutScriptsTests(RedisOrderTests):
    """Redis refuses scripts."""

    rights, refusals = "+@all -eval", 1


class RedisOrderWithoutTransactionsTests(BrokerTestCase):
    """The server allows only what one controller needs."""

    skip = missing("redis-server")
    make_server, make_broker, started = (
        RedisOrderTests.make_server,
        RedisOrderTests.make_broker,
        RedisOrderTests.started,
    )
    rights = "+set +get +publish +ping"

    async def test_all_is_stored_and_the_missing_rights_are_named_once(self) -> None:
        controller = self.started()
        for each in _IN_ORDER[::-1]:
            await controller.announce(DEFAULT_NAMESPACE, each)
            self.assertEqual(await controller.latest(DEFAULT_NAMESPACE), each)
        self.assertEqual(self.said(_REFUSAL), 2)


class TransactionTests(SynchronousTestCase):
    """A transaction that another controller disturbs."""

    def test_disturbed_transaction_compares_again(self) -> None:
        connection, transport = RedisConnection(lambda channel, payload: None), StringTransport()
        connection.makeConnection(transport)
        connection.refused.add("_by_script")
        done = Deferred.fromCoroutine(announce_newer(connection, "key", "channel", _IN_ORDER[0]))
        nothing = b"$0\r\n\r\n"
        connection.dataReceived(b"+OK\r\n" + 2 * nothing + b"+OK\r\n" + 2 * b"+QUEUED\r\n" + b"*-1\r\n")
        self.assertEqual(transport.value().count(b"WATCH"), 2)
        newer = [b"$%d\r\n%s\r\n" % (len(each), each) for each in (_IN_ORDER[1][:64], _IN_ORDER[1][-1024:])]
        connection.dataReceived(b"+OK\r\n" + b"".join(newer))
        self.assertEqual(transport.value().count(b"EXEC"), 1)
        connection.dataReceived(b"+OK\r\n")
        self.successResultOf(done)
