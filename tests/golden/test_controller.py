"""What the controller puts on the wire: answers, announcements, stream frames, metrics and the API document."""

from __future__ import annotations

from typing import Any

from confd.codec.bodies import registration_body
from confd.model import Registration, Tag
from confd.reports import Report, ReportState, Timings, report_body
from tests.controller.harness import ADMIN, AGENT, ControllerHarness
from tests.golden.recording import GoldenTestCase, metric_names

#: Conversations, one request a line: who asks, the method, the path, and what goes with it.
REQUESTS: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
    ("nobody", "GET", "/health", {}),
    ("nobody", "GET", "/ready", {}),
    ("nobody", "GET", "/api/v1/config", {}),
    (
        "agent",
        "POST",
        "/api/v1/register",
        {"json": {"hostname": "web-1", "metadata": "tier=edge", "strategy": "STREAM"}},
    ),
    ("agent", "GET", "/api/v1/config", {}),
    ("agent", "GET", "/api/v1/config", {"headers": {"If-None-Match": '"1"'}}),
    ("agent", "GET", "/api/v1/config?namespace=nowhere", {}),
    ("agent", "POST", "/api/v1/config", {"json": {"url": "https://example.com"}}),
    (
        "admin",
        "POST",
        "/api/v1/config?comment=first&poll_interval=60",
        {"json": {"url": "https://example.com", "n": 1.0}},
    ),
    ("admin", "POST", "/api/v1/config?dry_run=true", {"json": {"url": "https://example.org"}}),
    ("admin", "POST", "/api/v1/config", {"json": {"link": 1}}),
    ("admin", "POST", "/api/v1/config", {"json": {"url": "https://a.example"}, "headers": {"If-Match": '"1"'}}),
    ("admin", "POST", "/api/v1/config", {"json": {"url": "https://b.example"}, "headers": {"Idempotency-Key": "k-1"}}),
    ("admin", "POST", "/api/v1/config", {"json": {"url": "https://b.example"}, "headers": {"Idempotency-Key": "k-1"}}),
    ("admin", "POST", "/api/v1/config?poll_interval=0", {"json": {"url": "https://example.com"}}),
    ("admin", "POST", "/api/v1/config?frobnicate=1", {"json": {"url": "https://example.com"}}),
    ("admin", "POST", "/api/v1/config", {"raw": b"{nonsense"}),
    ("admin", "GET", "/api/v1/config/history", {}),
    ("admin", "GET", "/api/v1/config/history?limit=1", {}),
    ("admin", "GET", "/api/v1/config/versions/2", {}),
    ("admin", "GET", "/api/v1/config/versions/99", {}),
    ("admin", "GET", "/api/v1/config/diff?from=1&to=2", {}),
    ("admin", "POST", "/api/v1/config/rollback", {"json": {"version": 1, "comment": "back"}}),
    ("admin", "GET", "/api/v1/namespaces", {}),
    ("admin", "POST", "/api/v1/namespaces", {"json": {"name": "edge", "config": {"url": "https://edge.example"}}}),
    ("admin", "POST", "/api/v1/namespaces", {"json": {"name": "edge", "config": {"url": "https://edge.example"}}}),
    ("admin", "DELETE", "/api/v1/namespaces/edge", {}),
    ("admin", "DELETE", "/api/v1/namespaces/default", {}),
    ("admin", "GET", "/api/v1/agents", {}),
    ("admin", "GET", "/api/v1/agents?limit=1", {}),
    ("admin", "GET", "/api/v1/agents/nobody", {}),
    ("admin", "GET", "/api/v1/config/convergence", {}),
    ("admin", "GET", "/api/v1/config/versions/1/convergence", {}),
    ("admin", "GET", "/api/v1/audit?limit=3", {}),
    ("agent", "POST", "/api/v1/report", {"json": {"agent_id": "nobody", "version": "1", "state": "applied"}}),
    ("nobody", "PUT", "/api/v1/config", {}),
    ("nobody", "GET", "/nowhere", {}),
    ("nobody", "OPTIONS", "/api/v1/config", {}),
    ("nobody", "HEAD", "/health", {}),
    ("nobody", "GET", "/ready/read", {}),
)
CREDENTIALS = {"nobody": None, "agent": AGENT, "admin": ADMIN}


class ControllerGoldenTests(GoldenTestCase):
    """The controller, on the memory store."""

    def setUp(self) -> None:
        self.harness = ControllerHarness()
        self.addCleanup(self.harness.stop)

    def test_answers(self) -> None:
        """Each answer: status, headers, body."""
        lines: list[str] = []
        for who, method, path, carried in REQUESTS:
            caller = self.harness.caller()
            carried = dict(carried)
            if "raw" in carried:
                carried["body"] = carried.pop("raw")
                carried["headers"] = {"Content-Type": "application/json"}
            caller.ask(method, path, auth=CREDENTIALS[who], **carried)
            self.harness.clock.advance(0.05)
            reply = caller.answer()
            assert reply is not None, path
            lines += [f"> {who} {method} {path}", f"{reply.status} {reply.phrase}"]
            lines += [f"{name}: {value}" for name, value in sorted(reply.headers.items())]
            lines += [reply.body.decode("utf-8"), ""]
            self.harness.clock.advance(1)
        self.assert_golden("answers.txt", "\n".join(lines))

    def test_streams(self) -> None:
        """The frames that agents and the dashboard receive for a publish, a report and a heartbeat."""
        agent_id = self.harness.join(hostname="web-1", strategy="STREAM")
        stream, events = self.harness.caller(), self.harness.caller()
        stream.ask("GET", "/api/v1/stream", auth=AGENT, headers={"X-Agent-ID": agent_id})
        events.ask("GET", "/api/v1/events", auth=ADMIN)
        self.harness.clock.advance(1)
        self.harness.caller().post("/api/v1/config", json={"url": "https://example.com"}, auth=ADMIN)
        self.harness.clock.advance(1)
        self.harness.report(agent_id, self.harness.tag())
        self.harness.clock.pump([1.0] * 12)
        recorded = [bytes(each.wire.sent).decode("utf-8").replace("\r\n", "\n") for each in (stream, events)]
        self.assert_golden("streams.txt", "\n===\n".join(recorded))

    def test_announcement(self) -> None:
        """The bytes that go to the brokers."""
        self.harness.caller().post("/api/v1/config", json={"url": "https://example.com", "n": 1.5}, auth=ADMIN)
        raw = self.harness.snapshot.announcement("default")
        assert raw is not None
        self.assert_golden("announcement.txt", raw.decode("utf-8"))

    def test_requests_of_agents(self) -> None:
        """What an agent sends when it registers and reports."""
        registration = Registration(hostname="web-1", metadata="tier=edge", strategy="NATS", namespace="edge")
        tag = Tag.parse("0a1b2c3d.2.7")
        reports = [
            Report(tag, ReportState.APPLYING, spent=Timings(agent=0.5)),
            Report(
                tag, ReportState.APPLIED, holds=tag, repairs=1, spent=Timings(0.5, 2.25, 0.125), session="s", sequence=2
            ),
            Report(tag, ReportState.FAILED, error="the worker says no", verified=False),
        ]
        lines = [registration_body(registration), *(report_body(each, "agent-1", "edge") for each in reports)]
        self.assert_golden("agent.txt", b"\n".join(lines).decode("utf-8"))

    def test_metrics(self) -> None:
        """The names, types and labels of the metrics after some work."""
        agent_id = self.harness.join()
        self.harness.caller().post("/api/v1/config", json={"url": "https://example.com"}, auth=ADMIN)
        self.harness.report(agent_id, self.harness.tag())
        self.harness.clock.pump([1.0] * 3)
        exposition = self.harness.caller().get("/metrics").body.decode("utf-8")
        self.assert_golden("controller-metrics.txt", "\n".join(metric_names(exposition)))
