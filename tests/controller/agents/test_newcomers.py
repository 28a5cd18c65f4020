"""Agents that register without end (A11)."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from confd.controller.agents.newcomers import EXPIRES_AFTER_SECONDS, NEW_PER_MINUTE, Newcomers
from confd.errors import TooMany
from tests.controller.harness import AGENT, ControllerHarness
from tests.conversation import Reply

FLEET = 5000


class NewcomersTests(SynchronousTestCase):
    """L{Newcomers}."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.newcomers = Newcomers(self.clock)

    def admit(self, count: int, source: str = "192.0.2.7") -> int:
        """How many of so many are let in."""
        for number in range(count):
            try:
                self.newcomers.admit(source, number)
            except TooMany as error:
                self.assertGreater(error.retry_after or 0, 0)
                return number
        return count

    def test_fleet_behind_one_router(self) -> None:
        """It gets in at once."""
        self.assertEqual(self.admit(FLEET), FLEET)

    def test_one_source(self) -> None:
        """It is stopped, others are not; with time it may go on."""
        self.assertEqual(self.admit(2 * NEW_PER_MINUTE), NEW_PER_MINUTE)
        self.assertEqual(self.admit(1), 0)
        self.assertEqual(self.admit(1, "198.51.100.1"), 1)
        self.clock.advance(30)
        self.assertEqual(self.admit(NEW_PER_MINUTE), NEW_PER_MINUTE // 2)
        self.assertEqual(self.newcomers.refused, 3)

    def test_this_machine(self) -> None:
        """A proxy on it speaks for everybody."""
        self.assertEqual(self.admit(2 * NEW_PER_MINUTE, ""), 2 * NEW_PER_MINUTE)


class MaxAgentsTests(SynchronousTestCase):
    """The limit in all, and those who expire, in a controller."""

    def setUp(self) -> None:
        self.harness = ControllerHarness(MAX_AGENTS="2")

    def register(self, **fields: str) -> Reply:
        """Try to register one."""
        return self.harness.caller().post("/api/v1/register", json=fields, auth=AGENT)

    def known(self) -> set[str]:
        """The ids of all agents."""
        return {record.id for record in self.harness.registry.records()}

    def test_limit(self) -> None:
        """The next one is answered 429 in a sentence; one that is known comes in, and forgetting one makes room."""
        for name in ("a", "b"):
            self.assertEqual(self.register(agent_id=name).status, 200)
        for fields in ({"agent_id": "c"}, {}):
            reply = self.register(**fields)
            self.assertEqual((reply.status, reply.code), (429, "too_many_agents"))
            self.assertGreater(int(reply.headers["retry-after"]), 0)
            self.assertIn("MAX_AGENTS", reply.json["error"])
        self.assertEqual(self.register(agent_id="a").status, 200)
        self.successResultOf(Deferred.fromCoroutine(self.harness.registry.forget("b")))
        self.assertEqual(self.register(agent_id="c").status, 200)
        self.assertEqual(self.known(), {"a", "c"})

    def test_expire(self) -> None:
        """One that neither polled nor reported is forgotten after a time, on disk, too; one that polled is kept."""
        for name in ("a", "b"):
            self.register(agent_id=name)
        self.harness.registry.polled("a")
        self.harness.clock.pump([1] * int(EXPIRES_AFTER_SECONDS / 2))
        self.assertEqual(self.known(), {"a", "b"})
        self.harness.clock.pump([1] * int(EXPIRES_AFTER_SECONDS / 2 + 2))
        self.assertEqual(self.known(), {"a"})
        self.assertEqual([each.id for each in self.successResultOf(self.harness.store.load_agents())], ["a"])

    def test_restart(self) -> None:
        """The time of those on disk begins with the start."""
        self.register(agent_id="b")
        revalidate = ControllerHarness(store=self.harness.store)
        revalidate.clock.advance(EXPIRES_AFTER_SECONDS - 10)
        self.assertEqual(len(list(revalidate.registry.records())), 1)
        revalidate.clock.pump([1] * 12)
        self.assertEqual(list(revalidate.registry.records()), [])
