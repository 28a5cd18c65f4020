"""Walks over many agents, in slices, while agents come and go in between."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.base import DelayedCall
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from confd.codec.selectors import parse_selector
from confd.controller.agents.rows import KnownAgents
from confd.controller.agents.selection import AGENTS_PER_TURN, select_agents
from confd.model import DEFAULT_NAMESPACE, Registration
from confd.reports import AgentRecord, new_record
from confd.testing import a_draft
from tests.controller.harness import ADMIN, ControllerHarness
from tests.runtime.test_metrics import samples

IDS = st.sampled_from([f"a{number}" for number in range(12)])

#: What happens to agents between two slices: an agent registers in a namespace, or leaves.
CHANGES = st.lists(st.lists(st.tuples(IDS, st.sampled_from([DEFAULT_NAMESPACE, "blue", ""])), max_size=4), max_size=8)


class SliceTests(SynchronousTestCase):
    """L{KnownAgents.slices}."""

    @given(st.lists(IDS, unique=True), CHANGES, st.integers(1, 5), st.one_of(st.just(""), IDS))
    def test_agents_that_stay_come_once_and_in_order(
        self, before: list[str], changes: list[list[tuple[str, str]]], size: int, after: str
    ) -> None:
        rows = KnownAgents()

        def change(agent_id: str, namespace: str) -> None:
            if namespace:
                rows.put(new_record(Registration(agent_id=agent_id, namespace=namespace), b"", a_draft().made_at))
            else:
                rows.remove(agent_id)

        def expected() -> set[str]:
            return {each.id for each in rows.all() if each.namespace == DEFAULT_NAMESPACE and each.id > after}

        for agent_id in before:
            change(agent_id, DEFAULT_NAMESPACE)
        stayed, ever, found, coming = expected(), expected(), list[str](), iter(changes)
        for agents in rows.slices(DEFAULT_NAMESPACE, size, after):
            assert len(agents) <= size
            assert {each.id for each in agents} <= expected()
            found += [each.id for each in agents]
            for each in next(coming, ()):
                change(*each)
                stayed &= expected()
                ever |= expected()
        assert found == sorted(set(found))
        assert stayed <= set(found) <= ever


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
            registration = Registration(agent_id=f"a{number:05}", metadata="region=eu", advertise=f"a{number}:1")
            self.successResultOf(first.store.register(registration, b"", first.now()))
        self.successResultOf(first.stop())
        self.harness = ControllerHarness(first.store)
        self.registry = self.harness.registry
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

    def test_page_of_everything_takes_one_turn(self) -> None:
        self.assertEqual(len(self.successResultOf(self.select("", limit=AGENTS_PER_TURN))), AGENTS_PER_TURN)
        self.assertEqual(self.clock.pauses, 0)

    def test_search_for_a_state_takes_turns(self) -> None:
        self.harness.report("a01499", 1)
        selecting = self.select("", state="applied", limit=1)
        self.assertNoResult(selecting)
        self.clock.pump([0.0] * 3)
        self.assertEqual([each.id for each in self.successResultOf(selecting)], ["a01499"])

    def test_targets_of_prometheus_are_listed_in_turns(self) -> None:
        """The last agent leaves after the first turn."""
        last, caller = "a01500", self.harness.caller()
        self.harness.clock.callLater(0, lambda: Deferred.fromCoroutine(self.registry.forget(last)))
        targets = caller.get("/api/v1/prometheus/agents", auth=ADMIN).json
        listed = [each["labels"]["__meta_confd_id"] for each in targets]
        self.assertTrue(listed == sorted(each.id for each in self.registry.rows.all()))
        self.assertNotIn(last, listed[-1:])

    def test_agents_of_a_rollout_are_found_in_turns(self) -> None:
        for agent_id in ("a00000", "a01499"):
            self.harness.report(agent_id, 1)
        choosing = Deferred.fromCoroutine(self.harness.driver.agents(DEFAULT_NAMESPACE))
        self.assertNoResult(choosing)
        self.harness.clock.pump([0.0] * 3)
        self.assertEqual([each.id for each in self.successResultOf(choosing)], ["a00000", "a01499"])

    def test_metrics_are_counted_in_steps(self) -> None:
        self.harness.report("a01499", 1)
        parts = list(self.harness.metrics.parts())
        self.assertEqual(parts.count(b""), 4)
        found = samples(b"".join(parts))
        counted = {labels[1][1]: value for (name, labels), value in found.items() if name == "confd_agents" and value}
        self.assertEqual(counted, {"applied": 1, "pending": 3 * AGENTS_PER_TURN})
