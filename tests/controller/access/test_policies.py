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

    def test_plan_of_a_policy_stays(self) -> None:
        plan = {"name": "night", "waves": [{"count": 1}]}
        for status in (200, 409):
            self.ask("POST", "/api/v1/plans", json=plan)
            refused = self.ask("POST", "/api/v1/plans", json={**plan, "waves": []})
            removed = self.ask("DELETE", "/api/v1/plans/night")
            self.assertEqual((refused.status, removed.status), (status, status))
            if status == 200:
                self.ask("POST", "/api/v1/plans", json=plan)
                self.assertEqual(self.ask("POST", POLICY, json={"plan": "night"}).status, 200)
        self.assertEqual(removed.code, "plan_in_use")
        self.assertEqual(self.ask("POST", "/api/v1/plans", json={**plan, "bake": 600}).status, 200)

    def test_exempt_namespace_ignores_a_freeze_in_a_preview_too(self) -> None:
        freeze = {"namespaces": ["*"], "until": "2026-11-24T13:00:00Z", "reason": "r"}
        self.ask("POST", "/api/v1/freezes", json=freeze)
        for exempt, status in ((False, 409), (True, 200)):
            self.ask("POST", POLICY, json={"freeze_exempt": exempt})
            for path in ("config?dry_run=true", "config"):
                self.assertEqual(self.ask("POST", f"/api/v1/{path}", json=DOCUMENT).status, status, path)


class PlanTests(TokenCase):
    """A namespace whose policy asks for the plan C{canary}."""

    def setUp(self) -> None:
        super().setUp()
        for number in range(3):
            self.harness.report(self.harness.join(hostname=f"host-{number}"), self.harness.tag())
        self.ask("POST", POLICY, json={"plan": "canary"})

    def test_publish_starts_a_rollout_and_its_retry_gets_the_same_answer(self) -> None:
        key = {"Idempotency-Key": "k"}
        first = self.ask("POST", "/api/v1/config", json=DOCUMENT, headers=key)
        self.assertEqual((first.status, first.json["rollout"]["plan"]["name"]), (202, "canary"))
        for change in ({}, {"plan": "direct"}):
            self.ask("POST", POLICY, json=change)
            again = self.ask("POST", "/api/v1/config", json=DOCUMENT, headers=key)
            self.assertEqual((again.status, again.json["version"]), (202, first.json["version"]), change)

    def test_retry_of_a_publish_before_the_policy_starts_nothing(self) -> None:
        key = {"Idempotency-Key": "k"}
        self.ask("POST", POLICY, json={"plan": "direct"})
        first = self.ask("POST", "/api/v1/config", json=DOCUMENT, headers=key)
        self.ask("POST", POLICY, json={"plan": "canary"})
        self.assertEqual(self.ask("POST", "/api/v1/config", json=DOCUMENT, headers=key).json, first.json)

    def test_preview_shows_the_rollout(self) -> None:
        shown = self.ask("POST", "/api/v1/config?dry_run=true", json=DOCUMENT).json
        self.assertEqual([each["members"] for each in shown["waves"]], [1, 3])
        direct = self.ask("POST", "/api/v1/config?dry_run=true&rollout=direct", json=DOCUMENT)
        self.assertEqual((direct.status, direct.code), (403, "plan_required"))
        self.assertEqual(direct.json["details"], [{"plan": "canary"}])

    def test_undo_and_its_preview_are_direct(self) -> None:
        self.ask("POST", "/api/v1/config?break_glass=x", json=DOCUMENT)
        path, body = "/api/v1/config/rollback", {"version": 1}
        self.assertNotIn("waves", self.ask("POST", f"{path}?dry_run=true", json=body).json)
        self.assertEqual(self.ask("POST", path, json=body).status, 200)
        self.assertIn("waves", self.ask("POST", f"{path}?dry_run=true", json={"version": 2}).json)
