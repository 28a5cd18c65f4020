"""GET /hit against real HTTP servers on loopback: what comes through, and where redirects lead."""

from __future__ import annotations

import gzip
from typing import Any

from twisted.web.resource import Resource
from twisted.web.server import Site

from tests.worker.harness import OK, ScriptedUpstream, WorkerTestCase, answer, redirect


class ThroughTests(WorkerTestCase):
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


class RedirectTests(WorkerTestCase):
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
