"""A controller with agents that poll and report, for tests of rollouts."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from confd.controller.rollouts.hearing import RETURN_SECONDS
from tests.controller.harness import ADMIN, AGENT, ControllerHarness
from tests.conversation import Reply

#: Seconds between polls in the harness, and the default bake.
INTERVAL, BAKE = 30, 120


class RolloutTestCase(SynchronousTestCase):
    """A controller with agents that poll and report."""

    agents = 3

    def setUp(self) -> None:
        self.harness = self.make_harness()
        self.addCleanup(self.harness.stop)
        self.ids = [self.harness.join(hostname=f"h{number}") for number in range(self.agents)]
        self.sessions = dict.fromkeys(self.ids, 0)
        for agent_id in self.ids:
            self.report(agent_id, self.harness.tag())

    def make_harness(self) -> ControllerHarness:
        """Return the controller."""
        return ControllerHarness()

    def restart(self) -> None:
        """Start another controller on the same store, in the place of the first one."""
        self.successResultOf(self.harness.stop())
        self.harness = ControllerHarness(self.harness.store, clock=self.harness.clock)
        self.addCleanup(self.harness.stop)

    def admin(self, method: str, path: str, **rest: Any) -> Reply:
        """Call the API as the administrator."""
        caller = self.harness.caller()
        reply = caller.request(method, path, auth=ADMIN, **rest)
        caller.hang_up()
        return reply

    def start(self, plan: str = "careful", value: int = 1, **rest: Any) -> Reply:
        """Start a rollout of a document."""
        return self.admin(
            "POST", f"/api/v1/config?rollout={plan}", json={"url": f"https://example.com/{value}"}, **rest
        )

    def poll(self, agent_id: str, known: str | None = None) -> Reply:
        """Poll as an agent."""
        caller = self.harness.caller()
        headers = {"X-Agent-ID": agent_id} | ({"If-None-Match": f'"{known}"'} if known else {})
        reply = caller.request("GET", "/api/v1/config", auth=AGENT, headers=headers)
        caller.hang_up()
        return reply

    def report(self, agent_id: str, tag: str, state: str = "applied", **rest: Any) -> None:
        """Report as an agent."""
        self.sessions[agent_id] += 1
        fields = {"session": "s" + agent_id, "sequence": self.sessions[agent_id]} | rest
        self.assertEqual(self.harness.report(agent_id, tag, state, **fields).status, 200)

    def served(self, agent_id: str) -> int:
        """Return the version that a poll of an agent is answered with."""
        version: int = self.poll(agent_id).json["version"]
        return version

    def exposed(self) -> list[str]:
        """Return the agents that are served another version than an anonymous caller."""
        caller = self.harness.caller()
        current = caller.request("GET", "/api/v1/config", auth=AGENT).json["version"]
        caller.hang_up()
        return [agent_id for agent_id in self.ids if self.served(agent_id) != current]

    def believe_silence(self) -> None:
        """Let so much time pass that the controller believes in the silence of agents."""
        for _ in range(int(RETURN_SECONDS / INTERVAL) + 3):
            for agent_id in self.ids:
                self.poll(agent_id)
            self.harness.clock.pump([2] * (INTERVAL // 2))

    def follow(self, seconds: float, broken: bool = False) -> None:
        """Let time pass, in which all agents poll and apply what they get."""
        for _ in range(int(seconds / 10)):
            for agent_id in self.ids:
                answer = self.poll(agent_id)
                record = self.harness.registry.get(agent_id)
                tag = answer.headers["etag"].strip('"')
                if record.report is None or str(record.report.tag) != tag:
                    failed = broken and answer.json["data"]["url"].endswith("/13")
                    self.report(agent_id, tag, "failed" if failed else "applied", error="boom" if failed else "")
            self.harness.clock.pump([2] * 5)

    def plan(self, value: int = 1, **plan: Any) -> Reply:
        """Start a rollout of a document with a plan of its own."""
        config = {"url": f"https://example.com/{value}"}
        return self.admin("POST", "/api/v1/rollouts", json={"config": config, "plan": plan})

    def verb(self, name: str, **rest: Any) -> Reply:
        """Send a verb to the first rollout."""
        return self.admin("POST", f"/api/v1/rollouts/1/{name}", **rest)

    def state(self) -> tuple[str, str, int]:
        """Return state, reason and wave of the first rollout."""
        rollout = self.rollout()
        return rollout["state"], rollout["reason"], rollout["wave"]

    def rollout(self, number: int = 1) -> Any:
        """Return a rollout."""
        return self.admin("GET", f"/api/v1/rollouts/{number}").json
