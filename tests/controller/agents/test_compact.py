"""Agents in little memory, against their records."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from confd.controller.agents.compact import CompactAgent
from confd.model import Tag
from confd.reports import AgentRecord, Report, ReportState, Timings
from confd.testing.examples import an_agent
from tests.budgets import budget

TEXTS = st.text(max_size=20)
TIMES = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))
DURATIONS = st.none() | st.floats(0, 86_400_000)
TAGS = st.builds(Tag, st.just("1a2b3c4d"), st.integers(1, 2**40), st.integers(1, 2**40))

REPORTS = st.builds(
    Report,
    tag=TAGS,
    state=st.sampled_from(ReportState),
    error=TEXTS,
    verified=st.booleans(),
    holds=st.none() | TAGS,
    repairs=st.integers(0, 2**70),
    spent=st.builds(Timings, DURATIONS, DURATIONS, DURATIONS),
    session=st.text(max_size=64),
    sequence=st.integers(0, 2**53) | st.integers(2**63, 2**70),
)

RECORDS = st.builds(
    AgentRecord,
    id=st.sampled_from("ab"),
    namespace=st.sampled_from(["default", "blue"]),
    hostname=TEXTS,
    metadata=TEXTS,
    strategy=TEXTS,
    registered_at=TIMES,
    last_poll=st.none() | TIMES,
    report=st.none() | REPORTS,
    reported_at=st.none() | TIMES,
    token=st.just(b"") | st.binary(min_size=32, max_size=32),
    labels_set=st.dictionaries(TEXTS, TEXTS, max_size=2),
    advertise=TEXTS,
)


class CompactAgentTests(SynchronousTestCase):
    """L{CompactAgent}."""

    @settings(max_examples=budget(200, 2000), deadline=None, database=None)
    @given(record=RECORDS, polls=st.lists(TIMES, max_size=3))
    def test_like_the_record(self, record: AgentRecord, polls: list[datetime]) -> None:
        agent = CompactAgent.of(record)
        self.assertEqual(agent.record(), record)
        self.assertIsNone(agent.token_used)
        for number, at in enumerate(polls):
            agent.polled(at, float(number) if number % 2 else None)
            self.assertEqual(agent.token_used, None if not number else float(number - 1 + number % 2))
            record = record.polled(at)
        self.assertEqual(agent.record(), record)
        self.assertEqual((agent.id, agent.namespace, agent.token), (record.id, record.namespace, record.token))
        self.assertEqual(agent.advertises, bool(record.advertise))
        session = record.report.session if record.report is not None else ""
        self.assertEqual((agent.session, agent.reported_at), (session, record.reported_at))
        known = agent.report, record.report
        self.assertEqual(*((each and (each.tag, each.state, each.holds, each.error)) for each in known))

    @settings(max_examples=budget(200, 2000), deadline=None, database=None)
    @given(record=RECORDS, reports=st.lists(st.tuples(REPORTS, TIMES), min_size=1, max_size=3))
    def test_like_a_record_with_another_report(
        self, record: AgentRecord, reports: list[tuple[Report, datetime]]
    ) -> None:
        agent = CompactAgent.of(record)
        for report, at in reports:
            before, agent = agent, agent.with_report(report, at)
            # A thread may be reading it: a certificate signs what an agent reported.
            self.assertEqual(before.record(), record)
            record = evolve(record, report=report, reported_at=at)
            self.assertEqual(agent.record(), record)
            self.assertEqual((agent.session, agent.reported_at), (report.session, at))
            self.assertEqual(agent._packed, CompactAgent.of(record)._packed)

    def test_equal_values_are_shared(self) -> None:
        """Whatever differs between the reports of two agents with the same result is not in their shared part."""

        def agent(number: int) -> Any:
            report = Report(
                Tag("1a2b3c4d", 1, 2),
                ReportState.APPLIED,
                spent=Timings(float(number)),
                session=str(number),
                sequence=number,
            )
            at = datetime(2026, 11, 24, tzinfo=UTC) + timedelta(seconds=number)
            return CompactAgent.of(an_agent(str(number), last_poll=at, report=report, reported_at=at))

        first, second = agent(1), agent(2)
        self.assertIs(first.report, second.report)
        self.assertIs(first._said, second._said)
