"""Many requests and connections, how a site ends, and what it logs (F-37, F-64)."""

from __future__ import annotations

from twisted.internet.address import IPv4Address

from confd.codec.headers import basic_authorization
from confd.web.server.site import Limits
from tests.conversation import Conversation, Refused, serve
from tests.web.sample_api import ADMIN, AGENT, AUTH, HEAD, POST, SMALL, SiteCase


class ManyTests(SiteCase):
    """Many requests on a connection, and many connections."""

    def test_kept(self) -> None:
        """A connection serves one request after the other."""
        for _ in range(20):
            self.assertEqual(self.caller.get("/open").status, 200)
        self.assertFalse(self.caller.closed)

    def test_closed_on_demand(self) -> None:
        """It is closed where the client asks for that, and after HTTP/1.0."""
        reply = self.caller.get("/open", headers={"Connection": "close"})
        self.assertEqual((reply.status, reply.headers["connection"]), (200, "close"))
        self.assertTrue(self.caller.closed)
        self.caller = self.sample.connect()
        self.caller.send(b"GET /open HTTP/1.0\r\n\r\n")
        self.assertEqual([reply.status for reply in self.caller.replies()], [200])
        self.assertTrue(self.caller.closed)

    def test_pipelined(self) -> None:
        """Requests that come together are answered in order."""
        asked = [200, 404, 401, 200, 405]
        paths = [b"GET /open", b"GET /nowhere", b"GET /wish", b"GET /bytes/10", b"PUT /open"]
        self.caller.send(b"".join(path + b" HTTP/1.1\r\nHost: localhost\r\n\r\n" for path in paths))
        self.assertEqual([reply.status for reply in self.caller.replies()], asked)

    def test_pipelined_with_bodies(self) -> None:
        """So are those with bodies, of either framing."""
        authorized = POST + b"Authorization: Basic " + _basic(ADMIN) + b"\r\n"
        one = authorized + b'Content-Length: 7\r\n\r\n{"a":1}'
        other = authorized + b'Transfer-Encoding: chunked\r\n\r\n3;x=y\r\n{"a\r\n4\r\n":1}\r\n0\r\nX-Trailer: 1\r\n\r\n'
        self.caller.send((one + other) * 3)
        self.assertEqual([reply.json for reply in self.caller.replies()], [{"keys": 1}] * 6)

    def test_pipelined_behind_a_slow_one(self) -> None:
        """What comes behind a request that takes its time waits for it."""
        self.caller.send(b"GET /later HTTP/1.1\r\nHost: localhost\r\n\r\n" + HEAD + b"\r\n")
        self.assertEqual(self.caller.replies(), [])
        self.sample.api.waiting[0].callback({"first": True})
        self.sample.clock.advance(0)
        self.assertEqual([reply.status for reply in self.caller.replies()], [200, 200])
        self.assertEqual(self.caller.replies()[0].json, {"first": True})

    def test_pipelined_flood(self) -> None:
        """A thousand requests in one segment are served one a turn, so that others are served in between."""
        flood = self.caller.wire.protocol.dataReceived
        flood((HEAD + b"\r\n") * 1000)
        self.assertEqual(len(self.caller.replies()), 1)
        other = self.sample.connect()
        other.wire.protocol.dataReceived(HEAD + b"\r\n")
        self.assertEqual(len(other.replies()), 1)
        self.sample.clock.advance(0)
        self.assertEqual(len(self.caller.replies()), 1000)

    def test_flood_that_is_lost(self) -> None:
        """What was pipelined on a connection that is lost is not served."""
        self.caller.wire.protocol.dataReceived((HEAD + b"\r\n") * 10)
        self.caller.hang_up()
        self.assertEqual(len(self.caller.replies()), 1)
        self.assertEqual(self.sample.clock.getDelayedCalls(), [])

    def test_flood_behind_a_slow_one(self) -> None:
        """Nor is more than a little of it read while a request takes its time."""
        self.caller.ask("GET", "/later")
        self.caller.send((HEAD + b"\r\n") * 1000)
        self.assertFalse(self.caller.wire.reading)

    def test_head(self) -> None:
        """HEAD is answered as GET, without the body."""
        whole, head = self.caller.get("/bytes/1000"), self.caller.request("HEAD", "/bytes/1000")
        self.assertEqual((head.status, head.body), (200, b""))
        self.assertEqual(head.headers["content-length"], "1000")
        self.assertEqual(head.headers.keys(), whole.headers.keys())

    def test_too_many_from_one_address(self) -> None:
        """Others get in, this machine always does, and there is room again once one has gone."""
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

    def test_too_many_connections(self) -> None:
        """Above the limit a connection is closed at once; the log says so once; a free place is taken again."""
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
    """How a site ends."""

    def drain(self) -> object:
        """Begin; what has to happen at once happens."""
        drained = self.sample.site.drain()
        self.sample.clock.advance(0)
        return drained

    def test_nobody_there(self) -> None:
        """It is over at once."""
        self.caller.hang_up()
        self.successResultOf(self.drain())

    def test_idle(self) -> None:
        """Connections that wait for nothing are closed."""
        self.caller.get("/open")
        self.successResultOf(self.drain())
        self.assertTrue(self.caller.closed)
        self.assertEqual(self.sample.clock.getDelayedCalls(), [])

    def test_in_flight(self) -> None:
        """A request that is being answered is finished, and told that it was the last."""
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

    def test_half_sent(self) -> None:
        """So is one of which a part has come; what is pipelined behind it is not begun."""
        self.caller.send(HEAD)
        drained = self.drain()
        self.caller.send(b"\r\n" + HEAD + b"\r\n")
        [reply] = self.caller.replies()
        self.assertEqual((reply.status, reply.headers["connection"]), (200, "close"))
        self.successResultOf(drained)

    def test_cut(self) -> None:
        """What takes too long is cut."""
        self.caller.ask("GET", "/later")
        drained = self.drain()
        self.advance(SMALL.drain_seconds)
        self.assertTrue(self.caller.wire.aborted)
        self.successResultOf(drained)
        self.assertEqual(self.sample.api.seen, ["read: CancelledError"])
        self.assertEqual(self.sample.clock.getDelayedCalls(), [])

    def test_refused(self) -> None:
        """A client that was refused a moment ago may still read why."""
        self.caller.send(b"nonsense\r\n\r\n")
        drained = self.drain()
        self.assertNoResult(drained)
        self.advance(SMALL.linger_seconds)
        self.successResultOf(drained)
        self.assertEqual(self.only_reply().status, 400)
        self.assertEqual(self.sample.clock.getDelayedCalls(), [])

    def test_slow_reader(self) -> None:
        """One that does not take its answer is cut in the end."""
        self.caller.wire.stall()
        self.caller.ask("GET", "/bytes/1000000")
        drained = self.drain()
        self.advance(SMALL.drain_seconds)
        self.successResultOf(drained)


class LogTests(SiteCase):
    """What a site writes into the log."""

    def test_no_query(self) -> None:
        """The path of a request, and not its query."""
        logged: list[dict[str, object]] = []
        self.sample.site.logger = _Log(logged)
        self.caller.get("/open?token=secret", auth=AGENT)
        [event] = logged
        self.assertEqual((event["method"], event["path"], event["status"]), ("GET", "/open", 200))
        self.assertNotIn("secret", repr(event))

    def test_quiet(self) -> None:
        """To start and stop it says nothing, and starts no timer."""
        self.assertFalse(self.sample.site.noisy)
        self.caller.hang_up()
        self.sample.site.doStart()
        self.assertEqual(self.sample.clock.getDelayedCalls(), [])
        self.sample.site.doStop()


class _Log:
    """Keeps the fields of what is logged."""

    def __init__(self, kept: list[object]) -> None:
        self._kept = kept

    def debug(self, template: str, **fields: object) -> None:
        self._kept.append(fields)

    warn = debug


def _basic(who: tuple[str, str]) -> bytes:

    return basic_authorization(*who).partition(b" ")[2]
