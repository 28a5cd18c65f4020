"""Tests of L{confd.controller.metrics} and L{confd.controller.convergence.metrics}, on a controller in memory."""

from __future__ import annotations

from functools import partial

from twisted.trial.unittest import SynchronousTestCase

from confd.controller.convergence.metrics import PropagationMetrics
from confd.controller.metrics import controller_metrics
from confd.testing.brokers import MemoryBroker
from tests.controller.house import ADMIN, AGENT, House
from tests.promlint import lint
from tests.runtime.test_metrics import samples

DEFAULT = ("namespace", "default")


class FiguresTests(SynchronousTestCase):
    """What a controller shows."""

    def setUp(self) -> None:
        self.broker = MemoryBroker()
        self.broker.startService()
        self.house = House(brokers=[self.broker])

    def shown(self, name: str, *labels: tuple[str, str]) -> float:
        """One figure."""
        return samples(self.house.metrics.exposition())[name, tuple(sorted(labels))]

    def publish(self) -> str:
        """One more version; returns its tag."""
        self.house.caller().ask("POST", "/api/v1/config", json={"url": "http://x/"}, auth=ADMIN)
        return self.house.tag()

    def states(self) -> dict[str, float]:
        """How many agents are in each state that any is in."""
        found = {
            dict(labels)["state"]: value
            for (name, labels), value in samples(self.house.metrics.exposition()).items()
            if name == "confd_agents" and DEFAULT in labels
        }
        self.assertEqual(set(found), {"silent", "unknown", "applying", "applied", "failed"})
        return {state: value for state, value in found.items() if value}

    def test_lint(self) -> None:
        """By the book, from the beginning and after some traffic."""
        self.assertEqual(lint(self.house.metrics.exposition()), [])
        self.house.report(self.house.join(), self.publish())
        for path in ("/x", "/y", "/api/v1/agents/a", "/api/v1/agents/b"):
            self.house.caller().get(path, auth=ADMIN)
        self.assertEqual(lint(self.house.metrics.exposition()), [])

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
                    self.house.caller().ask(method, path, auth=ADMIN)
            if number == 0:
                before = set(samples(self.house.metrics.exposition()))
        self.assertEqual(set(samples(self.house.metrics.exposition())), before)

    def test_turned_away(self) -> None:
        """Who guesses, and who is blocked."""
        self.assertEqual(self.shown("confd_logins_throttled_total"), 0)
        for number in range(13):
            self.house.caller().get("/api/v1/agents", auth=("admin", f"guess {number}"))
        self.assertEqual(self.shown("confd_logins_throttled_total"), 3)
        self.assertEqual(self.shown("confd_agents_blocked"), 0)
        self.house.caller().delete("/api/v1/agents/stolen?block=true", auth=ADMIN)
        self.assertEqual(self.shown("confd_agents_blocked"), 1)
        self.house.caller().delete("/api/v1/blocked/stolen", auth=ADMIN)
        self.assertEqual(self.shown("confd_agents_blocked"), 0)

    def test_namespaces_that_are_not_shown(self) -> None:
        """They have no series, however many there are; C{*} shows all."""
        house = self.house
        house.caller().post("/api/v1/namespaces", json={"name": "secret", "config": {"url": "http://x/"}}, auth=ADMIN)
        house.join(namespace="secret")
        for wanted, expected in ((("default",), False), (("default", "none"), False), (("*",), True)):
            shown = partial(house.snapshot.only, wanted)
            speed = PropagationMetrics(house.configs, house.registry, house.convergence, shown)
            parts = (house.store, house.snapshot, house.registry, house.convergence, speed)
            metrics = controller_metrics(*parts, house.report_intake, house.config_stream, house.events, [], shown)
            house.caller().post("/api/v1/config?namespace=secret", json={"url": "http://x/"}, auth=ADMIN)
            text = metrics.exposition()
            self.assertEqual(b"secret" in text, expected, wanted)
            self.assertIn(b'confd_config_version{namespace="default"}', text)

    def test_not_loaded_yet(self) -> None:
        """A controller that is starting shows what there is."""
        self.assertEqual(lint(House(started=False).metrics.exposition()), [])

    def test_agents(self) -> None:
        """By state; who falls silent is silent, whatever it reported."""
        applied, applying, failed, _ = (self.house.join() for _ in range(4))
        tag = self.publish()
        self.house.report(applied, tag)
        self.house.report(applying, tag, "applying")
        self.house.report(failed, tag, "failed", error="no")
        self.assertEqual(self.states(), {"applied": 1, "applying": 1, "failed": 1, "unknown": 1})
        self.assertEqual(self.shown("confd_agents_current", DEFAULT), 1)
        self.house.clock.advance(1000)
        self.assertEqual(self.states(), {"silent": 4})
        self.assertEqual(self.shown("confd_agents_current", DEFAULT), 1)
        self.publish()
        self.assertEqual(self.shown("confd_agents_current", DEFAULT), 0)

    def test_versions(self) -> None:
        self.publish()
        body = {"name": "b", "config": {"url": "http://b/"}}
        self.house.caller().post("/api/v1/namespaces", json=body, auth=ADMIN)
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

    def test_storage(self) -> None:
        self.assertEqual(self.shown("confd_ready", ("part", "store")), 1)
        agent_id = self.house.join()
        self.house.clock.advance(2)
        self.house.store.broken = "The disk is full."
        self.house.caller().get("/api/v1/config", auth=AGENT, headers={"X-Agent-ID": agent_id})
        self.assertEqual(self.shown("confd_ready", ("part", "store")), 0)
        self.assertEqual(self.shown("confd_unwritten_agents"), 1)

    def test_readers(self) -> None:
        for path, auth in (("/api/v1/stream", AGENT), ("/api/v1/events", ADMIN), ("/api/v1/events", ADMIN)):
            self.house.caller().ask("GET", path, auth=auth)
        self.assertEqual(self.shown("confd_stream_readers"), 1)
        self.assertEqual(self.shown("confd_event_readers"), 2)

    def test_reports(self) -> None:
        """Those that are taken."""
        agent_id, tag = self.house.join(), self.house.tag()
        self.house.report(agent_id, tag, "applying")
        self.assertEqual([self.house.report(agent_id, tag).status for _ in range(2)], [200, 409])
        self.assertEqual(self.shown("confd_reports_total", ("state", "applying")), 1)
        self.assertEqual(self.shown("confd_reports_total", ("state", "applied")), 1)

    def test_propagation(self) -> None:
        """Each agent once for each version, from the POST; of what is older than the process nothing is known."""
        agent_id = self.house.join()
        self.house.report(agent_id, self.house.tag())
        self.assertEqual(self.count("confd_propagation_seconds"), 0)
        tag = self.publish()
        self.house.clock.advance(3)
        self.house.report(agent_id, tag)
        self.house.report(agent_id, tag, repairs=1)
        self.assertEqual(self.count("confd_propagation_seconds"), 1)
        self.assertEqual(round(self.shown("confd_propagation_seconds_sum", DEFAULT)), 3)

    def test_convergence(self) -> None:
        """Once most agents have it: the time of the slowest of them, whoever comes after."""
        agents = [self.house.join() for _ in range(20)]
        tag = self.publish()
        for seconds, agent_id in enumerate(agents, 1):
            self.assertEqual(self.count("confd_convergence_seconds"), seconds > 19)
            self.house.clock.advance(1)
            self.house.report(agent_id, tag)
        self.assertEqual(self.count("confd_propagation_seconds"), 20)
        self.assertEqual(self.count("confd_convergence_seconds"), 1)
        self.assertEqual(round(self.shown("confd_convergence_seconds_sum", DEFAULT)), 19)

    def count(self, name: str) -> float:
        """How many are in a histogram."""
        return samples(self.house.metrics.exposition()).get((f"{name}_count", (DEFAULT,)), 0)
