"""Tests of the events of webhooks, on a controller in memory whose queue is read by the test."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.trial.unittest import SynchronousTestCase

from confd.controller.webhooks.detector import FAILED_AGAIN_SECONDS, GATHER_SECONDS, LOCKOUTS_PER_MINUTE
from confd.interfaces.webhooks import QueueState
from tests.controller.harness import ADMIN, AGENT, ControllerHarness
from tests.conversation import Conversation

SETTINGS = {"WEBHOOK_URLS": "https://hooks.test/T0KEN", "WEBHOOK_SECRET": "a secret of the test"}

#: Seconds of C{WEBHOOK_STALLED_AFTER}, its default.
STALLED_AFTER = 600


class EventsTestCase(SynchronousTestCase):
    """
    A controller with a receiver.

    @cvar settings: of the controller.
    """

    settings = SETTINGS

    def setUp(self) -> None:
        self.harness = ControllerHarness(**self.settings)

    def events(self) -> list[dict[str, Any]]:
        """Take all events out of the queue."""
        found: list[dict[str, Any]] = []
        done = None
        while True:
            state: QueueState = self.successResultOf(
                self.harness.store.advance(0, done, "the test", self.harness.now())
            )
            if state.head is None:
                return found
            done, body = state.head
            self.assertLess(len(body), 65536)
            event = json.loads(body)
            self.assertEqual(event["cluster_id"], self.harness.identity.cluster_id)
            self.assertEqual(len(event["id"]), 32)
            self.assertTrue(event["text"])
            found.append(event)

    def kinds(self) -> list[str]:
        """Take all events out of the queue; return their kinds."""
        return [each["event"] for each in self.events()]

    def fields(self, event: dict[str, Any]) -> dict[str, Any]:
        """Return the fields of an event that differ from one event to the next."""
        return {key: value for key, value in event.items() if key not in ("id", "at", "cluster_id")}

    def publish(self, document: Any = None, query: str = "") -> str:
        """Publish; return the tag."""
        body = {"url": "http://x/"} if document is None else document
        reply = self.harness.caller().post(f"/api/v1/config{query}", json=body, auth=ADMIN)
        self.assertEqual(reply.status, 200, reply.body)
        return self.harness.tag()

    def join(self, count: int) -> list[str]:
        """Register agents."""
        return [self.harness.join(hostname=f"web-{number}") for number in range(1, count + 1)]

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.harness.clock.advance(seconds)


class ChangeTests(EventsTestCase):
    def test_published(self) -> None:
        self.join(2)
        tag = self.publish({"url": "http://secret/"}, "?comment=why")
        [event] = self.events()
        checksum = self.harness.snapshot.require("default").configuration.document.checksum
        self.assertEqual(
            self.fields(event),
            {
                "event": "published",
                "namespace": "default",
                "tag": tag,
                "author": "admin",
                "comment": "why",
                "checksum": checksum,
                "targeted": 2,
                "text": "default: admin published version 2: why",
            },
        )
        self.assertNotIn("http://secret/", json.dumps(event))

    def test_rolled_back(self) -> None:
        self.publish()
        self.events()
        self.harness.caller().post("/api/v1/config/rollback", json={"version": 1}, auth=ADMIN)
        [event] = self.events()
        self.assertEqual((event["event"], event["rollback_of"]), ("rolled_back", 1))
        self.assertEqual(event["text"], "default: admin rolled back to version 1, as version 3.")

    def test_namespace(self) -> None:
        caller = self.harness.caller()
        caller.post("/api/v1/namespaces", json={"name": "edge", "config": {"url": "http://x/"}}, auth=ADMIN)
        created, published = self.events()
        self.assertEqual((created["event"], created["action"], created["author"]), ("namespace", "created", "admin"))
        self.assertEqual((published["event"], published["namespace"]), ("published", "edge"))
        self.harness.caller().delete("/api/v1/namespaces/edge", auth=ADMIN)
        [retired] = self.events()
        self.assertEqual((retired["namespace"], retired["action"]), ("edge", "retired"))
        self.assertEqual(retired["text"], "admin retired the namespace edge.")

    def test_refused_publish_is_no_event(self) -> None:
        self.harness.caller().post("/api/v1/config", json=[], auth=ADMIN)
        self.harness.caller().post("/api/v1/config", json={"url": "http://x/"}, auth=AGENT)
        self.harness.caller().post("/api/v1/config?dry_run=true", json={"url": "http://x/"}, auth=ADMIN)
        self.assertEqual(self.events(), [])


class ConvergenceTests(EventsTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.agents = self.join(4)
        self.tag = self.publish()
        self.events()

    def report(self, *agents: str, state: str = "applied", tag: str = "", **fields: Any) -> None:
        """Report of agents on the version."""
        for agent in agents:
            self.harness.report(agent, tag or self.tag, state, **fields)

    def test_converged_once(self) -> None:
        self.report(*self.agents[:3])
        self.assertEqual(self.events(), [])
        self.report(self.agents[3])
        [event] = self.events()
        self.assertEqual((event["event"], event["tag"], event["applied"]), ("converged", self.tag, 4))
        self.assertGreater(event["seconds"], 0)
        self.assertEqual(event["text"], "default: version 2 is applied by 4 of 4 agents.")
        self.report(self.agents[3], state="failed", error="no")
        self.report(self.agents[3])
        self.wait(STALLED_AFTER)
        self.assertNotIn("converged", self.kinds())

    def test_failures_gather_and_come_again_while_they_grow(self) -> None:
        self.report(self.agents[0], state="failed", error="The check ended with status 1:\nline 2")
        self.report(self.agents[1], state="failed", error="no")
        self.assertEqual(self.events(), [])
        self.wait(GATHER_SECONDS)
        [event] = self.events()
        self.assertEqual((event["event"], event["failed"], event["targeted"]), ("failed", 2, 4))
        self.assertEqual({each["id"] for each in event["agents"]}, set(self.agents[:2]))
        self.assertIn("failed on 2 of 4 agents. web-", event["text"])
        self.assertNotIn("\n", event["text"])
        self.wait(FAILED_AGAIN_SECONDS)
        self.assertEqual(self.events(), [])
        self.report(self.agents[2], state="failed", error="no")
        self.wait(GATHER_SECONDS)
        self.report(self.agents[3], state="failed", error="no")
        self.wait(FAILED_AGAIN_SECONDS - 1)
        self.assertEqual([each["failed"] for each in self.events()], [3])
        self.wait(1)
        self.assertEqual([each["failed"] for each in self.events()], [4])

    def test_failure_that_is_gone_in_time_is_no_event(self) -> None:
        self.report(self.agents[0], state="failed", error="no")
        self.report(self.agents[0])
        self.wait(GATHER_SECONDS)
        self.assertEqual(self.events(), [])

    def test_stalled_once(self) -> None:
        self.wait(STALLED_AFTER - 10)
        self.report(self.agents[0])
        self.wait(STALLED_AFTER - 1)
        self.assertEqual(self.events(), [])
        self.wait(1)
        [event] = self.events()
        self.assertEqual((event["event"], event["applied"], event["targeted"]), ("stalled", 1, 4))
        self.assertEqual(len(event["agents"]), 3)
        self.wait(3 * STALLED_AFTER)
        self.assertEqual(self.events(), [])

    def test_namespace_without_agents_does_not_stall(self) -> None:
        harness = self.harness = ControllerHarness(**self.settings)
        self.publish()
        harness.clock.advance(2 * STALLED_AFTER)
        self.assertEqual(self.kinds(), ["published"])

    def test_newer_version_ends_the_watch(self) -> None:
        self.report(self.agents[0], state="failed", error="no")
        self.publish({"url": "http://other/"})
        self.wait(GATHER_SECONDS)
        self.assertEqual(self.kinds(), ["published"])

    def test_nothing_is_sent_again_after_a_restart(self) -> None:
        self.report(self.agents[0], state="failed", error="no")
        self.wait(GATHER_SECONDS)
        self.wait(STALLED_AFTER)
        self.assertEqual(self.kinds(), ["failed", "stalled"])
        self.successResultOf(self.harness.stop())
        self.harness = ControllerHarness(store=self.harness.store, **self.settings)
        self.report(self.agents[0], state="failed", error="no")
        self.wait(GATHER_SECONDS)
        self.wait(STALLED_AFTER)
        self.assertEqual(self.events(), [])
        self.report(*self.agents)
        self.assertEqual(self.kinds(), ["converged"])
        self.successResultOf(self.harness.stop())
        self.harness = ControllerHarness(store=self.harness.store, **self.settings)
        self.report(*self.agents)
        self.wait(STALLED_AFTER)
        self.assertEqual(self.events(), [])

    def test_many_long_errors_fit(self) -> None:
        agents = self.join(30)
        self.report(*agents, state="failed", error="\x01ü" * 500)
        self.wait(GATHER_SECONDS)
        [event] = self.events()
        self.assertEqual((event["failed"], len(event["agents"])), (30, 10))


class RolloutTests(EventsTestCase):
    def test_each_transition(self) -> None:
        agents = self.join(4)
        for agent in agents:
            self.harness.report(agent, self.harness.tag())
        self.events()
        self.start_rollout()
        [running] = self.events()
        self.assertEqual((running["event"], running["state"], running["wave"]), ("rollout", "running", 1))
        self.abort(running["rollout"])
        found = self.events()
        self.assertIn(("rollout", "aborted"), [(each["event"], each.get("state")) for each in found])

    def start_rollout(self) -> None:
        """Start a rollout to one agent."""
        query = "/api/v1/config?rollout=careful"
        reply = self.harness.caller().post(query, json={"url": "http://new/"}, auth=ADMIN)
        self.assertEqual(reply.status, 202, reply.body)

    def abort(self, number: int) -> None:
        """Abort a rollout."""
        reply = self.harness.caller().post(f"/api/v1/rollouts/{number}/abort", json={}, auth=ADMIN)
        self.assertEqual(reply.status, 200, reply.body)

    def test_failure_of_a_candidate(self) -> None:
        agents = self.join(2)
        for agent in agents:
            self.harness.report(agent, self.harness.tag())
        self.start_rollout()
        self.events()
        lane = self.harness.snapshot.lane("default")
        assert lane is not None
        [member] = lane.members
        tag = str(lane.encoded.configuration.tag)
        self.harness.report(member, tag, "failed", error="no")
        self.wait(GATHER_SECONDS)
        failed = [each for each in self.events() if each["event"] == "failed"]
        self.assertEqual([(each["tag"], each["failed"]) for each in failed], [(tag, 1)])


class LockoutTests(EventsTestCase):
    def guess(self, address: str, times: int = 12) -> None:
        """Send wrong passwords."""
        for number in range(times):
            Conversation(self.harness.site, self.harness.clock, IPv4Address("TCP", address, 50000)).get(
                "/api/v1/agents", auth=("admin", f"guess {number}")
            )

    def test_once_per_address(self) -> None:
        self.guess("192.0.2.7")
        [event] = self.events()
        self.assertEqual((event["event"], event["address"]), ("login_lockout", "192.0.2.7"))
        self.assertNotIn("namespace", event)
        self.guess("192.0.2.7")
        self.assertEqual(self.events(), [])
        self.wait(601)
        self.guess("192.0.2.7")
        self.assertEqual(self.kinds(), ["login_lockout"])

    def test_many_addresses_do_not_flood_the_queue(self) -> None:
        for number in range(3 * LOCKOUTS_PER_MINUTE):
            self.guess(f"192.0.2.{number}")
        self.assertEqual(len(self.events()), LOCKOUTS_PER_MINUTE)


class ChosenTests(EventsTestCase):
    settings = {**SETTINGS, "WEBHOOK_EVENTS": "namespace, converged"}

    def test_other_events_are_not_queued(self) -> None:
        [agent] = self.join(1)
        self.harness.report(agent, self.publish())
        self.assertEqual(self.kinds(), ["converged"])


class PingTests(EventsTestCase):
    def test_without_webhooks(self) -> None:
        self.harness = ControllerHarness()
        reply = self.harness.caller().post("/api/v1/webhooks/ping", auth=ADMIN)
        self.assertEqual((reply.status, reply.json), (200, {"items": []}))

    def test_result_names_the_host_only_and_the_attempt_is_recorded(self) -> None:
        self.harness = ControllerHarness(**{**SETTINGS, "WEBHOOK_URLS": "http://169.254.169.254/T0KEN"})
        reply = self.harness.caller().post("/api/v1/webhooks/ping", auth=ADMIN)
        [item] = reply.json["items"]
        self.assertEqual((item["number"], item["host"], item["waiting"]), (1, "169.254.169.254", 0))
        self.assertIn("metadata service of a cloud", item["error"])
        self.assertNotIn(b"T0KEN", reply.body)
        [entry] = self.successResultOf(self.harness.store.audit(9, None))
        self.assertEqual((entry.action, entry.outcome), ("POST /api/v1/webhooks/ping", "done"))
        self.assertEqual(self.events(), [])
