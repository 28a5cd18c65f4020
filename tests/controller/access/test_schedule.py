"""Scheduled changes: at their time, in freezes and rollouts, over clock jumps, and after a controller was down."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tests.controller.access.test_changes import CHANGES, OTHER, ChangesCase
from tests.controller.access.test_tokens import DOCUMENT
from tests.controller.harness import ControllerHarness

#: Half an hour after the clock of the harness starts.
HALF_PAST = "2026-11-24T12:30:00Z"


class ScheduleTests(ChangesCase):
    """A change with a time."""

    def schedule(self, at: str | None = HALF_PAST, who: str = "pub") -> Any:
        """Propose, approve and schedule a change."""
        made = self.propose()
        self.approve("ann", made["id"])
        reply = self.verb(who, made["id"], "schedule", at=at)
        self.assertEqual(reply.status, 200, reply)
        return reply.json

    def wait(self, seconds: int) -> None:
        """Let time pass, second by second at its end."""
        self.harness.clock.advance(seconds - 2)
        for _ in range(2):
            self.harness.clock.advance(1)

    def state(self, number: int = 1) -> str:
        """Return the state of a change."""
        return str(self.shown(number)["state"])

    def assert_applied(self) -> None:
        """Prove that the change was applied once."""
        self.assertEqual(self.state(), "applied")
        self.assertEqual(self.harness.tag(), "1a2b3c4d.1.2")
        self.assertEqual(self.current(), OTHER)

    def freeze(self, begin: str, until: str) -> None:
        """Freeze all namespaces."""
        body = {"namespaces": ["*"], "from": begin, "until": until, "reason": "r"}
        self.assertEqual(self.ask("POST", "/api/v1/freezes", json=body).status, 201)

    def test_change_is_applied_at_its_time(self) -> None:
        made = self.schedule("2026-11-24T13:30:00+01:00")
        self.assertEqual((made["state"], made["at"]), ("scheduled", HALF_PAST))
        self.assertIn("token pub ", made["scheduled_by"])
        self.wait(1799)
        self.assertEqual(self.state(), "scheduled")
        self.wait(3)
        self.assert_applied()
        self.harness.clock.advance(2)
        entries = self.ask("GET", "/api/v1/audit").json["items"]
        [entry] = [each for each in entries if each["action"] == "scheduled change"]
        self.assertIn("change 1 approved by token ann", entry["detail"])
        self.assertEqual((entry["who"], entry["subject"], entry["target"]), (made["scheduled_by"], "pub", "1"))

    def test_change_that_is_proposed_with_a_time_waits_for_its_approvals(self) -> None:
        body = {"config": OTHER, "at": HALF_PAST}
        self.assert_refused(self.ask("POST", CHANGES, self.people["pat"], json=body), 403, "forbidden")
        made = self.propose("pub", at=HALF_PAST)
        self.assertEqual(made["state"], "open")
        self.wait(1810)
        self.assertEqual(self.state(), "open")
        self.assertEqual(self.approve("ann", 1).json["state"], "scheduled")
        self.wait(3)
        self.assert_applied()

    def test_time_is_taken_away(self) -> None:
        self.schedule()
        self.assertEqual(self.verb("pub", 1, "schedule", at=None).json["state"], "approved")
        self.wait(3600)
        self.assertEqual(self.state(), "approved")

    def test_bad_times_are_refused(self) -> None:
        self.propose()
        for at in (
            "soon",
            "",
            "2026-11-24T12:30:00",
            "2026-11-24T12:00:59Z",
            "2026-11-24T11:00:00Z",
            "2027-11-25T12:00:01Z",
            "9999-12-31T23:59:59-12:00",
            "0001-01-01T00:00:00+12:00",
        ):
            self.assert_refused(self.verb("pub", 1, "schedule", at=at), 422, "bad_schedule")
        self.assertEqual(self.verb("pub", 1, "schedule", at="2026-11-24T12:01:00Z").status, 200)
        self.assertEqual(self.verb("pub", 1, "schedule", at="2027-11-25T12:00:00Z").status, 200)

    def test_time_in_a_known_freeze_is_refused(self) -> None:
        self.freeze("2026-11-24T12:15:00Z", "2026-11-24T14:00:00Z")
        self.propose()
        reply = self.verb("pub", 1, "schedule", at=HALF_PAST)
        self.assert_refused(reply, 409, "frozen")
        self.assertNotIn("retry-after", reply.headers)
        self.assertEqual(self.verb("pub", 1, "schedule", at="2026-11-24T14:00:00Z").status, 200)

    def test_local_time_that_daylight_saving_shows_twice_is_named_by_its_offset(self) -> None:
        for at, utc in (
            ("2027-03-28T01:59:59+01:00", "2027-03-28T00:59:59Z"),
            ("2027-03-28T03:00:00+02:00", "2027-03-28T01:00:00Z"),
            ("2027-10-31T02:30:00+02:00", "2027-10-31T00:30:00Z"),
            ("2027-10-31T02:30:00+01:00", "2027-10-31T01:30:00Z"),
        ):
            self.assertEqual(self.propose("pub", at=at)["at"], utc)

    def test_due_change_waits_for_the_end_of_a_freeze(self) -> None:
        self.schedule()
        self.freeze("2026-11-24T12:15:00Z", "2026-11-24T13:00:00Z")
        self.wait(3500)
        self.assertEqual(self.state(), "scheduled")
        self.wait(103)
        self.assert_applied()

    def test_change_that_is_frozen_for_an_hour_is_missed(self) -> None:
        self.schedule()
        self.freeze("2026-11-24T12:15:00Z", "2026-11-24T14:00:00Z")
        self.wait(1800 + 3598)
        self.assertEqual(self.state(), "scheduled")
        self.wait(3)
        missed = self.shown(1)
        self.assertEqual(missed["state"], "missed")
        self.assertIn("Freeze 1 holds", missed["result"])
        self.wait(7200)
        self.assertEqual((self.state(), self.harness.tag()), ("missed", "1a2b3c4d.1.1"))
        self.assert_refused(self.verb("pub", 1, "apply"), 409, "change_missed")
        rebased = self.verb("pat", 1, "rebase").json
        self.assertEqual((rebased["state"], rebased["at"], rebased["result"]), ("open", None, None))

    def test_due_change_waits_for_the_end_of_a_rollout(self) -> None:
        self.policy(approvals=0)
        agent = self.harness.join()
        self.harness.report(agent, self.harness.tag())
        started = self.ask("POST", "/api/v1/config?rollout=canary", json=DOCUMENT | {"n": 5})
        self.assertEqual(started.status, 202)
        self.schedule()
        self.ask("POST", "/api/v1/rollouts/1/pause")
        self.wait(1803)
        self.assertEqual(self.state(), "scheduled")
        self.ask("POST", "/api/v1/rollouts/1/abort")
        self.wait(3)
        self.assertEqual((self.state(), self.current()), ("applied", OTHER))

    def test_policy_counts_at_the_time_of_the_change(self) -> None:
        self.schedule()
        self.policy(approvals=2)
        self.wait(1803)
        self.assertEqual(self.state(), "scheduled")
        self.approve("amy", 1)
        self.wait(3)
        self.assert_applied()

    def test_change_is_suspended_once_who_scheduled_it_lost_the_permission(self) -> None:
        self.schedule()
        self.ask("DELETE", f"/api/v1/tokens/{self.people['pub'][6:14]}")
        self.wait(1803)
        shown = self.shown(1)
        self.assertEqual((shown["state"], self.harness.tag()), ("suspended", "1a2b3c4d.1.1"))
        self.assertIn("config.publish", shown["result"])

    def test_change_is_suspended_once_its_author_lost_the_permission(self) -> None:
        self.schedule()
        self.ask("DELETE", f"/api/v1/tokens/{self.people['pat'][6:14]}")
        self.wait(1803)
        self.assertEqual((self.state(), self.harness.tag()), ("suspended", "1a2b3c4d.1.1"))

    def test_publish_before_its_time_makes_it_stale(self) -> None:
        self.schedule()
        self.policy(approvals=0)
        self.ask("POST", "/api/v1/config", json=DOCUMENT)
        self.wait(1803)
        self.assertEqual((self.state(), self.harness.tag()), ("stale", "1a2b3c4d.1.2"))

    def test_edited_change_loses_its_time(self) -> None:
        self.schedule()
        self.assertEqual(self.verb("pat", 1, "rebase").json["at"], None)
        self.approve("ann", 1)
        self.wait(1803)
        self.assertEqual(self.state(), "approved")

    def test_clock_that_jumps_back_applies_it_once(self) -> None:
        self.schedule()
        self.wait(1803)
        self.harness.wall_offset -= timedelta(days=1)
        self.wait(10)
        self.harness.wall_offset += timedelta(days=1)
        self.wait(10)
        self.assert_applied()

    def test_clock_that_jumps_back_before_its_time_defers_it(self) -> None:
        self.schedule()
        self.harness.wall_offset -= timedelta(hours=1)
        self.wait(1803)
        self.assertEqual(self.state(), "scheduled")
        self.wait(3600)
        self.assert_applied()

    def test_clock_that_jumps_an_hour_past_it_misses_it(self) -> None:
        self.schedule()
        self.harness.wall_offset += timedelta(days=1)
        self.wait(3)
        shown = self.shown(1)
        self.assertEqual(shown["state"], "missed")
        self.assertEqual(shown["result"], "No controller could apply it until 2026-11-24T13:30:00Z.")

    def test_controller_that_was_down_applies_it_within_the_hour_only(self) -> None:
        for down, state in ((timedelta(minutes=80), "applied"), (timedelta(minutes=91), "missed")):
            self.setUp()
            self.schedule()
            self.harness.stop()
            again = ControllerHarness(self.harness.store, started=False)
            again.wall_offset = down
            again.start()
            self.addCleanup(again.stop)
            for _ in range(3):
                again.clock.advance(1)
            change = self.successResultOf(again.store.change_request(1))
            self.assertEqual(change.state, state, down)

    def test_two_controllers_apply_it_once(self) -> None:
        self.schedule()
        other = ControllerHarness(self.harness.store)
        self.addCleanup(other.stop)
        for _ in range(60):
            self.wait(31)
            other.clock.advance(31)
        versions = self.successResultOf(self.harness.store.history("default", 9, None))
        self.assertEqual([each.tag.version for each in versions], [2, 1])
