"""Rows of agents: each statement owns its columns, and no write from memory undoes another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from confd.controller.agents.registry import WRITE_INTERVAL_SECONDS
from confd.model import Registration
from confd.reports import AgentRecord
from confd.testing import MemoryStore, a_draft
from tests.controller.harness import ControllerHarness


class LateStore:
    """
    A store whose answers can be held back. It executes each call at once.

    @ivar late: whether answers wait for L{answer}.
    """

    def __init__(self, store: MemoryStore) -> None:
        self.store, self.late = store, False
        self._waiting: list[tuple[Deferred[Any], Deferred[Any]]] = []

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self.store, name)
        return self._delayed(attribute) if self.late and callable(attribute) else attribute

    def answer(self) -> None:
        """Fire the answers that wait, in order, and hold back no more."""
        self.late = False
        while self._waiting:
            done, answer = self._waiting.pop(0)
            done.chainDeferred(answer)

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
