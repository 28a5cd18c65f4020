"""Tests of L{confd.controller.agents.selection}."""

from __future__ import annotations

from typing import Any

from twisted.internet.base import DelayedCall
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from confd.codec.selectors import parse_selector
from confd.controller.agents.selection import AGENTS_PER_TURN, select_agents
from confd.model import DEFAULT_NAMESPACE, Registration
from confd.reports import AgentRecord
from tests.controller.harness import ControllerHarness


class CountingClock(Clock):
    """
    A clock that counts its timers.

    @ivar pauses: Timers so far.
    """

    pauses = 0

    def callLater(self, when: float, what: Any, *args: Any, **kwargs: Any) -> DelayedCall:
        self.pauses += 1
        return super().callLater(when, what, *args, **kwargs)


class SelectAgentsTests(SynchronousTestCase):
    """L{select_agents}."""

    def setUp(self) -> None:
        first = ControllerHarness()
        for number in range(3 * AGENTS_PER_TURN + 1):
            registration = Registration(agent_id=f"a{number:05}", metadata="region=eu")
            self.successResultOf(first.store.register(registration, b"", first.now()))
        self.successResultOf(first.stop())
        self.registry = ControllerHarness(first.store).registry
        self.clock = CountingClock()

    def select(self, selector: str, **limits: Any) -> Deferred[list[AgentRecord]]:
        """Begin to select agents."""
        selecting = select_agents(self.registry, self.clock, DEFAULT_NAMESPACE, parse_selector(selector), **limits)
        return Deferred.fromCoroutine(selecting)

    def test_reactor_runs_between_slices(self) -> None:
        selecting = self.select("region=us")
        self.assertNoResult(selecting)
        self.clock.advance(0)
        self.assertEqual(self.successResultOf(selecting), [])
        self.assertEqual(self.clock.pauses, 3)

    def test_agents_that_leave_and_come_between_slices_break_nothing(self) -> None:
        selecting = self.select("id in (a00001,a01400,a01500,zz)")
        for agent_id in ("a00001", f"a{AGENTS_PER_TURN - 1:05}", "a01500"):
            self.successResultOf(Deferred.fromCoroutine(self.registry.forget(agent_id)))
        newcomer = Registration(agent_id="zz", metadata="region=eu")
        self.successResultOf(Deferred.fromCoroutine(self.registry.register(newcomer)))
        self.clock.pump([0.0] * 4)
        self.assertEqual([each.id for each in self.successResultOf(selecting)], ["a00001", "a01400", "zz"])

    def test_search_ends_with_the_page(self) -> None:
        limit = AGENTS_PER_TURN - 1
        found = self.successResultOf(self.select("region=eu", limit=limit, after="a00100"))
        self.assertEqual([found[0].id, found[-1].id, len(found)], ["a00101", f"a{100 + limit:05}", limit])

    def test_everything_takes_one_turn(self) -> None:
        self.assertEqual(len(self.successResultOf(self.select("", limit=AGENTS_PER_TURN + 1))), AGENTS_PER_TURN + 1)
        self.assertEqual(self.clock.pauses, 0)
