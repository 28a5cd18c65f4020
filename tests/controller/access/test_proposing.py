"""Publishes, rollbacks and starts that propose a change in the place of it: C{propose=true}."""

from __future__ import annotations

from typing import Any

from tests.controller.access.test_changes import CHANGES, OTHER, ChangesCase
from tests.controller.access.test_tokens import DOCUMENT

PLAN = {"name": "night", "waves": [{"count": 1}]}


class ProposingTests(ChangesCase):
    """The calls that propose what they would publish."""

    def proposed(self, path: str, body: object, who: str = "pat", **carried: Any) -> Any:
        """Propose with a call; return the change."""
        reply = self.ask("POST", f"/api/v1/{path}", self.people[who], json=body, **carried)
        self.assertEqual(reply.status, 202, reply)
        self.assertEqual(list(reply.json), ["change"])
        self.assertEqual(reply.headers["location"], f"{CHANGES}/{reply.json['change']['id']}")
        return reply.json["change"]

    def test_call_proposes_the_change_that_it_would_make(self) -> None:
        self.ask("POST", "/api/v1/plans", json=PLAN)
        fields = ("kind", "plan", "rollback_of", "poll_interval_seconds", "comment", "subject", "state")
        said = "?propose=true&poll_interval=9&comment=why&rollout=night"
        for path, body, expected in (
            ("config?propose=true", OTHER, ("publish", None, None, None, "", "pat", "open")),
            (f"config{said}", OTHER, ("publish", "night", None, 9, "why", "pat", "open")),
            ("config?propose=true&rollout=direct", OTHER, ("publish", None, None, None, "", "pat", "open")),
            (
                "config/rollback?propose=true",
                {"version": 1, "comment": "back"},
                ("rollback", None, 1, None, "back", "pat", "open"),
            ),
            (
                "rollouts?propose=true",
                {"config": OTHER, "plan": "night", "poll_interval_seconds": 9},
                ("publish", "night", None, 9, "", "pat", "open"),
            ),
            (
                "rollouts?propose=true",
                {"rollback_of": 1, "plan": "canary"},
                ("rollback", "canary", 1, None, "", "pat", "open"),
            ),
        ):
            before = self.harness.tag()
            made = self.proposed(path, body)
            self.assertEqual(tuple(made[name] for name in fields), expected, path)
            self.assertEqual(made, {name: self.shown(made["id"])[name] for name in made}, path)
            self.assertEqual(self.harness.tag(), before)

    def test_refusal_names_the_call_that_proposes(self) -> None:
        self.ask("POST", "/api/v1/plans", json=PLAN)
        for path, body, call in (
            ("config", OTHER, "config?namespace=default&propose=true"),
            ("config?rollout=night", OTHER, "config?namespace=default&rollout=night&propose=true"),
            ("config?rollout=abort&comment=x", OTHER, "config?namespace=default&propose=true"),
            ("config/rollback", {"version": 1}, "config/rollback?namespace=default&propose=true"),
            ("rollouts", {"config": OTHER, "plan": "night"}, "rollouts?namespace=default&propose=true"),
        ):
            reply = self.ask("POST", f"/api/v1/{path}", json=body)
            self.assert_refused(reply, 403, "approval_required")
            [detail] = reply.json["details"]
            self.assertEqual(detail, {"method": "POST", "path": f"/api/v1/{call}", "needed": 1}, path)
            self.assertIn(f"POST {detail['path'].partition('?')[0]}?propose=true", reply.body.decode())
            self.assertEqual(self.ask(detail["method"], detail["path"], self.people["pat"], json=body).status, 202)

    def test_proposal_is_approved_and_applied_like_any_change(self) -> None:
        made = self.proposed("config?propose=true", OTHER)
        self.assertEqual(self.approve("ann", made["id"]).status, 200)
        self.assertEqual(self.verb("pub", made["id"], "apply").status, 200)
        self.assertEqual(self.ask("GET", "/api/v1/config").json["data"], OTHER)

    def test_permission_is_that_of_a_proposal(self) -> None:
        wrong = "?propose=true&nonsense=1"
        for path, body in (
            ("config", OTHER),
            ("config/rollback", {"version": 1}),
            ("rollouts", {"config": OTHER, "plan": "canary"}),
        ):
            for who, status in (("pat", 202), ("pub", 202), ("ann", 403), ("vic", 403)):
                reply = self.ask("POST", f"/api/v1/{path}?propose=true", self.people[who], json=body)
                self.assertEqual(reply.status, status, (path, who))
                if status == 403:
                    missing = [{"missing": "change.propose", "namespace": "default"}]
                    self.assertEqual(reply.json["details"], missing)
            for query, status in (("", 403), ("?propose=false", 403), (wrong, 400), ("?propose=maybe", 403)):
                reply = self.ask("POST", f"/api/v1/{path}{query}", self.people["pat"], json=body)
                self.assertEqual(reply.status, status, (path, query))
            elsewhere = self.ask("POST", f"/api/v1/{path}?propose=true&namespace=none", self.people["pat"], json=body)
            self.assert_refused(elsewhere, 404, "unknown_namespace")

    def test_large_document_is_proposed(self) -> None:
        self.proposed("config?propose=true", OTHER | {"text": "x" * 70_000})

    def test_options_that_a_proposal_does_not_have(self) -> None:
        for path, body in (
            ("config?propose=true&dry_run=true", OTHER),
            ("config?propose=true&wait=applied", OTHER),
            ("config?propose=true&rollout=abort", OTHER),
            ("config/rollback?propose=true&dry_run=true", {"version": 1}),
            ("rollouts?propose=true", {"config": OTHER, "plan": {"waves": [{"count": 1}]}}),
        ):
            self.assert_refused(self.ask("POST", f"/api/v1/{path}", json=body), 400, "bad_field")
        for path, body in (("config", OTHER), ("rollouts", {"config": OTHER, "plan": "canary"})):
            reply = self.ask("POST", f"/api/v1/{path}?propose=true&break_glass=why", json=body)
            self.assert_refused(reply, 400, "bad_field")
            keyed = self.ask("POST", f"/api/v1/{path}?propose=true", json=body, headers={"Idempotency-Key": "k"})
            self.assert_refused(keyed, 400, "bad_idempotency_key")
        self.assertEqual(self.ask("GET", CHANGES).json, {"items": []})

    def test_conditions_hold_for_a_proposal(self) -> None:
        tag = self.harness.tag()
        headers = {"If-Match": f'"{tag}"'}
        self.proposed("config?propose=true&if_changed=true", OTHER, headers=headers)
        same = self.ask("POST", "/api/v1/config?propose=true&if_changed=true", json=self.document())
        self.assert_refused(same, 409, "unchanged")
        self.policy(approvals=0)
        self.assertEqual(self.ask("POST", "/api/v1/config", json=DOCUMENT).status, 200)
        self.assert_refused(
            self.ask("POST", "/api/v1/config?propose=true", json=OTHER, headers=headers), 412, "version_mismatch"
        )

    def document(self) -> Any:
        """Return the current document."""
        return self.ask("GET", "/api/v1/config").json["data"]

    def test_direct_publish_that_the_policy_refuses_is_not_proposed(self) -> None:
        self.ask("POST", "/api/v1/plans", json=PLAN)
        self.policy(plan="night")
        reply = self.ask("POST", "/api/v1/config?propose=true&rollout=direct", json=OTHER)
        self.assert_refused(reply, 403, "plan_required")
        self.proposed("config?propose=true", OTHER)

    def test_retired_namespace_is_proposed_again(self) -> None:
        self.ask("POST", "/api/v1/namespaces", json={"name": "team", "config": DOCUMENT})
        self.ask("DELETE", "/api/v1/namespaces/team")
        made = self.ask("POST", "/api/v1/config?namespace=team&propose=true", json=OTHER)
        self.assertEqual((made.status, made.json["change"]["namespace"]), (202, "team"))
