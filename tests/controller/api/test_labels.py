"""Tests of labels and selectors in the API of the controller."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urljoin

from twisted.trial.unittest import SynchronousTestCase

from confd.codec.labels import MAX_LABELS
from confd.controller.agents.labels import MAX_PARSED
from confd.model import Registration
from tests.controller.harness import ADMIN, AGENT, ControllerHarness
from tests.conversation import Reply

AGENTS = "/api/v1/agents"


class LabelsTestCase(SynchronousTestCase):
    """A controller with a namespace C{blue}."""

    def setUp(self) -> None:
        self.harness = ControllerHarness()
        blue = {"name": "blue", "config": {"url": "http://x.test"}}
        self.harness.caller().post("/api/v1/namespaces", json=blue, auth=ADMIN)

    def get(self, path: str, **query: object) -> Reply:
        """Send a GET request with a query."""
        words = "&".join(f"{name}={quote(str(value))}" for name, value in query.items())
        return self.harness.caller().get(f"{path}?{words}", auth=ADMIN)

    def agent(self, agent_id: str) -> Any:
        """Return the body of an agent."""
        return self.get(f"{AGENTS}/{agent_id}").json

    def label(self, agent_id: str, changes: object) -> Reply:
        """Change the labels of an agent."""
        return self.harness.caller().post(f"{AGENTS}/{agent_id}/labels", json=changes, auth=ADMIN)

    def selected(self, selector: str, **query: object) -> list[str]:
        """Return the ids of the agents that match a selector."""
        reply = self.get(AGENTS, select=selector, **query)
        self.assertEqual(reply.status, 200, reply)
        return [each["id"] for each in reply.json]


class BodyTests(LabelsTestCase):
    """The labels in the bodies of agents."""

    def test_labels_come_from_the_metadata_and_the_registration(self) -> None:
        self.harness.join(agent_id="a", hostname="web 1", strategy="NATS", metadata="stage=dev,id=x,gpu,No good")
        own = {"gpu": "", "stage": "dev", "hostname": "web 1", "id": "a", "strategy": "NATS"}
        [listed] = self.get(AGENTS).json
        self.assertEqual(list(listed["labels"].items()), sorted(own.items()))
        self.assertNotIn("labels_set", listed)
        agent = self.agent("a")
        self.assertEqual(agent["labels"], own)
        self.assertEqual(agent["labels_declared"], {"gpu": "", "stage": "dev"})
        self.assertEqual((agent["labels_set"], agent["labels_ignored"]), ({}, ["id=x", "No good"]))

    def test_changed_metadata_changes_the_labels(self) -> None:
        self.harness.join(agent_id="a", metadata="stage=dev")
        self.harness.join(agent_id="a", metadata="stage=prod")
        self.assertEqual(self.agent("a")["labels"]["stage"], "prod")

    def test_different_metadata_is_evicted_and_parsed_again(self) -> None:
        for number in range(MAX_PARSED + 2):
            registration = Registration(agent_id=f"a{number}", metadata=f"n={number}")
            self.successResultOf(self.harness.store.register(registration, b"", self.harness.now()))
        self.harness = ControllerHarness(self.harness.store)
        for number in (0, 1, MAX_PARSED, MAX_PARSED + 1, 0):
            self.assertEqual(self.selected(f"n={number}"), [f"a{number}"])


class SetTests(LabelsTestCase):
    """POST C{/api/v1/agents/{id}/labels}."""

    def test_labels_that_are_set_win_over_labels_that_are_declared(self) -> None:
        self.harness.join(agent_id="a", metadata="stage=dev,gpu")
        reply = self.label("a", {"stage": "canary", "owner": "ann", "never": None})
        self.assertEqual(reply.status, 200)
        self.assertEqual(reply.json, self.agent("a"))
        self.assertEqual(reply.json["labels_set"], {"owner": "ann", "stage": "canary"})
        self.assertEqual(reply.json["labels_declared"], {"gpu": "", "stage": "dev"})
        self.assertEqual(reply.json["labels"]["stage"], "canary")
        self.assertEqual(self.selected("stage=canary,gpu"), ["a"])

    def test_null_removes_a_label_and_shows_the_declared_one(self) -> None:
        self.harness.join(agent_id="a", metadata="stage=dev")
        self.label("a", {"stage": "canary", "owner": "ann"})
        after = self.label("a", {"stage": None}).json
        self.assertEqual((after["labels_set"], after["labels"]["stage"]), ({"owner": "ann"}, "dev"))
        self.assertEqual(self.label("a", {}).json, after)

    def test_labels_survive_a_registration_and_a_restart(self) -> None:
        self.harness.join(agent_id="a")
        self.label("a", {"stage": "canary"})
        self.harness.join(agent_id="a", hostname="new", metadata="stage=dev")
        for _ in range(2):
            agent = self.agent("a")
            self.assertEqual((agent["hostname"], agent["labels"]["stage"]), ("new", "canary"))
            self.successResultOf(self.harness.stop())
            self.harness = ControllerHarness(self.harness.store)

    def test_labels_go_with_a_move_and_with_the_agent(self) -> None:
        self.harness.join(agent_id="a")
        self.label("a", {"stage": "canary"})
        self.harness.join(agent_id="a", namespace="blue")
        self.assertEqual(self.agent("a")["labels_set"], {})
        self.label("a", {"stage": "canary"})
        for query in ("", "?block=true"):
            self.harness.caller().delete(f"{AGENTS}/a{query}", auth=ADMIN)
            self.harness.caller().delete("/api/v1/blocked/a", auth=ADMIN)
            self.harness.join(agent_id="a", namespace="blue")
            self.assertEqual(self.agent("a")["labels_set"], {})

    def test_label_is_no_sign_of_life(self) -> None:
        self.harness.join(agent_id="a")
        self.harness.clock.advance(91)
        self.assertEqual(self.label("a", {"stage": "canary"}).json["state"], "silent")

    def test_invalid_labels_change_nothing(self) -> None:
        self.harness.join(agent_id="a")
        too_many = {f"k{number}": "" for number in range(MAX_LABELS + 1)}
        for changes, pointers in (
            ({"ok": "x", "id": "b", "Bad": "x", "a/b": "ä", "n": 5}, ["/id", "/Bad", "/a~1b", "/n"]),
            (too_many, None),
        ):
            reply = self.label("a", changes)
            self.assertEqual((reply.status, reply.code), (422, "bad_label"))
            details = reply.json.get("details")
            self.assertEqual(details and [each["pointer"] for each in details], pointers)
        for body, code in ((b"[]", "not_an_object"), (b'{"a":"b","a":"c"}', "duplicate_key")):
            reply = self.harness.caller().post(
                f"{AGENTS}/a/labels", body=body, auth=ADMIN, headers={"Content-Type": "application/json"}
            )
            self.assertEqual((reply.status, reply.code), (400, code))
        self.assertEqual(self.agent("a")["labels_set"], {})

    def test_only_admins_set_labels_of_known_agents(self) -> None:
        self.harness.join(agent_id="a")
        self.assertEqual(self.harness.caller().post(f"{AGENTS}/a/labels", json={}, auth=AGENT).status, 403)
        reply = self.label("b", {"stage": "canary"})
        self.assertEqual((reply.status, reply.code), (404, "unknown_agent"))

    def test_audit_has_the_labels_that_result(self) -> None:
        self.harness.join(agent_id="a")
        self.label("a", {"stage": "canary", "gpu": ""})
        [entry] = self.successResultOf(self.harness.store.audit(1, None))
        self.assertEqual((entry.target, entry.detail), ("a", "gpu=,stage=canary"))

    def test_watchers_get_the_changed_agent(self) -> None:
        self.harness.join(agent_id="a")
        watcher = self.harness.caller()
        watcher.ask("GET", "/api/v1/events", auth=ADMIN)
        self.harness.clock.advance(1)
        before = len(watcher.wire.sent)
        self.label("a", {"stage": "canary"})
        self.harness.clock.advance(1)
        self.assertIn(b'"stage":"canary"', bytes(watcher.wire.sent)[before:])


class SelectTests(LabelsTestCase):
    """GET C{/api/v1/agents?select=}."""

    def setUp(self) -> None:
        super().setUp()
        for number in range(12):
            metadata = f"region={('eu', 'us')[number % 2]}" + (",gpu" if number > 9 else "")
            self.harness.join(agent_id=f"a{number:02}", hostname=f"web-{number}", metadata=metadata)
        self.harness.join(agent_id="b00", metadata="region=eu", namespace="blue")

    def test_selector_filters_the_agents_of_a_namespace(self) -> None:
        self.assertEqual(self.selected("region=eu,gpu"), ["a10"])
        self.assertEqual(self.selected("gpu"), ["a10", "a11"])
        self.assertEqual(self.selected("!gpu,region notin (us)"), ["a00", "a02", "a04", "a06", "a08"])
        self.assertEqual(self.selected("id in (a03,b00), hostname!=web-4"), ["a03"])
        self.assertEqual(self.selected("region=eu", namespace="blue"), ["b00"])
        self.assertEqual(len(self.selected("")), 12)
        self.assertEqual(self.selected("moon"), [])

    def test_pages_keep_the_selector(self) -> None:
        met, path = [], f"{AGENTS}?limit=2&select={quote('region in (us,eu),!gpu, id!=a04')}"
        while path:
            reply = self.harness.caller().get(path, auth=ADMIN)
            met += [each["id"] for each in reply.json]
            rest = reply.headers.get("link", "").partition("<")[2].partition(">")[0]
            path = urljoin(path, rest) if rest else ""
        self.assertEqual(met, [f"a{number:02}" for number in range(10) if number != 4])

    def test_state_and_selector_must_both_match(self) -> None:
        self.harness.report("a00", 1)
        self.harness.report("a01", 1)
        self.assertEqual(self.selected("region=eu", state="applied"), ["a00"])

    def test_error_names_the_column(self) -> None:
        for path in (AGENTS, "/api/v1/config/convergence"):
            reply = self.get(path, select="region=eu,!")
            self.assertEqual((reply.status, reply.code), (400, "bad_selector"))
            message = "expected the key of a label and not the end of the selector"
            self.assertEqual(reply.json["details"], [{"column": 12, "message": message}])

    def test_convergence_counts_the_agents_that_match(self) -> None:
        self.harness.clock.advance(91)
        self.harness.join(agent_id="a00", metadata="region=eu")
        self.harness.join(agent_id="a02", metadata="region=eu")
        for agent_id in ("a04", "a06", "a01"):
            self.harness.report(agent_id, 1)
        self.harness.report("a08", 1, "failed", error="no")
        self.harness.report("a03", 1, "failed", error="no")
        found = self.get("/api/v1/config/convergence", select="region=eu").json
        counts = {state: found[state] for state in ("targeted", "applied", "failed", "silent", "pending")}
        self.assertEqual(counts, {"targeted": 6, "applied": 2, "failed": 1, "silent": 1, "pending": 2})
        behind = [(each["id"], each["state"]) for each in found["laggards"]]
        self.assertEqual(behind, [("a08", "failed"), ("a10", "silent"), ("a00", "pending"), ("a02", "pending")])
        whole = self.get("/api/v1/config/convergence").json
        self.assertEqual(self.get("/api/v1/config/convergence", select="").json, whole)
        self.assertEqual(self.get("/api/v1/config/convergence", select="id").json, whole)
        self.assertEqual(self.get("/api/v1/config/convergence", select="moon").json["targeted"], 0)

    def test_times_of_a_convergence_are_of_the_agents_that_match(self) -> None:
        self.harness.caller().post("/api/v1/config", json={"url": "http://y.test"}, auth=ADMIN)
        for agent_id, seconds in (("a00", 1), ("a01", 5), ("a02", 3)):
            self.harness.clock.advance(seconds)
            self.harness.report(agent_id, self.harness.tag())
        found = self.get("/api/v1/config/convergence", select="region=us").json
        self.assertEqual([round(each, -3) for each in found["curve_ms"]], [6000])
        self.assertEqual(len(self.get("/api/v1/config/convergence").json["curve_ms"]), 3)
