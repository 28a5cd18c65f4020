"""Races, crashes and restored backups during rollouts, with one controller at a time."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any

from attrs import fields
from twisted.internet.defer import Deferred

from confd.audit import Attempt
from confd.controller.rollouts.decide import Clocks, Surroundings, Transition
from confd.controller.rollouts.picking import PoolAgent
from confd.controller.rollouts.transitions import abort, judge_automatically, promote
from confd.controller.store.change_log import ChangeLog
from confd.errors import Conflict
from confd.rollouts.steps import Judge, RolloutStep, Stepped
from confd.testing.memory import MemoryStore
from confd.testing.memory_agents import MemoryAgents
from tests.controller.harness import AGENT, ControllerHarness
from tests.controller.rollouts.case import BAKE, RolloutTestCase

NOBODY = Surroundings()


def copy_of(value: Any) -> Any:
    """Return a copy of a memory store, which shares values that never change."""
    if isinstance(value, dict):
        copied = copy(value)
        copied.update({key: copy_of(each) for key, each in value.items()})
        return copied
    if isinstance(value, list | set):
        return type(value)(copy_of(each) for each in value)
    if isinstance(value, MemoryStore | MemoryAgents | ChangeLog):
        copied = copy(value)
        names = vars(value) if hasattr(value, "__dict__") else [each.name for each in fields(type(value))]
        for name in names:
            object.__setattr__(copied, name, copy_of(getattr(value, name)))
        return copied
    return value


class RaceTests(RolloutTestCase):
    """Two attempts from one step: the store lets one of them win."""

    agents = 6

    def candidate(self) -> str:
        """Return the tag of the candidate."""
        return self.harness.tag().rpartition(".")[0] + ".2"

    def step(self, judge: Judge) -> Stepped:
        """Let the store ask a judge."""
        at = self.harness.now()
        attempt = Attempt("confd", "", "rollout", "default", "", at)
        stepped: Stepped = self.successResultOf(
            self.harness.store.step_rollout(RolloutStep(1, judge, at, attempt))
        ).value
        return stepped

    def reported(self) -> Sequence[PoolAgent]:
        """Return the agents that have reported."""
        found = Deferred.fromCoroutine(self.harness.driver.agents("default"))
        agents: Sequence[PoolAgent] = self.successResultOf(found)
        return agents

    def gate(self) -> Judge:
        """Return a judge that was prepared for the gate of the present step."""
        seen, _ = self.successResultOf(self.harness.store.rollout(1))
        agents = self.reported()
        return judge_automatically(seen, Transition("next"), NOBODY, Clocks(10, 1), agents)

    def started(self) -> str:
        """Start a rollout whose first member has applied, with a bake that goes on; return the member."""
        self.start()
        (member,) = self.exposed()
        self.report(member, self.candidate())
        return member

    def test_two_gates_of_one_step(self) -> None:
        """P19: each step has one winner, and the other attempt exposes no agent."""
        self.plan(waves=[{"count": 1}, {"count": 2}, {"count": 3}], quorum=1)
        self.report(self.exposed()[0], self.candidate())
        one, other = self.gate(), self.gate()
        first = self.step(one)
        self.assertEqual((first.done, first.rollout.step), (True, 2))
        second = self.step(other)
        self.assertEqual((second.done, second.rollout.step, second.members), (False, 2, first.members))

    def test_failure_before_the_gate(self) -> None:
        """P6: the count under the lock sees the failure."""
        member = self.started()
        gate = self.gate()
        self.harness.driver.stopService()
        self.report(member, self.candidate(), "failed")
        self.assertEqual(self.step(gate).done, False)
        self.assertEqual(self.exposed(), [member])

    def test_failure_after_the_gate(self) -> None:
        member = self.started()
        self.step(self.gate())
        exposed = self.exposed()
        self.report(member, self.candidate(), "failed")
        self.harness.clock.advance(1)
        rollout = self.rollout()
        self.assertEqual((rollout["state"], rollout["members"]), ("aborted", len(exposed)))

    def test_abort_and_promote(self) -> None:
        self.started()
        agents = self.reported()
        prepared = [promote('"r1.1"', False, NOBODY, agents), promote(None, True, NOBODY, agents)]
        self.step(abort(None))
        for judge in prepared:
            with self.assertRaises(Conflict) as caught:
                self.failureResultOf(self.step_later(judge)).raiseException()
            self.assertEqual(caught.exception.code, "rollout_over")
        self.assertEqual(self.exposed(), [])

    def test_promote_and_abort(self) -> None:
        self.started()
        agents = self.reported()
        self.step(promote(None, False, NOBODY, agents))
        stepped = self.step(abort(None))
        self.assertEqual((stepped.rollout.state, self.exposed()), ("aborted", []))

    def step_later(self, judge: Judge) -> Any:
        """Let the store ask a judge that refuses."""
        at = self.harness.now()
        attempt = Attempt("ann", "", "rollout", "default", "", at)
        return self.harness.store.step_rollout(RolloutStep(1, judge, at, attempt))


class CrashTests(RolloutTestCase):
    """The database is all that stays."""

    agents = 6

    def crash_after(self, method: str, path: str, **rest: Any) -> None:
        """Crash between the commit of a request and its change in memory, and start another controller."""
        self.harness.store.subscribe(lambda: None)
        caller = self.harness.caller()
        caller.ask(method, path, auth=("admin", "admin123"), **rest)
        self.restart()

    def test_between_commit_and_feed(self) -> None:
        document = {"url": "https://example.com/1"}
        self.crash_after("POST", "/api/v1/config?rollout=careful", json=document)
        self.assertEqual((len(self.exposed()), self.rollout()["step"]), (1, 1))
        self.crash_after("POST", "/api/v1/rollouts/1/promote")
        members = self.exposed()
        self.assertEqual((len(members), self.rollout()["wave"]), (3, 3))
        self.crash_after("POST", "/api/v1/rollouts/1/checks", json={"name": "slo", "pass": True})
        self.assertEqual(self.rollout()["gate"]["checks"], {"slo": "passed"})
        self.crash_after("POST", "/api/v1/rollouts/1/promote", json={"to": "all"})
        self.assertEqual({self.served(agent_id) for agent_id in self.ids}, {2})
        self.crash_after("POST", "/api/v1/rollouts/1/abort")
        self.assertEqual({self.served(agent_id) for agent_id in self.ids}, {3})

    def test_between_commit_and_feed_of_a_detected_member(self) -> None:
        self.start()
        (other, *_) = (each for each in self.ids if each not in self.exposed())
        self.harness.store.subscribe(lambda: None)
        caller = self.harness.caller()
        headers = {"X-Agent-ID": other, "If-None-Match": f'"{self.harness.tag()[:-1]}2"'}
        caller.ask("GET", "/api/v1/config", auth=AGENT, headers=headers)
        self.restart()
        self.assertIn(other, self.exposed())

    def test_refused_write_turns_ready_red(self) -> None:
        self.start()
        self.harness.store.broken = "the disk is full"
        self.harness.clock.advance(1)
        self.assertEqual(self.admin("GET", "/ready").status, 503)
        self.assertEqual(self.verb("promote").status, 503)
        self.harness.store.broken = None
        self.assertEqual(self.verb("promote").status, 200)

    def test_patience_starts_over_with_each_step(self) -> None:
        self.start()
        for _ in range(3):
            self.harness.clock.pump([5] * 100)
            self.verb("pause")
            self.harness.clock.pump([5] * 200)
            self.assertEqual(self.state(), ("paused", "requested", 1))
            self.verb("resume")
        self.harness.clock.pump([5] * 150)
        self.assertEqual(self.state(), ("paused", "stalled", 1))

    def restore(self, backup: Any) -> None:
        """Start another controller on an older state of the store."""
        self.successResultOf(self.harness.stop())
        self.harness = ControllerHarness(backup, clock=self.harness.clock)
        self.addCleanup(self.harness.stop)

    def backup(self) -> Any:
        """Return a copy of the store as it is."""
        store = self.harness.store
        store.subscribe(lambda: None)
        copied = copy_of(store)
        store.subscribe(self.harness.feed.hint)
        return copied

    def test_backup_of_an_earlier_wave(self) -> None:
        """Members of the lost waves name the candidate: they become members again, before they are served."""
        self.start()
        backup = self.backup()
        self.verb("promote")
        members, candidate = self.exposed(), self.harness.tag()[:-1] + "2"
        self.restore(backup)
        for agent_id in members:
            self.assertEqual(self.poll(agent_id, candidate).status, 304)
        found = self.admin("GET", "/api/v1/rollouts/1/agents").json["items"]
        self.assertEqual(sorted(each["id"] for each in found), sorted(members))
        self.assertEqual(sorted(each["how"] for each in found), ["detected", "detected", "picked"])

    def test_backup_from_before_the_rollout(self) -> None:
        """Tags that the database never had are answered as in any restored database."""
        backup, candidate = self.backup(), self.harness.tag()[:-1] + "2"
        self.start()
        self.restore(backup)
        self.assertEqual(self.poll(self.ids[0], candidate).json["version"], 1)
        self.assertEqual(self.admin("GET", "/api/v1/rollouts").json["items"], [])


class TableTests(RolloutTestCase):
    """Rows of the table of who is served what, and of tricky cases."""

    agents = 4

    def other(self) -> str:
        """Return an agent that is not exposed."""
        return next(each for each in self.ids if each not in self.exposed())

    def test_silent_at_picking_is_served_the_current_version_when_it_returns(self) -> None:
        silent = self.ids.pop()
        self.harness.clock.pump([5] * 20)
        for agent_id in self.ids:
            self.poll(agent_id)
        self.start()
        self.verb("promote")
        self.assertEqual((len(self.exposed()), self.served(silent)), (2, 1))
        self.verb("promote", json={"to": "all"})
        self.assertEqual(self.served(silent), 2)

    def test_silent_agent_in_the_last_wave_is_not_fit(self) -> None:
        silent = self.ids.pop()
        self.harness.clock.pump([5] * 20)
        for agent_id in self.ids:
            self.poll(agent_id)
        self.start()
        self.verb("promote", json={"to": "all"})
        self.assertEqual([each["id"] for each in self.members() if not each["fit"]], [silent])

    def test_picked_and_silent_is_served_the_candidate_when_it_returns(self) -> None:
        self.start()
        (member,) = self.exposed()
        self.harness.clock.pump([5] * 40)
        self.assertEqual(self.served(member), 2)

    def members(self) -> list[Any]:
        """Return the members of the first rollout."""
        items: list[Any] = self.admin("GET", "/api/v1/rollouts/1/agents").json["items"]
        return items

    def test_tag_above_the_candidate(self) -> None:
        self.start()
        other = self.other()
        self.assertEqual(self.poll(other, self.harness.tag()[:-1] + "3").json["version"], 1)
        self.assertEqual(self.rollout()["members"], 1)

    def test_changed_label_keeps_a_member(self) -> None:
        self.admin("POST", f"/api/v1/agents/{self.ids[0]}/labels", json={"stage": "canary"})
        self.plan(waves=[{"count": 1, "select": "stage=canary"}, {"count": 2, "select": "stage=canary"}])
        self.assertEqual(self.exposed(), [self.ids[0]])
        self.admin("POST", f"/api/v1/agents/{self.ids[0]}/labels", json={"stage": None})
        self.admin("POST", f"/api/v1/agents/{self.ids[1]}/labels", json={"stage": "canary"})
        self.assertEqual(self.exposed(), [self.ids[0]])
        self.verb("promote")
        self.assertEqual(self.exposed(), self.ids[:2])

    def test_agent_that_moves_leaves_all_counts(self) -> None:
        self.admin("POST", "/api/v1/namespaces", json={"name": "x", "config": {"url": "https://x"}})
        self.start()
        (member,) = self.exposed()
        caller = self.harness.caller()
        caller.post("/api/v1/register", json={"agent_id": member, "namespace": "x"}, auth=AGENT)
        self.assertEqual((self.rollout()["members"], self.exposed()), (0, []))

    def test_late_report_of_the_candidate_after_an_abort(self) -> None:
        self.start()
        (member,) = self.exposed()
        tag = self.harness.tag()[:-1] + "2"
        self.verb("abort")
        self.report(member, tag)
        self.assertEqual(self.admin("GET", "/api/v1/config/versions/2/convergence").json["applied"], 1)
        self.assertEqual((self.rollout()["recovery"]["applied"], self.served(member)), (0, 3))

    def test_worker_that_cannot_be_read_back_is_counted(self) -> None:
        """A worker of the Go system carries a gate; people see that nobody proved what it holds."""
        self.start()
        (member,) = self.exposed()
        self.report(member, self.harness.tag()[:-1] + "2", verified=False)
        first = self.rollout()["waves"][0]
        self.assertEqual((first["applied"], first["unverified"]), (1, 1))
        self.follow(BAKE + 20)
        self.assertGreater(self.rollout()["wave"], 1)

    def test_plan_that_asks_for_a_read_back_waits(self) -> None:
        self.plan(waves=[{"count": 1}], verified=True)
        (member,) = self.exposed()
        self.report(member, self.harness.tag()[:-1] + "2", verified=False)
        self.follow(BAKE + 20)
        self.assertEqual((self.rollout()["wave"], self.rollout()["waves"][0]["pending"]), (1, 1))

    def test_unfit_members_alone_pass_no_gate_and_cause_no_failure(self) -> None:
        for agent_id in self.ids:
            self.report(agent_id, self.harness.tag(), "failed")
        self.start()
        self.assertEqual([each["fit"] for each in self.members()], [False])
        self.report(self.members()[0]["id"], self.harness.tag()[:-1] + "2", "failed")
        self.harness.clock.pump([5] * (2 * BAKE // 5))
        self.assertEqual(self.state(), ("running", "", 1))
