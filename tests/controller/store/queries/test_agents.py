"""The statements that own the rows of agents, against the same rows in memory."""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from typing import Any

from attrs import evolve
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from confd.controller.store.migrations import shipped_migrations
from confd.controller.store.queries import agents, reports
from confd.controller.store.queries.registrations import Joining, register_all
from confd.controller.store.sqlite.dialect import DIALECT
from confd.errors import Forbidden
from confd.model import Registration
from confd.reports import ReportState
from confd.testing.examples import a_draft, a_received_report
from confd.testing.memory_agents import MemoryAgents
from tests.budgets import budget

AGENT_IDS, NAMESPACES = st.sampled_from("abc"), st.sampled_from(["default", "blue"])

NOON = a_draft().made_at

JOINING = st.builds(
    lambda agent_id, namespace, token, seconds: Joining(
        Registration("host", str(seconds), agent_id, "NATS", namespace), token, NOON + timedelta(0, seconds)
    ),
    AGENT_IDS,
    NAMESPACES,
    st.sampled_from([b"", b"\x01" * 32, b"\x02" * 32]),
    st.integers(0, 9),
)

REPORTS = st.builds(
    lambda agent_id, namespace, version, state, sequence, seconds: evolve(
        a_received_report(agent_id, version, state, namespace=namespace, sequence=sequence), arrived=1000.0 + seconds
    ),
    AGENT_IDS,
    NAMESPACES,
    st.integers(1, 3),
    st.sampled_from(ReportState),
    st.integers(0, 9),
    st.integers(0, 9),
)


class RowsMachine(RuleBasedStateMachine):
    """Every statement, in SQLite and in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.connection = sqlite3.connect(":memory:")
        for migration in shipped_migrations():
            self.connection.executescript(migration)
        self.cursor, self.memory = self.connection.cursor(), MemoryAgents()

    @rule(agent_id=AGENT_IDS, namespace=NAMESPACES, token=st.sampled_from([b"", b"\x01" * 32, b"\x02" * 32]),
          seconds=st.integers(0, 9))  # fmt: skip
    def register(self, agent_id: str, namespace: str, token: bytes, seconds: int) -> None:
        arguments = Registration("host", str(seconds), agent_id, "NATS", namespace), token, NOON + timedelta(0, seconds)
        try:
            expected = self.memory.register(*arguments)
        except Forbidden:
            try:
                agents.register(self.cursor, *arguments)
            except Forbidden:
                return
            raise AssertionError("a blocked agent came in") from None
        found = agents.register(self.cursor, *arguments)
        assert found == expected, (found, expected)

    @rule(joining=st.lists(JOINING, min_size=1, max_size=10))
    def register_together(self, joining: list[Joining]) -> None:
        """Registrations of one work are done one after the other."""
        expected, changes = list[Any](), list[Any]()
        for each in joining:
            try:
                written = self.memory.register(each.registration, each.token, each.at)
            except Forbidden as error:
                expected.append(error.message)
            else:
                expected.append(written.value)
                changes += written.changes
        found = register_all(self.cursor, joining)
        results = [each.message if isinstance(each, Forbidden) else each for each in found.value]
        assert (results, list(found.changes)) == (expected, changes), (found, expected, changes)

    @rule(polls=st.dictionaries(AGENT_IDS, st.integers(0, 9)))
    def touch(self, polls: dict[str, int]) -> None:
        moments = {agent_id: NOON + timedelta(0, seconds) for agent_id, seconds in polls.items()}
        agents.touch(self.cursor, moments, DIALECT.touch)
        self.memory.touch(moments)

    @rule(received=st.lists(REPORTS, max_size=5))
    def report(self, received: list[Any]) -> None:
        times = {("default", 1): (990.0, 5.0), ("blue", 2): (995.0, None)}
        written = reports.save_reports(self.cursor, received, times, DIALECT.load_reported)
        assert written.value == self.memory.save_reports(received, times)

    @rule(agent_id=AGENT_IDS)
    def forget(self, agent_id: str) -> None:
        agents.forget(self.cursor, agent_id)
        self.memory.forget(agent_id)

    @rule(agent_id=AGENT_IDS)
    def block(self, agent_id: str) -> None:
        agents.block(self.cursor, agent_id)
        self.memory.block(agent_id)

    @rule(agent_id=AGENT_IDS)
    def unblock(self, agent_id: str) -> None:
        agents.unblock(self.cursor, agent_id)
        self.memory.unblock(agent_id)

    @rule(namespace=NAMESPACES, version=st.integers(1, 2), limit=st.integers(1, 3))
    def settle(self, namespace: str, version: int, limit: int) -> None:
        rest = list(reports.settle(self.cursor, [(namespace, version, b"{}")], limit))
        while rest:
            before = len(reports.load_outcomes(self.cursor))
            left = reports.drop_outcomes(self.cursor, rest.pop(), limit)
            assert before - len(reports.load_outcomes(self.cursor)) <= limit
            rest += [] if left is None else [left]
        self.memory.settle([(namespace, version, b"{}")])

    @invariant()
    def rows_are_the_same(self) -> None:
        assert {each.id: each for each in agents.load_agents(self.cursor)} == self.memory.rows
        assert set(agents.load_blocked(self.cursor)) == self.memory.blocked
        found = {each[:3]: each[3] for each in reports.load_outcomes(self.cursor)}
        assert found == self.memory.outcomes, (found, self.memory.outcomes)
        assert agents.counts(self.cursor) == self.memory.counts()
        for namespace in ("default", "blue"):
            assert agents.page(self.cursor, namespace, 2, "") == self.memory.page(namespace, 2, "")

    @invariant()
    def pages_are_the_whole(self) -> None:
        for page, key, after in (
            (agents.load_agents, lambda row: row.id, ""),
            (reports.load_outcomes, lambda row: row[:3], ("", 0, "")),
        ):
            for limit in (1, 2):
                read, found, above = [], [None], after
                while found:
                    found = page(self.cursor, above, limit)
                    read += found
                    above = key(found[-1]) if found else None
                assert read == page(self.cursor), (limit, read)

    def teardown(self) -> None:
        self.connection.close()


class RowsTests(SynchronousTestCase):
    """L{agents} and L{reports}."""

    def test_sqlite_equals_memory(self) -> None:
        run_state_machine_as_test(
            RowsMachine,
            settings=settings(max_examples=budget(40, 100), stateful_step_count=20, deadline=None, database=None),
        )
