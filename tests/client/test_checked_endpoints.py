"""Tests of L{confd.client.checked_endpoints}, over real sockets: addresses, certificates, and the size of headers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import StringTransport
from twisted.protocols.policies import WrappingFactory
from twisted.trial.unittest import SynchronousTestCase

from confd.client.address_policy import AddressPolicy, Rules
from confd.client.header_limit import MAX_HEAD_BYTES, BoundedConnection
from tests.integration.certificates import make_certificate
from tests.worker.harness import OK, ScriptedUpstream, WorkerTestCase, answer, reactor


class AddressTests(WorkerTestCase):
    """The addresses that the worker connects to."""

    async def test_denied_address_gets_403_without_a_connection(self) -> None:
        self.names(inside=[["10.0.0.1"]], metadata=[["169.254.169.254"]])
        self.assert_error(await self.hit("http://metadata/computeMetadata/v1/"), 403, "address_denied")
        self.policy = AddressPolicy(deny=Rules.parse("10.0.0.0/8"))
        sentence = self.assert_error(await self.hit("http://inside.example/"), 403, "address_denied")
        self.assertIn("HIT_ALLOW", sentence)
        self.assertNotIn("10.0.0.1", sentence)
        self.assertEqual(self.watched.connected, [])

    async def test_name_with_one_denied_address_gets_403_without_a_connection(self) -> None:
        self.names(mixed=[["127.0.0.1", "169.254.169.254"]])
        url, upstream = self.upstream(answer(OK + b"Content-Length: 0\r\n\r\n"))
        port = url.rstrip("/").rpartition(":")[2]
        self.assert_error(await self.hit(f"http://mixed.example:{port}/"), 403, "address_denied")
        self.assertEqual((self.watched.connected, upstream.asked), ([], []))

    async def test_each_connection_resolves_once_and_connects_to_the_checked_address(self) -> None:
        url, _ = self.upstream(answer(OK + b"Connection: close\r\nContent-Length: 1\r\n\r\nx", close=True))
        port = url.rstrip("/").rpartition(":")[2]
        names = self.names(rebind=[["127.0.0.1"], ["169.254.169.254"], ["127.0.0.1"]])
        worker = self.worker()
        found = [(await worker.hit(f"http://rebind.example:{port}/")).status for _ in range(3)]
        self.assertEqual(found, [200, 403, 200])
        self.assertEqual(names.asked, ["rebind.example"] * 3)
        self.assertEqual(self.watched.connected, ["127.0.0.1"] * 2)

    async def test_next_address_is_tried_if_one_does_not_answer(self) -> None:
        url, _ = self.upstream(answer(OK + b"Content-Length: 1\r\n\r\nx"))
        port = url.rstrip("/").rpartition(":")[2]
        self.names(two=[["127.0.0.2", "127.0.0.1"]])
        self.assertEqual((await self.hit(f"http://two.example:{port}/")).body, b"x")
        self.assertEqual(self.watched.connected, ["127.0.0.2", "127.0.0.1"])

    async def test_unknown_name_gets_502(self) -> None:
        self.names()
        sentence = self.assert_error(await self.hit("http://nowhere.example/"), 502, "upstream_failed")
        self.assertIn("does not resolve", sentence)


class HeadTests(WorkerTestCase):
    """The size of the headers of a response."""

    async def test_endless_headers_get_502(self) -> None:
        for start, piece in (
            (OK, b"X-A: b\r\n"),
            (OK + b"X-Long: ", b"x" * 1000),
            (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
            (OK, b"X-Long: " + b"x" * 10_000 + b"\r\n"),
            (b"", b"x"),
        ):
            url, upstream = self.upstream(answer(start + piece * (4 * MAX_HEAD_BYTES // len(piece))))
            self.assert_error(await self.hit(url), 502, "upstream_failed")
            await upstream.connections[0].lost

    async def test_long_headers_below_the_limit_pass(self) -> None:
        head = b"".join(b"X-%d: %s\r\n" % (number, b"x" * 990) for number in range(25))
        url, _ = self.upstream(answer(OK + head + b"Content-Length: 200000\r\n\r\n" + b"y" * 200_000))
        worker = self.worker()
        for _ in range(3):
            reply = await worker.hit(url)
            self.assertEqual((reply.status, len(reply.body)), (200, 200_000))


class Transport(StringTransport):
    """A transport that records an abort."""

    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True


class GoodbyeTests(SynchronousTestCase):
    """The end of a connection."""

    def test_lost_connection_is_aborted_without_a_tls_shutdown(self) -> None:
        factory = WrappingFactory(Factory.forProtocol(Protocol))
        factory.protocol = BoundedConnection
        connection = factory.buildProtocol(None)
        transport = Transport()
        connection.makeConnection(transport)
        connection.wrappedProtocol.transport.loseConnection()
        self.assertTrue(transport.aborted)


class TlsTests(WorkerTestCase):
    """Upstreams that the worker does not trust."""

    async def test_peer_that_speaks_no_tls_gets_502(self) -> None:
        await self.assert_untrusted(f"https://localhost:{self.listen(Greeter.factory())}/", "does not speak TLS")

    async def test_certificate_of_an_unknown_authority_gets_502_before_any_request(self) -> None:
        upstream = ScriptedUpstream(answer(OK + b"Content-Length: 0\r\n\r\n"))
        self.addCleanup(upstream.close)
        options = make_certificate(Path(self.mktemp())).options()
        port = reactor.listenSSL(0, upstream, options, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        await self.assert_untrusted(f"https://127.0.0.1:{port.getHost().port}/", "cannot be trusted: its certificate")
        self.assertEqual(upstream.asked, [])

    async def assert_untrusted(self, url: str, words: str) -> None:
        """Check that a hit gets 502 with these words."""
        sentence = self.assert_error(await self.hit(url), 502, "upstream_failed")
        self.assertIn(words, sentence)


class Greeter(Protocol):
    """A server that speaks first, and no TLS."""

    transport: Any

    @classmethod
    def factory(cls) -> Factory:
        factory = Factory.forProtocol(cls)
        factory.noisy = False
        return factory

    def connectionMade(self) -> None:
        self.transport.write(b"220 mail.example ESMTP\r\n")
        self.transport.loseConnection()
