"""Rows of agents: each statement owns its columns, and no write from memory undoes another."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from confd.controller.agents.polls import WRITE_INTERVAL_SECONDS
from confd.controller.convergence.report_intake import GATHER_SECONDS
from confd.errors import ConfdError
from confd.model import Registration
from confd.reports import AgentRecord, Report, ReportState
from confd.testing import MemoryStore, a_draft
from tests.controller.agents.test_loading import SlowLoad
from tests.controller.harness import START, ControllerHarness

_WRITES = ("register", "touch", "forget", "block", "unblock", "save_reports")


class LateStore:
    """
    A store whose answers can be held back. It executes each call, and hints at changes, at once.

    This is what a group of writes looks like: the feed applies all changes of the group before the first answer.

    @ivar late: whether answers wait for L{answer}.
    """

    def __init__(self, store: MemoryStore) -> None:
        self.store, self.late = store, False
        self._waiting: list[tuple[Deferred[Any], Deferred[Any]]] = []

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self.store, name)
        return self._delayed(attribute) if self.late and name in _WRITES else attribute

    def answer(self) -> None:
        """Fire the answers that wait, in order, and hold back no more."""
        self.late = False
        while self._waiting:
            done, answer = self._waiting.pop(0)
            done.chainDeferred(answer)

    def drop(self) -> None:
        """Leave the answers that wait unsaid, as the end of a process does."""
        for done, _ in self._waiting:
            done.addErrback(lambda failure: failure.trap(ConfdError))

    def _delayed(self, call: Callable[..., Deferred[Any]]) -> Callable[..., Any]:
        def late(*arguments: Any, **named: Any) -> Any:
            done = call(*arguments, **named)
            if not isinstance(done, Deferred):
                return done
            answer: Deferred[Any] = Deferred()
            self._waiting.append((done, answer))
            return answer

        return late


class InterleavedTests(SynchronousTestCase):
    """Polls that are written while another change of the same agent is on its way."""

    def setUp(self) -> None:
        self.store = LateStore(MemoryStore(a_draft(poll_interval=30)))
        self.harness = ControllerHarness(self.store)
        self.successResultOf(self.register("a", b"\x01" * 32))

    def register(self, agent_id: str, token: bytes = b"", namespace: str = "default") -> Deferred[Any]:
        registration = Registration("host", agent_id=agent_id, namespace=namespace)
        return Deferred.fromCoroutine(self.harness.registry.register(registration, token))

    def stored(self) -> list[AgentRecord]:
        return self.successResultOf(self.store.store.load_agents())

    def while_polls_are_written(self, change: Callable[[], Deferred[Any]]) -> None:
        """Begin a change, write a poll before its answer comes, and end as a killed process does."""
        self.store.late = True
        changing = change()
        self.harness.registry.polled("a")
        self.harness.clock.advance(WRITE_INTERVAL_SECONDS)
        self.store.answer()
        self.successResultOf(changing)

    def test_poll_leaves_a_deleted_row_deleted(self) -> None:
        self.while_polls_are_written(lambda: Deferred.fromCoroutine(self.harness.registry.forget("a")))
        self.assertEqual(self.stored(), [])

    def test_poll_leaves_a_newer_token(self) -> None:
        self.while_polls_are_written(lambda: self.register("a", b"\x02" * 32))
        self.assertEqual([each.token for each in self.stored()], [b"\x02" * 32])

    def test_poll_leaves_an_agent_where_it_moved(self) -> None:
        self.while_polls_are_written(lambda: self.register("a", namespace="blue"))
        self.assertEqual([each.namespace for each in self.stored()], ["blue"])


class WallClockTests(SynchronousTestCase):
    """A wall clock that an operator sets back."""

    def test_last_poll_keeps_the_newest_time(self) -> None:
        memory = MemoryStore(a_draft(poll_interval=30))
        harness = ControllerHarness(memory)
        registration = Registration("host", agent_id="a")
        self.successResultOf(Deferred.fromCoroutine(harness.registry.register(registration)))
        for hours in (0, -1):
            harness.wall_offset = timedelta(hours=hours)
            harness.registry.polled("a")
            harness.clock.advance(WRITE_INTERVAL_SECONDS)
            same_as_the_store(harness, memory)


class GroupTests(SynchronousTestCase):
    """Writes of one agent in one group: the feed applies the changes of all before the first answer."""

    def setUp(self) -> None:
        self.store = LateStore(MemoryStore(a_draft(poll_interval=30)))
        self.harness = ControllerHarness(self.store)
        self.register()

    def register(self, namespace: str = "default") -> None:
        registration = Registration("host", agent_id="a", namespace=namespace)
        Deferred.fromCoroutine(self.harness.registry.register(registration))

    def forget(self) -> None:
        Deferred.fromCoroutine(self.harness.registry.forget("a"))

    def label(self) -> None:
        Deferred.fromCoroutine(self.harness.registry.set_labels("a", {"stage": "canary"}))

    def group(self, *writes: Callable[[], None]) -> None:
        """Have all writes executed before the answer to the first one."""
        self.store.late = True
        for write in writes:
            write()
        self.store.answer()
        same_as_the_store(self.harness, self.store.store)

    def test_registered_and_forgotten(self) -> None:
        self.group(self.register, self.forget)
        self.assertIsNone(self.harness.registry.find("a"))

    def test_forgotten_and_registered(self) -> None:
        self.group(self.forget, self.register)
        self.assertIsNotNone(self.harness.registry.find("a"))

    def test_labelled_and_registered(self) -> None:
        self.group(self.register, self.label, self.register)
        self.assertEqual(self.harness.registry.get("a").labels_set, {"stage": "canary"})

    def test_labelled_and_moved(self) -> None:
        self.group(self.label, lambda: self.register("blue"))
        self.assertEqual(self.harness.registry.get("a").labels_set, {})

    def test_moved_and_labelled(self) -> None:
        self.group(lambda: self.register("blue"), self.label)
        self.assertEqual(self.harness.registry.get("a").labels_set, {"stage": "canary"})

    def test_labelled_forgotten_and_registered(self) -> None:
        self.group(self.label, self.forget, self.register)
        self.assertEqual(self.harness.registry.get("a").labels_set, {})

    def test_moved_and_moved_back(self) -> None:
        self.group(lambda: self.register("blue"), self.register)
        self.assertEqual(self.harness.registry.get("a").namespace, "default")


def same_as_the_store(harness: ControllerHarness, store: MemoryStore) -> None:
    """Prove that the registry shows the rows of the store, once all is written and answered."""
    rows, registry = store.agents.rows, harness.registry
    assert {each.id: each for each in registry.records()} == rows, (list(registry.records()), rows)
    for namespace in ("default", "blue"):
        ids = sorted(each.id for each in rows.values() if each.namespace == namespace)
        assert [each.id for each in next(registry.rows.slices(namespace, 9))] == ids
        assert len(registry.liveness(namespace)) == len(ids)
    assert registry.agent_tokens.blocked == store.agents.blocked
    for token in TOKENS[1:]:
        holders = [(each.id, each.namespace) for each in rows.values() if each.token == token]
        found = [registry.agent_tokens.holder(agent_id, token) for agent_id in "abc"]
        assert [each for each in found if each is not None] == holders, (token, holders)


#: Digests, each of one agent: no two agents are ever given the same token.
TOKENS = [b"", *(bytes([number]) * 32 for number in range(1, 10))]

AGENT_IDS, NAMESPACES = st.sampled_from("abc"), st.sampled_from(["default", "blue"])


class RegistryMachine(RuleBasedStateMachine):
    """Agents that do all they can while answers of the store are late."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = MemoryStore(a_draft(poll_interval=30))
        self.begin()
        self.sequence = 0

    def begin(self) -> None:
        """Start a controller on what is stored, and let it load all agents."""
        self.begin_slowly()
        self.loads.answer_all()

    def begin_slowly(self) -> None:
        """Start a controller on what is stored."""
        self.store = LateStore(self.memory)
        self.loads = SlowLoad(self.store)
        passed = self.harness.now() - START if hasattr(self, "harness") else timedelta()
        self.harness = ControllerHarness(self.loads)
        self.harness.wall_offset = passed

    def ask(self, work: Any) -> None:
        """Begin a change; a refusal changes nothing."""
        Deferred.fromCoroutine(work).addErrback(lambda failure: failure.trap(ConfdError))

    @rule(agent_id=AGENT_IDS, namespace=NAMESPACES, number=st.integers(0, 3), hostname=st.sampled_from("xy"))
    def register(self, agent_id: str, namespace: str, number: int, hostname: str) -> None:
        token = TOKENS[number and 3 * "abc".index(agent_id) + number]
        registration = Registration(hostname, agent_id=agent_id, namespace=namespace)
        self.ask(self.harness.registry.register(registration, token))

    @rule(agent_id=AGENT_IDS)
    def poll(self, agent_id: str) -> None:
        looked_up = Deferred.fromCoroutine(self.harness.registry.look_up(agent_id))
        known = looked_up.result is not None  # type: ignore[attr-defined]
        assert self.harness.registry.polled(agent_id) == known

    @rule(agent_id=AGENT_IDS, namespace=NAMESPACES, state=st.sampled_from(ReportState), back=st.integers(0, 1))
    def report(self, agent_id: str, namespace: str, state: ReportState, back: int) -> None:
        self.sequence += 1
        tag = self.harness.snapshot.find("default").configuration.tag
        report = Report(tag, state, session="s", sequence=self.sequence - back)
        try:
            taken = self.harness.report_intake.take(agent_id, "default", report)
        except ConfdError:
            return
        taken.addErrback(lambda failure: failure.trap(ConfdError))

    @rule(agent_id=AGENT_IDS, key=st.sampled_from(["stage", "gpu"]), value=st.sampled_from(["x", "y", None]))
    def label(self, agent_id: str, key: str, value: str | None) -> None:
        self.ask(self.harness.registry.set_labels(agent_id, {key: value}))

    @rule(agent_id=AGENT_IDS)
    def forget(self, agent_id: str) -> None:
        self.ask(self.harness.registry.forget(agent_id))

    @rule(agent_id=AGENT_IDS)
    def block(self, agent_id: str) -> None:
        self.ask(self.harness.registry.block(agent_id))

    @rule(agent_id=AGENT_IDS)
    def unblock(self, agent_id: str) -> None:
        self.ask(self.harness.registry.unblock(agent_id))

    @rule(seconds=st.sampled_from([GATHER_SECONDS, WRITE_INTERVAL_SECONDS]))
    def wait(self, seconds: float) -> None:
        self.harness.clock.advance(seconds)

    @rule()
    def delay(self) -> None:
        self.store.late = True

    @precondition(lambda self: self.store.late)
    @rule()
    def answer(self) -> None:
        self.store.answer()

    @rule()
    def restart(self) -> None:
        self.loads.answer_all()
        self.store.answer()
        # The memory of a controller that stops does not follow the reports that it still writes.
        self.harness.clock.advance(GATHER_SECONDS)
        self.harness.stop()
        same_as_the_store(self.harness, self.memory)
        self.begin()
        same_as_the_store(self.harness, self.memory)

    @rule()
    def kill(self) -> None:
        """End without a stop: polls of the last second are lost, and no row comes back or changes."""
        self.store.drop()
        self.begin()
        same_as_the_store(self.harness, self.memory)

    @rule()
    def kill_and_load_slowly(self) -> None:
        """End without a stop, and begin to load what is stored; the agents go on meanwhile."""
        self.store.drop()
        self.begin_slowly()

    @precondition(lambda self: self.loads.waiting)
    @rule()
    def load(self) -> None:
        self.loads.answer()

    @invariant()
    def memory_is_the_store(self) -> None:
        """All but the polls that wait to be written."""
        if not self.store.late and not self.loads.waiting:
            self.harness.clock.advance(WRITE_INTERVAL_SECONDS)
            same_as_the_store(self.harness, self.memory)

    def teardown(self) -> None:
        self.loads.answer_all()
        self.store.answer()
        self.harness.clock.advance(WRITE_INTERVAL_SECONDS)
        same_as_the_store(self.harness, self.memory)


class RegistryMachineTests(SynchronousTestCase):
    """The memory of the registry against the rows of the store."""

    def test_memory_equals_the_store(self) -> None:
        run_state_machine_as_test(
            RegistryMachine, settings=settings(max_examples=30, stateful_step_count=25, deadline=None, database=None)
        )
