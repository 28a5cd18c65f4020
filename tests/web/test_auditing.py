"""Tests of the audit of refused changes, over HTTP in memory."""

from __future__ import annotations

from typing import Any

from attrs import asdict
from twisted.trial.unittest import SynchronousTestCase

from confd.codec.headers import basic_authorization
from confd.errors import Conflict
from confd.web.api.dispatch import MAX_TARGET_CHARS
from tests.conversation import ELSEWHERE, Conversation
from tests.web.sample_api import ADMIN, AGENT, CANARY, SampleSite


class AuditingTests(SynchronousTestCase):
    """A connection to the sample API, whose refusals are recorded."""

    def setUp(self) -> None:
        self.sample = SampleSite()
        self.caller = self.sample.connect()

    def ask(self, method: str, path: str, **carried: Any) -> int:
        """Send a request, and return its status."""
        return self.caller.request(method, path, **carried).status

    def noted(self) -> list[tuple[str, str, str, str]]:
        """Return the caller, action, target and outcome of each refusal since the last call."""
        audit_log, self.sample.auditor.audit_log = self.sample.auditor.audit_log, []
        return [
            (each.who, each.action, each.target, getattr(error, "code", type(error).__name__))
            for each, error in audit_log
        ]

    def test_refused_credentials_are_recorded_without_a_name(self) -> None:
        publish, action = {"json": {}}, "POST /document"
        for auth, status, who, code in (
            (None, 401, "", "unauthenticated"),
            (("admin", "wrong"), 401, "", "wrong_credentials"),
            (("password-typed-here", ""), 401, "", "wrong_credentials"),
            (AGENT, 403, "agent", "forbidden"),
        ):
            self.assertEqual(self.ask("POST", "/document", auth=auth, **publish), status)
            self.assertEqual(self.noted(), [(who, action, "", code)])
        self.assertEqual(self.ask("POST", "/document", auth=ADMIN, headers={"Origin": "null"}, **publish), 403)
        self.assertEqual(self.noted(), [("admin", action, "", "cross_site")])

    def test_invalid_requests_are_recorded_with_their_code(self) -> None:
        for status, code, carried in (
            (400, "not_json", {"body": b"{", "headers": {"Content-Type": "application/json"}}),
            (400, "bad_field", {"json": {"name": 5}}),
            (413, "body_too_large", {"json": {"name": "x" * 9000}}),
            (415, "not_json", {"body": b"{}", "headers": {"Content-Type": "text/plain"}}),
            (400, "bad_field", {"json": {"name": "x"}, "path": "/names?limit=1"}),
            (400, "bad_query", {"json": {"name": "x"}, "path": "/names?namespace=a&namespace=b"}),
        ):
            path = carried.pop("path", "/names")
            self.assertEqual(self.ask("POST", path, auth=ADMIN, **carried), status, carried)
            self.assertEqual(self.noted(), [("admin", "POST /names", "", code)])
        self.assertEqual(self.sample.api.attempts, [])

    def test_errors_and_defects_of_handlers_are_recorded(self) -> None:
        action = "DELETE /things/<kind>/<name>"
        for kind, status in (("NotFound", 404), ("Conflict", 409), ("PreconditionFailed", 412), ("Unavailable", 503)):
            self.assertEqual(self.ask("DELETE", f"/things/{kind}/x%20y", auth=ADMIN), status)
            self.assertEqual(self.noted(), [("admin", action, f"{kind}/x y", "some_code")])
        self.assertEqual(self.ask("DELETE", "/things/ValueError/x", auth=ADMIN), 500)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(self.noted(), [("admin", action, "ValueError/x", "ValueError")])

    def test_successful_change_gets_its_attempt_and_is_not_recorded_twice(self) -> None:
        self.assertEqual(self.ask("POST", "/names", json={"name": "new"}, auth=ADMIN), 200)
        [attempt] = self.sample.api.attempts
        assert attempt is not None
        self.assertEqual((attempt.who, attempt.action, attempt.target), ("admin", "POST /names", "new"))
        self.assertEqual((attempt.peer, attempt.made_at), ("127.0.0.1", self.sample.auditor.now()))
        self.assertEqual(self.noted(), [])

    def test_too_large_body_is_recorded_once_with_its_caller(self) -> None:
        head = "POST /names?namespace=a HTTP/1.1\r\nHost: localhost\r\n"
        endless = "Transfer-Encoding: chunked\r\n\r\n" + "10000\r\n" + "x" * 65536 + "\r\n"
        for length in ("Content-Length: 9999999\r\n\r\n", endless + endless.partition("\r\n\r\n")[2] * 20):
            for auth, who, code in ((ADMIN, "admin", "body_too_large"), (None, "", "unauthenticated")):
                caller = self.sample.connect()
                sent = f"Authorization: {basic_authorization(*auth).decode()}\r\n" if auth else ""
                caller.send(f"{head}{sent}{length}".encode())
                [reply] = caller.replies()
                self.assertEqual((reply.status, reply.code), (413, "body_too_large"))
                [(attempt, _)] = self.sample.auditor.audit_log
                self.assertEqual((attempt.request_id, attempt.peer), (reply.headers["x-request-id"], "127.0.0.1"))
                self.assertEqual(self.noted(), [(who, "POST /names", "", code)])

    def test_too_large_body_on_other_paths_is_not_recorded(self) -> None:
        for start in (b"POST /wish", b"POST /nowhere", b"POST /names/", b"GET /names", b"P\xff /names", b"POST /\xff"):
            caller = self.sample.connect()
            caller.send(start + b" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999\r\n\r\n")
            self.assertIn(caller.replies()[0].status, (400, 413))
            self.assertEqual(self.noted(), [])

    def test_reads_and_requests_of_agents_are_not_recorded(self) -> None:
        for method, path in (("GET", "/wish"), ("POST", "/wish"), ("GET", "/fail/Conflict"), ("POST", "/nowhere")):
            self.assertGreaterEqual(self.ask(method, path), 400)
        self.assertEqual(self.noted(), [])

    def test_record_has_the_request_id_and_the_peer(self) -> None:
        reply = Conversation(self.sample.site, self.sample.clock, ELSEWHERE).post("/document")
        [(attempt, _)] = self.sample.auditor.audit_log
        self.assertEqual((attempt.request_id, attempt.peer), (reply.headers["x-request-id"], ELSEWHERE.host))

    def test_target_of_an_unread_request_is_short_and_printable(self) -> None:
        for path, target in (
            ("/names?namespace=a", ""),
            ("/names", ""),
            ("/targets?namespace=team-a&x=y", "team-a"),
            ("/targets?namespace=%1b[31m%00", r"\x1b[31m\x00"),
            (f"/targets?namespace={'x' * 200}", "x" * MAX_TARGET_CHARS),
            ("/targets?namespace=%ff", "\ufffd"),
            ("/targets?" + "&".join(f"x{number}=" for number in range(40)), ""),
            ("/targets", "default"),
        ):
            self.ask("POST", path)
            self.assertEqual([noted[2] for noted in self.noted()], [target], path)

    def test_record_has_nothing_that_the_caller_sent(self) -> None:
        for carried in (
            {"auth": ("admin", CANARY)},
            {"auth": (CANARY, CANARY)},
            {"headers": {"Authorization": f"Bearer {CANARY}"}},
            {"auth": ADMIN, "json": {CANARY: CANARY}},
            {"auth": ADMIN, "body": CANARY.encode(), "headers": {"Content-Type": CANARY}},
            {"auth": ADMIN, "json": {"name": "x"}, "headers": {"Origin": CANARY, "Cookie": CANARY}},
        ):
            self.assertGreaterEqual(self.ask("POST", f"/names?comment={CANARY}", **carried), 400)
        self.ask("DELETE", "/things/Conflict/x", auth=ADMIN)
        attempts = [attempt for attempt, _ in self.sample.auditor.audit_log]
        self.assertEqual(len(attempts), 7)
        self.assertNotIn(CANARY, str([asdict(attempt) for attempt in attempts]))

    def test_refusal_after_a_hang_up_is_recorded_once(self) -> None:
        self.caller.ask("POST", "/later", auth=ADMIN)
        self.caller.hang_up()
        self.assertEqual(self.noted(), [])
        self.sample.api.waiting.pop().errback(Conflict("too_late", "No."))
        self.assertEqual(self.noted(), [("admin", "POST /later", "", "too_late")])
