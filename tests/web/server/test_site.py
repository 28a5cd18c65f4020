"""Tests of L{confd.web.server.site}: many requests and connections, draining, and the log."""

from __future__ import annotations

from twisted.internet.address import IPv4Address

from confd.codec.headers import basic_authorization
from confd.web.server.site import Limits
from tests.controller.harness import ControllerHarness
from tests.conversation import Conversation, Refused, serve
from tests.web.sample_api import ADMIN, AGENT, AUTH, HEAD, POST, SMALL, SiteCase


class ManyTests(SiteCase):
    """Many requests on a connection, and many connections."""

    def test_connection_serves_several_requests(self) -> None:
        for _ in range(20):
            self.assertEqual(self.caller.get("/open").status, 200)
        self.assertFalse(self.caller.closed)

    def test_connection_closes_on_request_and_after_http_1_0(self) -> None:
        reply = self.caller.get("/open", headers={"Connection": "close"})
        self.assertEqual((reply.status, reply.headers["connection"]), (200, "close"))
        self.assertTrue(self.caller.closed)
        self.caller = self.sample.connect()
        self.caller.send(b"GET /open HTTP/1.0\r\n\r\n")
        self.assertEqual([reply.status for reply in self.caller.replies()], [200])
        self.assertTrue(self.caller.closed)

    def test_pipelined_requests_are_answered_in_order(self) -> None:
        asked = [200, 404, 401, 200, 405]
        paths = [b"GET /open", b"GET /nowhere", b"GET /wish", b"GET /bytes/10", b"PUT /open"]
        self.caller.send(b"".join(path + b" HTTP/1.1\r\nHost: localhost\r\n\r\n" for path in paths))
        self.assertEqual([reply.status for reply in self.caller.replies()], asked)

    def test_pipelined_requests_with_bodies_are_answered_in_order(self) -> None:
        authorized = POST + b"Authorization: Basic " + _basic(ADMIN) + b"\r\n"
        one = authorized + b'Content-Length: 7\r\n\r\n{"a":1}'
        other = authorized + b'Transfer-Encoding: chunked\r\n\r\n3;x=y\r\n{"a\r\n4\r\n":1}\r\n0\r\nX-Trailer: 1\r\n\r\n'
        self.caller.send((one + other) * 3)
        self.assertEqual([reply.json for reply in self.caller.replies()], [{"keys": 1}] * 6)

    def test_pipelined_request_waits_for_a_slow_one(self) -> None:
        self.caller.send(b"GET /later HTTP/1.1\r\nHost: localhost\r\n\r\n" + HEAD + b"\r\n")
        self.assertEqual(self.caller.replies(), [])
        self.sample.api.waiting[0].callback({"first": True})
        self.sample.clock.advance(0)
        self.assertEqual([reply.status for reply in self.caller.replies()], [200, 200])
        self.assertEqual(self.caller.replies()[0].json, {"first": True})

    def test_pipelined_requests_are_served_one_a_turn(self) -> None:
        flood = self.caller.wire.protocol.dataReceived
        flood((HEAD + b"\r\n") * 1000)
        self.assertEqual(len(self.caller.replies()), 1)
        other = self.sample.connect()
        other.wire.protocol.dataReceived(HEAD + b"\r\n")
        self.assertEqual(len(other.replies()), 1)
        self.sample.clock.advance(0)
        self.assertEqual(len(self.caller.replies()), 1000)

    def test_pipelined_requests_of_a_lost_connection_are_dropped(self) -> None:
        self.caller.wire.protocol.dataReceived((HEAD + b"\r\n") * 10)
        self.caller.hang_up()
        self.assertEqual(len(self.caller.replies()), 1)
        self.assertEqual(self.sample.clock.getDelayedCalls(), [])

    def test_server_stops_reading_behind_a_slow_request(self) -> None:
        self.caller.ask("GET", "/later")
        self.caller.send((HEAD + b"\r\n") * 1000)
        self.assertFalse(self.caller.wire.reading)

    def test_head_is_answered_like_get_without_a_body(self) -> None:
        whole, head = self.caller.get("/bytes/1000"), self.caller.request("HEAD", "/bytes/1000")
        self.assertEqual((head.status, head.body), (200, b""))
        self.assertEqual(head.headers["content-length"], "1000")
        self.assertEqual(head.headers.keys(), whole.headers.keys())

    def test_connections_from_one_address_are_limited_but_not_from_this_machine(self) -> None:
        site = serve(self.sample.clock, AUTH, self.sample.api, limits=Limits(connections=100, from_one=2))

        def connect(*host: str) -> Conversation:
            return Conversation(site, self.sample.clock, IPv4Address("TCP", *(host or ("192.0.2.7",)), 1))

        first, _ = connect(), connect()
        for _ in range(3):
            self.assertRaises(Refused, connect)
        self.assertEqual(connect("192.0.2.8").get("/open").status, 200)
        self.assertEqual({connect("127.0.0.1").get("/open").status for _ in range(9)}, {200})
        first.hang_up()
        self.assertEqual(connect().get("/open").status, 200)
        self.assertRaises(Refused, connect)

    def test_connections_above_the_limit_are_closed_and_logged_once(self) -> None:
        logged: list[object] = []
        self.sample.site.connection_limits.log = _Log(logged)
        others = [self.sample.connect() for _ in range(SMALL.connections - 1)]
        for _ in range(5):
            self.assertRaises(Refused, self.sample.connect)
        self.assertEqual(len(logged), 1)
        others[0].hang_up()
        self.sample.connect()
        self.assertRaises(Refused, self.sample.connect)
        self.assertEqual(len(logged), 2)


class DrainTests(SiteCase):
    """L{BoundedSite.drain}."""

    def drain(self) -> object:
        """Begin to drain, and run one turn of the reactor."""
        drained = self.sample.site.drain()
        self.sample.clock.advance(0)
        return drained

    def test_drain_without_connections_is_over_at_once(self) -> None:
        self.caller.hang_up()
        self.successResultOf(self.drain())

    def test_drain_closes_idle_connections(self) -> None:
        self.caller.get("/open")
        self.successResultOf(self.drain())
        self.assertTrue(self.caller.closed)
        self.assertEqual(self.sample.clock.getDelayedCalls(), [])

    def test_drain_finishes_a_request_in_flight_and_closes_its_connection(self) -> None:
        self.caller.ask("GET", "/later")
        drained = self.drain()
        self.advance(9)
        self.assertNoResult(drained)
        self.sample.api.waiting[0].callback({"done": True})
        self.sample.clock.advance(0)
        reply = self.caller.answer()
        self.assertEqual((reply.json, reply.headers["connection"]), ({"done": True}, "close"))  # type: ignore[union-attr]
        self.successResultOf(drained)
        self.assertEqual(self.sample.clock.getDelayedCalls(), [])

    def test_drain_finishes_a_half_sent_request_but_no_pipelined_one(self) -> None:
        self.caller.send(HEAD)
        drained = self.drain()
        self.caller.send(b"\r\n" + HEAD + b"\r\n")
        [reply] = self.caller.replies()
        self.assertEqual((reply.status, reply.headers["connection"]), (200, "close"))
        self.successResultOf(drained)

    def test_drain_aborts_requests_that_take_too_long(self) -> None:
        self.caller.ask("GET", "/later")
        drained = self.drain()
        self.advance(SMALL.drain_seconds)
        self.assertTrue(self.caller.wire.aborted)
        self.successResultOf(drained)
        self.assertEqual(self.sample.api.seen, ["read: CancelledError"])
        self.assertEqual(self.sample.clock.getDelayedCalls(), [])

    def test_drain_lets_a_refused_client_read_its_response(self) -> None:
        self.caller.send(b"nonsense\r\n\r\n")
        drained = self.drain()
        self.assertNoResult(drained)
        self.advance(SMALL.linger_seconds)
        self.successResultOf(drained)
        self.assertEqual(self.only_reply().status, 400)
        self.assertEqual(self.sample.clock.getDelayedCalls(), [])

    def test_drain_aborts_a_client_that_does_not_read(self) -> None:
        self.caller.wire.stall()
        self.caller.ask("GET", "/bytes/1000000")
        drained = self.drain()
        self.advance(SMALL.drain_seconds)
        self.successResultOf(drained)


class LogTests(SiteCase):
    """The log of a site."""

    def test_access_log_has_no_query(self) -> None:
        logged: list[dict[str, object]] = []
        self.sample.site.logger = _Log(logged)
        self.caller.get("/open?token=secret", auth=AGENT)
        [event] = logged
        self.assertEqual((event["method"], event["path"], event["status"]), ("GET", "/open", 200))
        self.assertNotIn("secret", repr(event))

    def test_access_log_is_written_at_its_level_only(self) -> None:
        for level, lines in (("info", 0), ("debug", 1)):
            logged: list[dict[str, object]] = []
            harness = ControllerHarness(LOG_LEVEL=level)
            harness.site.logger = _Log(logged)
            self.assertEqual(harness.caller().get("/health").status, 200)
            self.assertEqual(len(logged), lines, level)
            self.assertIn('route="/health"', harness.metrics.exposition().decode())

    def test_start_and_stop_log_nothing_and_start_no_timer(self) -> None:
        self.assertFalse(self.sample.site.noisy)
        self.caller.hang_up()
        self.sample.site.doStart()
        self.assertEqual(self.sample.clock.getDelayedCalls(), [])
        self.sample.site.doStop()


class _Log:
    """Collects log events."""

    def __init__(self, kept: list[object]) -> None:
        self._kept = kept

    def debug(self, template: str, **fields: object) -> None:
        self._kept.append(fields)

    warn = debug


def _basic(who: tuple[str, str]) -> bytes:

    return basic_authorization(*who).partition(b" ")[2]
