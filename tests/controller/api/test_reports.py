"""POST C{/api/v1/report}, as an agent meets it; and what the pages show of it."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from confd.changes import Committed, ReportVerdict
from confd.controller.convergence.report_intake import GATHER_SECONDS
from confd.reports import ReportState, VersionOutcome
from confd.testing.examples import a_draft
from confd.testing.memory import MemoryStore
from confd.testing.memory_shared import SharedMemory, SharedMemoryStore
from tests.controller.harness import ADMIN, AGENT, ControllerHarness
from tests.conversation import Reply

REPORT, CONVERGENCE = "/api/v1/report", "/api/v1/config/convergence"


class _Tests(SynchronousTestCase):
    def setUp(self) -> None:
        self.harness = ControllerHarness()
        self.agent_id = self.harness.join(hostname="box")

    def publish(self, number: int = 2, namespace: str = "default") -> str:
        """Publish; the tag that it got."""
        arrived = self.harness.clock.seconds()
        published = self.harness.configs.publish(a_draft(number, namespace=namespace, arrived=arrived))
        return str(self.successResultOf(Deferred.fromCoroutine(published)).configuration.tag)

    def send(self, body: object, agent_id: str | None = None, auth: tuple[str, str] = AGENT) -> Reply:
        """Send a report, and return the answer."""
        headers, caller = {"X-Agent-ID": agent_id} if agent_id else {}, self.harness.caller()
        caller.ask("POST", REPORT, json=body, auth=auth, headers=headers)
        self.harness.clock.advance(GATHER_SECONDS)
        reply = caller.answer()
        assert reply is not None, "no answer to a report"
        return reply

    def get(self, path: str) -> Reply:
        """A page."""
        return self.harness.caller().get(path, auth=ADMIN)

    def pages(self) -> list[bytes]:
        """All that shows what agents reported."""
        return [
            self.get(path).body
            for path in (CONVERGENCE, "/api/v1/config/versions/1/convergence", "/api/v1/agents",
                         f"/api/v1/agents/{self.agent_id}")
        ]  # fmt: skip


class TakenTests(_Tests):
    """What is taken is shown."""

    def test_applied(self) -> None:
        """In the convergence, on the agent, and among its reports."""
        tag = self.publish()
        self.harness.clock.advance(2)
        reply = self.harness.report(
            self.agent_id, tag, ms={"agent": 1, "worker": 20.5, "waited": 1000}, repairs=1, holds=tag
        )
        self.assertEqual((reply.status, reply.json), (200, {"report_window_ms": 0}))
        convergence = self.get(CONVERGENCE).json
        self.assertEqual((convergence["tag"], convergence["targeted"], convergence["applied"]), (tag, 1, 1))
        self.assertEqual(convergence["laggards"], [])
        self.assertEqual((convergence["p50_ms"], convergence["max_ms"], convergence["curve_ms"]), (1000, 1000, [1000]))
        hops = {hop: figures["p99_ms"] for hop, figures in convergence["hops"].items()}
        self.assertEqual(hops, {"commit": 0, "notify": 978.5, "agent": 1, "worker": 20.5, "ack": 1000})
        agent = self.get(f"/api/v1/agents/{self.agent_id}").json
        fields = [agent[name] for name in ("state", "applied_version", "applied_tag", "error", "verified", "repairs")]
        self.assertEqual(fields, ["applied", 2, tag, None, True, 1])
        self.assertEqual(agent["reported_at"], "2026-11-24T12:00:02.000Z")
        (report,) = agent["reports"]
        self.assertEqual((report["tag"], report["ms"]), (tag, {"agent": 1, "worker": 20.5, "waited": 1000}))

    def test_failed(self) -> None:
        """A laggard, with the worker's words and what it still has."""
        first = self.harness.tag()
        self.harness.report(self.agent_id, first)
        self.publish()
        self.harness.report(self.agent_id, 2, "failed", error="url: no such scheme", holds=first)
        (laggard,) = self.get(CONVERGENCE).json["laggards"]
        self.assertEqual(
            {name: laggard[name] for name in ("id", "hostname", "state", "version", "error")},
            {"id": self.agent_id, "hostname": "box", "state": "failed", "version": 1, "error": "url: no such scheme"},
        )
        agent = self.get(f"/api/v1/agents/{self.agent_id}").json
        self.assertEqual((agent["state"], agent["applied_version"], agent["verified"]), ("failed", 1, None))
        self.assertEqual([each["version"] for each in agent["reports"]], [2, 1])
        self.assertEqual(len(self.get("/api/v1/agents?state=failed").json), 1)
        self.assertEqual(self.get("/api/v1/agents?state=applied").json, [])

    def test_is_a_sign_of_life(self) -> None:
        """An agent that reports is not silent."""
        self.harness.clock.advance(91)
        self.assertEqual(self.get(CONVERGENCE).json["silent"], 1)
        self.harness.report(self.agent_id, 1, "applying")
        convergence = self.get(CONVERGENCE).json
        self.assertEqual((convergence["silent"], convergence["applying"]), (0, 1))

    def test_answered_once_written(self) -> None:
        """Reports that come together are one transaction; none is shown or answered before it."""
        other = self.harness.join()
        callers = [self.harness.caller(), self.harness.caller()]
        saves, save, written = [], self.harness.store.save_reports, Deferred()
        self.harness.store.save_reports = lambda *call: saves.append(call) or written
        before = self.pages()
        for caller, agent_id in zip(callers, (self.agent_id, other), strict=True):
            caller.ask("POST", REPORT, json={"agent_id": agent_id, "version": 1, "state": "applied"}, auth=AGENT)
        self.harness.clock.advance(1)
        self.assertEqual([len(reports) for (reports,) in saves], [2])
        self.assertEqual([caller.answer() for caller in callers], [None, None])
        self.assertEqual(self.pages(), before)
        save(*saves[0]).chainDeferred(written)
        self.assertEqual([caller.answer().status for caller in callers], [200, 200])
        self.assertEqual(self.get(CONVERGENCE).json["applied"], 2)

    def test_storage_fails(self) -> None:
        """503, nothing is shown; the same report is taken later."""
        before = self.pages()
        self.harness.store.broken = "the disk is full"
        body = {"session": "s", "sequence": 1}
        self.assertEqual(self.harness.report(self.agent_id, 1, **body).status, 503)
        self.assertEqual(self.pages(), before)
        self.harness.store.broken = None
        self.assertEqual(self.harness.report(self.agent_id, 1, **body).status, 200)

    def test_stop_writes(self) -> None:
        """What came in before a stop is written and answered."""
        caller = self.harness.caller()
        body = {"agent_id": self.agent_id, "version": 1, "state": "applied"}
        caller.ask("POST", REPORT, json=body, auth=AGENT)
        self.successResultOf(self.harness.stop())
        self.assertEqual(caller.answer().status, 200)
        self.assertEqual(len(self.successResultOf(self.harness.store.load_outcomes())), 1)

    def test_stop_waits_for_what_is_written(self) -> None:
        """And for what came in meanwhile."""
        written = [Deferred(), Deferred()]
        left = iter(written)
        self.harness.store.save_reports = lambda *_: next(left)
        callers = [self.harness.caller(), self.harness.caller()]
        for caller, state in zip(callers, ("applying", "applied"), strict=True):
            caller.ask("POST", REPORT, json={"agent_id": self.agent_id, "version": 1, "state": state}, auth=AGENT)
            self.harness.clock.advance(1)
        stopped = self.harness.report_intake.stopService()
        verdict = ReportVerdict("taken", VersionOutcome(ReportState.APPLIED, self.harness.now()))
        written[0].callback(Committed([verdict], 0))
        self.assertNoResult(stopped)
        written[1].callback(Committed([verdict], 0))
        self.successResultOf(stopped)
        self.assertEqual([caller.answer().status for caller in callers], [200, 200])

    def test_window_grows_with_the_fleet(self) -> None:
        """A second for four thousand."""
        for _ in range(39):
            self.harness.join()
        self.assertEqual(self.harness.report(self.agent_id, 1).json, {"report_window_ms": 10})
        joined = self.harness.caller().post("/api/v1/register", json={}, auth=AGENT).json
        self.assertEqual(joined["report_window_ms"], 10)

    def test_window_shrinks_with_the_controllers(self) -> None:
        memory = SharedMemory(MemoryStore(a_draft(1, poll_interval=30)), controllers=2)
        self.harness = ControllerHarness(SharedMemoryStore(memory))
        agents = [self.harness.join() for _ in range(40)]
        self.harness.clock.advance(1)
        self.assertEqual(self.harness.report(agents[0], 1).json, {"report_window_ms": 5})

    def test_newer_agents(self) -> None:
        """A field that is not known yet is let through."""
        self.assertEqual(self.harness.report(self.agent_id, 1, mood="good").status, 200)


class RefusedTests(_Tests):
    """Bad input: a clear 4xx, and no change of what is shown."""

    def setUp(self) -> None:
        super().setUp()
        self.publish()
        self.harness.caller().post(
            "/api/v1/namespaces", json={"name": "blue", "config": {"url": "http://x"}}, auth=ADMIN
        )
        self.taken = {"session": "s", "sequence": 7}
        self.harness.report(self.agent_id, 2, "failed", error="no", **self.taken)

    def assert_refused(self, status: int, code: str, pointer: str | None = None, **changes: object) -> None:
        """Prove that a good report with C{changes} is refused, and changes nothing."""
        before = self.pages()
        still_authorized = {"agent_id": self.agent_id, "version": 2, "state": "applied", "session": "s", "sequence": 8}
        reply = self.send(still_authorized | changes, self.agent_id)
        self.assertEqual((reply.status, reply.code), (status, code), changes)
        if pointer is not None:
            self.assertEqual(reply.json["details"][0]["pointer"], pointer, changes)
        self.harness.clock.advance(0)
        self.assertEqual(self.pages(), before)

    def test_fields(self) -> None:
        """400, naming the field."""
        for pointer, change in (
            ("/state", {"state": "done"}),
            ("/state", {"state": None}),
            ("/state", {"state": "silent"}),
            ("/version", {"version": 0}),
            ("/version", {"version": -1}),
            ("/version", {"version": 1.5}),
            ("/version", {"version": "seven"}),
            ("/version", {"version": "1a2b3c4d.1.2 "}),
            ("/version", {"version": ""}),
            ("/holds", {"holds": "x"}),
            ("/holds_cluster_id", {"holds_cluster_id": "1a2b3c4d"}),
            ("/ms/agent", {"ms": {"agent": -1}}),
            ("/ms/worker", {"ms": {"worker": 86_400_001}}),
            ("/ms/waited", {"ms": {"waited": "5"}}),
            ("/ms/waited", {"ms": {"waited": True}}),
            ("/error", {"error": "x" * 1025}),
            ("/verified", {"verified": "yes"}),
            ("/repairs", {"repairs": -1}),
            ("/sequence", {"sequence": -1}),
            ("/session", {"session": "x" * 65}),
        ):
            self.assert_refused(400, "bad_field", pointer, **change)

    def test_not_a_number(self) -> None:
        """NaN and numbers without end are no JSON."""
        before = self.pages()
        for number in (b"NaN", b"Infinity", b"-Infinity", b"1e999"):
            body = b'{"agent_id":"%s","version":2,"state":"applied","ms":{"agent":%s}}'
            reply = self.harness.caller().post(
                REPORT,
                body=body % (self.agent_id.encode(), number),
                auth=AGENT,
                headers={"Content-Type": "application/json"},
            )
            self.assertEqual((reply.status, reply.code), (400, "not_finite"))
        self.assertEqual(self.pages(), before)

    def test_who(self) -> None:
        """An agent that is not known, another one's id, a namespace that is not its own."""
        self.assert_refused(403, "other_agent", agent_id="stranger")
        self.assert_refused(404, "unknown_namespace", namespace="nowhere")
        self.assert_refused(409, "other_namespace", namespace="blue")
        before = self.pages()
        reply = self.send({"agent_id": "stranger", "version": 2, "state": "applied"})
        self.assertEqual((reply.status, reply.code), (404, "unknown_agent"))
        self.assertEqual(self.send({}, auth=ADMIN).status, 403)
        self.assertEqual(self.pages(), before)

    def test_versions(self) -> None:
        """Of the future, of another cluster, of another epoch."""
        for version in (3, 10**17, "1a2b3c4d.1.3", "1a2b3c4d.2.2", "1a2b3c4d.2.3", "9a2b3c4d.1.2", "9a2b3c4d.1.1"):
            self.assert_refused(404, "unknown_version", version=version)

    def test_order_by_number(self) -> None:
        """In a session each number comes once, and they only grow."""
        self.assert_refused(409, "repeated_report", **self.taken)
        self.assert_refused(409, "repeated_report", sequence=7)
        self.assert_refused(409, "out_of_order", sequence=6)
        self.assertEqual(self.harness.report(self.agent_id, 2, session="s", sequence=8).status, 200)
        self.assertEqual(self.harness.report(self.agent_id, 1, session="new", sequence=1).status, 200)

    def test_order_by_content(self) -> None:
        """Where the agent does not count."""
        plain = {"session": "", "sequence": 0}
        self.assert_refused(409, "repeated_report", state="failed", error="no", **plain)
        self.assert_refused(409, "out_of_order", state="applying", **plain)
        self.assert_refused(409, "out_of_order", version=1, **plain)
        self.assertEqual(self.harness.report(self.agent_id, 2).status, 200)
        self.assertEqual(self.harness.report(self.agent_id, 2, repairs=1).status, 200)

    def test_order_of_what_is_not_written_yet(self) -> None:
        """Two at once are no way around it."""
        callers = [self.harness.caller(), self.harness.caller()]
        for caller in callers:
            body = {"agent_id": self.agent_id, "version": 2, "state": "applied", "session": "s", "sequence": 8}
            caller.ask("POST", REPORT, json=body, auth=AGENT)
        self.harness.clock.advance(1)
        self.assertEqual([caller.answer().status for caller in callers], [200, 409])
