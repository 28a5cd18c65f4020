"""Random schedules of agents, people and restarts: the invariants of rollouts hold after each event."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase

from confd.audit import verify
from confd.controller.rollouts.decide import Surroundings, count
from confd.model import Tag
from tests.controller.harness import ADMIN, AGENT, ControllerHarness

#: Schedules, and events of each.
SCHEDULES, EVENTS = 25, 60

#: A plan with short bakes, so that schedules reach the end.
PLAN = {
    "waves": [{"count": 1}, {"percent": 30}, {"percent": 60, "max_failures": "30%"}],
    "bake": 20,
    "last": {"max_failures": "30%", "on_failure": "pause"},
}


@define(eq=False)
class FakeAgent:
    """
    An agent with its version guard.

    @ivar held: the tag that its worker holds.
    @ivar broken: whether its worker refuses documents that end in 13.
    """

    id: str
    session: int = 1
    sequence: int = 0
    held: Tag | None = None
    broken: bool = False
    asleep: bool = False
    repairs: int = 0


@define(eq=False)
class Schedule:
    """One controller, its agents, and the checks after each event."""

    case: SynchronousTestCase
    random: Random
    harness: ControllerHarness = field(factory=ControllerHarness)
    agents: list[FakeAgent] = field(factory=list)
    current: int = 1

    def run(self) -> None:
        """Let random events happen."""
        for _ in range(self.random.randint(1, 9)):
            self.join()
        events: list[Callable[[], object]] = [
            *[self.poll] * 12,
            *[self.pass_time] * 6,
            *[self.start] * 3,
            *[self.verb] * 2,
            self.join,
            self.forget,
            self.reinstall,
            self.sleep,
            self.repair,
            self.restart,
            self.break_worker,
            self.publish,
        ]
        for _ in range(EVENTS):
            self.random.choice(events)()
            self.check()
        self.settle()

    def ask(self, method: str, path: str, **rest: Any) -> Any:
        """Send a request of an administrator."""
        caller = self.harness.caller()
        reply = caller.request(method, f"/api/v1{path}", auth=ADMIN, **rest)
        caller.hang_up()
        return reply

    def join(self) -> None:
        """Register an agent, and let it poll."""
        self.agents.append(FakeAgent(self.harness.join()))
        self.poll(self.agents[-1])

    def forget(self) -> None:
        """Forget an agent for good."""
        if len(self.agents) > 1:
            agent = self.agents.pop(self.random.randrange(len(self.agents)))
            self.ask("DELETE", f"/agents/{agent.id}")

    def reinstall(self) -> None:
        """Start an agent without its cache: it names what its worker holds."""
        agent = self.random.choice(self.agents)
        agent.session, agent.sequence, agent.repairs = agent.session + 1, 0, 0
        self.poll(agent)

    def sleep(self) -> None:
        """Let an agent fall asleep, or wake it up."""
        agent = self.random.choice(self.agents)
        agent.asleep = not agent.asleep

    def repair(self) -> None:
        """Let a worker lose its document, and its agent repair it."""
        agent = self.random.choice(self.agents)
        if agent.held is not None:
            agent.repairs += 1
            self.report(agent, agent.held, "applied")

    def break_worker(self) -> None:
        """Let a worker refuse bad documents from now on."""
        self.random.choice(self.agents).broken = True

    def restart(self) -> None:
        """Start another controller on the same store."""
        self.case.successResultOf(self.harness.stop())
        self.harness = ControllerHarness(self.harness.store, clock=self.harness.clock)

    def pass_time(self) -> None:
        """Let time pass; most agents poll in it."""
        for _ in range(self.random.randint(1, 3)):
            for agent in self.agents:
                if self.random.random() < 0.9:
                    self.poll(agent)
            self.harness.clock.pump(self.random.choice(([0.1], [5], [5, 5, 5])))

    def document(self) -> dict[str, str]:
        """Return a document that one in three times is bad."""
        return {"url": f"https://example.com/{self.random.choice((1, 2, 13))}"}

    def start(self) -> None:
        """Start a rollout."""
        reply = self.ask("POST", "/rollouts", json={"config": self.document(), "plan": PLAN})
        self.case.assertIn(reply.status, (202, 409))

    def publish(self) -> None:
        """Publish to all agents at once."""
        how = self.random.choice(("direct", "abort"))
        self.case.assertIn(self.ask("POST", f"/config?rollout={how}", json=self.document()).status, (200, 409))

    def verb(self) -> None:
        """Let a person act on the newest rollout."""
        items = self.ask("GET", "/rollouts").json["items"]
        if items:
            name, body = self.random.choice(
                (
                    ("pause", {}),
                    ("resume", {}),
                    ("promote", {}),
                    ("promote", {"to": "all"}),
                    ("abort", {}),
                    ("replace", {"config": self.document()}),
                )
            )
            reply = self.ask("POST", f"/rollouts/{items[0]['id']}/{name}", json=body)
            if name == "abort" and items[0]["state"] in ("running", "paused", "finishing"):
                self.case.assertEqual(reply.status, 200, "P8")
            self.case.assertIn(reply.status, (200, 409))

    def poll(self, agent: FakeAgent | None = None) -> None:
        """Let an agent poll, apply, and perhaps report."""
        agent = agent or self.random.choice(self.agents)
        if agent.asleep:
            return
        caller = self.harness.caller()
        headers = {"X-Agent-ID": agent.id} | ({"If-None-Match": f'"{agent.held}"'} if agent.held else {})
        reply = caller.request("GET", "/api/v1/config", auth=AGENT, headers=headers)
        caller.hang_up()
        if reply.status == 304:
            return
        self.case.assertEqual(reply.status, 200)
        tag = Tag.parse(reply.headers["etag"].strip('"'))
        if agent.held is not None:
            self.case.assertGreater(tag.version, agent.held.version, "P1, P2: an agent is served less than it names")
        if tag.version > self.current_version():
            member = self.member(agent.id)
            self.case.assertTrue(member, "P3: an agent without a row is served the candidate")
        if agent.broken and reply.json["data"]["url"].endswith("/13"):
            self.report(agent, tag, "failed")
        else:
            agent.held = tag
            if self.random.random() < 0.9:
                self.report(agent, tag, "applied")

    def report(self, agent: FakeAgent, tag: Tag, state: str) -> None:
        """Report as an agent."""
        agent.sequence += 1
        fields = {"session": f"{agent.id}{agent.session}", "sequence": agent.sequence, "repairs": agent.repairs}
        self.case.assertIn(self.harness.report(agent.id, str(tag), state, **fields).status, (200, 404, 409))

    def current_version(self) -> int:
        """Return the number of the current version."""
        (current,) = self.case.successResultOf(self.harness.store.current())
        version: int = current.configuration.version
        return version

    def member(self, agent_id: str) -> bool:
        """Return whether an agent is a member of an open rollout, on disk."""
        found = self.case.successResultOf(self.harness.store.open_rollouts())
        return any(each.agent_id == agent_id and not each.gone for _, members in found for each in members)

    def check(self) -> None:
        """Check the invariants that hold at any time."""
        case, store = self.case, self.harness.store
        versions = [each.tag.version for each in case.successResultOf(store.history("default", 500, None))]
        case.assertEqual(versions, list(range(len(versions), 0, -1)), "P11: versions have gaps")
        caller = self.harness.caller()
        anonymous = caller.request("GET", "/api/v1/config", auth=AGENT).json["version"]
        caller.hang_up()
        case.assertEqual(anonymous, self.current_version(), "P10")
        case.assertGreaterEqual(anonymous, self.current, "P10: the current version falls")
        self.current = anonymous
        found = case.successResultOf(store.open_rollouts())
        case.assertLessEqual(len(found), 1, "P11: two open rollouts")
        for rollout, members in found:
            case.assertEqual(rollout.candidate, versions[0], "P11: the candidate is not the newest version")
            case.assertEqual(self.current == rollout.base, not rollout.in_last_wave, "P11: current version")
            counts = count(members, rollout, Surroundings())
            case.assertEqual(counts.members, sum(not each.gone for each in members), "P7")
            served = {
                each.id
                for each in self.agents
                if self.harness.snapshot.select("default", each.id) is not None
                and self.harness.snapshot.select("default", each.id) is not self.harness.snapshot.find("default")
            }
            alive = {each.agent_id for each in members if not each.gone}
            case.assertEqual(
                served, set() if rollout.in_last_wave else alive & {each.id for each in self.agents}, "P12"
            )
        entries = case.successResultOf(store.audit(100_000, None))
        case.assertIsNone(verify(entries).wrong, "P16")

    def settle(self) -> None:
        """End an open rollout; all agents then reach the current version (P9)."""
        items = self.ask("GET", "/rollouts").json["items"]
        if items and items[0]["state"] in ("running", "paused", "finishing"):
            self.case.assertEqual(self.ask("POST", f"/rollouts/{items[0]['id']}/abort").status, 200, "P8")
        for agent in self.agents:
            agent.asleep = agent.broken = False
            self.poll(agent)
            self.case.assertEqual(agent.held and agent.held.version, self.current_version(), "P9")
        self.check()


class ScheduleTests(SynchronousTestCase):
    def test_random_schedules(self) -> None:
        for seed in range(SCHEDULES):
            schedule = Schedule(self, Random(seed))
            try:
                schedule.run()
            except Exception as error:
                raise AssertionError(f"seed {seed}: {error}") from error
            finally:
                self.successResultOf(schedule.harness.stop())
        self.flushLoggedErrors()
