"""Rollouts on real processes, whose controller is killed in each state: F-81."""

from __future__ import annotations

import signal
from typing import Any

from attrs import define, field

from tests.faults.harness import FaultHarness
from tests.faults.rows import Rows, row
from tests.integration.fleet import ADMIN, AGENT, PATIENCE, Process, base_of, request

AGENTS = 5

#: A plan in the shape of C{careful}, which bakes for one second.
PLAN = {
    "name": "quick",
    "bake": 1,
    "waves": [{"count": 1}, {"percent": 40}, {"percent": 80}],
    "last": {"max_failures": "2%", "on_failure": "pause"},
}


@define(eq=False)
class RolloutFleet:
    """A controller whose schema lets bad documents pass, and agents with a worker each."""

    harness: FaultHarness
    workers: list[Process] = field(factory=list)

    def start(self) -> None:
        """Start all processes, and publish the first document."""
        harness = self.harness
        (harness.folder / "permissive.json").write_text('{"type": "object"}')
        harness.start_controller()
        options = ["--distribution-strategy", harness.strategy]
        if harness.broker is not None:
            options += harness.broker.options(harness.broker.server.port)
        for number in range(AGENTS):
            worker = harness.daemons.worker(f"worker{number}")
            self.workers.append(worker)
            for process in (worker, harness.daemons.agent(worker, f"agent{number}", *options)):
                process.start()
        harness.daemons.publish(self.document("one"), wait="applied", timeout=60)
        harness.until(lambda: self.held() == {2}, "all have the first document", PATIENCE * 2)
        self.ask("POST", "/plans", PLAN)

    def document(self, path: str) -> dict[str, str]:
        """Return a document that workers take."""
        return {"url": f"{self.harness.where}/{path}"}

    def ask(self, method: str, path: str, value: Any = None) -> Any:
        """Send a request of an administrator; return the body of the answer."""
        return request(method, f"{self.harness.daemons.url}/api/v1{path}", value, ADMIN).json()

    def held(self) -> set[int]:
        """Return the versions that the workers hold."""
        tags = [request("GET", f"{base_of(worker)}/config").json()["version"] for worker in self.workers]
        return {int(tag.rpartition(".")[2]) for tag in tags}

    def rollout(self, number: int) -> Any:
        """Return a rollout."""
        return self.ask("GET", f"/rollouts/{number}")

    def begin(self, number: int, document: dict[str, str]) -> None:
        """Start a rollout."""
        started = self.harness.daemons.publish(document, rollout="quick")
        self.harness.claim(started.status == 202, f"rollout {number} starts: {started.body!r}")

    def ends(self, number: int, state: str) -> None:
        """Wait for the end of a rollout, and record whether it ended in a state."""
        self.harness.until(lambda: self.rollout(number)["ended_at"], f"rollout {number} ends", PATIENCE * 4)
        rollout = self.rollout(number)
        self.harness.claim(rollout["state"] == state, f"rollout {number} is {state}: {rollout['next']}")

    def kill_controller(self) -> None:
        """Kill the controller, and start it again."""
        self.harness.controller.stop(signal.SIGKILL)
        self.harness.start_controller()


def _life(harness: FaultHarness) -> None:
    fleet = RolloutFleet(harness)
    fleet.start()
    fleet.begin(1, fleet.document("two"))
    fleet.ends(1, "completed")
    harness.until(lambda: fleet.held() == {3}, "all have the second document", PATIENCE * 2)

    fleet.begin(2, fleet.document("three"))
    fleet.kill_controller()
    fleet.ask("POST", "/rollouts/2/pause", {})
    fleet.kill_controller()
    harness.claim(fleet.rollout(2)["state"] == "paused", "a paused rollout stays paused")
    anonymous = request("GET", f"{harness.daemons.url}/api/v1/config", auth=AGENT).json()["version"]
    harness.claim(anonymous == 3, f"callers outside of the rollout get the base: {anonymous}")
    fleet.ask("POST", "/rollouts/2/promote", {"to": "all"})
    fleet.kill_controller()
    fleet.ends(2, "completed")
    harness.until(lambda: fleet.held() == {4}, "all have the third document", PATIENCE * 4)

    fleet.begin(3, {"url": "http://user:secret@example.org/"})
    fleet.ends(3, "aborted")
    harness.claim(fleet.rollout(3)["members"] == 1, "a bad document reaches one agent")
    current = harness.daemons.current()
    harness.claim(current["data"] == fleet.document("three"), f"the document of the base is back: {current}")
    harness.until(lambda: fleet.rollout(3)["recovery"]["applied"] == 1, "the member has recovered", PATIENCE * 2)


ROWS = Rows(
    row(
        f"F-81 {strategy}",
        f"a rollout, and kill -9 of its controller in each state ({strategy.title()})",
        f"{AGENTS} agents; SIGKILL while running, paused and finishing; a document that workers refuse",
        "good documents complete; the bad one reaches one agent and comes back",
        strategy=strategy,
        agents=0,
        options=("--config-schema", "permissive.json"),
        most=300,
    )(_life)
    for strategy in ("POLLER", "STREAM", "REDIS", "NATS")
)
