"""Who falls silent when, against a look at every agent."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from confd.changes import RETIRED, REVISION, Change
from confd.controller.agents.liveness import FleetLiveness, Liveness, silent_after
from confd.controller.agents.rows import KnownAgents
from confd.runtime.signal import Signal
from confd.testing.examples import an_agent
from tests.budgets import budget

AGENTS, NAMESPACES = st.sampled_from("ab"), st.sampled_from(["default", "blue"])
INTERVALS = st.sampled_from([1, 4])


class Fleet:
    """Agents that are named by their namespace, and their liveness."""

    def __init__(self, clock: Clock, poll_interval: Callable[[str], float]) -> None:
        self.changes, self.rows = Signal(), KnownAgents()
        self.liveness = FleetLiveness(clock.seconds, poll_interval, False, self.changes)
        self.liveness.load(self.rows)

    def hear(self, namespace: str, name: str = "a") -> bool:
        """Note a sign of life of an agent, which may be new."""
        agent = self.rows.compact(f"{namespace}-{name}")
        return self.liveness.heard(agent or self.rows.put(an_agent(f"{namespace}-{name}", namespace=namespace)))


class LivenessMachine(RuleBasedStateMachine):
    """Agents of two namespaces whose poll intervals change."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        #: The model: when each agent was heard of, and the agents that were found to be silent since.
        self.heard: dict[tuple[str, str], float] = {}
        self.silent: set[tuple[str, str]] = set()
        self.intervals, self.fallen = {"default": 4, "blue": 4}, set[tuple[str, str]]()
        self.looks: defaultdict[str, int] = defaultdict(int)
        self.fleet = Fleet(self.clock, self.poll_interval)
        self.liveness = self.fleet.liveness
        self.fleet.changes.add(
            lambda namespace, agent_ids: self.fallen.update((namespace, each[-1]) for each in agent_ids)
        )

    def poll_interval(self, namespace: str) -> float:
        self.looks[namespace] += 1
        return self.intervals.get(namespace, self.intervals["default"])

    def due(self) -> set[tuple[str, str]]:
        """Look at each agent."""
        now = self.clock.seconds()
        return {key for key, at in self.heard.items() if at < now - silent_after(self.poll_interval(key[0]), False)}

    @rule(namespace=NAMESPACES, agent_id=AGENTS)
    def hear(self, namespace: str, agent_id: str) -> None:
        key = namespace, agent_id
        new = key not in self.heard or key in self.silent
        assert self.fleet.hear(namespace, agent_id) == new
        self.heard[key] = self.clock.seconds()
        self.silent.discard(key)

    @rule(namespace=NAMESPACES, agent_id=AGENTS)
    def leave(self, namespace: str, agent_id: str) -> None:
        self.fleet.rows.remove(f"{namespace}-{agent_id}")
        self.heard.pop((namespace, agent_id), None)
        self.silent.discard((namespace, agent_id))

    @rule(namespace=NAMESPACES, interval=INTERVALS)
    def publish(self, namespace: str, interval: int) -> None:
        self.intervals[namespace] = interval
        self.liveness.apply(Change(1, REVISION, namespace, None))

    @rule()
    def retire(self) -> None:
        self.intervals.pop("blue", None)
        self.liveness.apply(Change(1, RETIRED, "blue", None))

    @rule(intervals=st.fixed_dictionaries({"default": INTERVALS, "blue": INTERVALS}))
    def load(self, intervals: dict[str, int]) -> None:
        """All agents count as heard of now."""
        self.intervals = intervals
        self.heard, self.silent = dict.fromkeys(self.heard, self.clock.seconds()), set()
        self.liveness.load(self.fleet.rows)

    @rule(seconds=st.sampled_from([1, 2, 4]))
    def sweep(self, seconds: int) -> None:
        """All agents that fell silent are found, and found once."""
        self.clock.advance(seconds)
        self.fallen.clear()
        self.liveness.sweep()
        assert self.fallen == self.due() - self.silent, (self.fallen, self.due(), self.silent)
        self.silent |= self.fallen

    @rule(namespace=NAMESPACES)
    def look(self, namespace: str) -> None:
        """A reader gets the present state, however long the next sweep takes."""
        there = self.liveness.of(namespace)
        self.silent |= {key for key in self.due() if key[0] == namespace}
        assert there.silent == {f"{name}-{agent_id}" for name, agent_id in self.silent if name == namespace}
        for name, agent_id in self.heard:
            if name == namespace:
                assert there.is_silent(f"{name}-{agent_id}") == ((name, agent_id) in self.silent)

    @invariant()
    def agents_are_counted(self) -> None:
        for namespace in ("default", "blue"):
            assert self.liveness.count(namespace) == sum(name == namespace for name, _ in self.heard)


class LivenessTests(SynchronousTestCase):
    """The agents that fall silent."""

    def test_sweep_finds_what_a_look_at_every_agent_finds(self) -> None:
        run_state_machine_as_test(
            LivenessMachine,
            settings=settings(
                max_examples=budget(60, 1000), stateful_step_count=budget(30, 60), deadline=None, database=None
            ),
        )

    def test_shorter_interval_is_seen_at_once(self) -> None:
        clock, fallen = Clock(), list[tuple[str, list[str]]]()
        intervals = {"default": 30, "blue": 30}
        fleet = Fleet(clock, lambda name: intervals.get(name, intervals["default"]))
        fleet.changes.add(lambda *key: fallen.append(key))
        liveness = fleet.liveness
        for kind, subject, left in (
            (REVISION, "blue", {"default": 30, "blue": 1}),
            (RETIRED, "blue", {"default": 1}),
            (REVISION, "default", {"default": 1}),
        ):
            fleet.hear("blue")
            clock.advance(1)
            liveness.sweep()
            intervals.clear()
            intervals.update(left)
            liveness.apply(Change(1, kind, subject, None))
            clock.advance(5)
            liveness.sweep()
            self.assertEqual(fallen, [("blue", ["blue-a"])])
            fallen.clear()
            intervals.update({"default": 30, "blue": 30})

    def test_idle_namespaces_are_not_looked_at(self) -> None:
        """Where every agent polls in time, a sweep looks at a namespace about once in the time to silence."""
        clock, looks = Clock(), list[str]()

        def poll_interval(namespace: str) -> float:
            looks.append(namespace)
            return 30.0

        fleet = Fleet(clock, poll_interval)
        names = [f"n{number}" for number in range(100)]
        for _ in range(10):
            for name in names:
                fleet.hear(name)
            for _ in range(30):
                clock.advance(1)
                fleet.liveness.sweep()
        # 300 sweeps: a look at every namespace would ask 30,000 times.
        self.assertLess(len(looks), 2 * 100 * (1 + 300 / 60))

    def test_loaded_agents_are_looked_at_in_groups(self) -> None:
        """A million agents that count as heard of in one moment do not fall silent, or go on, in one turn."""
        rows = KnownAgents()
        for number in range(20):
            rows.put(an_agent(str(number)))
        liveness = Liveness.loaded(rows.members_of("default"), 100.0, together=4)
        self.assertEqual((len(liveness), liveness.live), (20, 20))
        looked, before = [], 60.0
        while before <= 100:
            for number in range(0, 20, 2):
                liveness.heard(number, before + 90)
            groups = {time: list(group) for time, group in liveness._groups.items()}
            self.assertEqual(liveness.sweep(before), [])
            looked.append(sum(len(group) for time, group in groups.items() if time <= before))
            before += 1.0
        # A group without an agent that may fall silent is left for the next look.
        self.assertLessEqual(max(looked[:-1]), 2 * 4)
        self.assertEqual(sorted(liveness.sweep(100.5), key=int), [str(number) for number in range(1, 20, 2)])

    def test_agents_that_come_and_go_leave_nothing(self) -> None:
        """An agent that left is in no group once its time has come, however often it came back."""
        rows = KnownAgents()
        rows.put(an_agent("a"))
        rows.put(an_agent("b"))
        liveness = Liveness(rows.members_of("default"))
        for second in range(50):
            liveness.heard(0, float(second))
            liveness.clear(0)
            liveness.heard(1, float(second))
        liveness.heard(0, 50.0)
        liveness.sweep(49.5)
        self.assertEqual(len([each for group in liveness._groups.values() for each in group]), 2)
        liveness.heard(0, 60.0)
        liveness.sweep(60.0)
        self.assertEqual([each for group in liveness._groups.values() for each in group], [0])
