"""Tests of L{confd.reports}."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from confd.controller.api.reports import ReportRequest, _report
from confd.model import Tag
from confd.reports import Report, ReportState, Timings, report_body

TAG = Tag("1a2b3c4d", 2, 7)
CLUSTER = "1a2b3c4d-0000-4000-8000-000000000000"

tags = st.builds(Tag, st.just("1a2b3c4d"), st.integers(1, 10**6), st.integers(1, 10**6)) | st.builds(
    Tag, st.just(""), st.just(0), st.integers(1, 10**6)
)
milliseconds = st.none() | st.floats(0, 10**9)
reports = st.builds(
    Report,
    tags,
    st.sampled_from(ReportState),
    st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=2000),
    st.booleans(),
    st.none() | tags,
    st.sampled_from(["", CLUSTER]),
    st.integers(0, 2**53),
    st.builds(Timings, milliseconds, milliseconds, milliseconds),
    st.sampled_from(["", "session"]),
    st.integers(0, 2**53),
)


class BodyTests(SynchronousTestCase):
    """L{report_body}."""

    def body(self, report: Report) -> Any:
        """Decoded."""
        return json.loads(report_body(report, "agent-1", "blue"))

    def test_what_is_empty_is_left_out(self) -> None:
        self.assertEqual(
            self.body(Report(TAG, ReportState.APPLYING)),
            {
                "agent_id": "agent-1",
                "namespace": "blue",
                "version": "1a2b3c4d.2.7",
                "state": "applying",
                "verified": True,
            },
        )

    def test_all_of_it(self) -> None:
        report = Report(
            TAG,
            ReportState.FAILED,
            "I cannot use this.",
            False,
            Tag("1a2b3c4d", 1, 6),
            CLUSTER,
            3,
            Timings(0.0, 1.23456, 2),
            "session",
            9,
        )
        self.assertEqual(
            self.body(report),
            {
                "agent_id": "agent-1",
                "namespace": "blue",
                "version": "1a2b3c4d.2.7",
                "state": "failed",
                "error": "I cannot use this.",
                "verified": False,
                "holds": "1a2b3c4d.1.6",
                "holds_cluster_id": CLUSTER,
                "repairs": 3,
                "ms": {"agent": 0.0, "worker": 1.235, "waited": 2},
                "session": "session",
                "sequence": 9,
            },
        )

    @given(reports)
    def test_a_controller_reads_it(self, report: Report) -> None:
        """As it was meant, within the limits of what may be said."""
        read = _report(msgspec.convert(self.body(report), ReportRequest))
        spent = (read.spent.agent, read.spent.worker, read.spent.waited)
        meant = (report.spent.agent, report.spent.worker, report.spent.waited)
        for there, here in zip(spent, meant, strict=True):
            self.assertEqual(there, None if here is None else round(min(here, 86_400_000), 3))
        self.assertEqual(evolve(read, spent=report.spent), evolve(report, error=report.error[:1024]))
