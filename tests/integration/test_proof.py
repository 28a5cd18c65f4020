"""The result of a change on every machine: convergence, waits, drift and disasters, with real processes."""

from __future__ import annotations

import http.client
import json
import select
import shutil
import signal
from contextlib import closing
from random import Random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from confd.codec.headers import basic_authorization
from tests.budgets import budget
from tests.integration.fleet import ADMIN, Process, base_of, eventually, hit, request, staged
from tests.integration.proxy import Proxy


class ProofTestCase(SynchronousTestCase):
    """A test with a controller, and pairs of worker and agent."""

    interval = 1

    def setUp(self) -> None:
        self.fleet, self.target = staged(self, self.interval)
        self.controller = self.fleet.controller().start()
        self.workers: list[Process] = []
        self.agents: list[Process] = []

    def recruit(self, count: int) -> None:
        """Start more pairs, and return once each has applied the current configuration."""
        for number in range(len(self.agents), len(self.agents) + count):
            worker = self.fleet.worker(f"worker{number}")
            options = ["--distribution-strategy", "STREAM", "--agent-metadata", f"number={number}"]
            agent = self.fleet.agent(worker, f"agent{number}", *options, *self.options(number))
            self.workers.append(worker.start(wait=False))
            self.agents.append(agent.start(wait=False))
        self.proven()

    def options(self, number: int) -> list[str]:
        """Return more options of agent C{number}."""
        return []

    def ask(self, path: str, method: str = "GET", value: Any = None) -> Any:
        """Send a request as admin, and return the decoded answer."""
        answer = request(method, self.fleet.url + path, value, ADMIN, timeout=60)
        self.assertLess(answer.status, 300, answer.body)
        return answer.json()

    def convergence(self) -> Any:
        """Return the convergence of the current version."""
        return self.ask("/api/v1/config/convergence")

    def publish(self, name: str, **query: object) -> Any:
        """Publish a URL of the target."""
        answer = self.fleet.publish({"url": f"{self.target}/{name}"}, **query)
        self.assertIn(answer.status, (200, 202), answer.body)
        return answer.json() | {"status": answer.status}

    def hang_up(self, name: str, version: int) -> None:
        """Publish a URL of the target as C{version}, and close the connection before the answer."""
        body = json.dumps({"url": f"{self.target}/{name}"})
        headers = {"Authorization": basic_authorization(*ADMIN).decode(), "Content-Type": "application/json"}
        with closing(http.client.HTTPConnection("127.0.0.1", self.fleet.port)) as connection:
            connection.request("POST", "/api/v1/config?wait=applied", body, headers)
            eventually(lambda: self.fleet.current()["version"] == version)
            self.assertEqual(select.select([connection.sock], [], [], 0)[0], [])

    def proven(self) -> Any:
        """Wait until the controller knows that every agent runs the current version."""
        return eventually(
            lambda: (found := self.convergence())["applied"] == found["targeted"] == len(self.agents) and found
        )

    def known(self) -> dict[int, Any]:
        """Return the agents from the controller, by number."""
        return {int(each["metadata"].partition("=")[2]): each for each in self.ask("/api/v1/agents?limit=500")}


class LaggardTests(ProofTestCase):
    """Agents that are behind, and the reason of each."""

    #: Pairs of an agent and a worker.
    count = budget(10, 20)
    dead, wedged, cut_off = (3, 9, 16)[: count // 6], (5, 12)[: count // 10], (7,)

    def options(self, number: int) -> list[str]:
        if number not in self.cut_off:
            return []
        self.proxy = Proxy(self.fleet.port, Random(number)).start()
        self.addCleanup(self.proxy.close)
        return ["--controller-url", f"http://127.0.0.1:{self.proxy.port}"]

    def laggards(self) -> dict[int, str]:
        """Return the state of each agent that is behind, by number."""
        numbers = {agent["id"]: number for number, agent in self.known().items()}
        return {numbers[each["id"]]: each["state"] for each in self.convergence()["laggards"]}

    def test_exactly_the_agents_behind_are_named(self) -> None:
        """Dead agents, workers that hang, and an agent without a network are behind."""
        self.recruit(self.count)
        for number in self.dead:
            self.agents[number].signal(signal.SIGKILL)
        for number in self.wedged:
            self.workers[number].signal(signal.SIGSTOP)
        self.proxy.blackhole()
        version = self.publish("next")["version"]
        behind = {*self.dead, *self.wedged, *self.cut_off}
        eventually(lambda: set(self.laggards()) == behind)
        states = dict.fromkeys((*self.dead, *self.cut_off), "silent") | dict.fromkeys(self.wedged, "applying")
        eventually(lambda: self.laggards() == states)
        found = self.convergence()
        counted = [found[state] for state in ("targeted", "applied", "failed", "applying", "silent", "pending")]
        silent, applying = len(self.dead) + len(self.cut_off), len(self.wedged)
        expected = [self.count, self.count - silent - applying, 0, applying, silent, 0]
        self.assertEqual((found["version"], counted), (version, expected))
        for hop in ("commit", "notify", "agent", "worker", "ack"):
            figures = [found["hops"][hop][name] for name in ("p50_ms", "p99_ms", "max_ms")]
            self.assertEqual(figures, sorted(figures))
            self.assertGreaterEqual(figures[0], 0)
        # All faults end.
        for number in self.dead:
            self.agents[number].stop()
            self.agents[number].start(wait=False)
        for number in self.wedged:
            self.workers[number].signal(signal.SIGCONT)
        self.proxy.heal()
        self.proven()
        for worker in self.workers:
            self.assertEqual(hit(worker), "/next")


class WaitTests(ProofTestCase):
    """C{wait=applied}."""

    def test_wait(self) -> None:
        """The answer is 200 with the quorum, 202 with the agents behind without; a lost caller cancels nothing."""
        self.recruit(2)
        answer = self.publish("one", wait="applied", timeout=30)
        self.assertEqual((answer["status"], answer["convergence"]["applied"]), (200, 2))
        self.assertEqual([hit(worker) for worker in self.workers], ["/one", "/one"])
        self.workers[1].signal(signal.SIGSTOP)
        answer = self.publish("two", wait="applied", quorum=50, timeout=30)
        self.assertEqual((answer["status"], answer["convergence"]["applied"]), (200, 1))
        answer = self.publish("three", wait="applied", timeout=1)
        self.assertEqual(answer["status"], 202)
        self.assertEqual([each["id"] for each in answer["convergence"]["laggards"]], [self.known()[1]["id"]])
        self.hang_up("four", answer["version"] + 1)
        self.workers[1].signal(signal.SIGCONT)
        self.assertEqual(self.proven()["version"], answer["version"] + 1)
        self.assertEqual([hit(worker) for worker in self.workers], ["/four", "/four"])

    def test_refused_by_the_worker(self) -> None:
        """A document that the schema allows and the worker refuses has failed, with the worker's words (promise G7)."""
        self.controller.stop()
        (self.fleet.folder / "schema.json").write_text('{"type": "object"}')
        self.controller = self.fleet.controller("--config-schema", "schema.json").start()
        self.recruit(1)
        self.publish("good", wait="applied")
        answer = self.fleet.publish({"url": "http://user:secret@example.org/"}, wait="applied", timeout=5)
        self.assertEqual(answer.status, 202, answer.body)
        (laggard,) = answer.json()["convergence"]["laggards"]
        self.assertEqual(laggard["state"], "failed")
        self.assertIn("credentials", laggard["error"])
        self.assertEqual(hit(self.workers[0]), "/good")
        self.assertEqual(self.known()[0]["applied_version"], answer.json()["version"] - 1)


class DriftTests(ProofTestCase):
    """A worker without its agent's configuration (promise G6)."""

    def test_drift(self) -> None:
        """A worker that restarts, or gets another document behind the agent's back, is repaired and reported."""
        self.recruit(1)
        self.publish("right", wait="applied")
        worker = self.workers[0]
        worker.stop(signal.SIGKILL)
        worker.start()
        eventually(lambda: hit(worker) == "/right")
        eventually(lambda: self.known()[0]["repairs"] == 1)
        answer = request("POST", f"{base_of(worker)}/config", {"url": f"{self.target}/wrong"})
        self.assertEqual((answer.status, hit(worker)), (200, "/wrong"))
        eventually(lambda: hit(worker) == "/right")
        eventually(lambda: self.known()[0]["repairs"] == 2)
        self.assertEqual(self.proven()["failed"], 0)


class DisasterTests(ProofTestCase):
    """A controller that was restored or replaced."""

    def setUp(self) -> None:
        super().setUp()
        self.recruit(1)
        self.publish("old", wait="applied")
        self.database = self.fleet.folder / "controller.db"

    def _held_back(self, tag: str) -> None:
        """Assert that the agent keeps its version, and that the controller knows why."""
        (laggard,) = eventually(lambda: [each for each in self.convergence()["laggards"] if each["error"]])
        self.assertEqual(laggard["state"], "failed")
        self.assertIn("confdctl", laggard["error"])
        self.assertEqual(self.known()[0]["applied_tag"], tag)
        self.assertEqual(hit(self.workers[0]), "/new")

    def test_restored_backup(self) -> None:
        """A restored controller is behind its agents; they move when the epoch is raised, and none is reset."""
        self._back_up()
        self.publish("new", wait="applied")
        last = self.known()[0]["applied_tag"]
        self._restore()
        self._held_back(last)
        self.assertEqual(self.ask("/api/v1/cluster")["ahead"]["agents"], 1)
        raised = self.ask("/api/v1/epoch/raise", "POST", {"comment": "restored"})
        self.assertEqual(raised["epoch"], 2)
        self.assertEqual(self.proven()["epoch"], 2)
        self.assertEqual(hit(self.workers[0]), "/old")
        self.publish("after", wait="applied")
        self.assertEqual(hit(self.workers[0]), "/after")

    def test_published_again_after_a_restore(self) -> None:
        """The agent's and the current configuration have the same tag and differ."""
        self._back_up()
        self.publish("new", wait="applied")
        last = self.known()[0]["applied_tag"]
        self.agents[0].signal(signal.SIGSTOP)
        self._restore()
        self.publish("other")
        self.agents[0].signal(signal.SIGCONT)
        self._held_back(last)
        self.ask("/api/v1/epoch/raise", "POST", {})
        self.assertEqual(self.proven()["epoch"], 2)
        self.assertEqual(hit(self.workers[0]), "/other")

    def _back_up(self) -> None:
        self.controller.stop()
        shutil.copy(self.database, self.database.with_suffix(".backup"))
        self.controller.start()

    def _restore(self) -> None:
        self.controller.stop()
        self.database.with_suffix(".backup").replace(self.database)
        for rest in ("-wal", "-shm"):
            self.database.with_name(self.database.name + rest).unlink(missing_ok=True)
        self.controller.start()

    def test_lost_volume(self) -> None:
        """A controller of another cluster changes nothing until it adopts the old identity."""
        old = self.ask("/api/v1/cluster")["cluster_id"]
        self.publish("new", wait="applied")
        last = self.known()[0]["applied_tag"]
        self.controller.stop()
        for file in self.fleet.folder.glob("controller.db*"):
            file.unlink()
        self.controller.start()
        self._held_back(last)
        (foreign,) = self.ask("/api/v1/cluster")["foreign"]
        self.assertEqual((foreign["cluster_id"], foreign["agents"]), (old, 1))
        adopted = self.ask("/api/v1/cluster/adopt", "POST", {"cluster_id": old})
        self.assertEqual((adopted["cluster_id"], adopted["epoch"]), (old, 2))
        self.publish("after", wait="applied")
        self.assertEqual(hit(self.workers[0]), "/after")
        # The controller keeps the identity, also after a restart.
        self.controller.stop()
        self.controller.start()
        self.assertEqual(self.ask("/api/v1/cluster")["cluster_id"], old)
        self.proven()
