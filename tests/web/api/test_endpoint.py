"""Tests of L{confd.web.api.endpoint} and L{confd.web.api.dispatch}, over HTTP in memory."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from confd import errors
from confd.codec.headers import basic_authorization
from confd.runtime.offload import Offload
from confd.web.api.dispatch import Dispatcher
from confd.web.api.endpoint import Open, endpoints_of
from confd.web.api.errors import STATUS
from confd.web.server.refusal import SECURITY_HEADERS
from confd.web.server.site import BoundedSite, Limits
from tests.conversation import Conversation, Reply
from tests.web.sample_api import ADMIN, AGENT, AUTH, CANARY, SampleApi, SampleSite

BASIC = basic_authorization(*AGENT)

JSON = {"Content-Type": "application/json"}


class EndpointTests(SynchronousTestCase):
    """A connection to the sample API."""

    def setUp(self) -> None:
        self.sample = SampleSite()
        self.caller = self.sample.connect()

    def assert_error(self, reply: Reply | None, status: int, code: str) -> Any:
        """Check that a reply is an error like all others; return its body."""
        assert reply is not None
        self.assertEqual((reply.status, reply.code), (status, code), reply)
        self.assertLessEqual(reply.json.keys(), {"error", "code", "request_id", "details"})
        self.assertEqual(reply.json["request_id"], reply.headers["x-request-id"])
        self.assertTrue(reply.json["error"].endswith("."), reply.json)
        for name, value in SECURITY_HEADERS.items():
            self.assertEqual(reply.headers[name.lower()], value)
        return reply.json


class WhoTests(EndpointTests):
    """Authentication and roles."""

    def test_admin_may_read_what_an_agent_may_read_and_nothing_else_crosses_over(self) -> None:
        wish = {"json": {"name": "x"}}
        cases: list[tuple[str, str, Any, Any, int]] = [
            ("GET", "/open", None, {}, 200),
            ("GET", "/open", AGENT, {}, 200),
            ("GET", "/wish", AGENT, {}, 200),
            ("GET", "/wish", ADMIN, {}, 200),
            ("HEAD", "/wish", ADMIN, {}, 200),
            ("POST", "/wish", AGENT, wish, 200),
            ("POST", "/wish", ADMIN, wish, 403),
            ("POST", "/document", AGENT, wish, 403),
            ("POST", "/document", ADMIN, wish, 200),
        ]
        for method, path, auth, carried, status in cases:
            self.assertEqual(self.caller.request(method, path, auth=auth, **carried).status, status, (method, path))
        self.assert_error(self.caller.post("/document", auth=AGENT, json={}), 403, "forbidden")

    def test_request_without_credentials_gets_401_before_any_other_check(self) -> None:
        count = 0
        for declared, _ in endpoints_of(self.sample.api):
            if declared.needs is Open.ANYONE:
                continue
            for carried in ({}, {"json": {"nonsense": 1}}, {"body": b"\xff", "headers": {"Content-Type": "text/x"}}):
                count += 1
                reply = self.caller.request(declared.method, f"{declared.path}?nonsense=1", **carried)
                self.assert_error(reply, 401, "unauthenticated")
                self.assertEqual(reply.headers["www-authenticate"], 'Basic realm="confd", charset="UTF-8"')
        self.assertEqual(count, 24)

    def test_wrong_name_or_password_gets_401(self) -> None:
        for auth in (("admin", "wrong"), ("nobody", "secret123"), ("agent", ""), ("", ""), ("admin", "secret123")):
            reply = self.caller.get("/wish", auth=auth)
            self.assert_error(reply, 401, "wrong_credentials")
            self.assertIn("www-authenticate", reply.headers)

    def test_two_authorization_headers_get_401(self) -> None:
        self.caller.send(b"GET /wish HTTP/1.1\r\nHost: h\r\n" + 2 * (b"Authorization: " + BASIC + b"\r\n") + b"\r\n")
        self.assertEqual([reply.status for reply in self.caller.replies()], [401])


class WhereTests(EndpointTests):
    """Routing."""

    def test_unknown_path_gets_404_with_and_without_credentials(self) -> None:
        for method in ("GET", "POST", "DELETE", "HEAD"):
            for auth in (None, AGENT, ADMIN, ("a", "b")):
                reply = self.caller.request(method, "/nowhere", auth=auth)
                self.assertEqual(reply.status, 404)
        self.assert_error(self.caller.get("/nowhere"), 404, "not_found")

    def test_unknown_method_gets_405_with_the_allowed_methods(self) -> None:
        reply = self.caller.delete("/wish", auth=ADMIN)
        error = self.assert_error(reply, 405, "method_not_allowed")
        self.assertEqual(reply.headers["allow"], "GET, HEAD, POST")
        self.assertIn("GET, HEAD, POST", error["error"])


class WhatTests(EndpointTests):
    """Queries, headers and bodies."""

    def test_query_is_typed_and_has_defaults(self) -> None:
        reply = self.caller.get("/wish?limit=7&namespace=a%2Db", auth=AGENT)
        self.assertEqual(reply.json, {"who": "agent", "limit": 7, "namespace": "a-b"})
        self.assertEqual(self.caller.get("/wish", auth=AGENT).json["limit"], 50)

    def test_invalid_query_gets_400_and_names_the_parameter(self) -> None:
        for query, pointer in {
            "limit=0": "/limit",
            "limit=501": "/limit",
            "limit=": "/limit",
            "limit=x": "/limit",
            "limit=-1": "/limit",
            "limit=%2B7": "/limit",
            "limit=7.0": "/limit",
            "limit=7e0": "/limit",
            "limit=07": "/limit",
            "limit=0x7": "/limit",
            "limit=true": "/limit",
            "limit=null": "/limit",
            "limit=%D9%A7": "/limit",
            "limit=9999999999999999999999": "/limit",
            "limit=" + "9" * 5000: "/limit",
            "nonsense=1": "",
        }.items():
            error = self.assert_error(self.caller.get(f"/wish?{query}", auth=AGENT), 400, "bad_field")
            self.assertEqual([each["pointer"] for each in error["details"]], [pointer], query)
        for query in (
            "limit=1&limit=1",
            "namespace=%ff",
            "&".join("abcdefgh" * 9),
            "limit&=1&=2",
        ):
            reply = self.caller.get(f"/wish?{query}", auth=AGENT)
            self.assertEqual(reply.status, 400, query)

    def test_endpoint_with_any_query_ignores_the_query(self) -> None:
        for query in ("x=1", "x=1&x=2", "%ff", "&&&", "=", "a" * 8000, "a&" * 4000):
            self.assertEqual(self.caller.get(f"/open?{query}").status, 200, query[:20])

    def test_body_is_typed_and_has_defaults(self) -> None:
        reply = self.caller.post("/wish", json={"name": "x", "tags": ["a"]}, auth=AGENT)
        self.assertEqual(reply.json, {"name": "x", "count": 1})

    def test_invalid_field_is_named_by_its_json_pointer(self) -> None:
        for body, pointer in (
            ({}, ""),
            ({"name": 1}, "/name"),
            ({"name": None}, "/name"),
            ({"name": "x", "count": 0}, "/count"),
            ({"name": "x", "count": "1"}, "/count"),
            ({"name": "x", "count": True}, "/count"),
            ({"name": "x", "count": 1.5}, "/count"),
            ({"name": "x", "count": 10**30}, "/count"),
            ({"name": "x", "tags": "a"}, "/tags"),
            ({"name": "x", "tags": ["a", 1]}, "/tags/1"),
            ({"name": "x", "nonsense": 1}, ""),
        ):
            error = self.assert_error(self.caller.post("/wish", json=body, auth=AGENT), 400, "bad_field")
            self.assertEqual([each["pointer"] for each in error["details"]], [pointer], body)

    def test_body_that_is_not_a_json_object_gets_400_with_a_fixed_sentence(self) -> None:
        for raw, code in (
            (b"", "not_json"),
            (b"{", "not_json"),
            (b"{} {}", "not_json"),
            (b"\xef\xbb\xbf{}", "not_json"),
            ("{}".encode("utf-16"), "not_utf8"),
            (b'{"name": "\xff"}', "not_utf8"),
            (b'{"name": NaN}', "not_finite"),
            (b'{"name": 1e999}', "not_finite"),
            (b'{"name": "x", "name": "y"}', "duplicate_key"),
            (b'{"name": "\\ud800"}', "bad_character"),
            (b'{"name": "\\u0000"}', "bad_character"),
            (b"[" * 4000 + b"]" * 4000, "too_deep"),
            (b"[]", "not_an_object"),
            (b'"x"', "not_an_object"),
            (b"null", "not_an_object"),
        ):
            for path, auth in (("/wish", AGENT), ("/document", ADMIN)):
                self.assert_error(self.caller.post(path, body=raw, headers=JSON, auth=auth), 400, code)

    def test_content_encoding_other_than_identity_gets_415_and_names_the_header(self) -> None:
        for encoding, status in (("gzip", 415), ("br", 415), ("identity, GZIP", 415), ("Identity", 200), ("", 200)):
            headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
            reply = self.caller.post("/document", body=b"{}", headers=headers, auth=ADMIN)
            self.assertEqual(reply.status, status, encoding)
            if status == 415:
                self.assertIn("Content-Encoding", self.assert_error(reply, 415, "encoded_body")["error"])

    def test_body_with_a_byte_order_mark_gets_400_and_says_so(self) -> None:
        for encoding, code in (("utf-8-sig", "not_json"), ("utf-16", "not_utf8")):
            reply = self.caller.post("/document", body="{}".encode(encoding), headers=JSON, auth=ADMIN)
            self.assertIn("byte order mark", self.assert_error(reply, 400, code)["error"])

    def test_content_type_must_be_json_once_in_any_case_with_any_parameters(self) -> None:
        for content_type, status in (
            ("application/json", 200),
            ("Application/JSON; charset=utf-8", 200),
            ("application/json;", 200),
            ("text/plain", 415),
            ("application/jsonx", 415),
            ("application/x-www-form-urlencoded", 415),
            ("", 415),
        ):
            headers = {"Content-Type": content_type}
            reply = self.caller.post("/document", body=b"{}", headers=headers, auth=ADMIN)
            self.assertEqual(reply.status, status, content_type)
        self.assert_error(self.caller.post("/document", body=b"{}", auth=ADMIN), 415, "not_json")
        for lines, code in (
            (b"Content-Type: \xff", "bad_header"),
            (b"Content-Type: a\r\nContent-Type: b", "repeated_header"),
        ):
            caller = self.sample.connect()
            head = b"POST /wish HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nAuthorization: "
            caller.send(head + BASIC + b"\r\n" + lines + b"\r\n\r\n{}")
            self.assert_error(caller.answer(), 400, code)

    def test_empty_body_is_an_empty_object_where_optional_and_gets_415_elsewhere(self) -> None:
        self.assert_error(self.caller.post("/wish", auth=AGENT), 415, "not_json")
        self.assert_error(self.caller.post("/maybe", auth=ADMIN), 400, "bad_field")
        self.assertEqual(self.caller.post("/maybe", json={"name": "x"}, auth=ADMIN).status, 200)

    def test_body_above_the_limit_of_its_endpoint_gets_413(self) -> None:
        fits = b'{"name":"%s"}' % (b"x" * (8192 - 11))
        reply = self.caller.post("/wish", body=fits, headers=JSON, auth=AGENT)
        self.assertEqual(reply.status, 200)
        reply = self.caller.post("/wish", body=fits + b" ", headers=JSON, auth=AGENT)
        self.assert_error(reply, 413, "body_too_large")

    def test_document_has_its_text_and_checksum_and_422_without_canonical_form(self) -> None:
        self.assertEqual(self.caller.post("/document", json={"a": 1, "b": []}, auth=ADMIN).json["keys"], 2)
        reply = self.caller.post("/document", json={"a": 2**53}, auth=ADMIN)
        self.assert_error(reply, 422, "integer_out_of_range")

    def test_large_body_is_decoded_in_a_thread_and_survives_a_hang_up(self) -> None:
        waiting: list[tuple[Deferred[Any], Any, Any]] = []

        def in_thread(function: Any, *args: Any) -> Deferred[Any]:
            result: Deferred[Any] = Deferred()
            waiting.append((result, function, args))
            return result

        site = BoundedSite(self.sample.clock, Dispatcher(AUTH, Offload(in_thread)).resource(self.sample.api), Limits())
        for size, expected in ((1000, 0), (40_000, 1)):
            caller = Conversation(site, self.sample.clock)
            caller.ask("POST", "/document", json={"a": "x" * size}, auth=ADMIN)
            self.assertEqual(len(waiting), expected)
        self.assertIsNone(caller.answer())
        result, function, args = waiting.pop()
        maybeDeferred(function, *args).chainDeferred(result)
        self.assertEqual(caller.answer().status, 200)  # type: ignore[union-attr]
        caller.ask("POST", "/document", json={"a": "x" * 40_000}, auth=ADMIN)
        caller.hang_up()
        result, function, args = waiting.pop()
        self.assertNoResult(result)
        maybeDeferred(function, *args).chainDeferred(result)
        self.assertEqual(self.sample.api.documents, [1000, 40_000, 40_000])


class HowTests(EndpointTests):
    """Answers and errors."""

    def test_response_is_json_with_length_id_and_security_headers(self) -> None:
        reply = self.caller.get("/open")
        self.assertEqual(reply.json, {"who": "", "request_id": reply.headers["x-request-id"]})
        self.assertEqual(int(reply.headers["content-length"]), len(reply.body))
        self.assertNotIn("transfer-encoding", reply.headers)
        for name, value in SECURITY_HEADERS.items():
            self.assertEqual(reply.headers[name.lower()], value)

    def test_each_request_has_its_own_id(self) -> None:
        ids = {self.caller.get("/open").headers["x-request-id"] for _ in range(100)}
        self.assertEqual(len(ids), 100)

    def test_each_error_has_its_status_and_headers(self) -> None:
        for kind, status in STATUS.items():
            reply = self.caller.get(f"/fail/{kind.__name__}")
            error = self.assert_error(reply, status, "some_code")
            self.assertEqual(
                (error["error"], error["details"]), ("It cannot be done.", [{"pointer": "/x", "message": "no"}])
            )
            self.assertEqual("retry-after" in reply.headers, status in (429, 503), kind)
            self.assertEqual("www-authenticate" in reply.headers, status == 401, kind)

    def test_every_error_has_a_status(self) -> None:
        kinds = {
            kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.ConfdError)
        }
        self.assertEqual({kind for kind in kinds if not issubclass(kind, tuple(STATUS))}, {errors.ConfdError})

    def test_defect_gets_500_with_an_id_and_only_the_log_has_its_text(self) -> None:
        reply = self.caller.get("/fail/unforeseen")
        error = self.assert_error(reply, 500, "internal_error")
        self.assertNotIn(CANARY, reply.body.decode())
        self.assertIn(error["request_id"], error["error"])
        [failure] = self.flushLoggedErrors(ValueError)
        self.assertIn(CANARY, str(failure.value))
        self.assertEqual(self.caller.get("/open").status, 200)

    def test_defect_after_the_response_began_breaks_the_connection(self) -> None:
        self.caller.ask("GET", "/half")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        [reply] = self.caller.replies()
        self.assertEqual((reply.body, reply.whole), (b"the first half", False))
        self.assertTrue(self.caller.closed)
        self.caller = self.sample.connect()
        self.caller.send(b"GET /half HTTP/1.0\r\n\r\n")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertTrue(self.caller.wire.aborted)
        self.assertEqual(self.sample.clock.getDelayedCalls(), [])

    def test_handler_cancelled_by_its_own_work_gets_500(self) -> None:
        self.caller.ask("GET", "/later")
        self.sample.api.waiting[0].cancel()
        self.assert_error(self.caller.answer(), 500, "internal_error")
        self.assertEqual(len(self.flushLoggedErrors()), 1)

    def test_304_has_no_body_and_no_length_and_keeps_the_connection(self) -> None:
        reply = self.caller.get("/nothing")
        self.assertEqual((reply.status, reply.headers["etag"]), (304, '"1"'))
        self.assertFalse({"content-length", "content-type", "transfer-encoding"} & reply.headers.keys())
        self.assertEqual(self.caller.get("/open").status, 200)


class HangUpTests(EndpointTests):
    """A client that hangs up."""

    def test_hang_up_cancels_a_read(self) -> None:
        self.caller.ask("GET", "/later")
        self.caller.hang_up()
        self.assertEqual(self.sample.api.seen, ["read: CancelledError"])

    def test_hang_up_does_not_cancel_a_change(self) -> None:
        self.caller.ask("POST", "/later", auth=ADMIN)
        self.caller.hang_up()
        self.assertEqual(self.sample.api.seen, [])
        self.sample.api.waiting[0].callback({"written": True})
        self.assertEqual(self.sample.api.seen, ["write: done"])

    def test_change_after_a_hang_up_logs_a_defect_but_no_expected_error(self) -> None:
        self.caller.ask("POST", "/later", auth=ADMIN)
        self.caller.hang_up()
        self.sample.api.waiting[0].errback(ValueError(CANARY))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        caller = self.sample.connect()
        caller.ask("POST", "/later", auth=ADMIN)
        caller.hang_up()
        self.sample.api.waiting[1].errback(errors.Conflict("some_code", "It cannot be done."))
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_change_that_waits_is_answered(self) -> None:
        self.caller.ask("POST", "/later", auth=ADMIN)
        self.sample.api.waiting[0].errback(errors.Conflict("some_code", "It cannot be done."))
        self.assert_error(self.caller.answer(), 409, "some_code")

    def test_cancelled_read_that_fails_is_logged(self) -> None:

        class Stubborn(SampleApi):
            async def _later(self, kind: str) -> object:
                try:
                    return await super()._later(kind)
                except BaseException:
                    raise ValueError(CANARY) from None

        clock = Clock()
        caller = Conversation(
            BoundedSite(clock, Dispatcher(AUTH, Offload(maybeDeferred)).resource(Stubborn()), Limits()), clock
        )
        caller.ask("GET", "/later")
        caller.hang_up()
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
