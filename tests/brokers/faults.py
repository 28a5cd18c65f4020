"""What every real broker must survive; the subclasses say which server and which broker it is."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import TestCase

from confd.errors import Unavailable
from confd.model import DEFAULT_NAMESPACE
from confd.testing.brokers import RecordingListener
from tests.integration.certificates import Certificate, make_certificate
from tests.integration.servers import Server

MIB = 1024 * 1024


def resident() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def connections(port: int) -> int:
    """How many connections to a server on loopback processes hold; what the system still sends for none is not one."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(int(row[2].partition(":")[2], 16) == port and row[9] != "0" for row in rows)


class BrokerTestCase(TestCase):
    """One server, not started, and the brokers that are its clients."""

    timeout = 60

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.log: list[str] = []
        self.folder = Path(self.mktemp()).resolve()
        self.server = self.make_server()
        self.addCleanup(self.server.stop)

        def keep(event: LogEvent) -> None:
            self.log.append(formatEvent(event))

        globalLogPublisher.addObserver(keep)
        self.addCleanup(globalLogPublisher.removeObserver, keep)

    def make_server(self, *options: str, tls: Certificate | None = None) -> Server:
        """A server of this kind."""
        raise NotImplementedError

    def make_broker(self, **options: Any) -> Any:
        """A broker for L{server}."""
        raise NotImplementedError

    def replace_server(self, *options: str, tls: Certificate | None = None) -> None:
        """Another server on the same port."""
        port = self.server.port
        self.server.stop()
        self.server = self.make_server(*options, tls=tls)
        self.server.port = port
        self.addCleanup(self.server.stop)

    def start(self, broker: Any) -> Any:
        """Start it, until the test ends."""
        broker.startService()
        self.addCleanup(lambda: broker.stopService() if broker.running else None)
        return broker

    def agent(self, **options: Any) -> tuple[Any, RecordingListener]:
        """A broker that was started, and who listens there."""
        broker, listener = self.make_broker(**options), RecordingListener()
        broker.listen(DEFAULT_NAMESPACE, listener.hear, listener.connected)
        return self.start(broker), listener

    async def until(self, reached: Callable[[], Any]) -> None:
        """Wait; the test's own timeout is the deadline."""
        while not reached():
            await deferLater(self.reactor, 0.02)

    async def problem_of(self, broker: Any, words: str) -> str:
        """Wait for a problem that contains these words, and return it."""
        await self.until(lambda: words in (broker.problem() or "") and "not connected yet" not in broker.problem())
        problem: str = broker.problem()
        return problem

    async def refused(self, answer: Deferred[Any]) -> str:
        """The words of a call that must fail."""
        with self.assertRaises(Unavailable) as caught:
            await answer
        return caught.exception.message

    async def announce(self, broker: Any, message: bytes) -> None:
        """Announce it as the outbox does: again, until it is taken."""
        while True:
            try:
                return await broker.announce(DEFAULT_NAMESPACE, message)
            except Unavailable:
                await deferLater(self.reactor, 0.05)

    def said(self, words: str) -> int:
        """How many lines of the log hold this."""
        return sum(words in line for line in self.log)


class FaultTests(BrokerTestCase):
    """
    Faults that are the same for all.

    @cvar address: the setting that holds the server's address.
    @cvar password: the setting that is named when credentials are wrong.
    @cvar tls: the setting that turns TLS on.
    """

    address = password = tls = ""

    def locked(self, password: str) -> tuple[str, ...]:
        """Options of a server that asks for a password."""
        raise NotImplementedError

    def trusting(self, authority: Path | None) -> Any:
        """What the broker takes as C{tls}: the system's roots, or one authority."""
        raise NotImplementedError

    async def works(self, controller: Any, *listeners: RecordingListener) -> None:
        """Prove that a message reaches all."""
        await self.announce(controller, b"it works")
        for listener in listeners:
            await listener.hears(b"it works")
        self.assertIsNone(controller.problem())

    async def test_broker_that_is_down_at_the_start_is_found_later(self) -> None:
        agent, listener = self.agent()
        controller = self.start(self.make_broker())
        words = await self.refused(controller.announce(DEFAULT_NAMESPACE, b"{}"))
        await self.problem_of(agent, "cannot be reached")
        for each in (words, agent.problem(), controller.problem()):
            self.assertTrue(each.startswith(f"{self.address}: "), each)
        self.server.start()
        await listener.connects()
        await self.works(controller, listener)
        self.assertIsNone(agent.problem())

    async def test_broker_without_listeners_reports_its_problem_before_the_first_announcement(self) -> None:
        controller = self.start(self.make_broker())
        words = await self.problem_of(controller, "cannot be reached")
        self.assertTrue(words.startswith(f"{self.address}: "), words)
        self.server.start()
        await self.until(lambda: controller.problem() is None)

    async def test_restarted_broker_has_no_announcement_and_works(self) -> None:
        self.server.start()
        (_, listener), controller = self.agent(), self.start(self.make_broker())
        await listener.connects()
        await self.works(controller, listener)
        self.server.restart()
        await listener.connects(2)
        listener.heard.clear()
        self.assertIsNone(await controller.latest(DEFAULT_NAMESPACE))
        await self.works(controller, listener)

    async def test_hanging_broker_is_noticed_and_works_after_it_resumes(self) -> None:
        self.server.start()
        (agent, listener), controller = self.agent(), self.start(self.make_broker())
        await listener.connects()
        await self.works(controller, listener)
        self.server.hang()
        self.addCleanup(self.server.resume)
        began = self.reactor.seconds()
        self.assertIn("within", await self.refused(controller.announce(DEFAULT_NAMESPACE, b"lost")))
        self.assertLess(self.reactor.seconds() - began, 10)
        await self.problem_of(agent, self.address)
        self.server.resume()
        await listener.connects(2)
        listener.heard.clear()
        await self.works(controller, listener)

    async def test_service_stops_while_the_broker_hangs_with_unsent_data(self) -> None:
        self.server.start()
        (agent, listener), controller = self.agent(), self.start(self.make_broker())
        await listener.connects()
        await self.works(controller, listener)
        self.server.hang()
        self.addCleanup(self.server.resume)
        answers = [controller.announce(DEFAULT_NAMESPACE, b"x" * (MIB - 100)) for _ in range(12)]
        await deferLater(self.reactor, 0.5)
        for broker in (controller, agent):
            await maybeDeferred(broker.stopService)
        for answer in answers:
            await self.refused(answer)
        await self.until(lambda: connections(self.server.port) == 0)

    async def test_service_stops_while_the_broker_is_down(self) -> None:
        agent, _ = self.agent()
        await self.problem_of(agent, "cannot be reached")
        await maybeDeferred(agent.stopService)
        self.assertIsNone(agent.problem())

    async def test_service_stops_while_it_connects_to_a_hanging_broker(self) -> None:
        self.server.start()
        self.server.hang()
        self.addCleanup(self.server.resume)
        agent, _ = self.agent()
        waiting = agent.announce(DEFAULT_NAMESPACE, b"{}")
        await deferLater(self.reactor, 0.3)
        await maybeDeferred(agent.stopService)
        await self.refused(waiting)

    async def test_wrong_password_is_logged_once_and_retried(self) -> None:
        self.replace_server(*self.locked("correct-horse"))
        self.server.start()
        agent, listener = self.agent(password="battery-staple")
        problem = await self.problem_of(agent, self.password)
        await deferLater(self.reactor, 2)
        self.assertEqual((agent.problem(), self.said(problem)), (problem, 1))
        self.replace_server(*self.locked("battery-staple"))
        self.server.start()
        await listener.connects()
        self.assertEqual((agent.problem(), self.said("battery-staple"), self.said("correct-horse")), (None, 0, 0))

    async def test_replaced_password_is_used_for_the_next_connection(self) -> None:
        self.replace_server(*self.locked("correct-horse"))
        self.server.start()
        agent, listener = self.agent(password="battery-staple")
        await self.problem_of(agent, self.password)
        agent.present("correct-horse", None)
        await listener.connects()
        controller = self.start(self.make_broker(password="correct-horse"))
        await self.works(controller, listener)
        for broker in (agent, controller):
            broker.present("battery-staple", None)
        await self.works(controller, listener)
        self.replace_server(*self.locked("battery-staple"))
        self.server.start()
        await listener.connects(2)
        await self.works(controller, listener)

    async def test_missing_password_is_named(self) -> None:
        self.replace_server(*self.locked("correct-horse"))
        self.server.start()
        controller = self.start(self.make_broker(password=None))
        await self.refused(controller.announce(DEFAULT_NAMESPACE, b"{}"))
        await self.problem_of(controller, self.password)

    async def test_announcements_pass_over_tls(self) -> None:
        certificate = make_certificate(self.folder / "tls")
        self.replace_server(tls=certificate)
        self.server.start()
        tls = self.trusting(certificate.authority)
        (_, listener), controller = self.agent(tls=tls), self.start(self.make_broker(tls=tls))
        await listener.connects()
        await self.works(controller, listener)

    async def test_untrusted_certificate_is_refused(self) -> None:
        self.replace_server(tls=make_certificate(self.folder / "tls"))
        self.server.start()
        agent, listener = self.agent(tls=self.trusting(None))
        self.assertIn(
            "its certificate is from an authority that is not trusted here", await self.problem_of(agent, self.tls)
        )
        self.assertEqual(listener.connections, 0)

    async def test_nothing_is_sent_to_a_server_without_tls(self) -> None:
        self.server.start()
        agent, listener = self.agent(tls=self.trusting(None))
        await self.problem_of(agent, self.tls)
        self.assertEqual(listener.connections, 0)

    async def test_server_of_another_protocol_is_named(self) -> None:
        with socket.create_server(("127.0.0.1", self.server.port)) as impostor:

            def impersonate() -> None:
                connection, _ = impostor.accept()
                with connection, suppress(OSError):
                    connection.sendall(b"\xff\xfe SSH-2.0 *3 $1\r\n")
                    connection.recv(1000)

            served = deferToThread(impersonate)
            agent, _ = self.agent()
            await self.problem_of(agent, self.address)
            await served
            await maybeDeferred(agent.stopService)

    def flood(self, message: bytes, times: int) -> None:
        """Publish past the brokers; called in a thread."""
        raise NotImplementedError

    async def test_flood_of_messages_is_not_kept_in_memory(self) -> None:
        self.server.start()
        controller = self.start(self.make_broker())
        broker, listener = self.make_broker(), RecordingListener()
        sizes: list[int] = []
        broker.listen(DEFAULT_NAMESPACE, lambda message: sizes.append(len(message)), listener.connected)
        broker.listen("small", listener.hear, lambda: None)
        self.start(broker)
        await listener.connects()
        before = resident()
        await deferToThread(self.flood, b"\xff" * (MIB - 100), 200)
        while "end" not in str(listener.heard):
            await self.refusable(controller.announce("small", b"end"))
        self.assertEqual(set(sizes), {MIB - 100})
        self.assertLess(resident() - before, 64 * MIB)

    async def refusable(self, answer: Deferred[Any]) -> None:
        """A call that may fail."""
        try:
            await answer
        except Unavailable:
            await deferLater(self.reactor, 0.05)
