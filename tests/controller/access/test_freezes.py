"""Freezes over HTTP: who makes them, and what they hold."""

from __future__ import annotations

from typing import Any

from tests.controller.access.test_tokens import DOCUMENT, TokenCase
from tests.controller.rollouts.test_service import RolloutTestCase
from tests.conversation import Reply

#: The clock of the harness starts on Tuesday 2026-11-24 at 12:00 UTC.
ONE_HOUR = {"namespaces": ["*"], "until": "2026-11-24T14:00:00+01:00", "reason": "a sale"}
WEEKLY = {"days": ["tue"], "from": "14:00", "until": "08:00", "zone": "Europe/Berlin"}


class FreezesTests(TokenCase):
    """The paths of freezes."""

    def freeze(self, **fields: Any) -> Any:
        """Make a freeze."""
        reply = self.ask("POST", "/api/v1/freezes", json=ONE_HOUR | fields)
        self.assertEqual(reply.status, 201, reply)
        return reply.json

    def test_freeze_that_happens_once(self) -> None:
        made = self.freeze()
        self.assertEqual(
            made,
            {
                "id": 1,
                "namespaces": ["*"],
                "reason": "a sale",
                "created_by": "admin",
                "created_at": "2026-11-24T12:00:00.000Z",
                "weekly": None,
                "active": True,
                "next_from": "2026-11-24T12:00:00Z",
                "next_until": "2026-11-24T13:00:00Z",
                "local": None,
            },
        )
        self.assertEqual(self.ask("GET", "/api/v1/freezes").json, {"items": [made]})
        self.harness.clock.advance(3600)
        self.assertEqual(self.ask("GET", "/api/v1/freezes").json, {"items": []})

    def test_weekly_freeze_shows_its_next_window_in_utc_and_in_its_zone(self) -> None:
        made = self.ask("POST", "/api/v1/freezes", json={"namespaces": ["*"], "reason": "r", "weekly": WEEKLY}).json
        self.assertEqual((made["weekly"], made["active"]), (WEEKLY, False))
        self.assertEqual((made["next_from"], made["next_until"]), ("2026-11-24T13:00:00Z", "2026-11-25T07:00:00Z"))
        self.assertEqual(made["local"]["next_from"], "2026-11-24T14:00:00+01:00")
        self.harness.clock.advance(3600)
        [shown] = self.ask("GET", "/api/v1/freezes").json["items"]
        self.assertEqual((shown["active"], shown["next_from"]), (True, made["next_from"]))

    def test_bad_freezes_are_refused(self) -> None:
        for changes in (
            {"namespaces": []},
            {"namespaces": ["A"]},
            {"reason": "a\nb"},
            {"until": "soon"},
            {"until": "2026-11-24T12:00:00Z"},
            {"until": "2026-11-24 13:00"},
            {"until": "2027-11-26T12:00:00Z"},
            {"until": "9999-12-31T23:59:59Z"},
            {"from": "0001-01-01T00:00:00Z"},
            {"weekly": WEEKLY},
            *(
                {"until": None, "weekly": WEEKLY | wrong}
                for wrong in (
                    {"days": []},
                    {"days": ["Friday"]},
                    {"from": "24:00"},
                    {"until": "8:00"},
                    {"zone": "Europe/Nowhere"},
                    {"zone": "../etc/passwd"},
                    {"zone": "Europe"},
                    {"zone": ""},
                )
            ),
        ):
            reply = self.ask("POST", "/api/v1/freezes", json=ONE_HOUR | changes)
            self.assertEqual((reply.status, reply.code), (422, "bad_freeze"), changes)
        self.assertEqual(self.ask("GET", "/api/v1/freezes").json, {"items": []})

    def test_refusal_says_until_when(self) -> None:
        self.freeze()
        reply = self.ask("POST", "/api/v1/config", json=DOCUMENT)
        self.assertEqual((reply.status, reply.code), (409, "frozen"))
        self.assertEqual(reply.json["details"], [{"freeze": 1, "reason": "a sale", "until": "2026-11-24T13:00:00Z"}])
        self.assertEqual(reply.headers["retry-after"], "3600")

    def test_each_path_that_delivers_a_document_is_held(self) -> None:
        self.ask("POST", "/api/v1/config", json=DOCUMENT)
        self.ask("POST", "/api/v1/config", json=DOCUMENT | {"n": 3})
        self.freeze()
        before = self.harness.tag()
        for path, body in (
            ("config", DOCUMENT),
            ("config?rollout=abort", DOCUMENT),
            ("config?rollout=careful", DOCUMENT),
            ("config?dry_run=true", DOCUMENT),
            ("config/rollback", {"version": 1}),
            ("config/rollback?rollout=careful", {"version": 2}),
            ("config/import?force=true", {"versions": [{"version": 9, "config": DOCUMENT}]}),
            ("rollouts", {"config": DOCUMENT, "plan": "careful"}),
            ("namespaces", {"name": "new", "config": DOCUMENT}),
        ):
            reply = self.ask("POST", f"/api/v1/{path}", json=body)
            self.assertEqual((reply.status, reply.code), (409, "frozen"), path)
        self.assertEqual(self.harness.tag(), before)
        self.assertEqual(self.ask("POST", "/api/v1/epoch/raise").status, 200)

    def test_undo_passes_a_freeze(self) -> None:
        self.ask("POST", "/api/v1/config", json=DOCUMENT)
        self.freeze()
        self.assertEqual(self.ask("POST", "/api/v1/config/rollback", json={"version": 1}).status, 200)
        again = self.ask("POST", "/api/v1/config/rollback", json={"version": 2})
        self.assertEqual((again.status, again.code), (409, "frozen"))

    def test_removed_freeze_holds_nothing(self) -> None:
        self.freeze()
        self.assertEqual(self.ask("DELETE", "/api/v1/freezes/1").json, {"message": "Freeze 1 is removed"})
        self.assertEqual(self.ask("POST", "/api/v1/config", json=DOCUMENT).status, 200)
        for number in (1, 7, 2**70):
            self.assertEqual(self.ask("DELETE", f"/api/v1/freezes/{number}").code, "unknown_freeze")

    def test_operator_freezes_granted_namespaces_only(self) -> None:
        operator = self.create("op", [{"role": "operator", "namespaces": ["pay-*", "qa"]}])["token"]
        for patterns, status in ((["pay-in", "pay-x-*", "qa"], 201), (["pay*"], 403), (["*"], 403), (["qa", "b"], 403)):
            reply = self.ask("POST", "/api/v1/freezes", operator, json=ONE_HOUR | {"namespaces": patterns})
            self.assertEqual(reply.status, status, patterns)
        self.freeze()
        self.freeze(namespaces=["billing"])
        shown = [each["id"] for each in self.ask("GET", "/api/v1/freezes", operator).json["items"]]
        self.assertEqual(shown, [1, 2])
        found = [self.ask("DELETE", f"/api/v1/freezes/{number}", operator).status for number in (1, 2, 3, 4)]
        self.assertEqual(found, [200, 403, 404, 404])


class FrozenRolloutTests(RolloutTestCase):
    """Open rollouts while a freeze is active."""

    agents = 4

    def freeze(self, until: str = "2026-11-24T13:00:00Z") -> Reply:
        """Freeze all namespaces."""
        return self.admin("POST", "/api/v1/freezes", json=ONE_HOUR | {"until": until})

    def test_rollout_stays_in_its_wave_and_goes_on_by_itself(self) -> None:
        self.start()
        before = self.exposed()
        self.freeze()
        self.follow(1800)
        self.assertEqual((self.state(), self.exposed()), (("running", "", 1), before))
        shown = self.rollout()
        self.assertEqual(shown["gate"]["frozen_until"], "2026-11-24T13:00:00Z")
        self.assertIn("Frozen until 2026-11-24T13:00:00Z", shown["next"])
        self.assertEqual(self.admin("DELETE", "/api/v1/freezes/1").status, 200)
        # The end of the freeze restarts bake and patience.
        self.follow(30)
        self.assertEqual(self.exposed(), before)
        self.follow(200)
        self.assertNotEqual(self.exposed(), before)
        self.assertIsNone((self.rollout()["gate"] or {}).get("frozen_until"))

    def test_verbs_that_deliver_are_refused_and_abort_is_not(self) -> None:
        self.start()
        self.freeze()
        self.assertEqual(self.verb("pause").status, 200)
        to_all, older = {"to": "all"}, {"rollback_of": 1}
        for verb, body in (("resume", {}), ("promote", {}), ("promote", to_all), ("replace", older)):
            reply = self.verb(verb, json=body)
            self.assertEqual((reply.status, reply.code), (409, "frozen"), verb)
        self.assertEqual(self.verb("abort").status, 200)
        self.assertEqual(self.state()[0], "aborted")

    def test_approver_promotes_a_held_rollout_to_the_next_wave_only(self) -> None:
        grants = [{"role": "approver", "namespaces": ["default"]}]
        made = self.admin("POST", "/api/v1/tokens", json={"name": "ann", "grants": grants}).json

        def promote(**body: str) -> tuple[int, str]:
            headers = {"Authorization": f"Bearer {made['token']}"}
            reply = self.harness.caller().post("/api/v1/rollouts/1/promote", json=body, headers=headers)
            return reply.status, "" if reply.status == 200 else reply.code

        plan = {"waves": [{"count": 1, "hold": True}, {"count": 2}]}
        self.admin("POST", "/api/v1/rollouts", json={"config": {"url": "https://x"}, "plan": plan})
        self.assertEqual(promote(), (403, "forbidden"))
        self.verb("pause")
        self.assertEqual(promote(), (403, "forbidden"))
        self.verb("resume")
        self.follow(600)
        self.assertEqual(self.state(), ("paused", "held", 1))
        self.assertEqual(promote(to="all"), (403, "forbidden"))
        self.assertEqual(promote(to="next"), (200, ""))
        self.assertEqual(self.state(), ("running", "", 2))
        self.assertEqual(promote(), (403, "forbidden"))

    def test_failures_still_abort(self) -> None:
        self.start(value=13)
        self.freeze()
        self.follow(20, broken=True)
        self.assertEqual(self.state(), ("aborted", "failures", 1))

    def test_rollout_in_its_last_wave_completes(self) -> None:
        self.start()
        self.verb("promote", json={"to": "all"})
        self.freeze()
        self.follow(600)
        self.assertEqual(self.state()[0], "completed")
