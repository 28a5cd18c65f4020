"""GET /hit against real HTTP servers on loopback: what comes through, and how it fails (F-39, S41, S50)."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet.ssl import PrivateCertificate
from twisted.logger import formatEvent, globalLogPublisher
from twisted.web.resource import Resource
from twisted.web.server import Site

from confd.worker.connect import MAX_HEAD_BYTES
from confd.worker.policy import Policy, Rules
from tests.conversation import Reply
from tests.worker.plumbing import ScriptedUpstream, WorkerCase, answer, reactor, turn

OK = b"HTTP/1.1 200 OK\r\n"


def redirect(location: str, status: int = 302) -> bytes:
    """An answer that sends the caller elsewhere, and keeps a body back that it promised."""
    return f"HTTP/1.1 {status} Found\r\nLocation: {location}\r\nContent-Length: 100\r\n\r\n".encode()


class HitCase(WorkerCase):
    """Calls of the worker."""

    def assert_error(self, reply: Reply, status: int, code: str) -> str:
        """That the caller is told so; return the sentence."""
        self.assertEqual((reply.status, reply.code), (status, code), reply)
        self.assertEqual(reply.json["request_id"], reply.headers["x-request-id"])
        sentence: str = reply.json["error"]
        return sentence


class ThroughTests(HitCase):
    """What comes through."""

    async def test_a_real_server(self) -> None:
        """Status, content type and body of a twisted.web server; what belongs to the connection does not."""

        class Page(Resource):
            isLeaf = True

            def render_GET(self, request: Any) -> bytes:
                request.setResponseCode(203)
                request.setHeader("Content-Type", "text/x-page; charset=koi8-r")
                request.setHeader("Set-Cookie", "a=b")
                request.setHeader("X-Internal", "c")
                return request.uri + b" " + request.getHeader(b"user-agent")

        site = Site(Page())
        site.noisy = False
        port = self.listen(site)
        reply = await self.hit(f"http://localhost:{port}/a/b?c=%20d#fragment")
        self.assertEqual((reply.status, reply.body), (203, b"/a/b?c=%20d confd-worker"))
        self.assertEqual(reply.headers["content-type"], "text/x-page; charset=koi8-r")
        self.assertFalse({"set-cookie", "x-internal"} & reply.headers.keys())
        self.assertEqual(
            reply.headers["content-security-policy"], "default-src 'none'; sandbox; frame-ancestors 'none'"
        )
        self.assertEqual(reply.headers["x-content-type-options"], "nosniff")

    async def test_framings(self) -> None:
        """A body of each framing is whole, however large."""
        body = b"x" * 300_000
        for raw, close in (
            (OK + b"Content-Length: 300000\r\n\r\n" + body, False),
            (OK + b"Transfer-Encoding: chunked\r\n\r\n493e0\r\n" + body + b"\r\n0\r\n\r\n", False),
            (OK + b"\r\n" + body, True),
            (b"HTTP/1.0 200 OK\r\n\r\n" + body, True),
        ):
            url, _ = self.upstream(answer(raw, close))
            reply = await self.hit(url)
            self.assertEqual((reply.status, reply.whole, reply.body == body), (200, True, True), raw[:60])

    async def test_statuses(self) -> None:
        """Each that HTTP knows comes through; where there is no body there is none, and no length."""
        for status in (200, 201, 204, 299, 304, 400, 401, 404, 418, 500, 503, 599):
            length = b"" if status in (204, 304) else b"Content-Length: 2\r\n\r\nno"
            url, _ = self.upstream(answer(b"HTTP/1.1 %d Whatever\r\n" % status + (length or b"\r\n")))
            reply = await self.hit(url)
            self.assertEqual((reply.status, reply.body), (status, b"no" if length else b""))
            self.assertEqual(reply.headers.get("content-length"), "2" if length else None)
            self.assertNotIn("www-authenticate", reply.headers)

    async def test_interim(self) -> None:
        """What comes before the answer is left out."""
        url, _ = self.upstream(
            answer(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 3 + OK + b"Content-Length: 1\r\n\r\nx")
        )
        reply = await self.hit(url)
        self.assertEqual((reply.status, reply.body), (200, b"x"))

    async def test_encoded(self) -> None:
        """A body that is compressed is passed on as it is, and said to be."""
        body = gzip.compress(b"x" * 1000)
        head = b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
        url, _ = self.upstream(answer(OK + head + body))
        reply = await self.hit(url)
        self.assertEqual((reply.headers["content-encoding"], gzip.decompress(reply.body)), ("gzip", b"x" * 1000))

    async def test_head(self) -> None:
        """HEAD is answered with the headers alone, and nothing of the body is read."""
        url, upstream = self.upstream(answer(OK + b"Content-Type: a/b\r\nContent-Length: 300000\r\n\r\n"))
        reply = await self.hit(url, "HEAD")
        self.assertEqual((reply.status, reply.body, reply.headers["content-length"]), (200, b"", "300000"))
        self.assertEqual(reply.headers["content-type"], "a/b")
        self.assertEqual(upstream.asked[0].split(b" ")[0], b"GET")
        await upstream.connections[0].lost

    async def test_asks_for_what_is_configured(self) -> None:
        """Path and query go out as they are, whatever is missing of them; the fragment does not."""
        for rest, asked in (
            ("", b"/"),
            ("?a=b", b"/?a=b"),
            ("#c", b"/"),
            ("/x;y?a=b&c=%2F#d", b"/x;y?a=b&c=%2F"),
            ("/x?", b"/x"),
        ):
            url, upstream = self.upstream(answer(OK + b"Content-Length: 0\r\n\r\n"))
            self.assertEqual((await self.hit(url.rstrip("/") + rest)).status, 200)
            self.assertEqual(upstream.asked[0].split(b"\r\n")[0], b"GET " + asked + b" HTTP/1.1")

    async def test_kept_connection(self) -> None:
        """The next call uses the connection of the last; one that went stale meanwhile is made anew."""
        url, upstream = self.upstream(answer(OK + b"Content-Length: 1\r\n\r\nx"))
        worker = self.worker()
        for _ in range(3):
            self.assertEqual((await worker.hit(url)).body, b"x")
        self.assertEqual((len(upstream.asked), len(upstream.connections)), (3, 1))
        await upstream.close()
        self.assertEqual((await worker.hit(url)).body, b"x")

    async def test_odd_headers(self) -> None:
        """What a hostile upstream puts into its headers cannot break ours."""
        for head in (
            b"HTTP/1.1 200 OK\rX-Evil: 1\r\n",
            b"HTTP/1.1 200 O\x00K\r\n",
            b"HTTP/1.1 200 \xff\xfe\r\n",
            b"HTTP/1.1 200\r\n",
            OK + b"Content-Type: a/b\rX-Evil: 1\r\n",
            OK + b"Content-Type: a/b\r\n X-Evil: 1\r\n",
            OK + b"Content-Type: a\x00b\r\n",
            OK + b"Content-Type: a/b\r\nContent-Type: c/d\r\n",
            OK + b"Content-Type:\r\n",
            OK + b"Content-Language: \xff\r\n",
            OK + b"Connection: close\r\nServer: evil\r\nX-Request-ID: evil\r\nContent-Security-Policy: evil\r\n",
        ):
            url, _ = self.upstream(answer(head + b"Content-Length: 1\r\n\r\nx"))
            # Parsed by a strict reader.
            reply = await self.hit(url)
            self.assertIn(reply.status, (200, 502), head)
            self.assertNotIn("x-evil", reply.headers)
            self.assertNotIn("evil", (reply.headers["server"], reply.headers["x-request-id"]))


class RedirectTests(HitCase):
    """Where the upstream sends the caller elsewhere."""

    def chain(self, length: int) -> tuple[str, ScriptedUpstream]:
        """An upstream that redirects so many times, relative to itself."""

        def script(transport: Any, head: bytes) -> None:
            step = int(head.split(b" ")[1].lstrip(b"/") or b"0")
            done = step >= length
            transport.write(OK + b"Content-Length: 4\r\n\r\ndone" if done else redirect(f"/{step + 1}"))

        return self.upstream(script)

    async def test_followed(self) -> None:
        """Five are followed, of each kind."""
        url, upstream = self.chain(5)
        reply = await self.hit(url)
        self.assertEqual((reply.status, reply.body, len(upstream.asked)), (200, b"done", 6))
        target, _ = self.upstream(answer(OK + b"Content-Length: 4\r\n\r\ndone"))
        for status in (301, 302, 303, 307, 308):
            for location in (target, target.removeprefix("http:"), target.replace("http", "HTTP") + "#x"):
                url, _ = self.upstream(answer(redirect(location, status)))
                self.assertEqual((await self.hit(url)).body, b"done", location)

    async def test_too_many(self) -> None:
        """A sixth is not; so a loop ends."""
        url, upstream = self.chain(6)
        self.assert_error(await self.hit(url), 502, "too_many_redirects")
        self.assertEqual(len(upstream.asked), 6)
        url, _ = self.upstream(answer(redirect("/")))
        self.assert_error(await self.hit(url), 502, "too_many_redirects")

    async def test_connections_do_not_pile_up(self) -> None:
        """What a redirect leads to is not kept for the next time; the redirect's own body is not waited for."""
        url, upstream = self.chain(5)
        await self.hit(url)
        for connection in upstream.connections:
            await connection.lost

    async def test_bad(self) -> None:
        """To what is no http or https URL nobody goes."""
        for location in (
            "ftp://127.0.0.1/",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "data:text/html,x",
            "gopher://127.0.0.1/",
            "http://user:word@127.0.0.1/",
            "http://127.0.0.1:99999/",
            "http://[::1/",
            "http://a..b/",
            "/" + "x" * 3000,
            "/\u00e4",
            "/a b",
        ):
            url, _ = self.upstream(answer(redirect(location)))
            self.assert_error(await self.hit(url), 502, "bad_redirect")

    async def test_without_a_place(self) -> None:
        """A redirect that names no place is an answer like others."""
        url, _ = self.upstream(answer(b"HTTP/1.1 302 Found\r\nContent-Length: 1\r\n\r\nx"))
        self.assertEqual((await self.hit(url)).status, 302)

    async def test_to_what_is_denied(self) -> None:
        """Each hop is checked like the first."""
        for location in (
            "http://169.254.169.254/latest/meta-data/",
            "http://[::ffff:169.254.169.254]/",
            "http://0251.0376.0251.0376/",
            "http://2852039166/",
        ):
            url, _ = self.upstream(answer(redirect(location)))
            self.assert_error(await self.hit(url), 403, "address_denied")
        self.assertEqual(set(self.watched.connected), {"127.0.0.1"})


class AddressTests(HitCase):
    """What is connected to."""

    async def test_denied(self) -> None:
        """A denied address is not connected to, and the answer says who can change that."""
        self.names(inside=[["10.0.0.1"]], metadata=[["169.254.169.254"]])
        self.assert_error(await self.hit("http://metadata/computeMetadata/v1/"), 403, "address_denied")
        self.policy = Policy(deny=Rules.parse("10.0.0.0/8"))
        sentence = self.assert_error(await self.hit("http://inside.example/"), 403, "address_denied")
        self.assertIn("HIT_ALLOW", sentence)
        self.assertNotIn("10.0.0.1", sentence)
        self.assertEqual(self.watched.connected, [])

    async def test_one_of_many_is_denied(self) -> None:
        """A name that leads to what is denied among others leads nowhere."""
        self.names(mixed=[["127.0.0.1", "169.254.169.254"]])
        url, upstream = self.upstream(answer(OK + b"Content-Length: 0\r\n\r\n"))
        port = url.rstrip("/").rpartition(":")[2]
        self.assert_error(await self.hit(f"http://mixed.example:{port}/"), 403, "address_denied")
        self.assertEqual((self.watched.connected, upstream.asked), ([], []))

    async def test_rebinding(self) -> None:
        """A name is asked for once a connection, and what was checked is what is connected to."""
        url, _ = self.upstream(answer(OK + b"Connection: close\r\nContent-Length: 1\r\n\r\nx", close=True))
        port = url.rstrip("/").rpartition(":")[2]
        names = self.names(rebind=[["127.0.0.1"], ["169.254.169.254"], ["127.0.0.1"]])
        worker = self.worker()
        found = [(await worker.hit(f"http://rebind.example:{port}/")).status for _ in range(3)]
        self.assertEqual(found, [200, 403, 200])
        self.assertEqual(names.asked, ["rebind.example"] * 3)
        self.assertEqual(self.watched.connected, ["127.0.0.1"] * 2)

    async def test_next_address(self) -> None:
        """Where one address of a name does not answer, the next one is tried."""
        url, _ = self.upstream(answer(OK + b"Content-Length: 1\r\n\r\nx"))
        port = url.rstrip("/").rpartition(":")[2]
        self.names(two=[["127.0.0.2", "127.0.0.1"]])
        self.assertEqual((await self.hit(f"http://two.example:{port}/")).body, b"x")
        self.assertEqual(self.watched.connected, ["127.0.0.2", "127.0.0.1"])

    async def test_unknown(self) -> None:
        """A name that nobody knows is the upstream's fault."""
        self.names()
        sentence = self.assert_error(await self.hit("http://nowhere.example/"), 502, "upstream_failed")
        self.assertIn("does not resolve", sentence)


class FailureTests(HitCase):
    """How it fails."""

    async def test_too_large(self) -> None:
        """An answer that says that it is too large is not begun; its connection is closed."""
        url, upstream = self.upstream(answer(OK + b"Content-Length: 1001\r\n\r\n" + b"x" * 1001))
        self.assert_error(await self.hit(url, max_bytes=1000), 502, "upstream_too_large")
        await upstream.connections[0].lost
        url, _ = self.upstream(answer(OK + b"Content-Length: 1000\r\n\r\n" + b"x" * 1000))
        self.assertEqual((await self.hit(url, max_bytes=1000)).whole, True)

    async def test_endless(self) -> None:
        """One that does not say is cut when it becomes too large, so that the caller sees that it is not whole."""
        for head, piece in (
            (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"400\r\n" + b"x" * 1024 + b"\r\n"),
            (OK + b"\r\n", b"x" * 1024),
        ):
            url, upstream = self.upstream(answer(head + piece * 1000))
            reply = await self.hit(url, max_bytes=200_000)
            self.assertEqual((reply.status, reply.whole), (200, False))
            self.assertLessEqual(len(reply.body), 200_000)
            await upstream.connections[0].lost

    async def test_endless_headers(self) -> None:
        """Nor may the headers, or what comes before them, go on for ever."""
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

    async def test_long_headers(self) -> None:
        """Long ones are fine, and so is the body behind them."""
        head = b"".join(b"X-%d: %s\r\n" % (number, b"x" * 990) for number in range(25))
        url, _ = self.upstream(answer(OK + head + b"Content-Length: 200000\r\n\r\n" + b"y" * 200_000))
        worker = self.worker()
        for _ in range(3):
            reply = await worker.hit(url)
            self.assertEqual((reply.status, len(reply.body)), (200, 200_000))

    async def test_silent(self) -> None:
        """One that does not answer is 504; its connection is closed."""
        url, upstream = self.upstream(answer(b""))
        sentence = self.assert_error(await self.hit(url, timeout=0.2), 504, "upstream_timeout")
        self.assertIn("0.2 seconds", sentence)
        await upstream.connections[0].lost

    async def test_silent_half_way(self) -> None:
        """One that stops in the middle of its headers is, too; in the middle of its body it can only be broken off."""
        url, upstream = self.upstream(answer(OK + b"Content-Type: a/b\r\n"))
        self.assert_error(await self.hit(url, timeout=0.2), 504, "upstream_timeout")
        url, upstream = self.upstream(answer(OK + b"Content-Length: 10\r\n\r\nhalf"))
        reply = await self.hit(url, timeout=0.2)
        self.assertEqual((reply.status, reply.body, reply.whole), (200, b"half", False))
        await upstream.connections[0].lost
        url, upstream = self.upstream(answer(OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"))
        reply = await self.hit(url, timeout=0.2)
        self.assertEqual((reply.status, reply.body, reply.whole), (200, b"half", False))

    async def test_slow_names(self) -> None:
        """A resolver that does not answer is 504, too."""

        class Silent:
            def resolveHostName(self, receiver: Any, *rest: Any) -> None:
                receiver.resolutionBegan(self)

        self.watched.nameResolver = Silent()
        self.assert_error(await self.hit("http://slow.example/", timeout=0.2), 504, "upstream_timeout")

    async def test_reset(self) -> None:
        """One that resets the connection failed; in the middle of its body it breaks ours off."""
        url, _ = self.upstream(lambda transport, head: transport.abortConnection())
        sentence = self.assert_error(await self.hit(url), 502, "upstream_failed")
        self.assertIn("broke the connection off", sentence)
        for head in (b"Content-Length: 10\r\n\r\nhalf", b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"):
            url, _ = self.upstream(answer(OK + head, close=True))
            reply = await self.hit(url)
            self.assertEqual((reply.body, reply.whole), (b"half", False))

    async def test_refused(self) -> None:
        """One where nobody listens failed."""
        port = reactor.listenTCP(0, ScriptedUpstream(answer(b"")), interface="127.0.0.1")
        number = port.getHost().port
        await port.stopListening()
        sentence = self.assert_error(await self.hit(f"http://127.0.0.1:{number}/"), 502, "upstream_failed")
        self.assertIn("does not accept the connection", sentence)

    async def test_no_http(self) -> None:
        """One that does not speak HTTP failed, whatever it speaks."""
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

    async def test_bad_chunks(self) -> None:
        """A chunked body that is damaged is not whole."""
        url, _ = self.upstream(answer(OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nxyz\r\n"))
        reply = await self.hit(url)
        self.assertEqual((reply.body, reply.whole), (b"half", False))

    async def test_no_tls(self) -> None:
        """One that does not speak TLS failed."""
        site = Site(Resource())
        site.noisy = False
        await self.assert_untrusted(f"https://localhost:{self.listen(site)}/")

    async def test_unknown_certificate(self) -> None:
        """So did one whose certificate nobody vouches for."""
        options = _self_signed("localhost").options()
        upstream = ScriptedUpstream(answer(OK + b"Content-Length: 0\r\n\r\n"))
        self.addCleanup(upstream.close)
        port = reactor.listenSSL(0, upstream, options, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        await self.assert_untrusted(f"https://localhost:{port.getHost().port}/")
        self.assertEqual(upstream.asked, [])

    async def assert_untrusted(self, url: str) -> None:
        """That this is not trusted."""
        sentence = self.assert_error(await self.hit(url), 502, "upstream_failed")
        self.assertIn("TLS", sentence)


class ManyTests(HitCase):
    """Slow callers, callers that go away, and many of them."""

    async def test_slow_caller(self) -> None:
        """The upstream is read no faster than its answer is taken; all of it arrives in the end."""
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

    async def test_hang_up(self) -> None:
        """A caller that goes away ends the fetch, whatever it waits for; nothing of it is logged as a failure."""
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

    async def test_too_many(self) -> None:
        """Above the limit callers are told to come back, and the rest are served; then there is room again."""
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

    async def test_itself(self) -> None:
        """A worker whose URL is its own /hit comes to an end."""
        worker = self.worker(max_in_flight=4)
        reply = await worker.hit(f"http://127.0.0.1:{worker.port}/hit")
        self.assertEqual((reply.status, reply.code), (503, "too_many_hits"))


class SecretTests(HitCase):
    """What is in the URL stays there."""

    async def test_nothing_is_told(self) -> None:
        """However it fails, neither the caller nor the log learns more than the host."""
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
    """Writes as many bytes as it is asked for."""

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


def _self_signed(name: str) -> PrivateCertificate:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    made: PrivateCertificate = PrivateCertificate.loadPEM(
        key_pem + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return made
