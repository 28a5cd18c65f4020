"""Tests of L{confd.client.controller}, against real HTTP code in memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from treq.testing import RequestTraversalAgent
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import IAgent
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer
from zope.interface.verify import verifyObject

from confd.client.controller import ControllerClient
from confd.client.http import Http
from confd.client.worker import WorkerClient
from confd.codec import bodies, strict_json
from confd.codec.headers import basic_authorization, etag
from confd.errors import ConfdError, Conflict, Malformed, NotFound, Unauthenticated, Unavailable, Unprocessable
from confd.interfaces import IControllerClient, IWorkerClient
from confd.model import Delivered, Registration, RegistrationResponse, Tag, WorkerState
from confd.reports import Report, ReportState
from confd.runtime.offload import Offload, OrderedOffload
from tests.agent.fakes import AGENT_ID, HeldThreads, configuration

A, B = "http://a.example:8080", "http://b.example:8080"


class Server(Resource):
    """
    Answers by what it is asked to.

    @ivar status: of every answer.
    @ivar body: of every answer; C{None} never answers.
    @ivar known: the C{X-Agent-Known} of every answer, if it is to have one.
    @ivar checksum: the C{X-Config-Checksum} of every answer, likewise.
    @ivar extra: more headers of every answer.
    @ivar refuses: credentials that are answered 401.
    @ivar hold: whether it waits with its answers until L{release}.
    """

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.status, self.body = 200, b""  # type: tuple[int, bytes | None]
        self.known: str | None = None
        self.checksum: str | None = None
        self.extra: dict[str, str] = {}
        self.refuses: set[str] = set()
        self.hold, self.held = False, []  # type: tuple[bool, list[Any]]
        self.requests: list[tuple[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.bodies: list[bytes] = []

    def render(self, request: Any) -> Any:
        """Remember the request."""
        self.requests.append((request.method.decode(), request.uri.decode()))
        self.headers.append({name.decode().lower(): values[0].decode() for name, values in _headers(request)})
        self.bodies.append(request.content.read())
        if self.known is not None:
            request.setHeader("X-Agent-Known", self.known)
        if self.checksum is not None:
            request.setHeader("X-Config-Checksum", self.checksum)
        for name, value in self.extra.items():
            request.setHeader(name, value)
        if self.hold:
            self.held.append(request)
            return NOT_DONE_YET
        return self.answer(request)

    def answer(self, request: Any) -> Any:
        """The answer to a request."""
        if request.getHeader("Authorization") in self.refuses:
            request.setResponseCode(401)
            return b""
        request.setResponseCode(self.status)
        return NOT_DONE_YET if self.body is None else self.body

    def release(self) -> None:
        """Answer what was held, and from now on at once."""
        held, self.hold, self.held = self.held, False, []
        for request in held:
            request.write(self.answer(request))
            request.finish()


def _headers(request: Any) -> Any:
    return request.requestHeaders.getAllRawHeaders()


@implementer(IAgent)
class Hosts:
    """Leads each address to its own server, and others nowhere."""

    def __init__(self, **servers: Server) -> None:
        self.agents = {f"{name}.example".encode(): RequestTraversalAgent(server) for name, server in servers.items()}

    def request(self, method: bytes, uri: bytes, headers: Any = None, bodyProducer: Any = None) -> Deferred[Any]:
        """By its host."""
        host = uri.partition(b"://")[2].partition(b":")[0]
        if host not in self.agents:
            return maybeDeferred(_refuse)
        answer: Deferred[Any] = self.agents[host].request(method, uri, headers, bodyProducer)
        return answer


def _refuse() -> None:
    raise ConnectionRefusedError()


class ControllerClientTests(SynchronousTestCase):
    """L{ControllerClient}."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.a, self.b = Server(), Server()
        self.hosts = Hosts(a=self.a, b=self.b)
        self.client = self.make(A)

    def make(self, *urls: str, namespace: str = "default") -> ControllerClient:
        """A client of some controllers."""
        return ControllerClient(
            Http(self.clock, self.hosts, "agent", "secret123"), urls, Offload(maybeDeferred), namespace
        )

    def test_the_client_provides_its_interface(self) -> None:
        verifyObject(IControllerClient, self.client)

    def test_large_answers_are_decoded_in_a_thread(self) -> None:
        """A large poll, registration or report."""
        threads = HeldThreads()
        http = Http(self.clock, self.hosts, "agent", "secret123")
        client = ControllerClient(http, [A], OrderedOffload(threads))
        self.a.body = b'{"padding":[' + b"1," * 500_000 + b"1]}"
        report = Report(configuration(6).tag, ReportState.APPLIED)
        calls = [client.fetch(None, ""), client.register(Registration("host-1")), client.report(report, AGENT_ID)]
        for call in calls:
            self.assertNoResult(call)
        self.assertEqual(threads.run_all(), 3)
        self.failureResultOf(calls[0], Malformed)
        self.failureResultOf(calls[1], Malformed)
        self.assertEqual(self.successResultOf(calls[2]), 0.0)

    def test_an_answer_that_a_thread_cannot_decode_is_asked_of_the_next_controller(self) -> None:
        threads = HeldThreads()
        http = Http(self.clock, self.hosts, "agent", "secret123")
        client = ControllerClient(http, [A, B], OrderedOffload(threads))
        self.a.body = b"[" * 100_000
        self.b.body = bodies.configuration_body(configuration(7))
        polling = client.fetch(None, "")
        threads.run_all()
        self.assertEqual(self.successResultOf(polling).served.configuration, configuration(7))

    # -- fetch --

    def fetch(self, known: Tag | None = None, agent_id: str = "") -> Any:
        """The configuration that is answered."""
        served = self.successResultOf(self.client.fetch(known, agent_id)).served
        return None if served is None else served.configuration

    def fails(self, kind: type[ConfdError]) -> ConfdError:
        """The error of a fetch."""
        error: ConfdError = self.failureResultOf(self.client.fetch(configuration(1).tag, ""), kind).value
        return error

    def test_a_poll_returns_a_configuration(self) -> None:
        self.a.body = bodies.configuration_body(configuration(7))
        self.assertEqual(self.fetch(), configuration(7))
        self.assertEqual(self.a.requests, [("GET", "/api/v1/config")])
        (headers,) = self.a.headers
        self.assertEqual(headers["authorization"], "Basic YWdlbnQ6c2VjcmV0MTIz")
        self.assertFalse({"if-none-match", "x-agent-id"} & headers.keys())

    def test_a_poll_sends_the_known_tag(self) -> None:
        self.a.status = 304
        self.assertIsNone(self.fetch(configuration(7).tag, AGENT_ID))
        (headers,) = self.a.headers
        self.assertEqual((headers["if-none-match"], headers["x-agent-id"]), ('"1a2b3c4d.1.7"', AGENT_ID))

    def test_a_304_returns_the_checksum_of_its_header(self) -> None:
        self.a.status = 304
        for checksum in (None, "sha256:00"):
            self.a.checksum = checksum
            poll = self.successResultOf(self.client.fetch(configuration(7).tag, ""))
            self.assertEqual((poll.served, poll.checksum), (None, checksum or ""))

    def test_a_poll_sends_its_namespace(self) -> None:
        self.client = self.make(A, namespace="edge")
        self.a.body = bodies.configuration_body(configuration(7, namespace="edge"))
        self.assertEqual(self.fetch().namespace, "edge")
        self.assertEqual(self.a.requests, [("GET", "/api/v1/config?namespace=edge")])

    def test_a_configuration_of_another_namespace_is_refused(self) -> None:
        self.client = self.make(A, namespace="edge")
        for body in (
            b'{"version": 3, "data": {"url": "https://ip.me"}, "poll_interval_seconds": 10}',
            bodies.configuration_body(configuration(7, namespace="other")),
        ):
            self.a.body = body
            self.failureResultOf(self.client.fetch(None, ""), Malformed)

    def test_304_where_nothing_was_known(self) -> None:
        self.a.status = 304
        self.failureResultOf(self.client.fetch(None, ""), Malformed)

    def test_rubbish_is_malformed(self) -> None:
        """What captive portals, proxies and cut connections make of an answer."""
        whole = bodies.configuration_body(configuration(7))
        for body in (
            b"",
            b"{}",
            b"null",
            b"[]",
            b"<html>Please log in</html>",
            whole[: len(whole) // 2],
            whole.replace(b"example", b"exampel"),
            whole.replace(b'"version":7', b'"version":"seven"'),
            whole.replace(b'"version":7', b'"version":0'),
            whole.replace(b'"version":7', b'"version":99999999999999999999999'),
            b"[" * 100000,
            b"\xff\xfe",
        ):
            self.a.body = body
            self.fails(Malformed)

    def test_a_poisoned_interval_is_bounded(self) -> None:
        whole = bodies.configuration_body(configuration(7))
        for poison in (b"9999999999", b"-5", b"0", b"1e300", b'"soon"', b"null"):
            self.a.body = whole.replace(b'"poll_interval_seconds":30', b'"poll_interval_seconds":' + poison)
            self.assertTrue(1 <= self.fetch().poll_interval <= 86400)

    @given(st.binary(max_size=200))
    def test_no_answer_raises_anything_else(self, body: bytes) -> None:
        """Rows F-41 and F-62."""
        for status in (200, 204, 304, 400, 404, 500):
            self.a.status, self.a.body = status, body
            self.failureResultOf(self.client.fetch(None, ""), ConfdError)

    def test_each_status_raises_its_error(self) -> None:
        for status, kind in ((404, NotFound), (500, Unavailable), (503, Unavailable), (302, Malformed)):
            self.a.status, self.a.body = status, b'{"error": "Words.", "code": "a_code"}'
            error = self.fails(kind)
            self.assertEqual((error.code, error.message), ("a_code", f"The controller at {A} answers {status}: Words."))

    def test_wrong_credentials_name_the_settings_and_hold_no_secret(self) -> None:
        self.a.status, self.a.body = 401, b'{"error": "secret123"}'
        self.assertEqual(
            self.fails(Unauthenticated).message,
            f"The controller at {A} refuses the credentials; set CONTROLLER_USERNAME and CONTROLLER_PASSWORD to what it"
            " expects.",
        )

    def test_a_refused_connection_is_unavailable(self) -> None:
        self.client = self.make("http://nowhere.example:8080")
        self.assertEqual(
            self.fails(Unavailable).message,
            "The controller at http://nowhere.example:8080 cannot be reached: Connection was refused by other side.",
        )

    def test_a_document_of_the_greatest_depth_is_accepted(self) -> None:
        data: Any = {}
        for _ in range(strict_json.MAX_DEPTH - 1):
            data = {"inner": data}
        deep = configuration(7, document=strict_json.document(strict_json.decode(json.dumps(data).encode())))
        self.a.body = bodies.configuration_body(deep)
        self.assertEqual(self.fetch(), deep)

    # -- several controllers --

    def test_the_next_one_is_tried(self) -> None:
        self.client = self.make("http://nowhere.example:8080", A)
        self.a.body = bodies.configuration_body(configuration(7))
        self.assertEqual(self.fetch(), configuration(7))

    def test_a_captive_portal_is_passed_over(self) -> None:
        self.client = self.make(A, B)
        self.a.body = b"<html>"
        self.b.body = bodies.configuration_body(configuration(7))
        self.assertEqual(self.fetch(), configuration(7))

    def test_the_one_that_answered_is_asked_first(self) -> None:
        self.client = self.make(A, B)
        self.a.status = 503
        self.b.body = bodies.configuration_body(configuration(7))
        for _ in range(3):
            self.fetch()
        self.assertEqual((len(self.a.requests), len(self.b.requests)), (1, 3))
        self.a.status, self.b.status = 200, 503
        self.a.body = self.b.body
        for _ in range(3):
            self.fetch()
        self.assertEqual((len(self.a.requests), len(self.b.requests)), (4, 4))

    def test_a_hung_one_is_passed_over(self) -> None:
        self.client = self.make(A, B)
        self.a.body = None
        self.b.body = bodies.configuration_body(configuration(7))
        fetching = self.client.fetch(None, "")
        self.clock.advance(10)
        self.assertEqual(self.successResultOf(fetching).served.configuration, configuration(7))

    def test_the_last_error_is_raised_if_no_controller_answers(self) -> None:
        self.client = self.make(A, B)
        self.a.status = self.b.status = 503
        self.assertIn(B, self.fails(Unavailable).message)
        self.assertIn(B, self.fails(Unavailable).message, "each is asked once a call, in the same order")

    def test_wrong_credentials_are_said_not_passed_over(self) -> None:
        self.client = self.make(A, B)
        self.a.status = 401
        self.fails(Unauthenticated)
        self.assertEqual(self.b.requests, [])

    def test_a_call_that_is_given_up_asks_nobody_else(self) -> None:
        self.client = self.make(A, B)
        self.a.body = None
        fetching = self.client.fetch(None, "")
        fetching.cancel()
        self.failureResultOf(fetching, CancelledError)
        self.assertEqual(self.b.requests, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    # -- report --

    def report(self) -> Deferred[float]:
        """Report version 7 applied."""
        return self.client.report(Report(configuration(7).tag, ReportState.APPLIED), AGENT_ID)

    def test_a_report_is_sent(self) -> None:
        self.a.body = b'{"report_window_ms":250}'
        self.assertEqual(self.successResultOf(self.report()), 0.25)
        self.assertEqual(self.a.requests, [("POST", "/api/v1/report")])
        self.assertEqual(self.a.headers[0]["x-agent-id"], AGENT_ID)
        sent = json.loads(self.a.bodies[0])
        self.assertEqual((sent["agent_id"], sent["namespace"]), (AGENT_ID, "default"))

    def test_reports_for_its_namespace(self) -> None:
        self.client = self.make(A, namespace="edge")
        self.a.body = b"{}"
        self.successResultOf(self.report())
        self.assertEqual(json.loads(self.a.bodies[0])["namespace"], "edge")

    def test_reports_that_are_not_taken(self) -> None:
        for status, code, kind in (
            (404, "unknown_agent", NotFound),
            (409, "repeated_report", Conflict),
            (400, "bad_field", Unprocessable),
            (429, "too_many", Unavailable),
            (503, "starting", Unavailable),
        ):
            self.a.status, self.a.body = status, json.dumps({"error": "No.", "code": code}).encode()
            self.assertEqual(self.failureResultOf(self.report(), kind).value.code, code)

    def test_a_go_controller_takes_no_reports(self) -> None:
        self.a.status, self.a.body = 404, b"404 page not found"
        self.assertEqual(self.failureResultOf(self.report(), NotFound).value.code, "unexpected_answer")

    # -- membership --

    def test_a_poll_tells_whether_the_agent_is_known(self) -> None:
        for status, known, member in (
            (200, None, True),
            (200, "false", False),
            (304, "false", False),
            (304, None, True),
        ):
            self.a.status = status
            self.a.body = bodies.configuration_body(configuration(7)) if status == 200 else b""
            self.a.known = known
            self.assertEqual(self.successResultOf(self.client.fetch(configuration(7).tag, AGENT_ID)).member, member)

    # -- register --

    def test_a_registration_returns_the_membership(self) -> None:
        self.a.body = json.dumps({"agent_id": AGENT_ID, "poll_interval_seconds": 7}).encode()
        registration = Registration("host-1", "tier=edge", AGENT_ID, "POLLER", "default")
        self.assertEqual(self.successResultOf(self.client.register(registration)), RegistrationResponse(AGENT_ID, 7))
        self.assertEqual(self.a.requests, [("POST", "/api/v1/register")])
        self.assertEqual(json.loads(self.a.bodies[0])["agent_id"], AGENT_ID)
        self.assertEqual(self.a.headers[0]["content-type"], "application/json")

    def test_201_is_success_too(self) -> None:
        self.a.status, self.a.body = 201, json.dumps({"agent_id": AGENT_ID}).encode()
        self.assertEqual(self.successResultOf(self.client.register(Registration())), RegistrationResponse(AGENT_ID, 30))

    def test_an_id_that_is_none(self) -> None:
        for agent_id in ("", "two words", "x" * 65, "line\nbreak", 7, None):
            self.a.body = json.dumps({"agent_id": agent_id}).encode()
            self.failureResultOf(self.client.register(Registration()), Malformed)


class TokenTests(SynchronousTestCase):
    """What an agent shows to its controllers."""

    SHARED = basic_authorization("agent", "secret123").decode()
    OWN = basic_authorization(AGENT_ID, "t0ken").decode()

    def setUp(self) -> None:
        self.clock = Clock()
        self.a, self.b = Server(), Server()
        self.a.body = self.b.body = bodies.configuration_body(configuration(7))
        self.hosts = Hosts(a=self.a, b=self.b)
        self.client = ControllerClient(
            Http(self.clock, self.hosts, "agent", "secret123"), [A, B], Offload(maybeDeferred)
        )
        self.client.present(AGENT_ID, "t0ken")

    def fetch(self) -> bool | None:
        """Poll: whether the agent is known, C{None} where it is turned away."""
        fetching = self.client.fetch(None, AGENT_ID)
        if isinstance(getattr(fetching, "result", None), Failure):
            self.failureResultOf(fetching, Unauthenticated)
            return None
        return bool(self.successResultOf(fetching).member)

    def shown(self, server: Server | None = None) -> list[str]:
        """The credentials of the requests since the last look."""
        server = server or self.a
        headers, server.headers = server.headers, []
        return [each["authorization"] for each in headers]

    def register(self) -> RegistrationResponse:
        """Register."""
        return self.successResultOf(self.client.register(Registration(agent_id=AGENT_ID)))

    def test_requests_carry_the_token_after_a_registration(self) -> None:
        self.assertTrue(self.fetch())
        self.client.report(Report(configuration(7).tag, ReportState.APPLIED), AGENT_ID)
        self.client.stream(None, AGENT_ID, lambda data: None)
        self.assertEqual(self.shown(), [self.OWN] * 3)

    def test_a_refused_token_falls_back_to_the_shared_credentials(self) -> None:
        self.a.refuses = {self.OWN}
        self.assertFalse(self.fetch())
        self.assertFalse(self.fetch())
        self.assertEqual(self.shown(), [self.OWN, self.SHARED, self.SHARED])
        self.a.body = json.dumps({"agent_id": AGENT_ID, "token": "t0ken-2"}).encode()
        membership = self.register()
        self.assertEqual(membership.token, "t0ken-2")
        self.assertNotIn("t0ken-2", repr(membership))
        self.client.present(AGENT_ID, membership.token)
        self.a.body = bodies.configuration_body(configuration(7))
        self.assertTrue(self.fetch())
        self.assertEqual(self.shown(), [self.SHARED, basic_authorization(AGENT_ID, "t0ken-2").decode()])

    def test_both_credentials_are_tried_again_after_both_were_refused(self) -> None:
        self.a.refuses = {self.OWN, self.SHARED}
        self.assertEqual([self.fetch() for _ in range(4)], [None] * 4)
        self.assertEqual(self.shown(), [self.OWN, self.SHARED, self.SHARED] * 2)
        self.a.refuses = {self.SHARED}
        self.assertTrue(self.fetch())
        self.assertTrue(self.fetch())

    def test_concurrent_requests_survive_a_refused_token(self) -> None:
        self.a.refuses = {self.OWN}
        self.a.hold = True
        calls = [self.client.fetch(None, AGENT_ID) for _ in range(3)]
        self.a.release()
        self.hosts.agents[b"a.example"].flush()
        self.assertEqual([self.successResultOf(each).member for each in calls], [False] * 3)

    def test_a_registration_with_a_token_keeps_the_token(self) -> None:
        self.a.body = json.dumps({"agent_id": AGENT_ID}).encode()
        self.assertEqual(self.register().token, "t0ken")
        self.assertEqual(self.shown(), [self.OWN])

    def test_a_go_controller_removes_the_token(self) -> None:
        self.a.refuses = {self.OWN}
        self.a.body = json.dumps({"agent_id": AGENT_ID}).encode()
        self.assertEqual(self.register().token, "")
        self.client.present(AGENT_ID, "")
        self.a.body = bodies.configuration_body(configuration(7))
        self.assertTrue(self.fetch())
        self.assertEqual(self.shown(), [self.OWN, self.SHARED, self.SHARED])

    def test_a_stream_falls_back_to_the_shared_credentials(self) -> None:
        self.a.refuses = {self.OWN}
        self.client.stream(None, AGENT_ID, lambda data: None)
        self.assertEqual(self.shown(), [self.OWN, self.SHARED])

    def test_a_token_that_is_none(self) -> None:
        for token in (7, None, "", "two words", "line\nbreak", "x" * 257, "ü"):
            self.client.present("", "")
            self.a.body = json.dumps({"agent_id": AGENT_ID, "token": token}).encode()
            self.assertEqual(self.register().token, "", token)


class WorkerClientTests(SynchronousTestCase):
    """L{WorkerClient}."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.server = Server()
        self.client = self.make(None, None)

    def make(self, username: str | None, password: str | None) -> WorkerClient:
        """A client of the worker."""
        return WorkerClient(
            Http(self.clock, Hosts(w=self.server), username, password), "http://w.example:8082", Offload(maybeDeferred)
        )

    def fails(self, call: Callable[[], Deferred[Any]], kind: type[ConfdError]) -> ConfdError:
        """The error of a call."""
        error: ConfdError = self.failureResultOf(call(), kind).value
        return error

    def deliver(self) -> Deferred[Delivered]:
        """Hand version 7 over."""
        return self.client.deliver(configuration(7))

    def test_the_client_provides_its_interface(self) -> None:
        verifyObject(IWorkerClient, self.client)

    def test_large_answers_are_decoded_in_a_thread(self) -> None:
        threads = HeldThreads()
        client = WorkerClient(
            Http(self.clock, Hosts(w=self.server), None, None), "http://w.example:8082", Offload(threads)
        )
        self.server.body = b'{"config":{"numbers":[' + b"1," * 500_000 + b"1]}}"
        calls: list[Deferred[Any]] = [client.checksum(), client.state()]
        for call in calls:
            self.assertNoResult(call)
        threads.run_all()
        self.assertIn("sha256:", self.successResultOf(calls[0]))
        self.assertFalse(self.successResultOf(calls[1]).has_config)

    def test_a_delivery_posts_the_document(self) -> None:
        self.server.body = b'{"message": "Configuration updated"}'
        self.successResultOf(self.deliver())
        self.assertEqual(self.server.requests, [("POST", "/config")])
        self.assertEqual(self.server.bodies, [configuration(7).document.raw])
        (headers,) = self.server.headers
        self.assertEqual(headers["x-config-version"], "1a2b3c4d.1.7")
        self.assertEqual(headers["content-type"], "application/json")
        self.assertNotIn("authorization", headers)

    def test_a_delivery_carries_the_credentials(self) -> None:
        self.client = self.make("worker", "secret")
        self.successResultOf(self.deliver())
        self.assertEqual(self.server.headers[0]["authorization"], "Basic d29ya2VyOnNlY3JldA==")

    def test_a_worker_may_answer_with_the_document_that_it_then_holds(self) -> None:
        document = strict_json.document({"url": "https://held.example"})
        self.server.body = b'{"config": ' + document.raw + b"}"
        for applied, checksum in ((None, None), ("wait=1", None), ("a, return=representation", document.checksum)):
            self.server.extra = {} if applied is None else {"Preference-Applied": applied}
            self.assertEqual(self.successResultOf(self.deliver()), Delivered(checksum))
        self.assertEqual(self.server.headers[0]["prefer"], "return=representation")

    def test_any_2xx_is_taken(self) -> None:
        for status in (200, 201, 204):
            self.server.status = status
            self.successResultOf(self.deliver())

    def test_a_refusal_has_the_workers_words(self) -> None:
        for status in (400, 413, 422):
            self.server.status = status
            for body, words in (
                (b'{"error": "url is missing.", "code": "bad_config"}', "url is missing."),
                (b"no\nthanks", "no thanks"),
                (b"x" * 100000, "x" * 500),
            ):
                self.server.body = body
                self.assertEqual(self.fails(self.deliver, Unprocessable).message, words)

    def test_a_newer_one_is_there(self) -> None:
        self.server.status = 409
        self.fails(self.deliver, Conflict)

    def test_each_status_raises_its_error(self) -> None:
        for status, kind in ((401, Unauthenticated), (404, NotFound), (500, Unavailable), (302, Malformed)):
            self.server.status = status
            for call in (self.deliver, self.client.state):
                self.fails(call, kind)

    def test_wrong_credentials_name_the_settings(self) -> None:
        self.server.status = 401
        for call in (self.deliver, self.client.checksum, self.client.state):
            self.assertIn("set WORKER_USERNAME and WORKER_PASSWORD", self.fails(call, Unauthenticated).message)

    def test_a_worker_that_does_not_answer_is_unavailable(self) -> None:
        self.server.body = None
        for call in (self.deliver, self.client.checksum, self.client.state):
            calling = call()
            self.clock.advance(10)
            self.assertEqual(
                self.failureResultOf(calling, Unavailable).value.message,
                "The worker at http://w.example:8082 does not answer within 10 seconds.",
            )

    # -- checksum --

    def test_the_checksum_is_computed_from_the_document(self) -> None:
        """What the worker says of itself is not believed (F-61)."""
        self.server.body = b'{"config": {"url": "https://example.org/7"}, "checksum": "sha256:lie"}'
        self.assertEqual(self.successResultOf(self.client.checksum()), configuration(7).document.checksum)

    def test_the_checksum_without_a_document_is_empty(self) -> None:
        self.server.status, self.server.body = 404, b'{"error": "There is no configuration.", "code": "no_config"}'
        self.assertEqual(self.successResultOf(self.client.checksum()), "")

    def test_a_go_worker_cannot_say(self) -> None:
        for status, body in ((404, b"404 page not found"), (405, b""), (404, b'{"error": "not found"}')):
            self.server.status, self.server.body = status, body
            self.assertIsNone(self.successResultOf(self.client.checksum()))

    def test_invalid_answers_are_malformed(self) -> None:
        for body in (b"", b"{}", b"<html>", b'{"config": 7}', b'{"config": {"n": 9007199254740993}}'):
            self.server.body = body
            self.fails(self.client.checksum, Malformed)

    # -- state --

    def test_the_state_is_that_of_the_health_endpoint(self) -> None:
        self.server.body = b'{"status": "ok", "has_config": true, "version": "1a2b3c4d.1.7", "boot_id": "b"}'
        self.assertEqual(self.successResultOf(self.client.state()), WorkerState(True, "1a2b3c4d.1.7", "b"))
        self.server.body = b'{"status": "ok", "has_config": false}'
        self.assertEqual(self.successResultOf(self.client.state()), WorkerState(False))

    def test_state_that_is_none(self) -> None:
        self.server.body = b"<html>"
        self.fails(self.client.state, Malformed)


class GoTagTests(SynchronousTestCase):
    """Names of the Go system on the wire."""

    def test_the_tag_of_a_go_document_is_a_bare_number(self) -> None:
        go = configuration(7, cluster_id="", epoch=0)
        self.assertEqual((str(go.tag), etag(go.tag)), ("7", '"7"'))
        self.assertEqual(evolve(go, epoch=3).tag, go.tag)
