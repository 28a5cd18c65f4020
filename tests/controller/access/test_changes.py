"""Changes over HTTP: who proposes, approves and applies them, and what makes an approval void."""

from __future__ import annotations

from typing import Any

from confd.access.change_requests import checksum_of
from confd.codec import strict_json
from tests.controller.access.test_tokens import DOCUMENT, TokenCase
from tests.controller.harness import ADMIN, AGENT
from tests.conversation import Reply

CHANGES, POLICY = "/api/v1/changes", "/api/v1/namespaces/default/policy"
OTHER = DOCUMENT | {"n": 9}


class ChangesCase(TokenCase):
    """A namespace, and people with tokens."""

    approvals = 1

    def setUp(self) -> None:
        super().setUp()
        self.people = {
            name: self.person(name, role)
            for name, role in (
                ("pat", "proposer"),
                ("ann", "approver"),
                ("amy", "approver"),
                ("pub", "publisher"),
                ("vic", "viewer"),
            )
        }
        self.policy(approvals=self.approvals)

    def person(self, name: str, *roles: str, **rest: object) -> str:
        """Create a token with roles; return its secret."""
        grants = [{"role": role, "namespaces": ["default"]} for role in roles]
        return str(self.create(name, grants, **rest)["token"])

    def policy(self, **fields: object) -> None:
        """Set the policy of the namespace."""
        self.assertEqual(self.ask("POST", POLICY, json=fields).status, 200)

    def propose(self, who: str | None = "pat", config: object = OTHER, **fields: Any) -> Any:
        """Propose a change; return it."""
        body = fields if "rollback_of" in fields else {"config": config} | fields
        reply = self.ask("POST", CHANGES, who and self.people[who], json=body)
        self.assertEqual(reply.status, 201, reply)
        return reply.json

    def verb(self, who: str | None, number: int, verb: str, **body: object) -> Reply:
        """Call a verb of a change."""
        return self.ask("POST", f"{CHANGES}/{number}/{verb}", who and self.people[who], json=body)

    def approve(self, who: str | None, number: int, **body: object) -> Reply:
        """Approve a change as it is."""
        return self.verb(who, number, "approve", **{"checksum": self.shown(number)["checksum"]} | body)

    def shown(self, number: int) -> Any:
        """Return a change."""
        return self.ask("GET", f"{CHANGES}/{number}").json

    def assert_refused(self, reply: Reply, status: int, code: str) -> None:
        """Prove that a request was refused."""
        self.assertEqual((reply.status, reply.code), (status, code), reply)

    def current(self) -> Any:
        """Return the current document."""
        return self.ask("GET", "/api/v1/config").json["data"]


class LifeTests(ChangesCase):
    """Changes from the proposal to the end."""

    def test_proposed_change_is_shown_with_its_diff(self) -> None:
        made = self.propose(comment="the ninth", poll_interval_seconds=60)
        document = strict_json.document(OTHER).checksum
        self.assertEqual(
            made,
            {
                "id": 1,
                "namespace": "default",
                "kind": "publish",
                "state": "open",
                "base": "1a2b3c4d.1.1",
                "base_checksum": self.harness.snapshot.require("default").configuration.document.checksum,
                "checksum": checksum_of("publish", document, "", 60),
                "plan": None,
                "poll_interval_seconds": 60,
                "rollback_of": None,
                "rollout": None,
                "at": None,
                "scheduled_by": None,
                "comment": "the ninth",
                "author": made["author"],
                "subject": "pat",
                "created_at": "2026-11-24T12:00:00.000Z",
                "ended_at": None,
                "needed": 1,
                "approvals": [],
                "result": None,
                "version": None,
            },
        )
        self.assertRegex(made["author"], r"token pat \([0-9a-f]{8}\)")
        self.assertEqual(self.ask("GET", CHANGES).json, {"items": [made]})
        shown = self.shown(1)
        self.assertEqual({key: shown[key] for key in made}, made)
        self.assertEqual(shown["config"], OTHER)
        self.assertIn({"op": "replace", "path": "/n", "value": 9}, shown["diff"]["patch"])
        self.assertIn("+++ change 1", shown["diff"]["text"])
        self.assertIn("+60 s", shown["diff"]["text"])

    def test_approved_change_is_applied_and_named_in_history_audit_and_certificate(self) -> None:
        agent = self.harness.join()
        self.propose(comment="the ninth")
        approved = self.approve("ann", 1, comment="fine").json
        self.assertEqual(approved["state"], "approved")
        self.assertEqual([each["subject"] for each in approved["approvals"]], ["ann"])
        reply = self.verb("pub", 1, "apply")
        self.assertEqual((reply.status, reply.json["version"], reply.json["change"]), (200, 2, 1))
        self.assertEqual(self.current(), OTHER)
        done = self.shown(1)
        self.assertEqual((done["state"], done["result"], done["version"]), ("applied", "1a2b3c4d.1.2", 2))
        self.assertNotIn("config", done)
        [line, first] = self.ask("GET", "/api/v1/config/history").json["items"]
        self.assertEqual((line["change"], line["author"], line["comment"]), (1, done["author"], "the ninth"))
        self.assertEqual(line["approvals"], done["approvals"])
        self.assertNotIn("change", first)
        self.assertEqual(self.ask("GET", "/api/v1/config/versions/2").json["approvals"], done["approvals"])
        [entry] = [each for each in self.entries() if each["action"].endswith("/apply")]
        who = done["approvals"][0]["who"]
        self.assertEqual((entry["detail"], entry["subject"]), (f"1a2b3c4d.1.2, change 1 approved by {who}", "pub"))
        self.harness.report(agent, self.harness.tag())
        certificate = self.ask("GET", "/api/v1/config/versions/2/certificate").json
        self.assertEqual(certificate["approvals"], [{"change": 1, **each} for each in done["approvals"]])

    def entries(self) -> Any:
        """Return the audit entries, newest first."""
        self.harness.clock.advance(1)
        return self.ask("GET", "/api/v1/audit").json["items"]

    def test_change_of_the_kind_rollback(self) -> None:
        for number in (2, 3):
            self.propose(None, DOCUMENT | {"n": number})
            self.approve("ann", number - 1)
            self.verb("pub", number - 1, "apply")
        made = self.propose(rollback_of=1)
        self.assertEqual((made["kind"], made["rollback_of"]), ("rollback", 1))
        self.approve("ann", 3)
        self.assertEqual(self.verb("pub", 3, "apply").json["rollback_of"], 1)

    def test_checksum_covers_all_that_a_change_alters(self) -> None:
        proposals: list[dict[str, Any]] = [
            {"config": OTHER},
            {"config": DOCUMENT},
            {"config": OTHER, "plan": "canary"},
            {"config": OTHER, "plan": "careful"},
            {"config": OTHER, "poll_interval_seconds": 60},
            {"rollback_of": 1},
        ]
        self.assertEqual(len({self.propose(**each)["checksum"] for each in proposals}), len(proposals))

    def test_reject_and_withdraw_end_a_change(self) -> None:
        for number, (who, verb, body, state) in enumerate(
            (
                ("ann", "reject", {"comment": "no"}, "rejected"),
                ("pat", "withdraw", {"comment": "oops"}, "withdrawn"),
                (None, "withdraw", {}, "withdrawn"),
            ),
            1,
        ):
            self.propose()
            done = self.verb(who, number, verb, **body).json
            self.assertEqual((done["state"], done["result"]), (state, body.get("comment")))
            for again, fields in (
                ("approve", {"checksum": done["checksum"]}),
                ("reject", {"comment": "c"}),
                ("withdraw", {}),
                ("schedule", {"at": "2026-11-25T12:00:00Z"}),
                ("rebase", {}),
                ("apply", {}),
            ):
                self.assert_refused(self.verb(None, number, again, **fields), 409, "change_over")
        self.propose()
        self.assert_refused(self.verb("pub", 4, "withdraw"), 403, "forbidden")
        self.assertEqual(self.ask("GET", f"{CHANGES}?state=pending").json["items"], [self.listed(4)])

    def listed(self, number: int) -> Any:
        """Return a change as lists show it."""
        return {key: value for key, value in self.shown(number).items() if key not in ("config", "diff")}

    def test_watchers_hear_of_each_step(self) -> None:
        caller = self.harness.caller()
        caller.ask("GET", "/api/v1/events", auth=ADMIN)
        self.propose()
        self.harness.clock.advance(1)
        self.approve("ann", 1)
        self.harness.clock.advance(1)
        events = caller.replies()[0].body.decode().split("\n\n")
        found = [each for each in events if "event: changes" in each]
        self.assertEqual(["open" in found[0], "approved" in found[-1], len(found)], [True, True, 2])

    def test_metrics(self) -> None:
        self.propose()
        self.propose()
        self.approve("ann", 1)
        self.verb("pub", 1, "apply")
        text = self.ask("GET", "/metrics").body.decode().splitlines()
        for line in (
            'confd_changes_pending{namespace="default",state="stale"} 1.0',
            'confd_changes_pending{namespace="default",state="open"} 0.0',
            'confd_changes_total{result="applied"} 1.0',
            'confd_changes_total{result="rejected"} 0.0',
        ):
            self.assertIn(line, text)

    def test_pages(self) -> None:
        for _ in range(3):
            self.propose()
        page = self.ask("GET", f"{CHANGES}?limit=2").json
        self.assertEqual(([each["id"] for each in page["items"]], page["next"]), ([3, 2], 2))
        rest = self.ask("GET", f"{CHANGES}?limit=2&before=2").json
        self.assertEqual(([each["id"] for each in rest["items"]], "next" in rest), ([1], False))
        self.assertEqual(self.ask("GET", f"{CHANGES}?state=applied").json, {"items": []})

    def test_bad_proposals_are_refused(self) -> None:
        for body, status, code in (
            ({}, 400, "bad_field"),
            ({"config": OTHER, "rollback_of": 1}, 400, "bad_field"),
            ({"config": OTHER, "rollout": 1, "plan": "careful"}, 400, "bad_field"),
            ({"config": OTHER, "plan": "nothing"}, 404, "unknown_plan"),
            ({"config": OTHER, "plan": "direct"}, 404, "unknown_plan"),
            ({"config": OTHER, "plan": "abort"}, 404, "unknown_plan"),
            ({"config": {"url": "ftp://x"}}, 422, "schema_violation"),
            ({"rollback_of": 7}, 404, "unknown_version"),
            ({"rollback_of": 2**70}, 404, "unknown_version"),
            ({"config": OTHER, "rollout": 7}, 409, "rollout_over"),
            ({"config": OTHER, "rollout": 2**70}, 400, "bad_field"),
        ):
            self.assert_refused(self.ask("POST", CHANGES, json=body), status, code)
        details = self.ask("POST", CHANGES, json={"config": {"url": "ftp://x"}}).json["details"]
        self.assertEqual([each["pointer"] for each in details], ["/config/url"])
        self.assertEqual(self.ask("GET", CHANGES).json, {"items": []})
        reply = self.ask("POST", f"{CHANGES}?namespace=no", json={"config": OTHER})
        self.assert_refused(reply, 404, "unknown_namespace")
        for number in ("7", str(2**70)):
            self.assert_refused(self.ask("GET", f"{CHANGES}/{number}"), 404, "unknown_change")

    def test_change_of_another_namespace_is_hidden(self) -> None:
        self.ask("POST", "/api/v1/namespaces", json={"name": "team", "config": DOCUMENT})
        self.ask("POST", f"{CHANGES}?namespace=team", json={"config": OTHER})
        hidden, unknown = (self.ask("GET", f"{CHANGES}/{each}", self.people["vic"]) for each in (1, 7))
        self.assertEqual((hidden.status, hidden.code), (unknown.status, "unknown_change"))
        self.assertEqual(self.ask("GET", CHANGES, self.people["vic"]).json, {"items": []})

    def test_without_policy_a_change_waits_for_a_publisher_only(self) -> None:
        self.policy(approvals=0)
        self.assertEqual(self.propose()["state"], "approved")
        self.assertEqual(self.verb("pub", 1, "apply").status, 200)
        self.assertEqual(self.ask("GET", "/api/v1/config/history").json["items"][0]["approvals"], [])

    def test_retired_namespace_is_created_again(self) -> None:
        self.ask("POST", "/api/v1/namespaces", json={"name": "team", "config": DOCUMENT})
        self.ask("POST", "/api/v1/namespaces/team/policy", json={"approvals": 1})
        self.ask("DELETE", "/api/v1/namespaces/team")
        self.assert_refused(
            self.ask("POST", "/api/v1/namespaces", json={"name": "team", "config": OTHER}), 403, "approval_required"
        )
        made = self.ask("POST", f"{CHANGES}?namespace=team", json={"config": OTHER}).json
        ann = str(self.create("ann2", [{"role": "approver", "namespaces": ["team"]}])["token"])
        path = f"{CHANGES}/{made['id']}"
        self.assertEqual(self.ask("POST", f"{path}/approve", ann, json={"checksum": made["checksum"]}).status, 200)
        self.assertEqual(self.ask("POST", f"{path}/apply").json["version"], 2)
        self.assertEqual(self.ask("GET", "/api/v1/config?namespace=team").json["data"], OTHER)


class ApprovalTests(ChangesCase):
    """Which approvals count."""

    def test_each_path_needs_an_approved_change(self) -> None:
        before = self.harness.tag()
        for path, body in (
            ("config", DOCUMENT),
            ("config?rollout=abort", DOCUMENT),
            ("config?rollout=canary", DOCUMENT),
            ("config/rollback", {"version": 1}),
            ("config/import?force=true", {"versions": [{"version": 9, "config": DOCUMENT}]}),
            ("rollouts", {"config": DOCUMENT, "plan": "canary"}),
        ):
            reply = self.ask("POST", f"/api/v1/{path}", json=body)
            self.assert_refused(reply, 403, "approval_required")
        self.assertEqual(self.harness.tag(), before)
        self.assertEqual(self.ask("POST", "/api/v1/epoch/raise").status, 200)

    def test_apply_needs_as_many_approvals_as_the_policy_asks_for_now(self) -> None:
        self.propose()
        self.assert_refused(self.verb("pub", 1, "apply"), 409, "change_not_approved")
        self.approve("ann", 1)
        self.policy(approvals=2)
        self.assert_refused(self.verb("pub", 1, "apply"), 409, "change_not_approved")
        self.approve("ann", 1)
        self.assert_refused(self.verb("pub", 1, "apply"), 409, "change_not_approved")
        self.approve("amy", 1)
        self.assertEqual(self.verb("pub", 1, "apply").status, 200)

    def test_nobody_approves_an_own_change(self) -> None:
        self.people["both"] = self.person("both", "proposer", "approver")
        self.people["same"] = self.person("pat2", "approver", subject="pat")
        self.propose("both")
        self.assert_refused(self.approve("both", 1), 409, "own_change")
        self.propose("pat")
        self.assert_refused(self.approve("same", 2), 409, "own_change")
        self.propose(None)
        self.assert_refused(self.approve(None, 3), 409, "own_change")
        self.policy(self_approval=True)
        self.assertEqual(self.approve("both", 1).json["state"], "approved")

    def test_token_of_the_name_of_the_author_approves_nothing(self) -> None:
        """A token that was revoked and created again is the same caller, whatever its subject."""
        self.propose()
        self.ask("DELETE", f"/api/v1/tokens/{self.people['pat'][6:14]}")
        self.people["pat"] = self.person("pat", "proposer", "approver", subject="someone-else")
        self.assert_refused(self.approve("pat", 1), 409, "own_change")

    def test_two_tokens_of_one_subject_count_once(self) -> None:
        self.policy(approvals=2)
        self.people["ann2"] = self.person("ann2", "approver", subject="ann")
        self.propose()
        self.approve("ann", 1)
        self.assertEqual(self.approve("ann2", 1).json["state"], "open")
        self.assertEqual(self.approve("amy", 1).json["state"], "approved")

    def test_approval_names_what_was_read(self) -> None:
        made = self.propose()
        self.assert_refused(self.verb("ann", 1, "approve", checksum="sha256:0"), 409, "checksum_mismatch")
        edited = self.verb("pat", 1, "rebase", config=DOCUMENT | {"n": 10}).json
        self.assertNotEqual(edited["checksum"], made["checksum"])
        self.assert_refused(self.verb("ann", 1, "approve", checksum=made["checksum"]), 409, "checksum_mismatch")
        self.assert_refused(self.verb("pub", 1, "apply", checksum=made["checksum"]), 409, "checksum_mismatch")

    def test_edited_change_loses_its_approvals(self) -> None:
        self.propose()
        self.approve("ann", 1)
        self.assertEqual(self.verb("pub", 1, "rebase").json["state"], "open")
        self.assertEqual((self.shown(1)["approvals"], self.shown(1)["subject"]), ([], "pub"))
        self.assert_refused(self.verb("pub", 1, "apply"), 409, "change_not_approved")

    def test_approval_of_a_revoked_approver_is_void(self) -> None:
        self.propose()
        self.approve("ann", 1)
        self.ask("DELETE", f"/api/v1/tokens/{self.people['ann'][6:14]}")
        self.assert_refused(self.verb("pub", 1, "apply"), 409, "change_not_approved")

    def test_approval_of_an_expired_approver_is_void(self) -> None:
        self.people["tmp"] = self.person("tmp", "approver", expires_in=60)
        self.propose()
        self.approve("tmp", 1)
        self.harness.clock.advance(60)
        self.assert_refused(self.verb("pub", 1, "apply"), 409, "change_not_approved")

    def test_change_of_a_revoked_author_is_suspended(self) -> None:
        self.propose()
        self.approve("ann", 1)
        self.ask("DELETE", f"/api/v1/tokens/{self.people['pat'][6:14]}")
        self.assert_refused(self.verb("pub", 1, "apply"), 409, "change_suspended")
        self.assertEqual(self.shown(1)["state"], "suspended")
        self.assert_refused(self.approve("amy", 1), 409, "change_suspended")
        self.assertEqual(self.verb("pub", 1, "rebase").json["state"], "open")

    def test_change_on_another_base_is_stale(self) -> None:
        self.propose()
        self.propose(config=DOCUMENT | {"n": 10})
        for number in (1, 2):
            self.approve("ann", number)
        self.verb("pub", 2, "apply")
        self.assertEqual(self.shown(1)["state"], "stale")
        for verb, body in (("apply", {}), ("schedule", {"at": "2026-11-25T12:00:00Z"})):
            self.assert_refused(self.verb("pub", 1, verb, **body), 409, "change_stale")
        self.assert_refused(self.approve("amy", 1), 409, "change_stale")
        rebased = self.verb("pat", 1, "rebase").json
        self.assertEqual((rebased["state"], rebased["base"]), ("open", "1a2b3c4d.1.2"))
        self.approve("ann", 1)
        self.assertEqual(self.verb("pub", 1, "apply").status, 200)
        self.assertEqual(self.current(), OTHER)

    def test_new_epoch_moves_no_base(self) -> None:
        self.propose()
        self.approve("ann", 1)
        self.ask("POST", "/api/v1/epoch/raise")
        self.assertEqual(self.verb("pub", 1, "apply").status, 200)

    def test_abort_moves_no_base(self) -> None:
        self.policy(approvals=0)
        self.harness.report(self.harness.join(), self.harness.tag())
        self.assertEqual(self.ask("POST", "/api/v1/config?rollout=canary", json=DOCUMENT | {"n": 5}).status, 202)
        self.policy(approvals=1)
        self.propose()
        self.approve("ann", 1)
        self.assertEqual(self.ask("POST", "/api/v1/rollouts/1/abort").status, 200)
        self.assertEqual(self.harness.tag(), "1a2b3c4d.1.3")
        self.assertEqual(self.verb("pub", 1, "apply").status, 200)
        self.assertEqual(self.current(), OTHER)

    def test_undo_needs_no_approval(self) -> None:
        self.propose()
        self.approve("ann", 1)
        self.verb("pub", 1, "apply")
        self.assertEqual(self.ask("POST", "/api/v1/config/rollback", json={"version": 1}).status, 200)

    def test_freeze_holds_an_approved_change(self) -> None:
        self.propose()
        self.approve("ann", 1)
        freeze = {"namespaces": ["*"], "until": "2026-11-24T13:00:00Z", "reason": "r"}
        self.ask("POST", "/api/v1/freezes", json=freeze)
        self.assert_refused(self.verb("pub", 1, "apply"), 409, "frozen")
        self.harness.clock.advance(3600)
        self.assertEqual(self.verb("pub", 1, "apply").status, 200)

    def test_nobody_approves_the_review_of_an_own_call_whatever_the_policy_says(self) -> None:
        self.policy(self_approval=True)
        self.assertEqual(self.ask("POST", "/api/v1/config?break_glass=fire", json=OTHER).status, 200)
        self.assertEqual((self.shown(1)["kind"], self.shown(1)["state"]), ("review", "open"))
        self.assert_refused(self.approve(None, 1), 409, "own_change")
        self.assertEqual(self.approve("ann", 1).json["state"], "reviewed")

    def test_agent_reaches_no_change(self) -> None:
        self.propose()
        for method, path in (("GET", CHANGES), ("POST", CHANGES), ("POST", f"{CHANGES}/1/apply")):
            self.assertEqual(self.ask(method, path, auth=AGENT, json={}).status, 403)
