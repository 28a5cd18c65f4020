"""Break-glass over HTTP: who may, and what it leaves behind."""

from __future__ import annotations

from tests.controller.access.test_policies import POLICY
from tests.controller.access.test_tokens import DOCUMENT, TokenCase
from tests.controller.harness import ADMIN

FREEZE = {"namespaces": ["*"], "until": "2026-11-25T00:00:00Z", "reason": "a sale"}
WHY = "break_glass=the+shop+is+down"


class BreakGlassTests(TokenCase):
    """A frozen namespace."""

    def setUp(self) -> None:
        super().setUp()
        self.ask("POST", "/api/v1/freezes", json=FREEZE)

    def metrics(self) -> str:
        """Return the metrics of now."""
        self.harness.clock.advance(5)
        return self.harness.caller().get("/metrics").body.decode()

    def uses(self) -> str:
        """Return the line of the metric."""
        [line] = [each for each in self.metrics().splitlines() if each.startswith("confd_break_glass_total")]
        return line

    def test_call_is_on_record_with_its_reason(self) -> None:
        self.assertEqual(self.uses(), "confd_break_glass_total 0.0")
        reply = self.ask("POST", f"/api/v1/config?{WHY}", json=DOCUMENT)
        self.assertEqual(reply.status, 200)
        entry = self.ask("GET", "/api/v1/audit").json["items"][0]
        self.assertEqual(entry["action"], "break-glass POST /api/v1/config")
        self.assertEqual(entry["detail"], f"{self.harness.tag()}: the shop is down")
        self.assertEqual(self.uses(), "confd_break_glass_total 1.0")
        newest, first = self.ask("GET", "/api/v1/config/history").json["items"]
        self.assertEqual(newest["break_glass"], "the shop is down")
        self.assertNotIn("break_glass", first)
        self.assertEqual(self.ask("GET", "/api/v1/config/versions/2").json["break_glass"], "the shop is down")

    def test_review_waits_for_another_person(self) -> None:
        self.ask("POST", f"/api/v1/config?{WHY}", json=DOCUMENT)
        [review] = self.ask("GET", "/api/v1/changes").json["items"]
        found = [review[name] for name in ("kind", "state", "comment", "author", "needed", "version", "result")]
        self.assertEqual(found, ["review", "open", "the shop is down", "admin", 1, 2, self.harness.tag()])
        approve, body = f"/api/v1/changes/{review['id']}/approve", {"checksum": review["checksum"]}
        grants = [{"role": "approver", "namespaces": ["default"]}]
        same = self.create("same", grants, subject="admin")["token"]
        other = self.create("other", grants)["token"]
        self.assertEqual(self.ask("POST", approve, same, json=body).code, "own_change")
        for verb in ("apply", "reject", "withdraw", "rebase"):
            said = {"comment": "no"} if verb == "reject" else {}
            reply = self.ask("POST", f"/api/v1/changes/{review['id']}/{verb}", json=said)
            self.assertEqual(reply.code, "change_over", verb)
        opened = 'confd_review_opened_timestamp_seconds{namespace="default"} 1.7955'
        self.assertTrue(opened in self.metrics())
        self.assertEqual(self.ask("POST", approve, other, json=body).json["state"], "reviewed")
        self.assertFalse(opened in self.metrics())

    def test_watchers_hear_of_it(self) -> None:
        caller = self.harness.caller()
        caller.ask("GET", "/api/v1/events", auth=ADMIN)
        self.ask("POST", f"/api/v1/config?{WHY}", json=DOCUMENT)
        self.harness.clock.advance(1)
        [stream] = caller.replies()
        events = stream.body.decode()
        [body] = [each for each in events.split("\n\n") if "event: break_glass" in each]
        self.assertIn('"reason":"the shop is down"', body)
        self.assertIn('"who":"admin"', body)

    def test_refused_try_is_on_record_too(self) -> None:
        secret = self.create(grants=[{"role": "publisher", "namespaces": ["*"]}])["token"]
        reply = self.ask("POST", f"/api/v1/config?{WHY}", secret, json=DOCUMENT)
        self.assertEqual((reply.status, reply.json["details"]), (403, [{"missing": "admin", "namespace": "*"}]))
        self.successResultOf(self.harness.audit_log.flush())
        entry = self.ask("GET", "/api/v1/audit").json["items"][0]
        self.assertEqual((entry["action"], entry["outcome"]), ("break-glass POST /api/v1/config", "forbidden"))
        self.assertEqual(entry["detail"], "the shop is down")
        self.assertEqual(self.uses(), "confd_break_glass_total 0.0")

    def test_reason_is_needed_and_short(self) -> None:
        for reason in ("", "x" * 201):
            reply = self.ask("POST", f"/api/v1/config?break_glass={reason}", json=DOCUMENT)
            self.assertEqual((reply.status, reply.code), (400, "bad_field"), reason)
        for path in ("rollouts/1/abort", "rollouts/1/pause", "epoch/raise"):
            self.assertEqual(self.ask("POST", f"/api/v1/{path}?{WHY}").code, "bad_field", path)

    def test_reason_loses_what_a_terminal_would_obey(self) -> None:
        self.ask("POST", "/api/v1/config?break_glass=a%1Bb", json=DOCUMENT)
        self.assertEqual(self.ask("GET", "/api/v1/config/history").json["items"][0]["break_glass"], "a\\x1bb")

    def test_preview_with_a_reason_changes_nothing(self) -> None:
        self.assertEqual(self.ask("POST", "/api/v1/config?dry_run=true", json=DOCUMENT).code, "frozen")
        self.assertEqual(self.ask("POST", f"/api/v1/config?dry_run=true&{WHY}", json=DOCUMENT).status, 200)
        self.assertEqual(self.uses(), "confd_break_glass_total 0.0")

    def test_call_passes_a_plan(self) -> None:
        self.ask("POST", POLICY, json={"plan": "canary"})
        self.assertEqual(self.ask("POST", f"/api/v1/config?{WHY}", json=DOCUMENT).status, 200)
