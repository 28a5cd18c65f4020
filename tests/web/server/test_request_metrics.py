"""Tests of L{confd.web.server.request_metrics}, over HTTP in memory."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from confd.errors import Conflict
from confd.runtime.metrics import Metrics
from confd.web.api.endpoint import ANYONE, AnyQuery, Call, endpoint
from confd.web.api.streaming import StreamingAnswer
from confd.web.auth.basic import BasicAuth
from confd.web.auth.principals import Permission
from confd.web.server.request_metrics import RequestMetrics
from confd.web.server.site import Limits
from tests.conversation import ELSEWHERE, LOOPBACK, Conversation, Refused, serve
from tests.runtime.test_metrics import samples


class Site:
    """The endpoints of the tests."""

    def __init__(self) -> None:
        self.waiting: Deferred[None] = Deferred()

    @endpoint("GET", "/things/<name>", ANYONE, "A thing.", query=AnyQuery)
    async def thing(self, call: Call, name: str) -> object:
        """Answer."""
        return {}

    @endpoint("POST", "/things", ANYONE, "Refused.")
    async def refused(self, call: Call) -> object:
        """Refuse."""
        raise Conflict("no", "No.")

    @endpoint("GET", "/slow", ANYONE, "Waits.")
    async def slow(self, call: Call) -> object:
        """Wait until the test goes on."""
        await self.waiting
        return {}

    @endpoint("GET", "/secret", Permission.ADMIN, "Nobody gets in.")
    async def secret(self, call: Call) -> object:
        """Fail: no test gets here."""
        raise AssertionError

    @endpoint("GET", "/stream", ANYONE, "Lasts.")
    async def stream(self, call: Call) -> StreamingAnswer:
        """Stream until the client hangs up."""
        call.request.write(b"x")
        return StreamingAnswer(Deferred(lambda _: None))


class RequestMetricsTests(SynchronousTestCase):
    """L{RequestMetrics}, over HTTP."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.api = Site()
        self.site = serve(self.clock, BasicAuth(()), self.api)
        self.metrics = Metrics()
        self.site.request_metrics.expose(self.metrics)

    def caller(self) -> Conversation:
        return Conversation(self.site, self.clock)

    def counted(self) -> dict[tuple[str, str, str], float]:
        """Return the requests so far, by method, route and status."""
        return {
            (labels["method"], labels["route"], labels["status"]): value
            for (name, pairs), value in samples(self.metrics.exposition()).items()
            if name == "confd_http_requests_total" and (labels := dict(pairs))
        }

    def took(self, method: str, route: str) -> tuple[float, float]:
        """Return how many responses a route has, and the seconds that they took."""
        found = samples(self.metrics.exposition())
        labels = (("method", method), ("route", route))
        name = "confd_http_request_duration_seconds"
        return found.get((f"{name}_count", labels), 0), found.get((f"{name}_sum", labels), 0)

    def test_requests_are_counted_by_route_and_not_by_path(self) -> None:
        caller = self.caller()
        for name in ("a", "b", "c?d=e"):
            caller.get(f"/things/{name}")
        caller.request("HEAD", "/things/a")
        self.assertEqual(self.counted(), {("GET", "/things/<name>", "200"): 3, ("HEAD", "/things/<name>", "200"): 1})

    def test_refusals_of_handlers_authentication_and_router_are_counted(self) -> None:
        caller = self.caller()
        self.assertEqual([caller.post("/things").status, caller.get("/secret").status], [409, 401])
        self.assertEqual([caller.get("/things").status, caller.get("/nowhere").status], [405, 404])
        self.assertEqual(caller.request("PROPFIND", "/coffee").status, 404)
        self.assertEqual(
            self.counted(),
            {
                ("POST", "/things", "409"): 1,
                ("GET", "/secret", "401"): 1,
                ("GET", "unmatched", "405"): 1,
                ("GET", "unmatched", "404"): 1,
                ("other", "unmatched", "404"): 1,
            },
        )

    def test_refusal_of_the_channel_is_counted_without_a_duration(self) -> None:
        self.caller().send(b"rubbish\r\n\r\n")
        self.caller().send(b"GET //x HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual(self.counted(), {("other", "unmatched", "400"): 2})
        self.assertEqual(self.took("other", "unmatched"), (0, 0))

    def test_duration_runs_from_the_whole_request_to_the_response(self) -> None:
        caller = self.caller()
        caller.send(b"GET /slow HTTP/1.1\r\n")
        self.clock.advance(5)
        caller.send(b"Host: a\r\n\r\n")
        self.clock.advance(2)
        self.assertEqual(self.took("GET", "/slow"), (0, 0))
        self.api.waiting.callback(None)
        self.assertEqual(self.took("GET", "/slow"), (1, 2))

    def test_hang_up_is_counted_once_as_499(self) -> None:
        caller = self.caller()
        caller.ask("GET", "/slow")
        caller.hang_up()
        self.assertEqual(self.counted(), {("GET", "/slow", "499"): 1})

    def test_stream_is_counted_once_when_it_begins(self) -> None:
        caller = self.caller()
        caller.ask("GET", "/stream")
        self.clock.advance(1000)
        caller.hang_up()
        self.assertEqual(self.counted(), {("GET", "/stream", "200"): 1})
        self.assertEqual(self.took("GET", "/stream"), (1, 0))

    def test_refused_connections_are_counted_by_limit(self) -> None:
        site = serve(self.clock, BasicAuth(()), self.api, limits=Limits(connections=3, from_one=2))
        metrics = Metrics()
        site.request_metrics.expose(metrics)

        def refused() -> list[float]:
            found = samples(metrics.exposition())
            return [found["confd_connections_refused_total", (("limit", each),)] for each in ("all", "address")]

        counts = []
        for number, peer in enumerate([ELSEWHERE] * 4 + [LOOPBACK] * 4):
            counts.append(refused())
            if number in (0, 1, 4):
                Conversation(site, self.clock, peer)
            else:
                self.assertRaises(Refused, Conversation, site, self.clock, peer)
        counts.append(refused())
        self.assertEqual(counts, [[0, 0]] * 3 + [[0, 1], [0, 2], [0, 2], [1, 2], [2, 2], [3, 2]])

    def test_unknown_statuses_are_counted_by_class(self) -> None:
        request_metrics = RequestMetrics()
        request_metrics.expose(self.metrics)
        for status in range(590, 600):
            request_metrics.count(b"GET", "/hit", status)
        self.assertEqual(self.counted(), {("GET", "/hit", "5xx"): 10})
