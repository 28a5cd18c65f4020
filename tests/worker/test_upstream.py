"""Tests of L{confd.worker.upstream} with real HTTP servers: responses and redirects."""

from __future__ import annotations

import gzip
from typing import Any

from twisted.web.resource import Resource
from twisted.web.server import Site

from tests.worker.harness import OK, ScriptedUpstream, WorkerTestCase, answer, redirect


class ThroughTests(WorkerTestCase):
    """Responses that pass through."""

    async def test_status_type_and_body_pass_but_no_connection_headers(self) -> None:

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

    async def test_body_of_each_framing_arrives_whole(self) -> None:
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

    async def test_every_status_passes_and_304_has_no_body(self) -> None:
        for status in (200, 201, 204, 299, 304, 400, 401, 404, 418, 500, 503, 599):
            length = b"" if status in (204, 304) else b"Content-Length: 2\r\n\r\nno"
            url, _ = self.upstream(answer(b"HTTP/1.1 %d Whatever\r\n" % status + (length or b"\r\n")))
            reply = await self.hit(url)
            self.assertEqual((reply.status, reply.body), (status, b"no" if length else b""))
            self.assertEqual(reply.headers.get("content-length"), "2" if length else None)
            self.assertNotIn("www-authenticate", reply.headers)

    async def test_interim_responses_are_dropped(self) -> None:
        url, _ = self.upstream(
            answer(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 3 + OK + b"Content-Length: 1\r\n\r\nx")
        )
        reply = await self.hit(url)
        self.assertEqual((reply.status, reply.body), (200, b"x"))

    async def test_compressed_body_passes_unchanged(self) -> None:
        body = gzip.compress(b"x" * 1000)
        head = b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
        url, _ = self.upstream(answer(OK + head + body))
        reply = await self.hit(url)
        self.assertEqual((reply.headers["content-encoding"], gzip.decompress(reply.body)), ("gzip", b"x" * 1000))

    async def test_head_reads_no_body(self) -> None:
        url, upstream = self.upstream(answer(OK + b"Content-Type: a/b\r\nContent-Length: 300000\r\n\r\n"))
        reply = await self.hit(url, "HEAD")
        self.assertEqual((reply.status, reply.body, reply.headers["content-length"]), (200, b"", "300000"))
        self.assertEqual(reply.headers["content-type"], "a/b")
        self.assertEqual(upstream.asked[0].split(b" ")[0], b"GET")
        await upstream.connections[0].lost

    async def test_path_and_query_are_sent_unchanged_without_the_fragment(self) -> None:
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

    async def test_connection_is_reused_and_replaced_when_stale(self) -> None:
        url, upstream = self.upstream(answer(OK + b"Content-Length: 1\r\n\r\nx"))
        worker = self.worker()
        for _ in range(3):
            self.assertEqual((await worker.hit(url)).body, b"x")
        self.assertEqual((len(upstream.asked), len(upstream.connections)), (3, 1))
        await upstream.close()
        self.assertEqual((await worker.hit(url)).body, b"x")

    async def test_hostile_headers_do_not_reach_the_caller(self) -> None:
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
    """Redirects of the upstream."""

    def chain(self, length: int) -> tuple[str, ScriptedUpstream]:
        """Start an upstream that redirects a number of times, with relative locations."""

        def script(transport: Any, head: bytes) -> None:
            step = int(head.split(b" ")[1].lstrip(b"/") or b"0")
            done = step >= length
            transport.write(OK + b"Content-Length: 4\r\n\r\ndone" if done else redirect(f"/{step + 1}"))

        return self.upstream(script)

    async def test_five_redirects_of_each_kind_are_followed(self) -> None:
        url, upstream = self.chain(5)
        reply = await self.hit(url)
        self.assertEqual((reply.status, reply.body, len(upstream.asked)), (200, b"done", 6))
        target, _ = self.upstream(answer(OK + b"Content-Length: 4\r\n\r\ndone"))
        for status in (301, 302, 303, 307, 308):
            for location in (target, target.removeprefix("http:"), target.replace("http", "HTTP") + "#x"):
                url, _ = self.upstream(answer(redirect(location, status)))
                self.assertEqual((await self.hit(url)).body, b"done", location)

    async def test_sixth_redirect_gets_502(self) -> None:
        url, upstream = self.chain(6)
        self.assert_error(await self.hit(url), 502, "too_many_redirects")
        self.assertEqual(len(upstream.asked), 6)
        url, _ = self.upstream(answer(redirect("/")))
        self.assert_error(await self.hit(url), 502, "too_many_redirects")

    async def test_connections_of_redirects_are_not_kept(self) -> None:
        url, upstream = self.chain(5)
        await self.hit(url)
        for connection in upstream.connections:
            await connection.lost

    async def test_redirect_to_an_invalid_url_gets_502(self) -> None:
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

    async def test_redirect_without_location_passes(self) -> None:
        url, _ = self.upstream(answer(b"HTTP/1.1 302 Found\r\nContent-Length: 1\r\n\r\nx"))
        self.assertEqual((await self.hit(url)).status, 302)

    async def test_each_redirect_is_checked_by_the_policy(self) -> None:
        for location in (
            "http://169.254.169.254/latest/meta-data/",
            "http://[::ffff:169.254.169.254]/",
            "http://0251.0376.0251.0376/",
            "http://2852039166/",
        ):
            url, _ = self.upstream(answer(redirect(location)))
            self.assert_error(await self.hit(url), 403, "address_denied")
        self.assertEqual(set(self.watched.connected), {"127.0.0.1"})
