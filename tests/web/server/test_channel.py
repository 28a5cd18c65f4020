"""Tests of L{confd.web.server.channel}: limits of bodies, headers and time."""

from __future__ import annotations

import io

from twisted.logger import capturedLogs

from confd.codec.headers import basic_authorization
from confd.web.server.site import CLIENT_MISTAKE_SECONDS
from tests.web.sample_api import ADMIN, AGENT, HEAD, POST, SMALL, SiteCase


class BodyTests(SiteCase):
    """The limits of bodies."""

    def test_declared_length_above_the_limit_gets_413_before_authentication(self) -> None:
        self.caller.send(POST + b"Content-Length: 99999999999\r\n\r\n")
        self.refused(413, "body_too_large")

    def test_one_byte_above_the_limit_gets_413(self) -> None:
        self.caller.send(POST + b"Content-Length: 100001\r\n\r\n")
        self.refused(413, "body_too_large")

    def test_body_of_exactly_the_limit_is_read(self) -> None:
        body = b'{"a":"%s"}' % (b"x" * (SMALL.body - 8))
        headers = {"Content-Type": "application/json"}
        reply = self.caller.post("/document", body=body, headers=headers, auth=ADMIN)
        self.assertEqual((reply.status, reply.json), (200, {"keys": 1}))

    def test_chunks_above_the_limit_get_413_and_are_dropped(self) -> None:
        self.caller.send(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(40):
            self.caller.send(b"1000\r\n" + b"x" * 4096 + b"\r\n")
        self.refused(413, "body_too_large")

    def test_one_chunk_above_the_limit_gets_413(self) -> None:
        self.caller.send(POST + b"Transfer-Encoding: chunked\r\n\r\nffffffffff\r\n")
        for _ in range(40):
            self.caller.send(b"x" * 4096)
        self.refused(413, "body_too_large")

    def test_content_length_with_too_many_digits_gets_400(self) -> None:
        self.caller.send(POST + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n")
        self.refused(400, "bad_request")

    def test_refused_client_that_keeps_sending_is_aborted(self) -> None:
        self.caller.send(POST + b"Content-Length: 200000\r\n\r\n")
        for _ in range(8):
            self.caller.send(b"x" * 65536)
            self.sample.clock.advance(SMALL.linger_seconds / 8)
        self.assertTrue(self.caller.closed)
        self.assertEqual(len(self.caller.replies()), 1)

    def test_no_body_makes_a_temporary_file(self) -> None:
        right = b"Authorization: " + basic_authorization(*ADMIN) + b"\r\n"
        chunked, long = b"Transfer-Encoding: chunked\r\n\r\nc350\r\n" + b"x" * 49_999, b"Content-Length: 99999\r\n\r\nx"
        for sent in (chunked, long):
            self.caller = self.sample.connect()
            self.caller.send(POST + right + sent)
            [request] = self.caller.wire.protocol.requests
            self.assertIsInstance(request.content, io.BytesIO)
            self.caller.hang_up()

    def test_large_body_is_read_only_from_callers_who_may_send_it(self) -> None:
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

    def test_large_form_gets_415_without_parsing(self) -> None:
        for content_type in ("application/x-www-form-urlencoded", "multipart/form-data; boundary=b"):
            body = b"a=1&" * 20_000
            reply = self.caller.post("/document", body=body, headers={"Content-Type": content_type}, auth=ADMIN)
            self.assertEqual((reply.status, reply.code), (415, "not_json"))

    def test_expect_continue_is_answered_unless_the_body_is_too_long(self) -> None:
        self.caller.send(POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        self.assertEqual(bytes(self.caller.wire.sent), b"HTTP/1.1 100 Continue\r\n\r\n")
        self.caller.send(b"{}")
        self.assertEqual([reply.status for reply in self.caller.replies()], [401])
        self.caller.hang_up()
        self.caller = self.sample.connect()
        self.caller.send(POST + b"Expect: 100-continue\r\nContent-Length: 200000\r\n\r\n")
        self.refused(413, "body_too_large")


class HeaderTests(SiteCase):
    """The limits of headers."""

    def test_64_headers_pass_and_65_get_431(self) -> None:
        more = [b"X-%d: 1\r\n" % number for number in range(63)]
        self.caller.send(HEAD + b"".join(more) + b"\r\n")
        self.assertEqual([reply.status for reply in self.caller.replies()], [200])
        self.caller.send(HEAD + b"".join(more) + b"X-Last: 1\r\n\r\n")
        self.caller.wire.sent[:] = self.caller.wire.sent.partition(b"}")[2]
        self.refused(431, "headers_too_large")

    def test_headers_of_16_kib_together_get_431(self) -> None:
        self.caller.send(HEAD + b"".join(b"X-%d: %s\r\n" % (number, b"x" * 1000) for number in range(17)) + b"\r\n")
        self.refused(431, "headers_too_large")

    def test_header_of_16_kib_gets_431_before_its_end(self) -> None:
        self.caller.send(HEAD + b"X-Long: ")
        for _ in range(5):
            self.caller.send(b"x" * 4096)
        self.refused(431, "headers_too_large")

    def test_complete_header_of_16_kib_gets_431(self) -> None:
        self.caller.send(HEAD + b"X-Long: " + b"x" * 20_000 + b"\r\n\r\n")
        self.refused(431, "headers_too_large")

    def test_path_of_16_kib_gets_431(self) -> None:
        self.caller.send(b"GET /" + b"x" * 20_000)
        self.refused(431, "headers_too_large")


class TlsTests(SiteCase):
    """A client that speaks TLS to a port without TLS."""

    #: How each TLS handshake begins: its kind, its version, the length of what follows.
    HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"

    def test_tls_client_gets_plain_http_at_once(self) -> None:
        for sent in (self.HELLO, self.HELLO[:1]):
            self.caller.hang_up()
            self.caller = self.sample.connect()
            self.caller.send(sent)
            self.assertIn("https", self.refused(400, "not_tls").json["error"])

    def test_handshake_byte_in_a_body_is_data(self) -> None:
        self.caller.send(POST + b"Content-Length: 1\r\n\r\n")
        self.caller.send(b"\x16")
        self.assertEqual([reply.status for reply in self.caller.replies()], [401])

    def test_tls_client_is_logged_once_a_minute(self) -> None:
        with capturedLogs() as logs:
            for pause in (0, CLIENT_MISTAKE_SECONDS - 1, 1, 1):
                self.sample.clock.advance(pause)
                self.sample.connect().send(self.HELLO)
                self.sample.clock.advance(0.5)
                self.sample.clock.advance(0.5)
        lines = [each for each in logs if "TLS" in each["log_format"]]
        self.assertEqual([each["log_level"].name for each in lines], ["info", "info"])
        self.assertEqual({each["peer"] for each in lines}, {"127.0.0.1"})


class TimeTests(SiteCase):
    """The deadlines of a connection."""

    def trickle(self, raw: bytes, seconds: int) -> None:
        """Send one byte a second."""
        for position in range(seconds):
            self.caller.send(raw[position : position + 1])
            self.advance(1)

    def test_trickling_headers_get_408_at_the_deadline(self) -> None:
        self.trickle(HEAD, 9)
        self.assertEqual(self.caller.replies(), [])
        self.trickle(HEAD[9:], 1)
        self.refused(408, "too_slow")

    def test_second_request_has_the_same_header_deadline(self) -> None:
        self.caller.send(HEAD + b"\r\nGET /")
        self.assertEqual(len(self.caller.replies()), 1)
        self.advance(SMALL.header_seconds)
        self.assertEqual([reply.status for reply in self.caller.replies()], [200, 408])

    def test_trickling_body_gets_408_at_its_deadline(self) -> None:
        self.caller.send(POST + b"Content-Length: 1000\r\n\r\n")
        self.trickle(b"x" * 100, 29)
        self.assertEqual(self.caller.replies(), [])
        self.trickle(b"x", 1)
        self.refused(408, "too_slow")

    def test_steady_body_may_exceed_the_deadline_but_silence_gets_408(self) -> None:
        own = b"Authorization: " + basic_authorization(*ADMIN)
        self.caller.send(POST + b"Content-Length: 90000\r\n" + own + b"\r\n\r\n")
        for _ in range(8):
            self.caller.send(b"x" * 10000)
            self.advance(4)
        self.assertEqual(self.caller.replies(), [])
        self.advance(30)
        self.refused(408, "too_slow")

    def test_trickling_chunks_get_408(self) -> None:
        self.caller.send(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        self.trickle(b"1\r\nx\r\n" * 10, 30)
        self.refused(408, "too_slow")

    def test_silent_connection_is_closed_without_a_response(self) -> None:
        self.advance(SMALL.idle_seconds)
        self.assertTrue(self.caller.closed)
        self.assertEqual(bytes(self.caller.wire.sent), b"")
        self.assertEqual(self.sample.clock.getDelayedCalls(), [])

    def test_silent_kept_connection_is_closed(self) -> None:
        self.caller.get("/open")
        self.advance(SMALL.idle_seconds - 1)
        self.assertFalse(self.caller.closed)
        self.advance(1)
        self.assertTrue(self.caller.closed)
        self.assertEqual(self.sample.clock.getDelayedCalls(), [])

    def test_slow_handler_does_not_time_the_client_out(self) -> None:
        self.caller.ask("GET", "/later")
        self.advance(SMALL.idle_seconds * 3)
        self.sample.api.waiting[0].callback({"late": True})
        self.assertEqual(self.caller.answer().json, {"late": True})  # type: ignore[union-attr]

    def test_client_that_does_not_read_its_response_is_aborted(self) -> None:
        for headers in ({}, {"Connection": "close"}):
            caller = self.sample.connect()
            caller.wire.stall()
            caller.ask("GET", "/bytes/1000000", headers=headers)
            self.advance(SMALL.idle_seconds * 2)
            self.assertTrue(caller.wire.aborted, headers)
        self.caller.hang_up()
        self.assertEqual(self.sample.clock.getDelayedCalls(), [])

    def test_client_that_reads_late_gets_the_whole_response(self) -> None:
        self.caller.wire.stall()
        self.caller.ask("GET", "/bytes/1000000", headers={"Connection": "close"})
        self.advance(SMALL.idle_seconds - 1)
        self.caller.wire.flow()
        self.advance(1)
        [reply] = self.caller.replies()
        self.assertEqual((len(reply.body), reply.whole, self.caller.closed), (1_000_000, True, True))
        self.assertEqual(self.sample.clock.getDelayedCalls(), [])

    def test_pipelined_requests_wait_until_earlier_responses_are_read(self) -> None:
        self.caller.wire.stall()
        self.caller.send((b"GET /bytes/90000 HTTP/1.1\r\nHost: localhost\r\n\r\n") * 20)
        self.advance(SMALL.idle_seconds - 1)
        self.assertLess(len(self.caller.wire.unsent), 2 * 90_000)
        self.caller.wire.flow()
        self.advance(1)
        self.assertEqual([len(reply.body) for reply in self.caller.replies()], [90_000] * 20)
        self.caller.hang_up()
        self.assertEqual(self.sample.clock.getDelayedCalls(), [])

    def test_pipelining_client_that_never_reads_is_aborted(self) -> None:
        self.caller.wire.stall()
        self.caller.send((b"GET /bytes/90000 HTTP/1.1\r\nHost: localhost\r\n\r\n") * 20)
        self.advance(SMALL.idle_seconds + 1)
        self.assertTrue(self.caller.wire.aborted)
        self.assertEqual(self.sample.clock.getDelayedCalls(), [])

    def test_lost_connection_leaves_no_timer(self) -> None:
        whole = POST + b"Content-Length: 4\r\n\r\n{}  " + HEAD + b"\r\n" + HEAD[:20]
        for length in range(len(whole) + 1):
            self.caller.send(whole[:length])
            self.caller.hang_up()
            self.assertEqual(self.sample.clock.getDelayedCalls(), [], whole[:length])
            self.caller = self.sample.connect()
