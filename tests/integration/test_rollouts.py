"""Rollouts through real processes: a good document reaches the fleet, and a bad one comes back by itself."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.budgets import budget
from tests.integration.brokers import Broker, NatsBroker, RedisBroker
from tests.integration.fleet import ADMIN, AGENT, Process, base_of, eventually, hit, request, staged
from tests.integration.servers import missing

#: A plan in the shape of C{careful}, which bakes for one second.
PLAN = {
    "name": "quick",
    "waves": [{"count": 1}, {"percent": 40}, {"percent": 80}],
    "bake": 1,
    "last": {"max_failures": "2%", "on_failure": "pause"},
}

AGENTS = 3


class RolloutFleetTestCase(SynchronousTestCase):
    """A controller on SQLite, and agents with a worker each."""

    agents = AGENTS
    strategy: tuple[str, ...] = ()
    interval = 1

    def setUp(self) -> None:
        self.fleet, self.target = staged(self, self.interval)
        self.controller = self.fleet.controller("--config-schema", "permissive.json", *self.announcing())
        (self.fleet.folder / "permissive.json").write_text('{"type": "object"}')
        self.controller.start()
        self.workers = [self.fleet.worker(f"worker{number}") for number in range(self.agents)]
        self.processes = [
            self.fleet.agent(worker, f"agent{number}", *self.strategy) for number, worker in enumerate(self.workers)
        ]
        for process in (*self.workers, *self.processes):
            process.start()
        self.assertEqual(self.fleet.publish(self.document("one"), wait="applied", timeout=60).status, 200)
        self.assertEqual(self.ask("POST", "/plans", PLAN).status, 200)

    def announcing(self) -> tuple[str, ...]:
        """Return the options with which the controller announces."""
        return ()

    def document(self, path: str) -> dict[str, str]:
        """Return a document that workers take."""
        return {"url": f"{self.target}/{path}"}

    def ask(self, method: str, path: str, value: Any = None) -> Any:
        """Send a request to the API."""
        return request(method, f"{self.fleet.url}/api/v1{path}", value, ADMIN)

    def held(self) -> list[int]:
        """Return the number of the version that each worker holds."""
        tags = [request("GET", f"{base_of(worker)}/config").json()["version"] for worker in self.workers]
        return [int(tag.rpartition(".")[2]) for tag in tags]

    def rollout(self) -> Any:
        """Return the first rollout."""
        return self.ask("GET", "/rollouts/1").json()

    def ended(self) -> Any:
        """Wait for the end of the first rollout, and return it."""
        eventually(lambda: self.rollout()["ended_at"], 60)
        return self.rollout()


class LifeTests(RolloutFleetTestCase):
    def test_good_document_reaches_all_workers(self) -> None:
        started = self.fleet.publish(self.document("two"), rollout="quick")
        self.assertEqual(started.status, 202, started.body)
        self.assertEqual(self.fleet.current()["version"], 2)
        rollout = self.ended()
        self.assertEqual((rollout["state"], rollout["step"]), ("completed", 5), rollout)
        self.assertEqual(self.held(), [3] * AGENTS)

    def test_bad_document_comes_back_by_itself(self) -> None:
        started = self.fleet.publish({"url": "http://user:secret@example.org/"}, rollout="quick")
        self.assertEqual(started.status, 202, started.body)
        rollout = self.ended()
        self.assertEqual((rollout["state"], rollout["reason"], rollout["members"]), ("aborted", "failures", 1))
        (member,) = self.ask("GET", "/rollouts/1/agents").json()["items"]
        self.assertEqual(member["outcome"], "failed")
        self.assertTrue(member["error"])
        eventually(lambda: self.rollout()["recovery"]["applied"] == 1)
        self.assertEqual(self.fleet.current()["data"], self.document("one"))
        eventually(lambda: [hit(worker) for worker in self.workers] == ["/one"] * AGENTS)

    def test_controller_is_killed_in_each_state(self) -> None:
        # Agents come back later than three of these short intervals. No failure is tolerated, as none is silent.
        self.fleet.publish(self.document("two"), rollout="quick")
        self.crash(self.controller)
        self.ask("POST", "/rollouts/1/pause")
        self.crash(self.controller)
        self.assertEqual(self.rollout()["state"], "paused")
        self.ask("POST", "/rollouts/1/promote", {"to": "all"})
        self.crash(self.controller)
        self.assertEqual(self.ended()["state"], "completed")
        eventually(lambda: self.held() == [3] * AGENTS, 60)

    def crash(self, process: Process) -> None:
        """Kill a process, and start it again."""
        process.stop(signal.SIGKILL)
        process.start()


class StreamTests(RolloutFleetTestCase):
    strategy = ("--distribution-strategy", "STREAM")

    def test_callers_outside_of_the_rollout_keep_the_base(self) -> None:
        self.fleet.publish(self.document("two"), rollout="quick")
        self.ask("POST", "/rollouts/1/pause")
        (member,) = self.ask("GET", "/rollouts/1/agents").json()["items"]
        eventually(lambda: sorted(self.held()) == [2, 2, 3])
        poll = request("GET", f"{self.fleet.url}/api/v1/config", auth=AGENT)
        self.assertEqual(poll.json()["version"], 2)
        self.ask("POST", "/rollouts/1/abort")
        eventually(lambda: self.rollout()["recovery"]["applied"] == 1)
        self.assertEqual(member["how"], "picked")
        self.assertEqual(self.fleet.current()["data"], self.document("one"))


class DoorbellTests(RolloutFleetTestCase):
    """Members of a wave follow the doorbell of a broker, long before their next poll."""

    interval = 60
    broker: Callable[[Path], Broker] = RedisBroker.make
    name = "REDIS"
    skip = missing("redis-server")

    def announcing(self) -> tuple[str, ...]:
        broker = type(self).broker(self.fleet.folder)
        self.addCleanup(broker.server.stop)
        broker.server.start()
        self.strategy = ("--distribution-strategy", self.name, *broker.options(broker.server.port))
        return self.strategy

    def test_waves_do_not_wait_for_polls(self) -> None:
        self.assertEqual(self.fleet.publish(self.document("two"), rollout="quick").status, 202)
        eventually(lambda: self.held().count(3), 30)
        self.assertEqual(self.ended()["state"], "completed")
        self.assertEqual(self.held(), [3] * AGENTS)


class NatsDoorbellTests(DoorbellTests):
    broker = NatsBroker.make
    name = "NATS"
    skip = missing("nats-server") or (None if budget(0, 1) else "the suite of brokers tries NATS in each run")
