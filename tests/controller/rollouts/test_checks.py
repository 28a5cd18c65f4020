"""Checks and waves in parallel, through the API of one controller."""

from __future__ import annotations

from tests.controller.rollouts.case import BAKE, RolloutTestCase
from tests.conversation import Reply


class CheckTests(RolloutTestCase):
    def verdict(self, passed: bool, name: str = "slo", **rest: object) -> Reply:
        """Post a verdict on the first rollout."""
        return self.verb("checks", json={"name": name, "pass": passed}, **rest)

    def details(self) -> list[str]:
        """Return the audit of rollouts, newest first."""
        items = self.admin("GET", "/api/v1/audit").json["items"]
        return [each["detail"] for each in items if each["detail"].startswith("rollout 1: ")]

    def test_gate_waits_for_the_check_of_each_step(self) -> None:
        self.plan(waves=[{"count": 1}], checks=["slo"], last={"checks": []})
        self.follow(2 * BAKE)
        rollout = self.rollout()
        self.assertEqual((rollout["wave"], rollout["gate"]["checks"]), (1, {"slo": "missing"}))
        self.assertEqual(rollout["next"], "1 of 1 members settled; waiting for the check slo.")
        reply = self.verdict(True)
        self.assertEqual((reply.status, reply.headers["etag"]), (200, '"r1.1"'))
        self.assertEqual(reply.json["gate"]["checks"], {"slo": "passed"})
        self.harness.clock.advance(1)
        self.assertEqual(self.state(), ("finishing", "", 2))
        self.assertEqual(self.rollout()["gate"]["checks"], {})
        self.assertEqual(self.details(), ["rollout 1: wave 2", "rollout 1: check slo passed"])

    def test_failed_check_aborts_at_once(self) -> None:
        self.start()
        reply = self.verb("checks", json={"name": "slo", "pass": False, "comment": "5 % errors"})
        self.assertEqual((reply.status, reply.json["state"], reply.json["reason"]), (200, "aborted", "check_failed"))
        self.assertEqual({self.served(agent_id) for agent_id in self.ids}, {3})
        self.assertEqual(self.details(), ["rollout 1: aborted (check_failed): check slo failed: 5 % errors"])
        self.assertEqual(self.admin("GET", "/api/v1/config").json["data"]["n"], 0)

    def test_failed_check_pauses_and_a_step_forgets_it(self) -> None:
        self.plan(waves=[{"count": 1}], on_failure="pause", checks=["slo"])
        self.verdict(True)
        self.assertEqual(self.verdict(False).json["state"], "paused")
        self.assertEqual(self.state(), ("paused", "check_failed", 1))
        failed = self.verdict(False)
        self.assertEqual((failed.status, failed.json["gate"]["checks"]), (200, {"slo": "failed"}))
        resumed = self.verb("resume").json
        self.assertEqual((resumed["state"], resumed["gate"]["checks"]), ("running", {"slo": "missing"}))
        self.follow(2 * BAKE)
        self.assertEqual(self.state(), ("running", "", 1))

    def test_failed_check_aborts_a_paused_rollout_and_the_last_wave(self) -> None:
        self.start()
        self.verb("pause")
        self.assertEqual(self.verdict(False).json["state"], "aborted")
        self.start(value=7)
        self.admin("POST", "/api/v1/rollouts/2/promote", json={"to": "all"})
        failed = self.admin("POST", "/api/v1/rollouts/2/checks", json={"name": "slo", "pass": False})
        self.assertEqual((failed.json["state"], failed.json["reason"]), ("paused", "check_failed"))

    def test_verdict_for_an_old_step(self) -> None:
        """CI that read the rollout before its last step does not judge the step after it."""
        self.plan(waves=[{"count": 1}], checks=["slo"])
        etag = self.admin("GET", "/api/v1/rollouts/1").headers["etag"]
        self.verb("pause")
        self.verb("resume")
        stale = self.verdict(True, headers={"If-Match": etag})
        self.assertEqual((stale.status, stale.code), (412, "version_mismatch"))
        self.assertEqual(self.rollout()["gate"]["checks"], {"slo": "missing"})

    def test_verdict_does_not_restart_the_bake(self) -> None:
        self.start()
        self.follow(BAKE - 20)
        self.verdict(True, "of-no-plan")
        self.assertEqual(self.rollout()["gate"]["checks"], {"of-no-plan": "passed"})
        self.follow(40)
        self.assertGreater(self.rollout()["wave"], 1)

    def test_refused_verdicts(self) -> None:
        self.assertEqual(self.verdict(True).code, "unknown_rollout")
        self.start()
        for body in ({"name": "slo"}, {"name": "SLO", "pass": True}, {"name": "slo", "pass": 1}, {"pass": True}):
            self.assertEqual(self.verb("checks", json=body).status, 400, body)
        for number in range(64):
            self.assertEqual(self.verdict(True, f"c{number}").status, 200)
        self.assertEqual(self.verdict(True).code, "too_many_checks")
        self.assertEqual(self.verdict(True, "c0").status, 200)
        self.verb("abort")
        self.assertEqual(self.verdict(True).code, "rollout_over")


class ParallelTests(RolloutTestCase):
    agents = 6

    def apply(self) -> None:
        """Let the members apply the candidate."""
        tag = self.harness.tag()[:-1] + str(self.rollout()["candidate"])
        for agent_id in self.exposed():
            self.report(agent_id, tag)
        self.harness.clock.advance(1)

    def test_wave_goes_on_as_members_apply(self) -> None:
        self.plan(waves=[{"count": 5}], parallel=2)
        for members, left in ((2, 3), (4, 1), (5, 0)):
            rollout = self.rollout()
            self.assertEqual((len(self.exposed()), rollout["members"], rollout["step"]), (members, members, 1))
            said = f"; {left} agents are to follow" in rollout["next"]
            self.assertEqual(said, bool(left))
            self.apply()
        self.assertEqual((self.rollout()["wave"], len(self.exposed())), (1, 5))
        self.follow(BAKE + 20)
        self.assertEqual(self.rollout()["state"], "finishing")
        self.assertEqual(len(self.admin("GET", "/api/v1/audit?limit=500").json["items"]), 2)

    def test_stream_of_a_later_member(self) -> None:
        callers = {}
        for agent_id in self.ids:
            callers[agent_id] = caller = self.harness.caller()
            caller.ask("GET", "/api/v1/stream", auth=("agent", "secret123"), headers={"X-Agent-ID": agent_id})
        self.plan(waves=[{"count": 4}], parallel=1)
        self.apply()
        (first, second) = (each["id"] for each in self.admin("GET", "/api/v1/rollouts/1/agents").json["items"])
        got = {each for each, caller in callers.items() if caller.tags()[-1].endswith(".2")}
        self.assertEqual(got, {first, second})

    def test_nothing_is_added_while_it_is_stopped(self) -> None:
        for name in ("pause", "failures"):
            self.plan(waves=[{"count": 5}], parallel=2, on_failure="pause")
            number = self.admin("GET", "/api/v1/rollouts").json["items"][0]["id"]
            members = self.exposed()
            if name == "pause":
                self.admin("POST", f"/api/v1/rollouts/{number}/pause")
            else:
                self.report(members[0], self.candidate(number), "failed")
            self.report(members[1], self.candidate(number))
            self.harness.clock.advance(2)
            self.assertEqual((self.rollout(number)["state"], self.exposed()), ("paused", members), name)
            self.admin("POST", f"/api/v1/rollouts/{number}/abort")
            self.harness.clock.advance(2)
            self.assertEqual((self.exposed(), self.rollout(number)["members"]), ([], 2))
            self.follow(10)

    def candidate(self, number: int) -> str:
        """Return the tag of the candidate of a rollout."""
        return self.harness.tag().rpartition(".")[0] + f".{self.rollout(number)['candidate']}"

    def test_wave_without_an_agent_to_add_stalls(self) -> None:
        self.plan(waves=[{"count": 5}], parallel=2, patience=300)
        members = self.exposed()
        self.apply()
        for agent_id in self.ids:
            if agent_id not in self.exposed():
                self.admin("DELETE", f"/api/v1/agents/{agent_id}")
        self.ids = self.exposed()
        self.assertGreater(len(self.ids), len(members))
        self.follow(400)
        self.assertEqual(self.state(), ("paused", "stalled", 1))
        self.assertEqual(self.verb("promote").json["state"], "finishing")

    def test_pending_members_of_an_earlier_wave_count(self) -> None:
        self.plan(waves=[{"count": 2, "quorum": 50}, {"count": 5, "parallel": 2}])
        one, _ = self.exposed()
        self.report(one, self.candidate(1))
        for _ in range(14):
            for agent_id in self.ids:
                self.poll(agent_id)
            self.harness.clock.advance(10)
        self.assertEqual((self.rollout()["wave"], len(self.exposed())), (2, 3))

    def test_dry_run_shows_whole_waves(self) -> None:
        self.admin("POST", "/api/v1/plans", json={"name": "two", "waves": [{"count": 4}], "parallel": 2})
        self.assertEqual([each["members"] for each in self.start("two&dry_run=true").json["waves"]], [4, 6])

    def test_restart_goes_on(self) -> None:
        self.plan(waves=[{"count": 4}], parallel=2)
        self.restart()
        self.apply()
        self.assertEqual(len(self.exposed()), 4)
