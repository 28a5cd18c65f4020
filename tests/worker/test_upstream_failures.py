"""Tests of L{confd.worker.upstream} with real servers that fail: bounded time and memory, and an error in words."""

from __future__ import annotations

from typing import Any

from twisted.logger import formatEvent, globalLogPublisher

from tests.worker.harness import OK, ScriptedUpstream, WorkerTestCase, answer, reactor, redirect, turn


class FailureTests(WorkerTestCase):
    """Upstreams that fail."""

    async def test_response_with_a_too_large_length_gets_502_and_its_connection_is_closed(self) -> None:
        url, upstream = self.upstream(answer(OK + b"Content-Length: 1001\r\n\r\n" + b"x" * 1001))
        self.assert_error(await self.hit(url, max_bytes=1000), 502, "upstream_too_large")
        await upstream.connections[0].lost
        url, _ = self.upstream(answer(OK + b"Content-Length: 1000\r\n\r\n" + b"x" * 1000))
        self.assertEqual((await self.hit(url, max_bytes=1000)).whole, True)

    async def test_response_that_becomes_too_large_is_broken_off(self) -> None:
        for head, piece in (
            (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"400\r\n" + b"x" * 1024 + b"\r\n"),
            (OK + b"\r\n", b"x" * 1024),
        ):
            url, upstream = self.upstream(answer(head + piece * 1000))
            reply = await self.hit(url, max_bytes=200_000)
            self.assertEqual((reply.status, reply.whole), (200, False))
            self.assertLessEqual(len(reply.body), 200_000)
            await upstream.connections[0].lost

    async def test_silent_upstream_gets_504_and_its_connection_is_closed(self) -> None:
        url, upstream = self.upstream(answer(b""))
        reply = await self.hit_in_vain(url, lambda _: upstream.asked)
        self.assertIn("19.0 seconds", self.assert_error(reply, 504, "upstream_timeout"))
        await upstream.connections[0].lost

    async def test_upstream_that_stalls_gets_504_or_a_broken_body(self) -> None:
        url, upstream = self.upstream(answer(OK + b"Content-Type: a/b\r\n"))
        self.assert_error(await self.hit_in_vain(url, lambda _: upstream.asked), 504, "upstream_timeout")
        for rest in (b"Content-Length: 10\r\n\r\nhalf", b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"):
            url, upstream = self.upstream(answer(OK + rest))
            reply = await self.hit_in_vain(url, lambda caller: b"half" in caller.received)
            self.assertEqual((reply.status, reply.body, reply.whole), (200, b"half", False))
            await upstream.connections[0].lost

    async def test_silent_resolver_gets_504(self) -> None:
        asked: list[object] = []

        class Silent:
            def resolveHostName(self, receiver: Any, *rest: Any) -> None:
                receiver.resolutionBegan(self)
                asked.append(receiver)

        self.watched.nameResolver = Silent()
        self.assert_error(await self.hit_in_vain("http://slow.example/", lambda _: asked), 504, "upstream_timeout")

    async def test_reset_gets_502_or_a_broken_body(self) -> None:
        url, _ = self.upstream(lambda transport, head: transport.abortConnection())
        sentence = self.assert_error(await self.hit(url), 502, "upstream_failed")
        self.assertIn("closed the connection", sentence)
        for head in (b"Content-Length: 10\r\n\r\nhalf", b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"):
            url, _ = self.upstream(answer(OK + head, close=True))
            reply = await self.hit(url)
            self.assertEqual((reply.body, reply.whole), (b"half", False))

    async def test_refused_connection_gets_502(self) -> None:
        port = reactor.listenTCP(0, ScriptedUpstream(answer(b"")), interface="127.0.0.1")
        number = port.getHost().port
        await port.stopListening()
        sentence = self.assert_error(await self.hit(f"http://127.0.0.1:{number}/"), 502, "upstream_failed")
        self.assertIn("does not accept the connection", sentence)

    async def test_upstream_without_http_gets_502(self) -> None:
        for raw in (
            b"",
            b"\r\n\r\n",
            b"SSH-2.0-OpenSSH_9.2\r\n",
            b"+PONG\r\n",
            b"HTTP/1.1 OK\r\n\r\n",
            b"HTTP/1.1 99 Low\r\n\r\n",
            b"HTTP/1.1 600 High\r\n\r\n",
            b"HTTP/1.1 1000 Higher\r\n\r\n",
            b"HTTP/1.1 -200 Negative\r\n\r\n",
            b"HTTP/x 200 OK\r\n\r\n",
            OK + b"nonsense\r\n\r\n",
            OK + b"A b: c\r\n\r\n",
            OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
            OK + b"Content-Length: -1\r\n\r\nxx",
            OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\nxx",
            OK + b"Transfer-Encoding: gzip\r\n\r\nxx",
        ):
            url, _ = self.upstream(answer(raw, close=True))
            self.assert_error(await self.hit(url), 502, "upstream_failed")

    async def test_damaged_chunks_break_the_body_off(self) -> None:
        url, _ = self.upstream(answer(OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nxyz\r\n"))
        reply = await self.hit(url)
        self.assertEqual((reply.body, reply.whole), (b"half", False))


class ManyTests(WorkerTestCase):
    """Slow callers, callers that hang up, and many callers."""

    async def test_slow_caller_slows_the_upstream_down_and_gets_everything(self) -> None:
        total = 200 * 1024 * 1024
        source = _Source(total)
        url, _ = self.upstream(source.begin)
        worker = self.worker(max_bytes=total)
        caller = worker.call(url)
        await caller.began
        caller.transport.pauseProducing()
        written = -1
        while written != source.written:
            written = source.written
            await turn(0.2)
        self.assertLess(written, total // 2)
        caller.transport.resumeProducing()
        reply = await caller.ended
        self.assertEqual((reply.whole, len(reply.body)), (True, total))

    async def test_hang_up_ends_the_fetch_without_a_logged_failure(self) -> None:
        for raw in (b"", OK, OK + b"Content-Length: 1000000\r\n\r\nx"):
            url, upstream = self.upstream(answer(raw))
            worker = self.worker()
            caller = worker.call(url)
            while not upstream.asked:
                await turn()
            caller.ended.addErrback(lambda _: None)
            caller.transport.abortConnection()
            await upstream.connections[0].lost
            self.assertEqual(self.flushLoggedErrors(), [])

    async def test_fetches_above_the_limit_get_503_until_one_ends(self) -> None:
        waiting: list[Any] = []
        url, _ = self.upstream(lambda transport, head: waiting.append(transport))
        worker = self.worker(max_in_flight=3)
        hits = [worker.hit(url) for _ in range(3)]
        while len(waiting) < 3:
            await turn()
        reply = await worker.hit(url)
        self.assert_error(reply, 503, "too_many_hits")
        self.assertEqual(reply.headers["retry-after"], "1")
        for transport in waiting:
            transport.write(OK + b"Content-Length: 1\r\n\r\nx")
        self.assertEqual([(await each).body for each in hits], [b"x"] * 3)
        again = worker.hit(url)
        while len(waiting) < 4:
            await turn()
        waiting[3].write(OK + b"Content-Length: 1\r\n\r\ny")
        self.assertEqual((await again).body, b"y")

    async def test_worker_whose_url_is_its_own_hit_answers_503(self) -> None:
        worker = self.worker(max_in_flight=4)
        reply = await worker.hit(f"http://127.0.0.1:{worker.port}/hit")
        self.assertEqual((reply.status, reply.code), (503, "too_many_hits"))


class SecretTests(WorkerTestCase):
    """Secrets in the URL."""

    async def test_no_failure_reveals_the_path_or_query_of_the_url(self) -> None:
        canary = "c4n4ry"
        events: list[dict[str, Any]] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        for script in (
            answer(b"", close=True),
            answer(b""),
            answer(b"rubbish\r\n\r\n"),
            answer(OK + b"Content-Length: 9999999\r\n\r\n"),
            answer(OK + b"Content-Length: 9\r\n\r\nhalf", close=True),
            answer(redirect("ftp://x/")),
            answer(redirect("/")),
            answer(redirect("http://169.254.1.1/")),
            answer(OK + b"Content-Length: 2\r\n\r\nok"),
        ):
            url, _ = self.upstream(script)
            for each in (url, url.replace("http", "https")):
                reply = await self.hit(f"{each}{canary}?token={canary}", timeout=0.3)
                self.assertNotIn(canary, repr(reply))
        self.assertTrue(any(event.get("code") == "upstream_timeout" for event in events))
        for event in events:
            self.assertNotIn(canary, repr(event) + str(formatEvent(event)))


class _Source:
    """Writes a number of bytes."""

    def __init__(self, total: int) -> None:
        self._left = total
        self._piece = b"x" * 65536
        self.written = 0

    def begin(self, transport: Any, head: bytes) -> None:
        self._transport = transport
        transport.write(OK + b"Content-Length: %d\r\n\r\n" % self._left)
        transport.registerProducer(self, False)

    def resumeProducing(self) -> None:
        piece = self._piece[: self._left]
        self._left -= len(piece)
        self.written += len(piece)
        self._transport.write(piece)
        if not self._left:
            self._transport.unregisterProducer()

    def stopProducing(self) -> None:
        """The connection is gone."""
