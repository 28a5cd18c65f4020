"""The way of a change from the POST to the worker in real processes, with their restarts and failures."""

from __future__ import annotations

import signal
import threading
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.fleet import ADMIN, AGENT, Fleet, Process, base_of, eventually, free_port, hit, request, staged
from tests.runtime.test_metrics import samples


class FleetTestCase(SynchronousTestCase):
    """A test with a controller, a worker and an agent."""

    def setUp(self) -> None:
        self.fleet, self.target = staged(self)
        self.controller = self.fleet.controller()
        self.worker = self.fleet.worker()
        self.agent = self.fleet.agent(self.worker)

    def publish(self, path: str) -> int:
        """Publish a URL of the target; return the version."""
        answer = self.fleet.publish({"url": f"{self.target}/{path}"})
        self.assertEqual(answer.status, 200, answer.body)
        version: int = answer.json()["version"]
        return version

    def arrives(self, path: str, worker: Process | None = None) -> None:
        """Wait until C{/hit} fetches that URL."""
        eventually(lambda: hit(worker or self.worker) == f"/{path}")


class ChangeTests(FleetTestCase):
    """The way of a change."""

    def test_arrives(self) -> None:
        """A change is published, polled, applied and fetched, and the controller knows the agent."""
        for process in (self.controller, self.worker, self.agent):
            process.start()
        self.assertEqual(self.publish("one"), 2)
        self.arrives("one")
        self.publish("two")
        self.arrives("two")
        applied = request("GET", f"{base_of(self.worker)}/config").json()
        current = self.fleet.current()
        self.assertEqual(applied["version"], f"{current['cluster_id'][:8]}.1.3")
        self.assertEqual(applied["checksum"], current["checksum"])
        figures = samples(request("GET", f"{self.fleet.url}/metrics").body)
        self.assertEqual(figures["confd_config_version", (("namespace", "default"),)], 3)
        states = [value for (name, _), value in figures.items() if name == "confd_agents"]
        self.assertEqual(sum(states), 1)
        self.assertIn(("confd_hits_in_flight", ()), samples(request("GET", f"{base_of(self.worker)}/metrics").body))
        (agent,) = eventually(lambda: self.agents(polled=True))
        self.assertEqual(agent["strategy"], "POLLER")
        self.assertTrue(agent["hostname"])

    def test_a_newer_version_of_the_same_document_sends_nothing_to_the_worker(self) -> None:
        """A roll-back restarts no worker that has the document: the agent reads it back, and reports the new tag."""
        for process in (self.controller, self.worker, self.agent):
            process.start()
        self.publish("one")
        self.arrives("one")
        before = request("GET", f"{base_of(self.worker)}/config").json()
        for _ in range(2):
            answer = self.fleet.publish({"url": f"{self.target}/one"})
            tag = answer.headers["etag"].strip('"')
            eventually(lambda: [each["applied_tag"] for each in self.agents()] == [tag])  # noqa: B023
        (agent,) = self.agents()
        self.assertEqual((agent["state"], agent["verified"]), ("applied", True))
        self.assertEqual(request("GET", f"{base_of(self.worker)}/config").json(), before)
        self.publish("two")
        self.arrives("two")

    def agents(self, polled: bool = False) -> Any:
        """Return the agents; with C{polled}, after their first poll."""
        found = request("GET", f"{self.fleet.url}/api/v1/agents", auth=ADMIN).json()
        return found if found and (not polled or all(each["last_poll"] for each in found)) else []

    def test_any_order(self) -> None:
        """The agent starts first, then the worker, then the controller."""
        self.agent.start()
        self.worker.start()
        self.controller.start()
        self.publish("late")
        self.arrives("late")

    def test_worker_down_at_publish(self) -> None:
        """A worker that was down at the publish gets the change later."""
        self.controller.start()
        self.agent.start()
        self.publish("waiting")
        eventually(lambda: "worker" in self.agent.log)
        self.worker.start()
        self.arrives("waiting")

    def test_go_curl_lines(self) -> None:
        """The requests of scripts for the Go system work."""
        self.controller.start()
        body = {"hostname": "box", "metadata": "region=us-west"}
        joined = request("POST", f"{self.fleet.url}/api/v1/register", body, AGENT).json()
        self.assertEqual(joined["poll_url"], "/api/v1/config")
        self.assertEqual(joined["poll_interval_seconds"], 1)
        for interval, status in ((30, 304), (1, 200)):
            version = self.fleet.publish({"url": "https://example.org/"}, poll_interval=interval).json()["version"]
            for known in (f"{version}", f'"{version}"'):
                answer = request("GET", f"{self.fleet.url}/api/v1/config", None, AGENT, {"If-None-Match": known})
                self.assertEqual(answer.status, status, "only a 200 tells the interval")
        answer = self.fleet.publish({"url": "https://api.github.com"}, poll_interval=7)
        self.assertEqual(answer.json()["message"], "Configuration updated successfully")
        self.assertEqual((answer.json()["version"], answer.json()["published"]), (4, True))
        self.assertEqual(self.fleet.current()["poll_interval_seconds"], 7)
        self.assertEqual(request("GET", f"{self.fleet.url}/health").json(), {"status": "ok"})


class RestartTests(FleetTestCase):
    """Restarts of processes."""

    def setUp(self) -> None:
        super().setUp()
        for process in (self.controller, self.worker, self.agent):
            process.start()
        self.publish("before")
        self.arrives("before")

    def test_each(self) -> None:
        """Each process ends with status 0 and continues; the agent keeps its row."""
        for process in (self.agent, self.controller, self.worker):
            self.assertEqual(process.stop(), 0, process.log[-2000:])
            process.start()
        self.publish("after")
        self.arrives("after")
        self.assertEqual(len(self.agents()), 1)

    def test_forgotten(self) -> None:
        """A running agent whose row is deleted registers again with its id, and repeats its report."""
        agents = f"{self.fleet.url}/api/v1/agents"
        version = self.fleet.current()["version"]
        (agent,) = eventually(lambda: [each for each in self.agents() if each["applied_version"] == version])
        self.assertEqual(agent["state"], "applied")
        self.assertEqual(request("DELETE", f"{agents}/{agent['id']}", auth=ADMIN).status, 200)
        (back,) = eventually(lambda: [each for each in self.agents() if each["state"] == "applied"])
        self.assertEqual((back["id"], back["applied_version"]), (agent["id"], agent["applied_version"]))
        self.assertGreater(back["registered_at"], agent["registered_at"])

    def agents(self) -> list[Any]:
        """Return the agents from the controller."""
        found: list[Any] = request("GET", f"{self.fleet.url}/api/v1/agents", auth=ADMIN).json()
        return found

    def test_worker_comes_back_empty(self) -> None:
        """The agent delivers the configuration again (promise G6)."""
        self.worker.stop(signal.SIGKILL)
        self.worker.start()
        self.arrives("before")

    def test_worker_tampered_with(self) -> None:
        """The agent replaces a foreign configuration in its worker (promise G6)."""
        request("POST", f"{base_of(self.worker)}/config", {"url": f"{self.target}/evil"})
        self.arrives("before")

    def test_worker_hangs(self) -> None:
        """A worker that hung gets the newest of the missed changes."""
        self.worker.signal(signal.SIGSTOP)
        for number in range(5):
            self.publish(f"asleep-{number}")
        self.worker.signal(signal.SIGCONT)
        self.arrives("asleep-4")

    def test_agent_without_controller(self) -> None:
        """The last good configuration survives (promise G5)."""
        for process in (self.agent, self.controller, self.worker):
            process.stop()
        self.worker.start()
        self.agent.start()
        self.arrives("before")

    def test_damaged_cache(self) -> None:
        """The agent sets a damaged cache aside, logs it, and uses the copy before it (promise G5)."""
        self.publish("newer")
        self.arrives("newer")
        for process in (self.agent, self.controller, self.worker):
            process.stop()
        cache = self.fleet.folder / "agent.cache"
        cache.write_bytes(cache.read_bytes()[:-20])
        self.worker.start()
        self.agent.start()
        self.arrives("before")
        self.assertTrue((self.fleet.folder / "agent.cache.damaged").exists())

    def test_controller_behind(self) -> None:
        """A database restored from an older copy moves no agent (promise G3)."""
        self.controller.stop()
        database = self.fleet.folder / "controller.db"
        older = database.read_bytes()
        self.controller.start()
        self.publish("newer")
        self.arrives("newer")
        self.controller.stop()
        database.write_bytes(older)
        self.controller.start()
        eventually(lambda: "older" in self.agent.log)
        self.assertEqual(hit(self.worker), "/newer")

    def test_other_cluster(self) -> None:
        """A controller that lost its volume moves no agent."""
        self.controller.stop()
        for file in self.fleet.folder.glob("controller.db*"):
            file.unlink()
        self.controller.start()
        self.publish("elsewhere")
        self.publish("elsewhere-again")
        eventually(lambda: "another cluster" in self.agent.log)
        self.assertEqual(hit(self.worker), "/before")


def stop_under_load(case: SynchronousTestCase, fleet: Fleet, controller: Process) -> None:
    """Assert that a controller that is stopped under writes answers accepted requests, and keeps answered versions."""
    acknowledged: list[int] = []
    refused: list[int] = []
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            try:
                answer = fleet.publish({"url": "http://127.0.0.1/"})
            except OSError:
                return
            (acknowledged if answer.status == 200 else refused).append(answer.json().get("version", answer.status))

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    eventually(lambda: len(acknowledged) > 50)
    case.assertEqual(controller.stop(), 0)
    stop.set()
    for writer in writers:
        writer.join()
    case.assertEqual(refused, [])
    case.assertEqual(len(set(acknowledged)), len(acknowledged))
    controller.start()
    case.assertEqual(fleet.current()["version"], max(acknowledged))


class ControllerTests(FleetTestCase):
    """A controller under load."""

    def test_stop_under_load(self) -> None:
        """After SIGTERM the controller answers accepted requests, and its database has each answered version."""
        self.controller.start()
        stop_under_load(self, self.fleet, self.controller)

    def test_two_on_one_database(self) -> None:
        """A second controller on a database does not start, and says why."""
        self.controller.start()
        second = self.fleet.add("second", ["confd-controller", "--port", str(free_port())])
        second.start(wait=False)
        eventually(second.gone)
        self.assertIn("DB_PATH", second.log)
        self.assertNotIn("Traceback", second.log)
