"""Tests of L{confd.controller.webhooks.request}, over real sockets: receivers that are slow, wrong or hostile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from confd.controller.webhooks.request import ANSWER_MAX_SECONDS, WebhookReceiver, signature
from confd.errors import ConfdError
from tests.integration.certificates import make_certificate
from tests.worker.harness import (
    OK,
    RecordingReactor,
    Script,
    ScriptedUpstream,
    TableResolver,
    answer,
    reactor,
    redirect,
    turn,
)

SECRET = "a secret of the test"
BODY = json.dumps({"id": "6f0c", "event": "failed", "text": "ü"}).encode()
TOKEN = "T0KEN"


class SignatureTests(TestCase):
    def test_vector(self) -> None:
        """RFC 4231, test case 2."""
        self.assertEqual(
            signature(b"what do ya want for nothing?", "Jefe"),
            "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        )


class BodyReader(ScriptedUpstream):
    """A receiver that reads a body, too."""

    def __init__(self, script: Script) -> None:
        super().__init__(script)
        self.bodies: list[bytes] = []

    def buildProtocol(self, addr: object) -> Any:
        connection = super().buildProtocol(addr)
        received = connection.dataReceived

        def data(raw: bytes) -> None:
            self.bodies.append(raw)
            received(raw)

        connection.dataReceived = data  # type: ignore[method-assign]
        return connection


class RequestTests(TestCase):
    """A receiver that each test scripts."""

    timeout = 30

    def setUp(self) -> None:
        self.reactor: Any = RecordingReactor()

    def listen(self, script: Script, tls: Any = None) -> BodyReader:
        """Start a receiver on C{self.port}."""
        factory = BodyReader(script)
        if tls is None:
            port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        else:
            port = reactor.listenSSL(0, factory, tls, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.addCleanup(factory.close)
        self.port = port.getHost().port
        return factory

    def send(self, url: str | None = None) -> Deferred[int]:
        """Send one event."""
        receiver = WebhookReceiver(self.reactor, 2, url or f"http://127.0.0.1:{self.port}/hooks/{TOKEN}?key={TOKEN}")
        return Deferred.fromCoroutine(receiver.send(BODY, SECRET))

    async def failed(self, url: str | None = None) -> ConfdError:
        """Send one event, which fails; return the error, which shows no secret."""
        try:
            status = await self.send(url)
        except ConfdError as error:
            self.assertNotIn(TOKEN, error.message)
            self.assertNotIn(SECRET, error.message)
            self.assertRegex(error.message, r"^WEBHOOK_URLS: \S+ \(number 2\) .*\.$")
            return error
        self.fail(f"a receiver that is wrong took the event: {status}")

    async def test_request(self) -> None:
        receiver = self.listen(answer(b"HTTP/1.1 204 No Content\r\n\r\n"))
        self.assertEqual(await self.send(), 204)
        head, body = b"".join(receiver.bodies).split(b"\r\n\r\n")
        self.assertEqual(body, BODY)
        lines = head.decode().split("\r\n")
        self.assertEqual(lines[0], f"POST /hooks/{TOKEN}?key={TOKEN} HTTP/1.1")
        headers = dict(line.lower().split(": ") for line in lines[1:])
        self.assertEqual(headers["content-type"], "application/json")
        self.assertEqual((headers["x-confd-event"], headers["x-confd-delivery"]), ("failed", "6f0c"))
        self.assertEqual(headers["x-confd-signature"], signature(BODY, SECRET))
        self.assertNotIn("authorization", headers)

    async def test_answers(self) -> None:
        for raw, words in (
            (b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", "answers 500"),
            (b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", "answers 404"),
            (b"HTTP/1.1 304 No\r\nContent-Length: 0\r\n\r\n", "answers 304"),
            (f"SSH-2.0-{TOKEN}\r\n\r\n".encode(), "does not speak valid HTTP"),
        ):
            self.listen(answer(raw, close=True))
            self.assertIn(words, (await self.failed()).message)

    async def test_redirect_is_not_followed(self) -> None:
        other = self.listen(answer(OK + b"Content-Length: 0\r\n\r\n"))
        self.listen(answer(redirect(f"http://127.0.0.1:{self.port}/{TOKEN}")))
        error = await self.failed()
        self.assertIn("answers 302; give the final address", error.message)
        self.assertEqual(other.asked, [])

    async def test_retry_after(self) -> None:
        for value, expected in ((b"7", 7), (b"99999999", 300), (b"soon", None)):
            self.listen(answer(b"HTTP/1.1 429 Slow\r\nRetry-After: " + value + b"\r\nContent-Length: 0\r\n\r\n"))
            self.assertEqual((await self.failed()).retry_after, expected)

    async def test_endless_answer_counts_by_its_status_and_is_cut(self) -> None:
        receiver = self.listen(answer(OK + b"\r\n" + b"x" * 100_000))
        self.assertEqual(await self.send(), 200)
        await receiver.connections[0].lost

    async def test_answer_that_ends_early_counts_by_its_status(self) -> None:
        self.listen(answer(OK + b"Content-Length: 1000\r\n\r\nx", close=True))
        self.assertEqual(await self.send(), 200)

    async def test_receiver_that_does_not_answer_is_left(self) -> None:
        receiver = self.listen(lambda transport, head: transport.write(b"HTTP/1.1 200"))
        clock = Clock()
        self.reactor.callLater = clock.callLater
        failed = Deferred.fromCoroutine(self.failed())
        while not receiver.asked:
            await turn()
        clock.advance(ANSWER_MAX_SECONDS - 0.1)
        self.assertNoResult(failed)
        clock.advance(0.2)
        self.assertIn("does not answer in time", (await failed).message)
        await receiver.connections[0].lost

    async def test_receiver_that_is_down(self) -> None:
        port = reactor.listenTCP(0, ScriptedUpstream(answer(b"")), interface="127.0.0.1")
        self.port = port.getHost().port
        await port.stopListening()
        self.assertIn("does not accept the connection", (await self.failed()).message)

    async def test_receiver_that_closes(self) -> None:
        self.listen(lambda transport, head: transport.abortConnection())
        self.assertIn("closed the connection", (await self.failed()).message)

    async def test_unknown_certificate(self) -> None:
        receiver = self.listen(answer(OK), make_certificate(Path(self.mktemp())).options())
        error = await self.failed(f"https://127.0.0.1:{self.port}/{TOKEN}")
        self.assertIn("cannot be trusted", error.message)
        self.assertEqual(receiver.asked, [])

    async def test_metadata_of_a_cloud_is_never_reached(self) -> None:
        self.reactor.nameResolver = TableResolver(inside=[["169.254.169.254"]], mixed=[["127.0.0.1", "fd00:ec2::254"]])
        for host in ("169.254.169.254", "[fd00:ec2::254]", "inside.test", "mixed.test", "[::ffff:169.254.169.254]"):
            error = await self.failed(f"http://{host}/latest/{TOKEN}")
            self.assertIn("metadata service of a cloud", error.message)
        self.assertEqual(self.reactor.connected, [])

    async def test_name_is_checked_at_each_connection_and_the_checked_address_is_used(self) -> None:
        self.listen(answer(OK + b"Content-Length: 0\r\n\r\n"))
        names = TableResolver(rebind=[["127.0.0.1"], ["169.254.169.254"], ["127.0.0.1"]])
        self.reactor.nameResolver = names
        url = f"http://rebind.test:{self.port}/"
        self.assertEqual(await self.send(url), 200)
        self.assertIn("metadata", (await self.failed(url)).message)
        self.assertEqual(await self.send(url), 200)
        self.assertEqual(names.asked, ["rebind.test"] * 3)
        self.assertEqual(self.reactor.connected, ["127.0.0.1"] * 2)
