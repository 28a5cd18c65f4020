"""A broker that is no process, and what every broker must do."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred, execute, maybeDeferred
from twisted.trial.unittest import TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from confd.brokers.listeners import Listeners
from confd.errors import Unavailable
from confd.interfaces import IBroker
from confd.model import DEFAULT_NAMESPACE

#: Makes a function that makes brokers of one and the same server, which are not started; cleans up after the test.
BrokerFixture = Callable[[TestCase], Callable[[], IBroker]]


@define(eq=False)
class MemoryServer:
    """
    What the L{MemoryBroker}s of a test are connected to.

    @ivar down: why it cannot be reached; C{None} while all is well.
    """

    down: str | None = field(default=None, init=False)
    kept: dict[str, bytes] = field(factory=dict, init=False)
    brokers: list[MemoryBroker] = field(factory=list, init=False)

    def broker(self) -> MemoryBroker:
        """Return one more client, not started."""
        return MemoryBroker(self)

    def fail(self, reason: str) -> None:
        """Go down."""
        self.down = reason

    def come_back(self, empty: bool = True) -> None:
        """Come up again, by default empty; reconnect all listeners."""
        self.down = None
        if empty:
            self.kept.clear()
        for broker in self.brokers:
            broker.listeners.connected()
            broker.returned()

    def publish(self, namespace: str, announcement: bytes) -> None:
        """Keep a message, and deliver it to all listeners."""
        self.kept[namespace] = announcement
        for broker in list(self.brokers):
            broker.listeners.deliver(namespace, announcement)


@implementer(IBroker)
class MemoryBroker(Service):
    """A broker in memory; its L{Deferred}s have fired when they are returned."""

    name = "MEMORY"

    def __init__(self, server: MemoryServer | None = None) -> None:
        """
        @param server: to share with other brokers.
        """
        self.server = server or MemoryServer()
        self.listeners = Listeners()
        self.returned: Callable[[], None] = lambda: None
        self.password: str | None = None
        self.token: str | None = None

    def startService(self) -> None:
        """Connect."""
        super().startService()
        self.server.brokers.append(self)
        if self.server.down is None:
            self.listeners.connected()

    def present(self, password: str | None, token: str | None) -> None:
        """L{IBroker.present}: it needs no login."""
        self.password, self.token = password, token

    def stopService(self) -> None:
        """Hear nothing more."""
        super().stopService()
        self.server.brokers.remove(self)

    def problem(self) -> str | None:
        """L{IHealth.trouble}."""
        return self.server.down

    def announce(self, namespace: str, announcement: bytes) -> Deferred[None]:
        """L{IBroker.announce}."""
        return execute(self._announce, namespace, announcement)

    def listen(self, namespace: str, received: Callable[[bytes], object], connected: Callable[[], None]) -> None:
        """L{IBroker.listen}."""
        self.listeners.add(namespace, received, connected)

    def latest(self, namespace: str) -> Deferred[bytes | None]:
        """L{IBroker.latest}."""
        return execute(self._latest, namespace)

    def answer(self, latest: Callable[[str], bytes | None]) -> None:
        """L{IBroker.answer}: it keeps the answer."""

    def remark(self) -> str | None:
        """L{IBroker.remark}."""
        return None

    def keeps(self) -> bool:
        """L{IBroker.keeps}."""
        return True

    def watch(self, returned: Callable[[], None]) -> None:
        """L{IBroker.watch}."""
        self.returned = returned

    def ring(self, namespace: str, doorbell: bytes) -> Deferred[None]:
        """L{IBroker.ring}."""
        return execute(self._ring, namespace, doorbell)

    def attend(self, namespace: str, rung: Callable[[bytes], object]) -> None:
        """L{IBroker.attend}."""
        self.listeners.add_optional(f"{namespace}:rollout", rung)

    def _ring(self, namespace: str, doorbell: bytes) -> None:
        self._check()
        for broker in list(self.server.brokers):
            broker.listeners.deliver(f"{namespace}:rollout", doorbell)

    def _announce(self, namespace: str, announcement: bytes) -> None:
        self._check()
        self.server.publish(namespace, announcement)

    def _latest(self, namespace: str) -> bytes | None:
        self._check()
        return self.server.kept.get(namespace)

    def _check(self) -> None:
        if self.server.down is not None or not self.running:
            raise Unavailable("broker_unavailable", self.server.down or "The broker is not in use.")


@define(eq=False)
class RecordingListener:
    """
    A listener at a broker.

    @ivar heard: all messages so far.
    @ivar connections: how often it was connected.
    """

    heard: list[bytes] = field(factory=list, init=False)
    connections: int = field(default=0, init=False)
    _waiting: list[tuple[Callable[[], bool], Deferred[None]]] = field(factory=list, init=False)

    def hear(self, message: bytes) -> None:
        """Record a message; a callback for L{IBroker.listen}."""
        self.heard.append(message)
        self._check()

    def connected(self) -> None:
        """Record a connection; a callback for L{IBroker.listen}."""
        self.connections += 1
        self._check()

    def until(self, reached: Callable[[], bool]) -> Deferred[None]:
        """Fire when C{reached} holds; the test's own timeout is the deadline."""
        waiting: Deferred[None] = Deferred()
        self._waiting.append((reached, waiting))
        self._check()
        return waiting

    def hears(self, message: bytes) -> Deferred[None]:
        """Fire when this message has come."""
        return self.until(lambda: message in self.heard)

    def connects(self, times: int = 1) -> Deferred[None]:
        """Fire when it was connected that often."""
        return self.until(lambda: self.connections >= times)

    def _check(self) -> None:
        for each in [each for each in self._waiting if each[0]()]:
            self._waiting.remove(each)
            each[1].callback(None)


def make_ibroker_tests(fixture: BrokerFixture) -> type[TestCase]:
    """Make the contract suite of L{IBroker} for the brokers that C{fixture} makes."""

    class IBrokerTests(TestCase):
        timeout = 60

        def setUp(self) -> None:
            self.make = fixture(self)
            self.kept: dict[str, bytes] = {}
            self.controller = self.make()
            self.controller.answer(self.kept.get)

        def start(self, broker: IBroker) -> None:
            """Start it, until the test ends."""
            broker.startService()
            self.addCleanup(lambda: broker.stopService() if broker.running else None)

        def listener(self, namespace: str = DEFAULT_NAMESPACE) -> tuple[IBroker, RecordingListener]:
            """An agent's broker, not started, and who listens there."""
            broker, listener = self.make(), RecordingListener()
            broker.listen(namespace, listener.hear, listener.connected)
            return broker, listener

        async def announce(self, message: bytes, namespace: str = DEFAULT_NAMESPACE) -> None:
            """As a controller does."""
            self.kept[namespace] = message
            await self.controller.announce(namespace, message)

        async def test_interface(self) -> None:
            verifyObject(IBroker, self.controller)
            self.start(self.controller)
            await self.announce(b"{}")
            self.assertIsNone(self.controller.problem())
            self.assertTrue(self.controller.name.isupper())

        async def test_all_hear_what_comes_after_they_were_connected(self) -> None:
            self.start(self.controller)
            await self.announce(b"before")
            pairs = [self.listener(), self.listener()]
            for broker, listener in pairs:
                self.start(broker)
                await listener.connects()
                self.assertIsNone(broker.problem())
            messages = [b'{"version": "1"}', b'{"version": "2"}', b'{"version": "3"}']
            for message in messages:
                await self.announce(message)
            for _, listener in pairs:
                await listener.hears(messages[-1])
                self.assertEqual((listener.heard, listener.connections), (messages, 1))

        async def test_bytes_arrive_as_they_were(self) -> None:
            self.start(self.controller)
            broker, listener = self.listener()
            self.start(broker)
            await listener.connects()
            messages = [b"42", b"-1.50", bytes(range(256)), b"\r\n$-1\r\nMSG\r\n", "ü😀".encode(), b"x" * 1_000_000]
            for message in messages:
                await self.announce(message)
                self.assertEqual(await broker.latest(DEFAULT_NAMESPACE), message)
            await listener.hears(messages[-1])
            self.assertEqual(listener.heard, messages)

        async def test_namespaces_are_apart(self) -> None:
            self.start(self.controller)
            broker, other = self.listener("team-7")
            default = RecordingListener()
            broker.listen(DEFAULT_NAMESPACE, default.hear, default.connected)
            self.start(broker)
            await other.connects()
            for namespace, message in (("default", b"a"), ("team-7", b"b"), ("third", b"c"), ("default", b"d")):
                await self.announce(message, namespace)
            await default.hears(b"d")
            await other.hears(b"b")
            self.assertEqual((default.heard, other.heard), ([b"a", b"d"], [b"b"]))
            found = [await broker.latest(namespace) for namespace in ("default", "team-7", "third", "fourth")]
            self.assertEqual(found, [b"d", b"b", b"c", None])

        async def test_doorbells_are_beside_announcements(self) -> None:
            self.start(self.controller)
            (broker, listener), (plain, others) = self.listener("team-7"), self.listener("team-7")
            doorbells, default = RecordingListener(), RecordingListener()
            broker.attend("team-7", doorbells.hear)
            broker.attend(DEFAULT_NAMESPACE, default.hear)
            self.start(broker)
            self.start(plain)
            await listener.connects()
            await others.connects()
            for namespace, doorbell in (("team-7", b"ring"), ("third", b"no"), (DEFAULT_NAMESPACE, b"default")):
                await self.controller.ring(namespace, doorbell)
            await self.announce(b"{}", "team-7")
            for hearer in (listener, others):
                await hearer.hears(b"{}")
                self.assertEqual((hearer.heard, hearer.connections), ([b"{}"], 1))
            await doorbells.hears(b"ring")
            await default.hears(b"default")
            self.assertEqual((doorbells.heard, default.heard), ([b"ring"], [b"default"]))
            self.assertEqual(await plain.latest("team-7"), b"{}")

        async def test_latest_of_a_broker_without_announcements(self) -> None:
            self.start(self.controller)
            broker, listener = self.listener()
            self.start(broker)
            await listener.connects()
            self.assertIsNone(await broker.latest(DEFAULT_NAMESPACE))

        async def test_a_listener_that_fails_harms_nobody(self) -> None:
            self.start(self.controller)
            broker, listener = self.listener()
            broker.listen(DEFAULT_NAMESPACE, lambda message: message.index(b"good"), lambda: None)
            self.start(broker)
            await listener.connects()
            for message in (b"bad", b"good"):
                await self.announce(message)
            await listener.hears(b"good")
            self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

        async def test_stopped(self) -> None:
            self.start(self.controller)
            broker, listener = self.listener()
            self.start(broker)
            await listener.connects()
            await maybeDeferred(broker.stopService)
            await self.announce(b"after")
            self.assertEqual(listener.heard, [])
            for answer in (broker.latest(DEFAULT_NAMESPACE), broker.announce(DEFAULT_NAMESPACE, b"")):
                with self.assertRaises(Unavailable):
                    await answer

        async def test_not_started(self) -> None:
            with self.assertRaises(Unavailable):
                await self.controller.announce(DEFAULT_NAMESPACE, b"{}")

        async def test_started_again(self) -> None:
            self.start(self.controller)
            broker, listener = self.listener()
            self.start(broker)
            await listener.connects()
            await maybeDeferred(broker.stopService)
            broker.startService()
            await listener.connects(2)
            await self.announce(b"again")
            await listener.hears(b"again")

    return IBrokerTests
