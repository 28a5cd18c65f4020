"""Tests of L{confd.client.http}: production HTTP code over a wire in memory, and TLS over loopback."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from treq.testing import RequestTraversalAgent
from twisted.internet import defer, endpoints, error, reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.client import HTTPConnectionPool, ResponseNeverReceived
from twisted.web.iweb import IAgent
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from zope.interface import implementer

from confd.client.header_limit import MAX_HEAD_BYTES
from confd.client.http import Http
from confd.client.response import Response
from confd.client.web_agent import web_agent
from confd.codec.bodies import MAX_ANSWER_BYTES
from confd.codec.headers import basic_authorization
from confd.errors import (
    ConfdError,
    Conflict,
    Forbidden,
    Malformed,
    NotFound,
    Unauthenticated,
    Unavailable,
    Unprocessable,
)
from confd.runtime.tls import ClientTls
from tests.integration.certificates import make_certificate
from tests.worker.harness import ScriptedUpstream, answer

URL = "http://127.0.0.1:8080"


class Script(Resource):
    """Answers each request with what C{answer} says of it."""

    isLeaf = True

    def __init__(self, answer: Callable[[Any], Any]) -> None:
        super().__init__()
        self.answer = answer
        self.requests: list[Any] = []

    def render(self, request: Any) -> Any:
        """Remember the request, and answer it."""
        self.requests.append(request)
        return self.answer(request)


@implementer(IAgent)
class Hanging:
    """An agent whose requests only end when they are cancelled, with an error that the test chooses."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def request(self, method: bytes, uri: bytes, headers: Any = None, bodyProducer: Any = None) -> Deferred[Any]:
        """Wait for ever."""
        return Deferred(lambda waiting: waiting.errback(self.error))


class HttpTests(SynchronousTestCase):
    """L{Http}."""

    def setUp(self) -> None:
        self.clock = Clock()

    def http(self, script: Script, username: str | None = None, password: str | None = None) -> Http:
        """A client of the script."""
        return Http(self.clock, RequestTraversalAgent(script), username, password)

    def answer(self, answer: Callable[[Any], Any]) -> Response:
        """What comes back."""
        found: Response = self.successResultOf(self.http(Script(answer)).call("It", "GET", URL))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        return found

    def test_a_call_returns_status_and_body(self) -> None:
        self.assertEqual(self.answer(lambda _: b"hello"), Response("It", 200, b"hello"))

    def test_an_answer_without_body(self) -> None:
        def nothing(request: Any) -> bytes:
            request.setResponseCode(304)
            return b""

        self.assertEqual(self.answer(nothing), Response("It", 304, b""))

    def test_a_call_sends_headers_parameters_and_body(self) -> None:
        bodies = []

        def record(request: Any) -> bytes:
            bodies.append(request.content.read())
            return b""

        script = Script(record)
        calling = self.http(script, "agent", "pass:wörd").call(
            "It", "POST", f"{URL}/path", headers={"X-One": "1"}, params={"namespace": "edge"}, body=b'{"a":1}'
        )
        self.successResultOf(calling)
        (request,) = script.requests
        self.assertEqual((request.method, request.uri, bodies), (b"POST", b"/path?namespace=edge", [b'{"a":1}']))
        self.assertEqual((request.getUser(), request.getPassword()), (b"agent", "pass:wörd".encode()))
        self.assertEqual((request.getHeader("x-one"), request.getHeader("content-type")), ("1", "application/json"))

    def test_without_a_user_name_no_credentials_are_sent(self) -> None:
        script = Script(lambda _: b"")
        self.successResultOf(self.http(script).call("It", "GET", URL))
        self.assertIsNone(script.requests[0].getHeader("authorization"))

    def test_new_credentials_are_used_from_the_next_call_on(self) -> None:
        script = Script(lambda _: b"")
        http = self.http(script, "agent", "old")
        self.successResultOf(http.call("It", "GET", URL))
        http.present("agent", "new")
        self.successResultOf(http.call("It", "GET", URL))
        shown = [each.getHeader("authorization") for each in script.requests]
        self.assertEqual(shown, [basic_authorization("agent", word).decode() for word in ("old", "new")])

    def test_redirects_are_not_followed(self) -> None:
        def elsewhere(request: Any) -> bytes:
            request.redirect(b"http://127.0.0.1:9/")
            return b""

        script = Script(elsewhere)
        answer = self.successResultOf(self.http(script, "agent", "secret").call("It", "GET", URL))
        self.assertEqual((answer.status, len(script.requests)), (302, 1))
        self.assertRaises(Malformed, answer.raise_unless_success)

    def test_cookies_are_not_kept(self) -> None:
        def bake(request: Any) -> bytes:
            request.addCookie("name", "value")
            return b""

        script = Script(bake)
        http = self.http(script)
        for _ in range(2):
            self.successResultOf(http.call("It", "GET", URL))
        self.assertIsNone(script.requests[1].getHeader("cookie"))

    def test_the_longest_answer_that_is_read(self) -> None:
        self.assertEqual(len(self.answer(lambda _: b"x" * MAX_ANSWER_BYTES).body), MAX_ANSWER_BYTES)

    def test_a_longer_one_is_cut(self) -> None:
        longer = Script(lambda _: b"x" * (MAX_ANSWER_BYTES + 1))
        failure = self.failureResultOf(self.http(longer).call("It", "GET", URL), Malformed)
        self.assertEqual(failure.value.code, "answer_too_long")

    def test_retry_after_counts_for_429_and_503_only(self) -> None:
        """By the server's own clock, and only where it cannot answer now."""

        def refuse(status: int, value: str) -> Callable[[Any], bytes]:
            def answer(request: Any) -> bytes:
                request.setResponseCode(status)
                request.setHeader("Date", "Thu, 01 Jan 1970 00:00:00 GMT")
                request.setHeader("Retry-After", value)
                return b""

            return answer

        for status, value, wanted in (
            (503, "60", 60.0), (429, "60", 60.0), (503, "Thu, 01 Jan 1970 00:00:30 GMT", 30.0), (429, "-1", None),
            (404, "60", None), (500, "60", None),
        ):  # fmt: skip
            error = self.assertRaises(ConfdError, self.answer(refuse(status, value)).raise_unless_success)
            self.assertEqual(error.retry_after, wanted, (status, value))

    def pieces(self, size: int, seconds: float, count: int) -> Deferred[Response]:
        """An answer that comes in pieces."""
        waiting: list[Any] = []

        def hold(request: Any) -> Any:
            waiting.append(request)
            request.setHeader("Content-Length", str(size * count))
            request.write(b"")
            return NOT_DONE_YET

        agent = RequestTraversalAgent(Script(hold))
        calling = Http(self.clock, agent, None, None).call("It", "GET", URL)
        for _ in range(count):
            self.clock.advance(seconds)
            if calling.called:
                break
            waiting[0].write(b"x" * size)
            agent.flush()
        if not calling.called:
            waiting[0].finish()
            agent.flush()
        return calling

    def test_a_slow_response_is_read_and_a_silent_one_is_cut(self) -> None:
        answer = self.successResultOf(self.pieces(30000, 1.0, 30))
        self.assertEqual(len(answer.body), 900000)
        for size, seconds in ((1, 1.0), (1, 60.0), (100, 9.0), (8000, 11.0)):
            failure = self.failureResultOf(self.pieces(size, seconds, 100), Unavailable)
            self.assertEqual(failure.value.code, "unreachable", (size, seconds))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_large_upload_extends_the_deadline(self) -> None:
        body = b"x" * 819200
        calling = self.http(Script(lambda _: NOT_DONE_YET)).call("It", "POST", URL, body=body)
        self.clock.advance(109)
        self.assertNoResult(calling)
        self.clock.advance(2)
        self.failureResultOf(calling, Unavailable)

    def test_a_compressed_response_is_refused(self) -> None:

        def encoded(status: int, coding: str) -> Callable[[Any], bytes]:
            def answer(request: Any) -> bytes:
                request.setResponseCode(status)
                request.setHeader("Content-Encoding", coding)
                return gzip.compress(b"x" * MAX_ANSWER_BYTES)

            return answer

        for coding in ("gzip", "GZIP", "br", "deflate", "identity, gzip", "x\ty"):
            script = Script(encoded(200, coding))
            failure = self.failureResultOf(self.http(script).call("It", "GET", URL), Malformed)
            self.assertEqual(failure.value.code, "encoded_answer", coding)
            self.assertEqual(script.requests[0].getHeader("accept-encoding"), "identity")
            streaming = Deferred.fromCoroutine(self.http(script).stream("It", URL, {}, {}, lambda _: None))
            self.assertEqual(self.failureResultOf(streaming, Malformed).value.code, "encoded_answer", coding)
        self.assertEqual(self.answer(encoded(503, "gzip")), Response("It", 503, b""))
        self.assertEqual(len(self.answer(encoded(200, "identity")).body), len(gzip.compress(b"x" * MAX_ANSWER_BYTES)))

    def test_a_redirect_is_not_followed_and_names_its_target(self) -> None:
        for status, place, said in (
            (301, "https://h/api/v1/config", "to https://h;"),
            (302, "https://u:p@h:8443/confd/api/v1/config?token=x", "to https://h:8443/confd;"),
            (307, "//[::1]:8443/login", "to http://[::1]:8443/login;"),
            (308, "/api/v1/config/", "to http://127.0.0.1:8080/api/v1/config/;"),
            (308, "/api/v1/config", "to http://127.0.0.1:8080/api/v1/config;"),
            (303, "https://[::1/", "without a valid target"),
            (301, None, "answers 301."),
        ):

            def answer(request: Any, status: int = status, place: str | None = place) -> bytes:
                request.setResponseCode(status)
                if place is not None:
                    request.setHeader("Location", place)
                return b""

            script = Script(answer)
            http = Http(Clock(), RequestTraversalAgent(script), None, None, "CONTROLLER_URL")
            found = self.successResultOf(http.call("It", "GET", f"{URL}/api/v1/config"))
            error = self.assertRaises(Malformed, found.raise_unless_success)
            self.assertEqual(len(script.requests), 1)
            self.assertIn(f"It answers {status}", str(error))
            self.assertIn(said, str(error))
            self.assertNotIn("token", str(error))
            self.assertNotIn("u:p", str(error))
            self.assertEqual("set CONTROLLER_URL" in str(error), "redirects to" in str(error))

    def test_an_answer_that_is_cut_off(self) -> None:
        def half(request: Any) -> Any:
            request.setHeader("Content-Length", "100")
            request.write(b"half")
            request.transport.loseConnection()
            return NOT_DONE_YET

        agent = RequestTraversalAgent(Script(half))
        calling = Http(self.clock, agent, None, None).call("It", "GET", URL)
        agent.flush()
        self.assertEqual(self.failureResultOf(calling, Unavailable).value.code, "unreachable")

    # -- deadlines --

    def test_no_answer_in_time(self) -> None:
        script = Script(lambda _: NOT_DONE_YET)
        calling = self.http(script).call("The worker", "GET", URL)
        self.clock.advance(9.9)
        self.assertNoResult(calling)
        self.clock.advance(0.1)
        failure = self.failureResultOf(calling, Unavailable)
        self.assertEqual(failure.value.message, "The worker does not answer within 10 seconds.")

    def test_a_body_that_trickles(self) -> None:
        def trickle(request: Any) -> Any:
            request.write(b"a")
            return NOT_DONE_YET

        script = Script(trickle)
        agent = RequestTraversalAgent(script)
        calling = Http(self.clock, agent, None, None).call("The worker", "GET", URL)
        for _ in range(9):
            self.clock.advance(1)
            script.requests[0].write(b"a")
            agent.flush()
        self.assertNoResult(calling)
        self.clock.advance(1)
        agent.flush()
        self.failureResultOf(calling, Unavailable)

    def test_no_connection_in_time(self) -> None:
        memory: Any = MemoryReactorClock()
        agent = web_agent(
            memory, HTTPConnectionPool(memory), ClientTls(memory, defer.maybeDeferred, "CONTROLLER", None)
        )
        calling = Http(memory, agent, None, None).call("It", "GET", URL)
        ((_, _, factory, seconds, _),) = memory.tcpClients
        self.assertEqual(seconds, 5)
        factory.clientConnectionFailed(None, Failure(error.TimeoutError()))
        memory.advance(1)
        failure = self.failureResultOf(calling, Unavailable)
        self.assertEqual(failure.value.message, "It cannot be reached: User timeout caused connection failure.")

    def test_a_call_that_is_given_up_is_no_failure_of_the_other_side(self) -> None:
        for header in (
            defer.CancelledError(),
            error.ConnectingCancelledError(None),
            ResponseNeverReceived([Failure(defer.CancelledError())]),
        ):
            http = Http(self.clock, Hanging(header), None, None)
            calling = http.call("It", "GET", URL)
            calling.cancel()
            self.failureResultOf(calling, defer.CancelledError)
            late = http.call("It", "GET", URL)
            self.clock.advance(10)
            self.failureResultOf(late, Unavailable)
            self.assertEqual(self.clock.getDelayedCalls(), [])

    # -- what an error answer means --

    def test_each_status_raises_its_error(self) -> None:
        for status, kind in (
            (301, Malformed),
            (400, Unprocessable),
            (401, Unauthenticated),
            (403, Forbidden),
            (404, NotFound),
            (409, Conflict),
            (410, Malformed),
            (413, Unprocessable),
            (415, Unprocessable),
            (422, Unprocessable),
            (429, Unavailable),
            (500, Unavailable),
            (502, Unavailable),
            (503, Unavailable),
        ):
            raised = self.assertRaises(ConfdError, Response("It", status, b"").raise_unless_success)
            self.assertIs(type(raised), kind, status)
            self.assertTrue(raised.message.startswith(f"It answers {status}"))

    def test_any_2xx_is_success(self) -> None:
        for status in (200, 201, 202, 204):
            Response("It", status, b"").raise_unless_success()

    def test_a_large_error_is_not_parsed(self) -> None:
        for body in (b'{"error": "' + b"x" * 5_000_000 + b'"}', b"x" * 5_000_000):
            code, words = Response("It", 500, body).error()
            self.assertEqual((code, len(words)), ("", 500))

    def test_the_text_of_an_error_is_printable_and_bounded(self) -> None:
        for body, expected in (
            (b'{"error": "No such thing.", "code": "nothing"}', ("nothing", "No such thing.")),
            (b'{"error": "from gin"}', ("", "from gin")),
            (b"404 page not found", ("", "404 page not found")),
            (b"two\nlines\x1b[31m", ("", "two lines\\x1b[31m")),
            (b"", ("", "")),
            (b"\xff" * 3, ("", "\ufffd" * 3)),
            (b'"text"', ("", '"text"')),
        ):
            self.assertEqual(Response("It", 500, body).error(), expected)

    @given(st.binary())
    def test_words_are_bounded_and_harmless(self, body: bytes) -> None:
        code, words = Response("It", 500, body * 50).error()
        self.assertLessEqual(max(len(code), len(words)), 500)
        self.assertTrue(words.isprintable())


class LoopbackTests(TestCase):
    """Over real sockets: what memory cannot show."""

    async def call(self, url: str, ca_file: str | None = None) -> Response:
        """One call; its connection does not outlive it."""
        pool = HTTPConnectionPool(reactor, persistent=False)
        http = Http(
            reactor,
            web_agent(reactor, pool, ClientTls(reactor, defer.maybeDeferred, "CONTROLLER", ca_file)),
            "agent",
            "secret",
        )
        return await http.call("The controller", "GET", url)

    async def listen(self, endpoint: Any) -> int:
        """Serve on it until the test is over; return the port."""
        site = Site(Script(lambda _: b"hello"))
        port = await endpoint.listen(site)
        self.addCleanup(port.stopListening)
        number: int = port.getHost().port
        return number

    async def test_an_endless_response_head_is_cut(self) -> None:
        """F-39: neither many headers, nor a long one, nor interim answers are taken into memory without end."""
        ok = b"HTTP/1.1 200 OK\r\n"
        for start, piece in ((ok, b"a: b\r\n"), (ok, b"a" * 100), (b"", b"HTTP/1.1 102 Processing\r\n\r\n")):
            flood = ScriptedUpstream(answer(start + piece * (2 * MAX_HEAD_BYTES // len(piece))))
            port = await endpoints.TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(flood)
            await self.unreachable(self.call(f"http://127.0.0.1:{port.getHost().port}/"))
            await port.stopListening()
            await flood.connections[0].lost

    def joined(self, *files: Path) -> str:
        """Write the content of several files to one, and return its path."""
        path = Path(self.mktemp())
        path.write_bytes(b"".join(each.read_bytes() for each in files))
        return str(path)

    async def listen_tls(self, days: int = 1) -> tuple[int, Path]:
        """Serve with a certificate that expires after some days; return the port, and the file of its authority."""
        certificate = make_certificate(Path(self.mktemp()), -9, days)
        endpoint = endpoints.SSL4ServerEndpoint(reactor, 0, certificate.options(), interface="127.0.0.1")
        return await self.listen(endpoint), certificate.authority

    async def test_certificate_is_trusted_if_the_ca_file_holds_its_authority(self) -> None:
        port, authority = await self.listen_tls()
        other = make_certificate(Path(self.mktemp())).authority
        answer = await self.call(f"https://127.0.0.1:{port}/", self.joined(other, authority))
        self.assertEqual(answer.body, b"hello")
        for ca_file in (str(other), None):
            raised = await self.unreachable(self.call(f"https://127.0.0.1:{port}/", ca_file))
            self.assertIn("its certificate is ", raised.message)

    async def test_certificate_is_refused_if_it_has_expired_or_names_another_host(self) -> None:
        for host, days, words in (
            ("localhost", 1, "since it names others"),
            ("127.0.0.1", -1, "its certificate has expired"),
        ):
            port, authority = await self.listen_tls(days)
            raised = await self.unreachable(self.call(f"https://{host}:{port}/", str(authority)))
            self.assertIn(words, raised.message)

    def test_a_refused_connection_is_unavailable(self) -> Deferred[None]:
        async def scenario() -> None:
            port = await endpoints.TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(Site(Resource()))
            number = port.getHost().port
            await port.stopListening()
            raised = await self.unreachable(self.call(f"http://127.0.0.1:{number}/"))
            self.assertIn("Connection refused", raised.message)
            self.assertNotIn("secret", raised.message)

        return Deferred.fromCoroutine(scenario())

    async def unreachable(self, call: Coroutine[Any, Any, Response]) -> Unavailable:
        """The failure of a call."""
        try:
            answer = await call
        except Unavailable as raised:
            return raised
        self.fail(f"it answered {answer}")
