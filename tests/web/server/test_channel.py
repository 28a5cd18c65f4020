"""The bounds of a connection: bodies, headers and time (F-33 to F-36)."""

from __future__ import annotations

import io

from twisted.logger import capturedLogs

from confd.codec.headers import basic_authorization
from confd.web.server.site import CLIENT_MISTAKE_SECONDS
from tests.web.sample_api import ADMIN, AGENT, HEAD, POST, SMALL, SiteCase


class BodyTests(SiteCase):
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
            self.sample.clock.advance(SMALL.linger_seconds / 8)
        self.assertTrue(self.caller.closed)
        self.assertEqual(len(self.caller.replies()), 1)

    def test_stays_in_memory(self) -> None:
        """No body makes a temporary file, whether or not its length is known."""
        made: list[object] = []
        original = self.sample.site.requestFactory
        self.sample.site.requestFactory = lambda *rest: made.append(original(*rest)) or made[-1]
        self.caller = self.sample.connect()
        right = b"Authorization: " + basic_authorization(*ADMIN) + b"\r\n"
        self.caller.send(POST + right + b"Transfer-Encoding: chunked\r\n\r\nc350\r\n" + b"x" * 49_999)
        self.assertIsInstance(made[0].content, io.BytesIO)  # type: ignore[attr-defined]
        self.caller.hang_up()
        self.caller = self.sample.connect()
        self.caller.send(POST + right + b"Content-Length: 99999\r\n\r\nx")
        self.assertIsInstance(made[1].content, io.BytesIO)  # type: ignore[attr-defined]

    def test_strangers(self) -> None:
        """Of who may not send a large one, no more is read than a small one, said or unsaid; right ones are not cut."""
        chunks = [b"1000\r\n" + b"x" * 4096 + b"\r\n"] * 3
        self.caller.hang_up()
        for auth, path in ((None, b"/document"), (AGENT, b"/document"), (ADMIN, b"/open"), (ADMIN, b"/nowhere")):
            shown = b"" if auth is None else b"Authorization: " + basic_authorization(*auth) + b"\r\n"
            head = POST.replace(b"/document", path) + shown
            for sent in ([b"Content-Length: 8193\r\n\r\n"], [b"Transfer-Encoding: chunked\r\n\r\n", *chunks]):
                self.caller = self.sample.connect()
                for piece in (head, *sent):
                    self.caller.send(piece)
                self.refused(413, "body_too_large")
        self.caller = self.sample.connect()
        reply = self.caller.post("/document", json={"a": "x" * 9000}, auth=ADMIN)
        self.assertEqual((reply.status, self.caller.closed), (200, False))
        reply = self.caller.post("/document", json={"a": "x" * 8000}, auth=AGENT)
        self.assertEqual((reply.status, reply.code, self.caller.closed), (403, "forbidden", False))

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
        self.caller = self.sample.connect()
        self.caller.send(POST + b"Expect: 100-continue\r\nContent-Length: 200000\r\n\r\n")
        self.refused(413, "body_too_large")


class HeaderTests(SiteCase):
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


class TlsTests(SiteCase):
    """A client that speaks TLS to a port that does not waits for nothing."""

    #: How each TLS handshake begins: its kind, its version, the length of what follows.
    HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"

    def test_told_at_once(self) -> None:
        """It gets plain HTTP, which TLS clients call by its name: wrong version number."""
        for sent in (self.HELLO, self.HELLO[:1]):
            self.caller.hang_up()
            self.caller = self.sample.connect()
            self.caller.send(sent)
            self.assertIn("https", self.refused(400, "not_tls").json["error"])

    def test_in_a_body(self) -> None:
        """The same byte elsewhere is nobody's handshake."""
        self.caller.send(POST + b"Content-Length: 1\r\n\r\n")
        self.caller.send(b"\x16")
        self.assertEqual([reply.status for reply in self.caller.replies()], [401])

    def test_said_now_and_then(self) -> None:
        """The log tells what to do, once a minute."""
        with capturedLogs() as logs:
            for pause in (0, CLIENT_MISTAKE_SECONDS - 1, 1, 1):
                self.sample.clock.advance(pause)
                self.sample.connect().send(self.HELLO)
                self.sample.clock.advance(0.5)
                self.sample.clock.advance(0.5)
        told = [each for each in logs if "TLS" in each["log_format"]]
        self.assertEqual([each["log_level"].name for each in told], ["info", "info"])
        self.assertEqual({each["peer"] for each in told}, {"127.0.0.1"})


class TimeTests(SiteCase):
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

    def test_a_slow_link(self) -> None:
        """A body that keeps coming may take longer than that, but no silence within it may."""
        own = b"Authorization: " + basic_authorization(*ADMIN)
        self.caller.send(POST + b"Content-Length: 90000\r\n" + own + b"\r\n\r\n")
        for _ in range(8):
            self.caller.send(b"x" * 10000)
            self.advance(4)
        self.assertEqual(self.caller.replies(), [])
        self.advance(30)
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
        self.assertEqual(self.sample.clock.getDelayedCalls(), [])

    def test_says_nothing_more(self) -> None:
        """So is a kept one."""
        self.caller.get("/open")
        self.advance(SMALL.idle_seconds - 1)
        self.assertFalse(self.caller.closed)
        self.advance(1)
        self.assertTrue(self.caller.closed)
        self.assertEqual(self.sample.clock.getDelayedCalls(), [])

    def test_slow_handler(self) -> None:
        """No clock of the client's runs while we are the slow one."""
        self.caller.ask("GET", "/later")
        self.advance(SMALL.idle_seconds * 3)
        self.sample.api.waiting[0].callback({"late": True})
        self.assertEqual(self.caller.answer().json, {"late": True})  # type: ignore[union-attr]

    def test_takes_no_answer(self) -> None:
        """A client that does not take its answer is cut, whether or not it wanted to keep the connection."""
        for headers in ({}, {"Connection": "close"}):
            caller = self.sample.connect()
            caller.wire.stall()
            caller.ask("GET", "/bytes/1000000", headers=headers)
            self.advance(SMALL.idle_seconds * 2)
            self.assertTrue(caller.wire.aborted, headers)
        self.caller.hang_up()
        self.assertEqual(self.sample.clock.getDelayedCalls(), [])

    def test_takes_its_answer_late(self) -> None:
        """One that does in time gets all of it."""
        self.caller.wire.stall()
        self.caller.ask("GET", "/bytes/1000000", headers={"Connection": "close"})
        self.advance(SMALL.idle_seconds - 1)
        self.caller.wire.flow()
        self.advance(1)
        [reply] = self.caller.replies()
        self.assertEqual((len(reply.body), reply.whole, self.caller.closed), (1_000_000, True, True))
        self.assertEqual(self.sample.clock.getDelayedCalls(), [])

    def test_takes_no_answer_and_asks_for_more(self) -> None:
        """What is pipelined waits until the answers before it are taken: they do not pile up here (F-34)."""
        self.caller.wire.stall()
        self.caller.send((b"GET /bytes/90000 HTTP/1.1\r\nHost: localhost\r\n\r\n") * 20)
        self.advance(SMALL.idle_seconds - 1)
        self.assertLess(len(self.caller.wire.unsent), 2 * 90_000)
        self.caller.wire.flow()
        self.advance(1)
        self.assertEqual([len(reply.body) for reply in self.caller.replies()], [90_000] * 20)
        self.caller.hang_up()
        self.assertEqual(self.sample.clock.getDelayedCalls(), [])

    def test_takes_no_answer_and_asks_for_more_for_ever(self) -> None:
        """One that never takes them is cut."""
        self.caller.wire.stall()
        self.caller.send((b"GET /bytes/90000 HTTP/1.1\r\nHost: localhost\r\n\r\n") * 20)
        self.advance(SMALL.idle_seconds + 1)
        self.assertTrue(self.caller.wire.aborted)
        self.assertEqual(self.sample.clock.getDelayedCalls(), [])

    def test_lost_at_any_moment(self) -> None:
        """Wherever a connection breaks off, no timer is left."""
        whole = POST + b"Content-Length: 4\r\n\r\n{}  " + HEAD + b"\r\n" + HEAD[:20]
        for length in range(len(whole) + 1):
            self.caller.send(whole[:length])
            self.caller.hang_up()
            self.assertEqual(self.sample.clock.getDelayedCalls(), [], whole[:length])
            self.caller = self.sample.connect()
