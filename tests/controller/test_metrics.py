"""Tests of L{confd.controller.metrics} and L{confd.controller.convergence.metrics}, on a controller in memory."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from confd.testing.brokers import MemoryBroker
from tests.controller.harness import ADMIN, AGENT, ControllerHarness
from tests.promlint import lint
from tests.runtime.test_metrics import samples

DEFAULT = ("namespace", "default")


class MetricsTests(SynchronousTestCase):
    """What a controller shows."""

    def setUp(self) -> None:
        self.broker = MemoryBroker()
        self.broker.startService()
        self.harness = ControllerHarness(brokers=[self.broker], METRICS_NAMESPACES="*")

    def shown(self, name: str, *labels: tuple[str, str]) -> float:
        """One figure."""
        return samples(self.harness.metrics.exposition())[name, tuple(sorted(labels))]

    def publish(self) -> str:
        """One more version; returns its tag."""
        self.harness.caller().ask("POST", "/api/v1/config", json={"url": "http://x/"}, auth=ADMIN)
        return self.harness.tag()

    def states(self) -> dict[str, float]:
        """How many agents are in each state that any is in."""
        found = {
            dict(labels)["state"]: value
            for (name, labels), value in samples(self.harness.metrics.exposition()).items()
            if name == "confd_agents" and DEFAULT in labels
        }
        self.assertEqual(set(found), {"silent", "pending", "applying", "applied", "failed"})
        return {state: value for state, value in found.items() if value}

    def test_lint(self) -> None:
        """By the book, from the beginning and after some traffic."""
        self.assertEqual(lint(self.harness.metrics.exposition()), [])
        self.harness.report(self.harness.join(), self.publish())
        for path in ("/x", "/y", "/api/v1/agents/a", "/api/v1/agents/b"):
            self.harness.caller().get(path, auth=ADMIN)
        self.assertEqual(lint(self.harness.metrics.exposition()), [])

    def test_nothing_grows_with_what_callers_make_up(self) -> None:
        """Neither paths, nor methods, nor ids, nor queries make a line of their own."""
        for number in (0, 1, 2):
            for method in ("GET", "POST", f"BREW{number}"):
                for path in (
                    f"/{number}",
                    f"/api/v1/agents/{number}",
                    f"/health?{number}",
                    f"/api/v1/config?x={number}",
                ):
                    self.harness.caller().ask(method, path, auth=ADMIN)
            if number == 0:
                before = set(samples(self.harness.metrics.exposition()))
        self.assertEqual(set(samples(self.harness.metrics.exposition())), before)

    def test_turned_away(self) -> None:
        """Who guesses, and who is blocked."""
        self.assertEqual(self.shown("confd_logins_throttled_total"), 0)
        for number in range(13):
            self.harness.caller().get("/api/v1/agents", auth=("admin", f"guess {number}"))
        self.assertEqual(self.shown("confd_logins_throttled_total"), 3)
        self.assertEqual(self.shown("confd_agents_blocked"), 0)
        self.harness.caller().delete("/api/v1/agents/stolen?block=true", auth=ADMIN)
        self.assertEqual(self.shown("confd_agents_blocked"), 1)
        self.harness.caller().delete("/api/v1/blocked/stolen", auth=ADMIN)
        self.assertEqual(self.shown("confd_agents_blocked"), 0)

    def test_only_the_listed_namespaces_have_series(self) -> None:
        """C{METRICS_NAMESPACES} lists them; C{*} lists all."""
        for wanted, expected in (("default", False), ("default,none", False), ("*", True)):
            harness = ControllerHarness(METRICS_NAMESPACES=wanted)
            secret = {"name": "secret", "config": {"url": "http://x/"}}
            harness.caller().post("/api/v1/namespaces", json=secret, auth=ADMIN)
            harness.join(namespace="secret")
            harness.caller().post("/api/v1/config?namespace=secret", json={"url": "http://x/"}, auth=ADMIN)
            text = harness.metrics.exposition()
            self.assertEqual(b"secret" in text, expected, wanted)
            self.assertIn(b'confd_config_version{namespace="default"}', text)

    def test_not_loaded_yet(self) -> None:
        """A controller that is starting shows what there is."""
        self.assertEqual(lint(ControllerHarness(started=False).metrics.exposition()), [])

    def test_agents(self) -> None:
        """By state; who falls silent is silent, whatever it reported."""
        applied, applying, failed, _ = (self.harness.join() for _ in range(4))
        tag = self.publish()
        self.harness.report(applied, tag)
        self.harness.report(applying, tag, "applying")
        self.harness.report(failed, tag, "failed", error="no")
        self.assertEqual(self.states(), {"applied": 1, "applying": 1, "failed": 1, "pending": 1})
        self.assertEqual(self.shown("confd_agents_current", DEFAULT), 1)
        self.harness.clock.advance(1000)
        self.assertEqual(self.states(), {"silent": 4})
        self.assertEqual(self.shown("confd_agents_current", DEFAULT), 1)
        self.publish()
        self.assertEqual(self.shown("confd_agents_current", DEFAULT), 0)

    def test_versions(self) -> None:
        self.publish()
        body = {"name": "b", "config": {"url": "http://b/"}}
        self.harness.caller().post("/api/v1/namespaces", json=body, auth=ADMIN)
        self.assertEqual(self.shown("confd_config_version", DEFAULT), 2)
        self.assertEqual(self.shown("confd_config_version", ("namespace", "b")), 1)
        self.assertEqual(self.shown("confd_publishes_total", DEFAULT), 1)
        self.assertEqual(self.shown("confd_publishes_total", ("namespace", "b")), 1)
        self.assertEqual(self.shown("confd_config_size_bytes", DEFAULT), len(b'{"url":"http://x/"}'))

    def test_brokers(self) -> None:
        label = ("broker", self.broker.name)
        before = self.shown("confd_announcements_total", label)
        self.publish()
        self.assertEqual(self.shown("confd_announcements_total", label) - before, 1)
        self.assertEqual(self.shown("confd_broker_up", label), 1)
        self.broker.server.fail("It is down.")
        self.publish()
        self.assertEqual(self.shown("confd_broker_up", label), 0)
        self.assertEqual(self.shown("confd_unpublished_namespaces", label), 1)
        self.assertGreater(self.shown("confd_announcement_failures_total", label), 0)

    def test_rollouts(self) -> None:
        """An open rollout by state, its members by outcome, and each end once."""
        agents = [self.harness.join() for _ in range(3)]
        for agent_id in agents:
            self.harness.report(agent_id, self.harness.tag())
        self.assertEqual(self.shown("confd_rollout_state", DEFAULT, ("state", "running")), 0)
        start = {"config": {"url": "http://y/"}, "plan": {"waves": [{"count": 2}]}}
        self.harness.caller().post("/api/v1/rollouts", json=start, auth=ADMIN)
        self.harness.clock.advance(1)
        self.assertEqual(self.shown("confd_rollout_state", DEFAULT, ("state", "running")), 1)
        self.assertEqual(self.shown("confd_rollout_state", DEFAULT, ("state", "paused")), 0)
        self.assertEqual(self.shown("confd_rollout_members", DEFAULT, ("outcome", "pending")), 2)
        self.assertEqual(self.shown("confd_rollouts_total", ("result", "aborted")), 0)
        self.harness.clock.advance(100)
        self.harness.caller().post("/api/v1/rollouts/1/abort", auth=ADMIN)
        self.harness.clock.advance(1)
        self.assertEqual(self.shown("confd_rollout_state", DEFAULT, ("state", "running")), 0)
        self.assertEqual(self.shown("confd_rollout_members", DEFAULT, ("outcome", "silent")), 0)
        self.assertEqual(self.shown("confd_rollouts_total", ("result", "aborted")), 1)
        self.assertEqual(self.shown("confd_rollout_seconds_sum"), 101)

    def test_storage(self) -> None:
        self.assertEqual(self.shown("confd_ready", ("part", "store")), 1)
        agent_id = self.harness.join()
        self.harness.clock.advance(2)
        self.harness.store.broken = "The disk is full."
        self.harness.caller().get("/api/v1/config", auth=AGENT, headers={"X-Agent-ID": agent_id})
        self.assertEqual(self.shown("confd_ready", ("part", "store")), 0)
        self.assertEqual(self.shown("confd_unwritten_agents"), 1)

    def test_readers(self) -> None:
        for path, auth in (("/api/v1/stream", AGENT), ("/api/v1/events", ADMIN), ("/api/v1/events", ADMIN)):
            self.harness.caller().ask("GET", path, auth=auth)
        self.assertEqual(self.shown("confd_stream_readers"), 1)
        self.assertEqual(self.shown("confd_event_readers"), 2)

    def test_reports(self) -> None:
        """Those that are taken."""
        agent_id, tag = self.harness.join(), self.harness.tag()
        self.harness.report(agent_id, tag, "applying")
        self.assertEqual([self.harness.report(agent_id, tag).status for _ in range(2)], [200, 409])
        self.assertEqual(self.shown("confd_reports_total", ("state", "applying")), 1)
        self.assertEqual(self.shown("confd_reports_total", ("state", "applied")), 1)

    def test_propagation(self) -> None:
        """Each agent once for each version, from the POST; of what is older than the process nothing is known."""
        agent_id = self.harness.join()
        self.harness.report(agent_id, self.harness.tag())
        self.assertEqual(self.count("confd_propagation_seconds"), 0)
        tag = self.publish()
        self.harness.clock.advance(3)
        self.harness.report(agent_id, tag)
        self.harness.report(agent_id, tag, repairs=1)
        self.assertEqual(self.count("confd_propagation_seconds"), 1)
        self.assertEqual(round(self.shown("confd_propagation_seconds_sum", DEFAULT)), 3)

    def test_convergence(self) -> None:
        """Once most agents have it: the time of the slowest of them, whatever comes after."""
        agents = [self.harness.join() for _ in range(20)]
        tag = self.publish()
        for seconds, agent_id in enumerate(agents, 1):
            self.assertEqual(self.count("confd_convergence_seconds"), seconds > 19)
            self.harness.clock.advance(1)
            self.harness.report(agent_id, tag)
        self.assertEqual(self.count("confd_propagation_seconds"), 20)
        self.assertEqual(self.count("confd_convergence_seconds"), 1)
        self.assertEqual(round(self.shown("confd_convergence_seconds_sum", DEFAULT)), 19)

    def count(self, name: str) -> float:
        """How many are in a histogram."""
        return samples(self.harness.metrics.exposition()).get((f"{name}_count", (DEFAULT,)), 0)
