"""Tests of L{confd.controller.rollouts.doorbell}: when a controller rings, and whom it invites."""

from __future__ import annotations

from collections.abc import Sequence

from confd.codec.doorbell import Doorbell, read_doorbell
from confd.codec.ranks import rank
from confd.codec.signing import KeyRing
from confd.controller.rollouts.doorbell import FEED_LAG_SECONDS
from confd.testing.brokers import MemoryBroker, RecordingListener
from tests.controller.harness import ControllerHarness
from tests.controller.rollouts.case import BAKE, RolloutTestCase


class DoorbellTestCase(RolloutTestCase):
    """
    A controller with a broker, and agents that poll and report.

    @ivar doorbells: what came on the channel of doorbells.
    @ivar announcements: what came on the channel of announcements.
    """

    agents = 12

    def setUp(self) -> None:
        self.broker, self.doorbells, self.announcements = MemoryBroker(), RecordingListener(), RecordingListener()
        self.broker.attend("default", self.doorbells.hear)
        self.broker.listen("default", self.announcements.hear, self.announcements.connected)
        self.broker.startService()
        super().setUp()

    def make_harness(self) -> ControllerHarness:
        return ControllerHarness(brokers=[self.broker])

    def rung(self) -> Sequence[Doorbell]:
        """Return the doorbells so far, all of them verified."""
        keys = KeyRing()
        keys.trust([self.harness.identity.keys[0].public])
        found = [read_doorbell(raw) for raw in self.doorbells.heard]
        self.assertTrue(all(each.verified(keys) for each in found))
        return found

    def invited(self, doorbell: Doorbell) -> set[str]:
        """Return the agents that are to poll."""
        return {each for each in self.ids if rank(doorbell.salt, each) <= int(doorbell.cut)}


class DoorbellTests(DoorbellTestCase):
    """A rollout whose plan selects no labels."""

    def test_waves(self) -> None:
        """Each wave rings once, when the agents that it invites are served the candidate; the last one announces."""
        announced = len(self.announcements.heard)
        heard = []
        self.broker.attend("default", lambda raw: heard.append((self.invited(read_doorbell(raw)), self.exposed())))
        self.start()
        for _ in range(3):
            self.follow(BAKE + 20)
        found = self.rung()
        self.assertEqual([(each.rollout, each.namespace, each.select) for each in found], [(1, "default", "")] * 3)
        self.assertEqual([each.step for each in found], sorted({each.step for each in found}))
        self.assertEqual([len(self.invited(each)) for each in found], [1, 2, 6])
        self.assertEqual({each.cluster_id for each in found}, {self.harness.identity.cluster_id})
        for invited, exposed in heard:
            self.assertEqual(invited, set(exposed))
        self.assertEqual({each.spread_ms for each in found}, {1000})
        self.follow(BAKE + 20)
        self.assertEqual((self.rollout()["state"], len(self.rung())), ("completed", 3))
        self.assertEqual(len(self.announcements.heard), announced + 1)

    def test_quiet(self) -> None:
        """Publishes, pauses and agents that name the candidate ring no doorbell; another candidate does."""
        self.admin("POST", "/api/v1/config", json={"url": "https://example.com/0"})
        self.assertEqual(self.rung(), [])
        for agent_id in self.ids:
            self.report(agent_id, self.harness.tag())
        tag = self.start().headers["etag"].strip('"')
        for verb in ("pause", "resume"):
            self.assertEqual(self.admin("POST", f"/api/v1/rollouts/1/{verb}").status, 200)
        other = next(each for each in self.ids if each not in self.exposed())
        self.poll(other, tag)
        self.assertEqual((len(self.exposed()), len(self.rung())), (2, 1))
        body = {"config": {"url": "https://example.com/2"}}
        self.assertEqual(self.admin("POST", "/api/v1/rollouts/1/replace", json=body).status, 200)
        self.assertEqual(len(self.rung()), 2)
        self.admin("POST", "/api/v1/rollouts/1/abort")
        self.assertEqual(len(self.rung()), 2)

    def test_restart(self) -> None:
        """A controller that starts into an open wave rings again: it may have died before."""
        self.start()
        self.harness.stop()
        self.harness = ControllerHarness(self.harness.store, brokers=[self.broker], clock=self.harness.clock)
        first, second = self.rung()
        self.assertEqual(first, second)

    def test_broker_down(self) -> None:
        """A broker without a doorbell changes nothing but the time."""
        self.broker.server.fail("It is down.")
        self.assertEqual(self.start().status, 202)
        self.assertEqual(len(self.exposed()), 1)
        self.broker.server.come_back()
        self.follow(BAKE + 20)
        self.assertEqual(len(self.rung()), 1)

    def test_several_controllers(self) -> None:
        """With a database that others share, the doorbell waits until they serve the candidate, too."""
        self.harness.stop()
        self.harness = ControllerHarness(
            self.harness.store, brokers=[self.broker], clock=self.harness.clock, DATABASE_URL="postgresql://db/confd"
        )
        self.start()
        self.assertEqual((len(self.exposed()), self.rung()), (1, []))
        self.harness.clock.advance(FEED_LAG_SECONDS)
        self.assertEqual(len(self.rung()), 1)

    def test_budget(self) -> None:
        """The spread follows from the budget."""
        self.harness.stop()
        self.harness = ControllerHarness(self.harness.store, brokers=[self.broker], HERD_REQUESTS="2")
        self.start()
        self.admin("POST", "/api/v1/rollouts/1/promote", json={"to": "next"})
        self.admin("POST", "/api/v1/rollouts/1/promote", json={"to": "next"})
        self.assertEqual([each.spread_ms for each in self.rung()], [500, 500, 2000])


class SelectTests(DoorbellTestCase):
    """A plan that selects labels."""

    def begin(self, declared: bool) -> Doorbell:
        """Start a rollout to agents with a label that they declare, or that an operator set."""
        for agent_id in self.ids[:4]:
            if declared:
                self.harness.join(agent_id=agent_id, metadata="stage=canary")
            else:
                self.admin("POST", f"/api/v1/agents/{agent_id}/labels", json={"stage": "canary"})
        plan = {"name": "x", "select": "!gpu", "waves": [{"select": "stage=canary", "count": 3}]}
        start = {"config": {"url": "https://example.com/1"}, "plan": plan}
        self.assertEqual(self.admin("POST", "/api/v1/rollouts", json=start).status, 202)
        (found,) = self.rung()
        self.assertLessEqual(set(self.exposed()), self.invited(found))
        return found

    def test_declared(self) -> None:
        """The doorbell has the selector, as agents know the labels that they declare."""
        self.assertEqual(self.begin(declared=True).select, "!gpu,stage=canary")

    def test_set(self) -> None:
        """Agents do not know the labels that operators set: all agents up to the cut are invited."""
        self.assertEqual(self.begin(declared=False).select, "")
