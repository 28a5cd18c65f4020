"""Every path of the controller on which an admin changes something: each attempt is on record, once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from attrs import evolve, field, frozen
from twisted.trial.unittest import SynchronousTestCase

from confd.access.change_requests import checksum_of
from confd.audit import AuditEntry, verify
from confd.codec import strict_json
from confd.web.api.endpoint import Endpoint, endpoints_of
from confd.web.server.site import Limits
from tests.controller.harness import ADMIN, AGENT, ControllerHarness

JSON = {"Content-Type": "application/json"}


@frozen
class Ask:
    """
    A request that succeeds in a harness that is prepared for it.

    @ivar carried: what comes with it, as L{tests.conversation.Conversation.request} takes it.
    @ivar target: what its entry is about.
    @ivar prepare: what has to be done before; returns what to put in the place of C{{}} in path and target.
    """

    method: str
    path: str
    target: str
    carried: Mapping[str, Any] = field(factory=dict)
    prepare: Callable[[ControllerHarness], str] = lambda harness: ""

    def prepared(self, harness: ControllerHarness) -> Ask:
        """This request, in a harness where it can succeed."""
        name = self.prepare(harness)
        return evolve(self, path=self.path.format(name), target=self.target.format(name))


def a_namespace(harness: ControllerHarness) -> str:
    """Make a namespace."""
    return str(harness.caller().post("/api/v1/namespaces", json=A_NAMESPACE, auth=ADMIN).json["name"])


def a_blocked_agent(harness: ControllerHarness) -> str:
    """Keep an agent out."""
    agent_id = harness.join()
    harness.caller().delete(f"/api/v1/agents/{agent_id}?block=true", auth=ADMIN)
    return agent_id


def an_old_version(harness: ControllerHarness) -> str:
    """Publish a second version."""
    harness.caller().post("/api/v1/config", json={"url": "https://example.org"}, auth=ADMIN)
    return ""


def a_paused_rollout(harness: ControllerHarness) -> str:
    """Start a rollout, and pause it."""
    return _rollout(harness, paused=True)


def an_open_rollout(harness: ControllerHarness) -> str:
    """Start a rollout."""
    return _rollout(harness, paused=False)


def an_agent_that_reports(harness: ControllerHarness) -> str:
    """Register an agent that has applied the current version."""
    harness.report(harness.join(), harness.tag())
    return ""


def _rollout(harness: ControllerHarness, paused: bool) -> str:
    an_agent_that_reports(harness)
    started = harness.caller().post("/api/v1/config?rollout=canary", json=DOCUMENT, auth=ADMIN).json
    number = str(started["rollout"]["id"])
    if paused:
        harness.caller().post(f"/api/v1/rollouts/{number}/pause", auth=ADMIN)
    return number


def a_plan(harness: ControllerHarness) -> str:
    """Save a plan."""
    return str(harness.caller().post("/api/v1/plans", json=A_PLAN, auth=ADMIN).json["name"])


def a_token(harness: ControllerHarness) -> str:
    """Create an API token."""
    return str(harness.caller().post("/api/v1/tokens", json=A_TOKEN, auth=ADMIN).json["id"])


def a_freeze(harness: ControllerHarness) -> str:
    """Make a freeze."""
    return str(harness.caller().post("/api/v1/freezes", json=A_FREEZE, auth=ADMIN).json["id"])


def a_change(harness: ControllerHarness) -> str:
    """Propose a change as another caller, which the admin may approve."""
    grants = [{"role": "proposer", "namespaces": ["*"]}]
    made = harness.caller().post("/api/v1/tokens", json={"name": "pat", "grants": grants}, auth=ADMIN).json
    headers = {"Authorization": f"Bearer {made['token']}"}
    return str(harness.caller().post("/api/v1/changes", json={"config": DOCUMENT}, headers=headers).json["id"])


A_FREEZE = {"namespaces": ["*"], "until": "2026-12-01T00:00:00Z", "reason": "why"}
A_TOKEN = {"name": "ci", "grants": [{"role": "viewer", "namespaces": ["*"]}]}
A_PLAN = {"name": "night", "waves": [{"count": 1}]}
DOCUMENT = {"url": "https://ip.me", "n": 7}
A_CHECKSUM = checksum_of("publish", strict_json.document(DOCUMENT).checksum)
A_NAMESPACE = {"name": "team-a", "config": DOCUMENT}
CLUSTER = "00000000-0000-4000-8000-000000000001"

#: Actions that change nothing in the store.
UNSTORED = {"POST /api/v1/webhooks/ping"}

#: One that succeeds, by the action that its entry names.
ASKS = {
    "POST /api/v1/config": Ask("POST", "/api/v1/config", "default", {"json": DOCUMENT}),
    "POST /api/v1/config/import": Ask(
        "POST", "/api/v1/config/import", "default", {"json": {"versions": [{"version": 7, "config": DOCUMENT}]}}
    ),
    "POST /api/v1/config/rollback": Ask(
        "POST", "/api/v1/config/rollback", "default", {"json": {"version": 1}}, an_old_version
    ),
    "POST /api/v1/signing-key/rotate": Ask("POST", "/api/v1/signing-key/rotate", ""),
    "POST /api/v1/namespaces": Ask("POST", "/api/v1/namespaces", "team-a", {"json": A_NAMESPACE}),
    "DELETE /api/v1/namespaces/<name>": Ask("DELETE", "/api/v1/namespaces/{}", "{}", prepare=a_namespace),
    "POST /api/v1/namespaces/<name>/policy": Ask(
        "POST", "/api/v1/namespaces/{}/policy", "{}", {"json": {"approvals": 1}}, a_namespace
    ),
    "DELETE /api/v1/agents/<agent_id>": Ask(
        "DELETE", "/api/v1/agents/{}", "{}", prepare=lambda harness: harness.join()
    ),
    "POST /api/v1/agents/<agent_id>/reset": Ask(
        "POST", "/api/v1/agents/{}/reset", "{}", prepare=lambda harness: harness.join()
    ),
    "POST /api/v1/agents/<agent_id>/labels": Ask(
        "POST", "/api/v1/agents/{}/labels", "{}", {"json": {"stage": "x"}}, lambda harness: harness.join()
    ),
    "POST /api/v1/rollouts": Ask(
        "POST", "/api/v1/rollouts", "default", {"json": {"config": DOCUMENT, "plan": "canary"}}, an_agent_that_reports
    ),
    **{
        f"POST /api/v1/rollouts/<int:number>/{verb}": Ask(
            "POST", f"/api/v1/rollouts/{{}}/{verb}", "{}", carried, prepare
        )
        for verb, carried, prepare in (
            ("pause", {}, an_open_rollout),
            ("resume", {}, a_paused_rollout),
            ("promote", {}, an_open_rollout),
            ("replace", {"json": {"config": DOCUMENT}}, an_open_rollout),
            ("abort", {}, an_open_rollout),
            ("checks", {"json": {"name": "slo", "pass": True}}, an_open_rollout),
        )
    },
    "POST /api/v1/freezes": Ask("POST", "/api/v1/freezes", "", {"json": A_FREEZE}),
    "DELETE /api/v1/freezes/<int:number>": Ask("DELETE", "/api/v1/freezes/{}", "{}", prepare=a_freeze),
    "POST /api/v1/changes": Ask("POST", "/api/v1/changes", "default", {"json": {"config": DOCUMENT}}),
    **{
        f"POST /api/v1/changes/<int:number>/{verb}": Ask(
            "POST", f"/api/v1/changes/{{}}/{verb}", "{}", {"json": body}, a_change
        )
        for verb, body in (
            ("approve", {"checksum": A_CHECKSUM}),
            ("reject", {"comment": "no"}),
            ("withdraw", {}),
            ("schedule", {"at": "2026-11-25T12:00:00Z"}),
            ("rebase", {}),
            ("apply", {}),
        )
    },
    "POST /api/v1/tokens": Ask("POST", "/api/v1/tokens", "ci", {"json": A_TOKEN}),
    "DELETE /api/v1/tokens/<token_id>": Ask("DELETE", "/api/v1/tokens/{}", "{}", prepare=a_token),
    "POST /api/v1/tokens/<token_id>/rotate": Ask("POST", "/api/v1/tokens/{}/rotate", "{}", prepare=a_token),
    "POST /api/v1/plans": Ask("POST", "/api/v1/plans", "", {"json": A_PLAN}),
    "DELETE /api/v1/plans/<name>": Ask("DELETE", "/api/v1/plans/{}", "{}", prepare=a_plan),
    "DELETE /api/v1/blocked/<agent_id>": Ask("DELETE", "/api/v1/blocked/{}", "{}", prepare=a_blocked_agent),
    "POST /api/v1/webhooks/ping": Ask("POST", "/api/v1/webhooks/ping", ""),
    "POST /api/v1/epoch/raise": Ask("POST", "/api/v1/epoch/raise", "", {"json": {}}),
    "POST /api/v1/cluster/adopt": Ask("POST", "/api/v1/cluster/adopt", CLUSTER, {"json": {"cluster_id": CLUSTER}}),
}


class AuditedTests(SynchronousTestCase):
    """The joined controller, over HTTP in memory."""

    def setUp(self) -> None:
        self.harness = ControllerHarness()

    def entries(self) -> list[AuditEntry]:
        """All that is on record, oldest first."""
        self.successResultOf(self.harness.audit_log.flush())
        entries = self.successResultOf(self.harness.store.audit(10_000, None))
        self.assertIsNone(verify(entries).wrong)
        return list(entries)[::-1]

    def state(self) -> object:
        """Everything that a change could change, but the record."""
        store = self.harness.store
        current = self.successResultOf(store.current())
        agents = [*self.successResultOf(store.load_agents()), self.successResultOf(store.contents()).blocked]
        rollouts = self.successResultOf(store.open_rollouts()), self.successResultOf(store.plans())
        reads = (store.tokens, store.freezes, store.policies, store.pending_changes)
        access = [self.successResultOf(each()) for each in reads]
        identity = self.successResultOf(store.contents()).identity
        return current, agents, identity, self.harness.snapshot.namespaces(), rollouts, access

    def declared(self) -> dict[str, Endpoint]:
        """The audited changes in the harness, by the action that is put on record."""
        everything = [declared for api in self.harness.apis for declared, _ in endpoints_of(api)]
        return {f"{each.method} {each.path}": each for each in everything if each.audited and not each.reads}

    def refused(self, ask: Ask, status: int, code: str, who: str, **carried: Any) -> None:
        """That this changes nothing but the record, where it has one entry."""
        there, before = self.entries(), self.state()
        reply = self.harness.caller().request(ask.method, ask.path, **carried)
        self.assertEqual((reply.status, reply.code), (status, code), (ask, carried))
        self.assertEqual(self.state(), before, ask)
        [entry] = self.entries()[len(there) :]
        self.assertEqual((entry.who, entry.outcome, entry.detail), (who, code, ""))
        self.assertEqual((entry.request_id, entry.peer), (reply.headers["x-request-id"], "127.0.0.1"))

    def test_all_are_tried(self) -> None:
        self.assertEqual(set(ASKS), set(self.declared()))

    def test_done(self) -> None:
        """One entry, that is there with the change: the refusals that are written behind do not matter."""
        for action, ask in ASKS.items():
            self.harness = ControllerHarness()
            ask = ask.prepared(self.harness)
            there, before = self.entries(), self.state()
            reply = self.harness.caller().request(ask.method, ask.path, auth=ADMIN, **ask.carried)
            self.assertIn(reply.status, (200, 201, 202), (action, reply))
            if action not in UNSTORED:
                self.assertNotEqual(self.state(), before, action)
            [entry] = self.successResultOf(self.harness.store.audit(10_000, None))[: -len(there) or None]
            self.assertEqual((entry.who, entry.action, entry.outcome), ("admin", action, "done"))
            self.assertEqual((entry.target, entry.request_id), (ask.target, reply.headers["x-request-id"]))
            self.assertEqual(self.entries(), [*there, entry])

    def test_proposed_in_the_place_of_a_publish(self) -> None:
        for action in ("POST /api/v1/config", "POST /api/v1/config/rollback", "POST /api/v1/rollouts"):
            self.harness = ControllerHarness()
            ask = ASKS[action].prepared(self.harness)
            ask = evolve(ask, path=f"{ask.path}?propose=true")
            self.refused(ask, 403, "forbidden", "agent", auth=AGENT, **ask.carried)
            self.assertEqual(self.harness.caller().request(ask.method, ask.path, auth=ADMIN, **ask.carried).status, 202)
            entry = self.entries()[-1]
            self.assertEqual((entry.who, entry.action, entry.target), ("admin", action, "default"))
            self.assertEqual((entry.outcome, entry.detail), ("done", "change 1: approved"))

    def test_refused_at_the_door(self) -> None:
        """401, 403, and a page of another site, whatever they asked for."""
        for ask in ASKS.values():
            # So many wrong passwords would be throttled.
            self.harness = ControllerHarness()
            ask = ask.prepared(self.harness)
            for auth, headers, status, code, who in (
                (None, {}, 401, "unauthenticated", ""),
                (("admin", "wrong"), {}, 401, "wrong_credentials", ""),
                (AGENT, {}, 403, "forbidden", "agent"),
                (ADMIN, {"Origin": "https://evil.example"}, 403, "cross_site", "admin"),
            ):
                self.refused(ask, status, code, who, auth=auth, headers=headers, **ask.carried)

    def test_refused_for_what_was_sent(self) -> None:
        """400, 413, 415 and the like."""
        for action, declared in self.declared().items():
            self.harness = ControllerHarness()
            ask = ASKS[action].prepared(self.harness)
            strange = evolve(ask, path=f"{ask.path}?no_such_thing=1")
            self.refused(strange, 400, "bad_field", "admin", auth=ADMIN, **ask.carried)
            text = {"body": b"url=x", "headers": {"Content-Type": "text/plain"}}
            self.refused(ask, 415, "not_json", "admin", auth=ADMIN, **text)
            if declared.body is not None:
                self.refused(ask, 400, "not_json", "admin", auth=ADMIN, body=b"{", headers=JSON)
                if declared.max_body is not None:
                    large = b" " * (declared.max_body + 1)
                    self.refused(ask, 413, "body_too_large", "admin", auth=ADMIN, body=large, headers=JSON)

    def test_larger_than_any_document(self) -> None:
        """413 before anything is read."""
        ask = ASKS["POST /api/v1/config"]
        large = b" " * (Limits().body + 1)
        self.refused(ask, 413, "body_too_large", "admin", auth=ADMIN, body=large, headers=JSON)

    def test_refused_by_the_state_of_things(self) -> None:
        """404, 409, 412, 422."""
        publish, create = ASKS["POST /api/v1/config"], ASKS["POST /api/v1/namespaces"]
        a_namespace(self.harness)
        nowhere = evolve(publish, path="/api/v1/config?namespace=nowhere")
        gone = Ask("DELETE", "/api/v1/agents/nobody", "nobody")
        label_nobody = Ask("POST", "/api/v1/agents/nobody/labels", "nobody")
        default = Ask("DELETE", "/api/v1/namespaces/default", "default")
        for ask, status, code, carried in (
            (nowhere, 404, "unknown_namespace", publish.carried),
            (gone, 404, "unknown_agent", {}),
            (label_nobody, 404, "unknown_agent", {"json": {}}),
            (label_nobody, 422, "bad_label", {"json": {"id": "x"}}),
            (default, 409, "default_namespace", {}),
            (create, 409, "namespace_exists", create.carried),
            (publish, 412, "version_mismatch", {**publish.carried, "headers": {"If-Match": '"1a2b3c4d.1.99"'}}),
            (publish, 422, "schema_violation", {"json": {"url": "ftp://x"}}),
        ):
            self.refused(ask, status, code, "admin", auth=ADMIN, **carried)

    def test_broken_store(self) -> None:
        """503, on record as soon as it can be."""
        for action, ask in ASKS.items():
            self.harness = ControllerHarness()
            ask = ask.prepared(self.harness)
            there, before = self.entries(), self.state()
            self.harness.store.broken = "The disk is full."
            reply = self.harness.caller().request(ask.method, ask.path, auth=ADMIN, **ask.carried)
            self.assertEqual((reply.status, reply.code), (503, "storage_unavailable"), action)
            self.assertEqual((self.entries(), self.state()), (there, before))
            self.harness.store.broken = None
            self.harness.clock.advance(1)
            [entry] = self.entries()[len(there) :]
            self.assertEqual((entry.action, entry.outcome), (action, "storage_unavailable"))

    def test_not_yet_loaded(self) -> None:
        """503 while the controller starts."""
        self.harness = ControllerHarness(started=False)
        ask = ASKS["POST /api/v1/config"]
        self.refused(ask, 503, "starting", "admin", auth=ADMIN, **ask.carried)

    def test_no_document_and_no_secret(self) -> None:
        """Nothing of what is published, of passwords, comments or keys is in any entry."""
        document = {"url": "https://canary-url.example", "password": "canary-secret"}
        for auth in (ADMIN, AGENT, ("canary-name", "canary-password"), None):
            self.harness.caller().post(
                "/api/v1/config?comment=canary-comment",
                json=document,
                auth=auth,
                headers={"Idempotency-Key": "canary-key", "Cookie": "canary-cookie"},
            )
        self.harness.caller().post("/api/v1/config", json={"url": "canary"}, auth=ADMIN)
        self.harness.caller().post("/api/v1/config", body=b"canary", headers=JSON, auth=ADMIN)
        entries = self.entries()
        self.assertEqual(len(entries), 6)
        self.assertIsNone(re.search("canary", str(entries)))
