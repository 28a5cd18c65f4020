"""Rollouts through the API of one controller."""

from __future__ import annotations

from typing import Any

from tests.controller.harness import ADMIN, AGENT
from tests.controller.rollouts.case import BAKE, INTERVAL, RolloutTestCase


class LifeTests(RolloutTestCase):
    agents = 12

    def test_good_document_reaches_all_agents(self) -> None:
        reply = self.start()
        self.assertEqual(reply.status, 202)
        self.assertEqual(len(self.exposed()), 1)
        self.follow(BAKE)
        self.follow(20)
        self.assertEqual(len(self.exposed()), 2)
        for _ in range(3):
            self.follow(BAKE + 20)
        self.assertEqual(self.rollout()["state"], "completed")
        self.assertEqual(self.exposed(), [])
        self.assertEqual(self.served(self.ids[0]), 2)

    def test_bad_document_is_taken_back(self) -> None:
        self.start(value=13)
        self.follow(20, broken=True)
        rollout = self.rollout()
        self.assertEqual((rollout["state"], rollout["reason"], rollout["ended_as"]), ("aborted", "failures", 3))
        self.assertEqual({self.served(agent_id) for agent_id in self.ids}, {3})

    def test_convergence_counts_each_agent_once(self) -> None:
        """The current version is for agents that are no members, and the candidate for the members."""
        before = self.convergence("config")
        self.assertNotIn("rollout", before)
        self.start()
        current, candidate = self.convergence("config"), self.convergence("config/versions/2")
        self.assertEqual((current["version"], current["targeted"], current["applied"]), (1, 11, 11))
        self.assertEqual(current["rollout"], {"id": 1, "candidate": 2, "members": 1})
        self.assertEqual((candidate["targeted"], candidate["pending"]), (1, 1))
        self.assertEqual([each["id"] for each in candidate["laggards"]], self.exposed())
        self.assertEqual(self.convergence("config/versions/1"), current)
        member = self.ids.index(self.exposed()[0])
        for number in (member, (member + 1) % 12):
            found = self.convergence("config", f"?select=hostname=h{number}")
            self.assertEqual(found["targeted"], int(number != member))
        self.follow(20)
        self.assertEqual(self.convergence("config/versions/2")["applied"], 1)
        self.admin("POST", "/api/v1/rollouts/1/promote", json={"to": "all"})
        current = self.convergence("config")
        self.assertEqual((current["version"], current["targeted"], "rollout" in current), (2, 12, False))

    def convergence(self, of: str, query: str = "") -> Any:
        """Return the convergence of the current version or of another one."""
        return self.admin("GET", f"/api/v1/{of}/convergence{query}").json


class VerbTests(RolloutTestCase):
    agents = 4

    def test_pause_keeps_members_and_resume_goes_on(self) -> None:
        self.start()
        members = self.exposed()
        self.assertEqual(self.verb("pause").json["state"], "paused")
        self.follow(3 * BAKE)
        self.assertEqual((self.exposed(), self.state()), (members, ("paused", "requested", 1)))
        self.assertEqual(self.verb("pause").status, 200)
        self.assertEqual(self.verb("resume").json["state"], "running")
        self.assertEqual(self.verb("resume").code, "not_paused")
        self.follow(BAKE - 10)
        self.assertEqual(self.state(), ("running", "", 1))
        self.follow(30)
        self.assertNotEqual(self.exposed(), members)

    def test_paused_rollout_is_still_aborted_by_failures(self) -> None:
        self.start(value=13)
        self.verb("pause")
        self.follow(20, broken=True)
        self.assertEqual(self.state(), ("aborted", "failures", 1))

    def test_resume_accepts_the_present_failures(self) -> None:
        plan = {"waves": [{"count": 2, "on_failure": "pause"}]}
        started = self.admin("POST", "/api/v1/rollouts", json={"config": {"url": "https://x/13"}, "plan": plan})
        self.assertEqual(started.status, 202)
        self.follow(20, broken=True)
        self.assertEqual(self.state(), ("paused", "failures", 1))
        self.assertEqual(self.rollout()["gate"]["failures"], 2)
        self.verb("resume")
        self.assertEqual(self.rollout()["gate"]["failures"], 0)
        self.harness.clock.advance(5)
        self.assertEqual(self.state(), ("running", "", 1))

    def test_promote(self) -> None:
        self.start()
        self.assertEqual(self.verb("promote").json["wave"], 3)
        self.assertEqual(len(self.exposed()), 2)
        self.assertEqual(self.verb("promote", json={"to": "all"}).json["state"], "finishing")
        self.assertEqual({self.served(agent_id) for agent_id in self.ids}, {2})
        self.assertEqual(self.verb("promote").code, "last_wave")
        details = [each["detail"] for each in self.admin("GET", "/api/v1/audit").json["items"]]
        self.assertIn("rollout 1: wave 3 (skipped the gate of wave 1)", details)

    def test_replace_judges_the_new_candidate_on_all_members(self) -> None:
        self.start(value=13)
        self.verb("promote")
        members = self.exposed()
        self.assertEqual(self.verb("replace", json={"config": {"url": "https://x/7"}}).status, 200)
        self.assertEqual((self.exposed(), self.rollout()["candidate"], self.state()[2]), (members, 3, 1))
        self.assertEqual({self.served(agent_id) for agent_id in members}, {3})
        self.follow(4 * BAKE, broken=True)
        self.assertEqual(self.state(), ("completed", "", 4))
        self.assertEqual({self.served(agent_id) for agent_id in self.ids}, {3})

    def test_replace_in_the_last_wave(self) -> None:
        self.start()
        self.verb("promote", json={"to": "all"})
        refused = self.verb("replace", json={"config": {"url": "https://x/7"}})
        self.assertEqual((refused.status, refused.code), (409, "rollout_finishing"))
        self.assertEqual(self.verb("replace", json={}).code, "bad_field")

    def test_abort_in_every_open_state(self) -> None:
        for number, prepare in enumerate(
            (
                lambda number: None,
                lambda number: self.admin("POST", f"/api/v1/rollouts/{number}/pause"),
                lambda number: self.admin("POST", f"/api/v1/rollouts/{number}/promote", json={"to": "all"}),
            ),
            1,
        ):
            self.start(value=number)
            prepare(number)
            before = len(self.admin("GET", f"/api/v1/rollouts/{number}/agents").json["items"])
            aborted = self.admin("POST", f"/api/v1/rollouts/{number}/abort").json
            self.assertEqual((aborted["state"], aborted["reason"]), ("aborted", "requested"))
            self.assertEqual(aborted["members"], before)
            self.assertEqual({self.served(agent_id) for agent_id in self.ids}, {aborted["ended_as"]})
            current = self.admin("GET", "/api/v1/config").json
            self.assertEqual((current["version"], current["data"]["n"]), (aborted["ended_as"], 0))
            self.assertEqual(self.admin("POST", f"/api/v1/rollouts/{number}/abort").json, aborted)
            self.follow(10)

    def test_verbs_on_an_ended_rollout(self) -> None:
        self.start()
        self.verb("abort")
        for name, body in (("pause", {}), ("resume", {}), ("promote", {}), ("replace", {"rollback_of": 1})):
            refused = self.verb(name, json=body)
            self.assertEqual((refused.status, refused.code), (409, "rollout_over"), name)

    def test_if_match(self) -> None:
        self.start()
        there = self.admin("GET", "/api/v1/rollouts/1")
        self.assertEqual(there.headers["etag"], '"r1.1"')
        for name in ("pause", "resume", "promote", "abort"):
            refused = self.verb(name, headers={"If-Match": '"r1.7"'})
            self.assertEqual((refused.status, refused.code), (412, "version_mismatch"), name)
        paused = self.verb("pause", headers={"If-Match": there.headers["etag"]})
        self.assertEqual((paused.status, paused.headers["etag"]), (200, '"r1.2"'))

    def test_recovery_after_an_abort(self) -> None:
        self.start()
        self.follow(10)
        self.verb("abort")
        self.assertEqual(
            self.rollout()["recovery"], {"version": 3, "members": 1, "applied": 0, "failed": 0, "pending": 1}
        )
        self.follow(10)
        self.assertEqual(self.rollout()["recovery"]["applied"], 1)

    def test_comments_are_in_the_audit_log(self) -> None:
        self.start()
        for name in ("pause", "resume", "promote", "abort"):
            self.assertEqual(self.verb(name, json={"comment": f"why {name}"}).status, 200)
        entries = self.admin("GET", "/api/v1/audit").json["items"]
        details = [
            each["detail"].rpartition(": ")[2] for each in entries if each["action"].startswith("POST /api/v1/rollouts")
        ]
        self.assertEqual(details, ["why abort", "why promote", "why resume", "why pause"])

    def test_times_of_candidates(self) -> None:
        """Each wave says when it began, and a member's time to apply begins with its wave."""
        self.start()
        self.harness.clock.advance(7)
        waves = self.rollout()["waves"]
        self.assertEqual([each["started_at"] is None for each in waves], [False, True, True, True])
        (member,) = self.exposed()
        tag = self.poll(member).headers["etag"].strip('"')
        self.report(member, tag)
        found = self.admin("GET", "/api/v1/config/versions/2/convergence").json
        self.assertEqual(round(found["max_ms"], -2), 7000)

    def test_unknown_rollout(self) -> None:
        for path in ("", "/agents"):
            self.assertEqual(self.admin("GET", f"/api/v1/rollouts/7{path}").code, "unknown_rollout")
        for name in ("pause", "resume", "promote", "abort"):
            self.assertEqual(self.admin("POST", f"/api/v1/rollouts/7/{name}").code, "unknown_rollout")


class StartTests(RolloutTestCase):
    agents = 12

    def test_answer(self) -> None:
        reply = self.start()
        body = reply.json
        self.assertEqual((reply.status, reply.headers["location"]), (202, "/api/v1/rollouts/1"))
        self.assertEqual(reply.headers["etag"], f'"{self.harness.tag()[:-1]}2"')
        self.assertEqual((body["message"], body["version"], body["published"]), ("Rollout 1 started", 2, False))
        self.assertEqual(body["rollout"]["next"][:24], "0 of 1 members settled; ")

    def test_direct_publishes_at_once(self) -> None:
        self.assertEqual(self.start("direct").status, 200)
        self.assertEqual({self.served(agent_id) for agent_id in self.ids}, {2})

    def test_one_at_a_time_and_abort_supersedes(self) -> None:
        self.start()
        for plan in ("careful", "direct"):
            refused = self.start(plan, 7)
            self.assertEqual((refused.status, refused.code), (409, "rollout_active"))
        self.assertEqual(self.start("abort", 7).status, 200)
        self.assertEqual(self.rollout()["state"], "superseded")
        self.assertEqual({self.served(agent_id) for agent_id in self.ids}, {3})

    def test_rollback_in_waves(self) -> None:
        self.start("direct")
        self.follow(10)
        body = self.admin("POST", "/api/v1/config/rollback?rollout=careful", json={"version": 1}).json
        self.assertEqual((body["version"], body["rollback_of"], len(self.exposed())), (3, 1, 1))

    def test_no_agent_that_reports(self) -> None:
        self.admin("POST", "/api/v1/namespaces", json={"name": "x", "config": {"url": "https://x"}})
        refused = self.admin("POST", "/api/v1/config?rollout=careful&namespace=x", json={"url": "https://y"})
        self.assertEqual((refused.status, refused.code), (409, "no_eligible_agent"))
        self.assertIn("rollout=direct", refused.json["error"])
        self.assertEqual(len(self.admin("GET", "/api/v1/config/history?namespace=x").json["items"]), 1)

    def test_unknown_plan(self) -> None:
        refused = self.start("no-such-plan")
        self.assertEqual((refused.status, refused.code), (404, "unknown_plan"))

    def test_dry_run_shows_the_waves_that_come(self) -> None:
        body = self.start("careful&dry_run=true").json
        self.assertEqual([each["members"] for each in body["waves"]], [1, 2, 6, 12])
        self.assertEqual((body["unfit"], body["cannot_report"]), (0, 0))
        self.start()
        self.assertEqual(self.exposed(), body["waves"][0]["sample"])
        self.assertEqual(self.start("careful&dry_run=true").code, "rollout_active")

    def test_saved_plan(self) -> None:
        plan = {"name": "half", "waves": [{"percent": 50, "bake": 90}]}
        self.assertEqual(self.admin("POST", "/api/v1/plans", json=plan).json, plan | {"built_in": False, "last": {}})
        self.assertEqual(self.start("half").status, 202)
        self.assertEqual(len(self.exposed()), 6)
        self.assertEqual(self.admin("DELETE", "/api/v1/plans/half").status, 200)
        self.assertEqual(self.admin("DELETE", "/api/v1/plans/half").code, "unknown_plan")
        self.assertEqual(self.admin("DELETE", "/api/v1/plans/careful").code, "plan_built_in")
        self.assertEqual(self.admin("POST", "/api/v1/plans", json=plan | {"name": "canary"}).code, "plan_built_in")
        self.assertEqual(self.admin("POST", "/api/v1/plans", json={"name": "x"}).code, "bad_plan")
        names = [each["name"] for each in self.admin("GET", "/api/v1/plans").json["items"]]
        self.assertEqual(names, ["canary", "careful"])

    def test_history_names_the_rollout_of_a_candidate(self) -> None:
        def lines() -> list[tuple[Any, ...]]:
            found = self.admin("GET", "/api/v1/config/history").json["items"]
            return [(each["version"], each.get("rollout"), each.get("state")) for each in found]

        self.start()
        self.assertEqual(lines(), [(2, 1, "candidate"), (1, None, None)])
        self.admin("POST", "/api/v1/rollouts/1/abort")
        self.assertEqual(lines(), [(3, None, None), (2, 1, "dropped"), (1, None, None)])

    def test_wait_for_the_end(self) -> None:
        caller = self.harness.caller()
        document = {"url": "https://example.com/13"}
        caller.ask("POST", "/api/v1/config?rollout=careful&wait=applied&timeout=600", json=document, auth=ADMIN)
        self.follow(20, broken=True)
        reply = caller.answer()
        assert reply is not None
        self.assertEqual((reply.status, reply.code), (409, "rollout_aborted"))

    def test_wait_until_all_have_applied(self) -> None:
        caller = self.harness.caller()
        document = {"url": "https://example.com/7"}
        caller.ask("POST", "/api/v1/config?rollout=canary&wait=applied&timeout=600", json=document, auth=ADMIN)
        self.follow(3 * BAKE)
        reply = caller.answer()
        assert reply is not None
        self.assertEqual((reply.status, reply.json["rollout"]["state"]), (200, "completed"))
        self.assertEqual(reply.json["convergence"]["applied"], 12)


class ServingTests(RolloutTestCase):
    agents = 3

    def test_members_get_a_lane_header(self) -> None:
        self.start()
        for agent_id in self.ids:
            lane = self.poll(agent_id).headers.get("x-confd-lane")
            self.assertEqual(lane, "candidate" if agent_id in self.exposed() else None)

    def test_callers_that_are_no_member_get_the_current_version(self) -> None:
        self.start()
        for agent_id in ("", "stranger", self.harness.join()):
            self.assertEqual(self.served(agent_id), 1)

    def test_agent_that_names_the_candidate_becomes_a_member(self) -> None:
        """An agent that was reinstalled, whose worker holds the candidate, is never served less than it names."""
        self.start()
        candidate = self.harness.tag()[:-1] + "2"
        (other, _) = (each for each in self.ids if each not in self.exposed())
        self.assertEqual(self.poll(other, candidate).status, 304)
        self.assertEqual(self.served(other), 2)
        found = self.admin("GET", "/api/v1/rollouts/1/agents").json["items"]
        self.assertEqual({each["id"]: each["how"] for each in found}[other], "detected")

    def test_agent_whose_report_names_the_candidate_becomes_a_member(self) -> None:
        self.start()
        candidate = self.harness.tag()[:-1] + "2"
        one, other = (each for each in self.ids if each not in self.exposed())
        self.report(one, candidate)
        self.report(other, self.harness.tag(), "failed", holds=candidate)
        self.assertEqual(sorted(self.exposed()), sorted(self.ids))

    def test_caller_without_registration_is_never_detected(self) -> None:
        self.start()
        candidate = self.harness.tag()[:-1] + "2"
        for agent_id in ("", "stranger"):
            self.assertEqual(self.poll(agent_id, candidate).json["version"], 1)
        self.assertEqual(self.rollout()["members"], 1)

    def test_forgotten_member_leaves_all_counts(self) -> None:
        self.start()
        (member,) = self.exposed()
        self.admin("DELETE", f"/api/v1/agents/{member}")
        self.assertEqual((self.rollout()["members"], self.served(member)), (0, 1))

    def test_refused_detection_serves_nothing(self) -> None:
        """A member is on disk before it gets the candidate."""
        self.start()
        candidate = self.harness.tag()[:-1] + "2"
        (other, _) = (each for each in self.ids if each not in self.exposed())
        self.harness.store.broken = "the disk is full"
        self.assertEqual(self.poll(other, candidate).status, 503)
        self.assertEqual(self.served(other), 1)
        self.harness.store.broken = None
        self.assertEqual(self.poll(other, candidate).status, 304)

    def test_refused_start_serves_nothing(self) -> None:
        self.harness.store.broken = "the disk is full"
        self.assertEqual(self.start().status, 503)
        self.assertEqual(self.exposed(), [])
        self.harness.store.broken = None
        self.assertEqual(self.start().status, 202)

    def test_refused_transition_is_tried_again(self) -> None:
        self.start(value=13)
        (member,) = self.exposed()
        self.report(member, self.harness.tag()[:-1] + "2", "failed")
        self.harness.store.broken = "the disk is full"
        self.harness.clock.advance(2)
        self.assertEqual((self.rollout()["state"], self.exposed()), ("running", [member]))
        self.harness.store.broken = None
        self.harness.clock.advance(2)
        self.assertEqual(self.rollout()["state"], "aborted")
        self.flushLoggedErrors()

    def test_streams_follow_their_lane(self) -> None:
        callers = {}
        for agent_id in ("", *self.ids):
            callers[agent_id] = caller = self.harness.caller()
            caller.ask("GET", "/api/v1/stream", auth=AGENT, headers={"X-Agent-ID": agent_id} if agent_id else {})
        self.start()
        self.harness.clock.advance(1)
        (member,) = self.exposed()
        versions = {
            agent_id: [int(tag.split(".")[-1]) for tag in caller.tags()] for agent_id, caller in callers.items()
        }
        self.assertEqual(versions.pop(member), [1, 2])
        self.assertEqual(set(map(tuple, versions.values())), {(1,)})
        self.admin("POST", "/api/v1/rollouts/1/abort")
        self.harness.clock.advance(1)
        versions = {
            agent_id: [int(tag.split(".")[-1]) for tag in caller.tags()] for agent_id, caller in callers.items()
        }
        self.assertEqual(versions.pop(member), [1, 2, 3])
        self.assertEqual(set(map(tuple, versions.values())), {(1, 3)})

    def test_heartbeats_name_the_tag_of_the_lane(self) -> None:
        self.start()
        (member,) = self.exposed()
        caller = self.harness.caller()
        caller.ask("GET", "/api/v1/stream", auth=AGENT, headers={"X-Agent-ID": member})
        self.harness.clock.advance(60)
        beats = [each.data for each in caller.events() if each.name == "heartbeat"]
        self.assertEqual({beat.split(b".")[-1] for beat in beats}, {b"2"})


class ClockTests(RolloutTestCase):
    agents = 3

    def test_restart_keeps_the_lanes_and_delays_the_gate(self) -> None:
        self.start()
        members = self.exposed()
        self.follow(BAKE - 10)
        self.restart()
        self.assertEqual(self.exposed(), members)
        self.follow(BAKE - 20)
        self.assertEqual((self.rollout()["wave"], self.exposed()), (1, members))
        self.follow(40)
        self.assertGreater(self.rollout()["wave"], 1)

    def test_restart_in_the_last_wave(self) -> None:
        self.start()
        self.admin("POST", "/api/v1/rollouts/1/promote", json={"to": "all"})
        self.restart()
        self.assertEqual({self.served(agent_id) for agent_id in self.ids}, {2})
        self.follow(BAKE + 20)
        self.assertEqual(self.rollout()["state"], "completed")

    def test_late_run_delays_the_gate(self) -> None:
        self.start()
        (member,) = self.exposed()
        tag = self.harness.tag()[:-1] + "2"
        self.follow(BAKE - 20)
        self.report(member, tag, repairs=1)
        self.follow(BAKE - 20)
        self.assertEqual(self.rollout()["wave"], 1)
        self.follow(40)
        self.assertGreater(self.rollout()["wave"], 1)

    def test_silent_member_aborts(self) -> None:
        self.believe_silence()
        self.start()
        (member,) = self.exposed()
        self.ids.remove(member)
        self.follow(3 * INTERVAL + 20)
        rollout = self.rollout()
        self.assertEqual((rollout["state"], rollout["reason"]), ("aborted", "failures"))

    def test_worker_that_keeps_crashing_aborts(self) -> None:
        self.start()
        (member,) = self.exposed()
        tag = self.harness.tag()[:-1] + "2"
        for repairs in range(4):
            self.report(member, tag, repairs=repairs)
        self.harness.clock.advance(1)
        self.assertEqual(self.rollout()["state"], "aborted")

    def test_slow_member_stalls(self) -> None:
        self.start()
        for _ in range(73):
            for agent_id in self.ids:
                self.poll(agent_id)
            self.harness.clock.advance(10)
        rollout = self.rollout()
        self.assertEqual((rollout["state"], rollout["reason"]), ("paused", "stalled"))

    def test_last_wave_completes_with_members_that_lag(self) -> None:
        self.believe_silence()
        self.start("canary")
        (member,) = self.exposed()
        self.follow(BAKE + 20)
        self.assertEqual(self.rollout()["state"], "finishing")
        self.ids.remove(next(each for each in self.ids if each != member))
        for _ in range(90):
            self.follow(10)
        rollout = self.rollout()
        self.assertEqual((rollout["state"], rollout["reason"]), ("paused", "failures"))
        self.admin("POST", "/api/v1/rollouts/1/resume")
        self.follow(BAKE + 20)
        rollout = self.rollout()
        self.assertEqual((rollout["state"], rollout["laggards"]), ("completed", 1))
