"""The bounds of a site: bodies, headers, time, connections, and how it ends (F-33 to F-36, F-64)."""

from __future__ import annotations

import io

from twisted.trial.unittest import SynchronousTestCase

from confd.web.channel import SECURITY_HEADERS
from confd.web.site import Limits
from confd.wire import basic_authorization
from tests.conversation import Conversation, Refused, Reply
from tests.web.playground import ADMIN, AGENT, Ground

SMALL = Limits(
    body=100_000, header_seconds=10, body_seconds=30, idle_seconds=40, linger_seconds=1, drain_seconds=10, connections=3
)

HEAD = b"GET /open HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /document HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


class SiteTests(SynchronousTestCase):
    """A site with small limits, and one connection to it."""

    def setUp(self) -> None:
        self.ground = Ground(SMALL)
        self.caller = self.ground.connect()

    def advance(self, seconds: float) -> None:
        """Let time pass, in small steps, so that nothing comes late."""
        for _ in range(int(seconds * 4)):
            self.ground.clock.advance(0.25)

    def only_reply(self, caller: Conversation | None = None) -> Reply:
        """The one answer that there is, after which nothing else can come."""
        caller = caller or self.caller
        [reply] = caller.replies()
        self.assertTrue(caller.wire.ended or caller.wire.disconnecting)
        caller.send(HEAD + b"\r\n")
        self.assertEqual(len(caller.replies()), 1)
        return reply

    def refused(self, status: int, code: str) -> Reply:
        """That the connection ended in this refusal, as good as any other error, and leaves nothing behind."""
        reply = self.only_reply()
        self.assertEqual((reply.status, reply.code), (status, code))
        self.assertEqual(reply.headers["connection"], "close")
        self.assertEqual(reply.headers["x-request-id"], reply.json["request_id"])
        self.assertIn("date", reply.headers)
        for name, value in SECURITY_HEADERS.items():
            self.assertEqual(reply.headers[name.lower()], value)
        self.advance(SMALL.linger_seconds)
        self.assertTrue(self.caller.closed)
        self.assertEqual(self.ground.clock.getDelayedCalls(), [])
        return reply


class BodyTests(SiteTests):
    """No body is larger than the limit, and none is read that will be refused."""

    def test_too_long_by_its_length(self) -> None:
        """One that says that it is too long is refused before a byte of it, and before anyone asks who sends it."""
        self.caller.send(POST + b"Content-Length: 99999999999\r\n\r\n")
        self.refused(413, "body_too_large")

    def test_one_byte_too_long(self) -> None:
        """The limit is exact."""
        self.caller.send(POST + b"Content-Length: 100001\r\n\r\n")
        self.refused(413, "body_too_large")

    def test_exactly_at_the_limit(self) -> None:
        """A body of just that size is taken."""
        body = b'{"a":"%s"}' % (b"x" * (SMALL.body - 8))
        headers = {"Content-Type": "application/json"}
        reply = self.caller.post("/document", body=body, headers=headers, auth=ADMIN)
        self.assertEqual((reply.status, reply.json), (200, {"keys": 1}))

    def test_endless_chunks(self) -> None:
        """One that does not say is refused when it becomes too long; what was kept of it is dropped."""
        self.caller.send(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(40):
            self.caller.send(b"1000\r\n" + b"x" * 4096 + b"\r\n")
        self.refused(413, "body_too_large")

    def test_one_endless_chunk(self) -> None:
        """The same where it comes in one chunk."""
        self.caller.send(POST + b"Transfer-Encoding: chunked\r\n\r\nffffffffff\r\n")
        for _ in range(40):
            self.caller.send(b"x" * 4096)
        self.refused(413, "body_too_large")

    def test_number_beyond_python(self) -> None:
        """A length of more digits than Python converts is refused, and is no error of ours."""
        self.caller.send(POST + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n")
        self.refused(400, "bad_request")

    def test_goes_on_after_the_refusal(self) -> None:
        """A client that goes on sending is cut, whatever it sends."""
        self.caller.send(POST + b"Content-Length: 200000\r\n\r\n")
        for _ in range(8):
            self.caller.send(b"x" * 65536)
            self.ground.clock.advance(SMALL.linger_seconds / 8)
        self.assertTrue(self.caller.closed)
        self.assertEqual(len(self.caller.replies()), 1)

    def test_stays_in_memory(self) -> None:
        """No body makes a temporary file, whether or not its length is known."""
        made: list[object] = []
        original = self.ground.site.requestFactory
        self.ground.site.requestFactory = lambda *rest: made.append(original(*rest)) or made[-1]
        self.caller = self.ground.connect()
        self.caller.send(POST + b"Transfer-Encoding: chunked\r\n\r\nc350\r\n" + b"x" * 49_999)
        self.assertIsInstance(made[0].content, io.BytesIO)  # type: ignore[attr-defined]
        self.caller.hang_up()
        self.caller = self.ground.connect()
        self.caller.send(POST + b"Content-Length: 99999\r\n\r\nx")
        self.assertIsInstance(made[1].content, io.BytesIO)  # type: ignore[attr-defined]

    def test_forms_are_not_parsed(self) -> None:
        """300 000 form fields, and multipart, are 415 and nothing more."""
        for content_type in ("application/x-www-form-urlencoded", "multipart/form-data; boundary=b"):
            body = b"a=1&" * 20_000
            reply = self.caller.post("/document", body=body, headers={"Content-Type": content_type}, auth=ADMIN)
            self.assertEqual((reply.status, reply.code), (415, "not_json"))

    def test_expects_continue(self) -> None:
        """A client that asks first is told to go on, unless the body is too long."""
        self.caller.send(POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        self.assertEqual(bytes(self.caller.wire.sent), b"HTTP/1.1 100 Continue\r\n\r\n")
        self.caller.send(b"{}")
        self.assertEqual([reply.status for reply in self.caller.replies()], [401])
        self.caller.hang_up()
        self.caller = self.ground.connect()
        self.caller.send(POST + b"Expect: 100-continue\r\nContent-Length: 200000\r\n\r\n")
        self.refused(413, "body_too_large")


class HeaderTests(SiteTests):
    """Headers are few and short."""

    def test_too_many(self) -> None:
        """64 are taken, 65 are not."""
        more = [b"X-%d: 1\r\n" % number for number in range(63)]
        self.caller.send(HEAD + b"".join(more) + b"\r\n")
        self.assertEqual([reply.status for reply in self.caller.replies()], [200])
        self.caller.send(HEAD + b"".join(more) + b"X-Last: 1\r\n\r\n")
        self.caller.wire.sent[:] = self.caller.wire.sent.partition(b"}")[2]
        self.refused(431, "headers_too_large")

    def test_too_long_together(self) -> None:
        """16 KiB of them are too much."""
        self.caller.send(HEAD + b"".join(b"X-%d: %s\r\n" % (number, b"x" * 1000) for number in range(17)) + b"\r\n")
        self.refused(431, "headers_too_large")

    def test_one_too_long(self) -> None:
        """So is one of 16 KiB, before its end has come."""
        self.caller.send(HEAD + b"X-Long: ")
        for _ in range(5):
            self.caller.send(b"x" * 4096)
        self.refused(431, "headers_too_large")

    def test_one_too_long_at_once(self) -> None:
        """And one that came whole."""
        self.caller.send(HEAD + b"X-Long: " + b"x" * 20_000 + b"\r\n\r\n")
        self.refused(431, "headers_too_large")

    def test_request_line_too_long(self) -> None:
        """And a path of 16 KiB."""
        self.caller.send(b"GET /" + b"x" * 20_000)
        self.refused(431, "headers_too_large")


class TimeTests(SiteTests):
    """Nobody holds a connection by being slow."""

    def trickle(self, raw: bytes, seconds: int) -> None:
        """Send one byte a second."""
        for position in range(seconds):
            self.caller.send(raw[position : position + 1])
            self.advance(1)

    def test_slow_headers(self) -> None:
        """A byte a second does not put the deadline of the headers off."""
        self.trickle(HEAD, 9)
        self.assertEqual(self.caller.replies(), [])
        self.trickle(HEAD[9:], 1)
        self.refused(408, "too_slow")

    def test_slow_headers_of_the_second_request(self) -> None:
        """Nor on a connection that has served one, even where the two overlap in one segment."""
        self.caller.send(HEAD + b"\r\nGET /")
        self.assertEqual(len(self.caller.replies()), 1)
        self.advance(SMALL.header_seconds)
        self.assertEqual([reply.status for reply in self.caller.replies()], [200, 408])

    def test_slow_body(self) -> None:
        """Nor that of the body, which begins where the headers end."""
        self.caller.send(POST + b"Content-Length: 1000\r\n\r\n")
        self.trickle(b"x" * 100, 29)
        self.assertEqual(self.caller.replies(), [])
        self.trickle(b"x", 1)
        self.refused(408, "too_slow")

    def test_slow_chunks(self) -> None:
        """Nor that of a chunked one."""
        self.caller.send(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        self.trickle(b"1\r\nx\r\n" * 10, 30)
        self.refused(408, "too_slow")

    def test_says_nothing(self) -> None:
        """A connection on which nothing happens is closed without an answer."""
        self.advance(SMALL.idle_seconds)
        self.assertTrue(self.caller.closed)
        self.assertEqual(bytes(self.caller.wire.sent), b"")
        self.assertEqual(self.ground.clock.getDelayedCalls(), [])

    def test_says_nothing_more(self) -> None:
        """So is a kept one."""
        self.caller.get("/open")
        self.advance(SMALL.idle_seconds - 1)
        self.assertFalse(self.caller.closed)
        self.advance(1)
        self.assertTrue(self.caller.closed)
        self.assertEqual(self.ground.clock.getDelayedCalls(), [])

    def test_slow_handler(self) -> None:
        """No clock of the client's runs while we are the slow one."""
        self.caller.ask("GET", "/later")
        self.advance(SMALL.idle_seconds * 3)
        self.ground.api.waiting[0].callback({"late": True})
        self.assertEqual(self.caller.answer().json, {"late": True})  # type: ignore[union-attr]

    def test_takes_no_answer(self) -> None:
        """A client that does not take its answer is cut, whether or not it wanted to keep the connection."""
        for headers in ({}, {"Connection": "close"}):
            caller = self.ground.connect()
            caller.wire.stall()
            caller.ask("GET", "/bytes/1000000", headers=headers)
            self.advance(SMALL.idle_seconds * 2)
            self.assertTrue(caller.wire.aborted, headers)
        self.caller.hang_up()
        self.assertEqual(self.ground.clock.getDelayedCalls(), [])

    def test_takes_its_answer_late(self) -> None:
        """One that does in time gets all of it."""
        self.caller.wire.stall()
        self.caller.ask("GET", "/bytes/1000000", headers={"Connection": "close"})
        self.advance(SMALL.idle_seconds - 1)
        self.caller.wire.flow()
        self.advance(1)
        [reply] = self.caller.replies()
        self.assertEqual((len(reply.body), reply.whole, self.caller.closed), (1_000_000, True, True))
        self.assertEqual(self.ground.clock.getDelayedCalls(), [])

    def test_lost_at_any_moment(self) -> None:
        """Wherever a connection breaks off, no timer is left."""
        whole = POST + b"Content-Length: 4\r\n\r\n{}  " + HEAD + b"\r\n" + HEAD[:20]
        for length in range(len(whole) + 1):
            self.caller.send(whole[:length])
            self.caller.hang_up()
            self.assertEqual(self.ground.clock.getDelayedCalls(), [], whole[:length])
            self.caller = self.ground.connect()


class ManyTests(SiteTests):
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
        self.caller = self.ground.connect()
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
        self.ground.api.waiting[0].callback({"first": True})
        self.ground.clock.advance(0)
        self.assertEqual([reply.status for reply in self.caller.replies()], [200, 200])
        self.assertEqual(self.caller.replies()[0].json, {"first": True})

    def test_pipelined_flood(self) -> None:
        """A thousand requests in one segment are served one a turn, so that others are served in between."""
        flood = self.caller.wire.protocol.dataReceived
        flood((HEAD + b"\r\n") * 1000)
        self.assertEqual(len(self.caller.replies()), 1)
        other = self.ground.connect()
        other.wire.protocol.dataReceived(HEAD + b"\r\n")
        self.assertEqual(len(other.replies()), 1)
        self.ground.clock.advance(0)
        self.assertEqual(len(self.caller.replies()), 1000)

    def test_flood_that_is_lost(self) -> None:
        """What was pipelined on a connection that is lost is not served."""
        self.caller.wire.protocol.dataReceived((HEAD + b"\r\n") * 10)
        self.caller.hang_up()
        self.assertEqual(len(self.caller.replies()), 1)
        self.assertEqual(self.ground.clock.getDelayedCalls(), [])

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

    def test_too_many_connections(self) -> None:
        """Above the limit a connection is closed at once; the log says so once; a free place is taken again."""
        logged: list[object] = []
        self.ground.site.logger = _Log(logged)
        others = [self.ground.connect() for _ in range(SMALL.connections - 1)]
        for _ in range(5):
            self.assertRaises(Refused, self.ground.connect)
        self.assertEqual(len(logged), 1)
        others[0].hang_up()
        self.ground.connect()
        self.assertRaises(Refused, self.ground.connect)
        self.assertEqual(len(logged), 2)


class DrainTests(SiteTests):
    """How a site ends."""

    def drain(self) -> object:
        """Begin; what has to happen at once happens."""
        drained = self.ground.site.drain()
        self.ground.clock.advance(0)
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
        self.assertEqual(self.ground.clock.getDelayedCalls(), [])

    def test_in_flight(self) -> None:
        """A request that is being answered is finished, and told that it was the last."""
        self.caller.ask("GET", "/later")
        drained = self.drain()
        self.advance(9)
        self.assertNoResult(drained)
        self.ground.api.waiting[0].callback({"done": True})
        self.ground.clock.advance(0)
        reply = self.caller.answer()
        self.assertEqual((reply.json, reply.headers["connection"]), ({"done": True}, "close"))  # type: ignore[union-attr]
        self.successResultOf(drained)
        self.assertEqual(self.ground.clock.getDelayedCalls(), [])

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
        self.assertEqual(self.ground.api.seen, ["read: CancelledError"])
        self.assertEqual(self.ground.clock.getDelayedCalls(), [])

    def test_refused(self) -> None:
        """A client that was refused a moment ago may still read why."""
        self.caller.send(b"nonsense\r\n\r\n")
        drained = self.drain()
        self.assertNoResult(drained)
        self.advance(SMALL.linger_seconds)
        self.successResultOf(drained)
        self.assertEqual(self.only_reply().status, 400)
        self.assertEqual(self.ground.clock.getDelayedCalls(), [])

    def test_slow_reader(self) -> None:
        """One that does not take its answer is cut in the end."""
        self.caller.wire.stall()
        self.caller.ask("GET", "/bytes/1000000")
        drained = self.drain()
        self.advance(SMALL.drain_seconds)
        self.successResultOf(drained)


class LogTests(SiteTests):
    """What a site writes into the log."""

    def test_no_query(self) -> None:
        """The path of a request, and not its query."""
        logged: list[dict[str, object]] = []
        self.ground.site.logger = _Log(logged)
        self.caller.get("/open?token=secret", auth=AGENT)
        [event] = logged
        self.assertEqual((event["method"], event["path"], event["status"]), ("GET", "/open", 200))
        self.assertNotIn("secret", repr(event))

    def test_quiet(self) -> None:
        """To start and stop it says nothing, and starts no timer."""
        self.assertFalse(self.ground.site.noisy)
        self.caller.hang_up()
        self.ground.site.doStart()
        self.assertEqual(self.ground.clock.getDelayedCalls(), [])
        self.ground.site.doStop()


class _Log:
    """Keeps the fields of what is logged."""

    def __init__(self, kept: list[object]) -> None:
        self._kept = kept

    def debug(self, template: str, **fields: object) -> None:
        self._kept.append(fields)

    warn = debug


def _basic(who: tuple[str, str]) -> bytes:

    return basic_authorization(*who).partition(b" ")[2]
