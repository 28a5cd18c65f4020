"""Policies over HTTP: who sets them, and what they ask of changes."""

from __future__ import annotations

from tests.controller.access.test_tokens import DOCUMENT, TokenCase

POLICY = "/api/v1/namespaces/default/policy"

DEFAULTS = {
    "plan": "direct",
    "approvals": 0,
    "self_approval": False,
    "rollback_free": True,
    "freeze_exempt": False,
}


class PoliciesTests(TokenCase):
    """The paths of policies."""

    def test_fields_that_are_not_named_stay(self) -> None:
        self.assertEqual(self.ask("GET", POLICY).json, DEFAULTS)
        changed = self.ask("POST", POLICY, json={"plan": "careful", "approvals": 2})
        self.assertEqual((changed.status, changed.json), (200, DEFAULTS | {"plan": "careful", "approvals": 2}))
        changed = self.ask("POST", POLICY, json={"approvals": 0, "freeze_exempt": True})
        self.assertEqual(changed.json, DEFAULTS | {"plan": "careful", "freeze_exempt": True})
        self.assertEqual(self.ask("GET", POLICY).json, changed.json)

    def test_bad_policies_are_refused(self) -> None:
        self.ask("POST", "/api/v1/plans", json={"name": "all", "waves": []})
        for body, status, code in (
            ({"plan": "nothing"}, 422, "bad_policy"),
            ({"plan": "all"}, 422, "bad_policy"),
            ({"plan": "abort"}, 422, "bad_policy"),
            ({"plan": ""}, 400, "bad_field"),
            ({"approvals": 6}, 400, "bad_field"),
            ({"approvals": -1}, 400, "bad_field"),
            ({"approvals": 2**70}, 400, "bad_field"),
            ({"approvals": True}, 400, "bad_field"),
            ({"self_approval": None}, 400, "bad_field"),
            ({"nonsense": 1}, 400, "bad_field"),
        ):
            reply = self.ask("POST", POLICY, json=body)
            self.assertEqual((reply.status, reply.code), (status, code), body)
        self.assertEqual(self.ask("GET", POLICY).json, DEFAULTS)

    def test_unknown_namespace_has_no_policy_and_a_retired_one_keeps_its_own(self) -> None:
        path = "/api/v1/namespaces/team/policy"
        for method, body in (("GET", None), ("POST", {})):
            self.assertEqual(self.ask(method, path, json=body).code, "unknown_namespace")
        self.ask("POST", "/api/v1/namespaces", json={"name": "team", "config": DOCUMENT})
        self.ask("POST", path, json={"approvals": 1})
        self.ask("DELETE", "/api/v1/namespaces/team")
        self.assertEqual(self.ask("GET", path).json["approvals"], 1)
        self.assertEqual(self.ask("POST", path, json={"approvals": 0}).json, DEFAULTS)

    def test_exempt_namespace_ignores_a_freeze_in_a_preview_too(self) -> None:
        freeze = {"namespaces": ["*"], "until": "2026-11-24T13:00:00Z", "reason": "r"}
        self.ask("POST", "/api/v1/freezes", json=freeze)
        for exempt, status in ((False, 409), (True, 200)):
            self.ask("POST", POLICY, json={"freeze_exempt": exempt})
            for path in ("config?dry_run=true", "config"):
                self.assertEqual(self.ask("POST", f"/api/v1/{path}", json=DOCUMENT).status, status, path)
