"""Each path that changes what agents get × each policy × break-glass: generated, against a table written by hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from attrs import field, frozen
from twisted.trial.unittest import SynchronousTestCase

from confd.web.api.endpoint import endpoints_of
from tests.budgets import budget
from tests.controller.harness import ADMIN, ControllerHarness
from tests.conversation import Reply

DOCUMENT, ROLLOUTS = {"url": "https://example.com"}, "/api/v1/rollouts"
CLUSTER = "00000000-0000-4000-8000-000000000001"

#: What holds a path, as section 5 of the design of access lists it: C{plan}, C{approval} and C{freeze}.
PUBLISH = frozenset({"plan", "approval", "freeze"})
START = frozenset({"approval", "freeze"})
DELIVER = frozenset({"freeze"})
NOTHING: frozenset[str] = frozenset()


@frozen
class Path:
    """
    A request that changes what agents get.

    @ivar held_by: what may refuse it. A start by a plan with waves satisfies any plan.
    @ivar undoes: whether it goes back to the version before; a free undo is held by nothing.
    @ivar direct: whether the caller asked for no rollout, so that a policy cannot start one instead.
    @ivar prepare: the rollout that it needs: C{open}, C{paused} or none; C{change} for an approved change.
    @ivar breaks_glass: whether it takes a reason for break-glass.
    """

    path: str
    body: Mapping[str, Any]
    held_by: frozenset[str]
    undoes: bool = False
    direct: bool = False
    prepare: str = ""
    breaks_glass: bool = True
    method: str = field(default="POST", kw_only=True)


IMPORT = {"versions": [{"version": 9, "config": DOCUMENT}]}

#: All of them: a declared change that is not here fails a test.
PATHS = {
    "publish": Path("/api/v1/config", DOCUMENT, PUBLISH),
    "publish direct": Path("/api/v1/config?rollout=direct", DOCUMENT, PUBLISH, direct=True),
    "publish abort": Path("/api/v1/config?rollout=abort", DOCUMENT, PUBLISH, direct=True, prepare="open"),
    "publish by a plan": Path("/api/v1/config?rollout=canary", DOCUMENT, START),
    "rollback": Path("/api/v1/config/rollback", {"version": 1}, PUBLISH),
    "rollback by a plan": Path("/api/v1/config/rollback?rollout=canary", {"version": 2}, START),
    "undo": Path("/api/v1/config/rollback", {"version": 2}, PUBLISH, undoes=True),
    "undo direct": Path("/api/v1/config/rollback?rollout=direct", {"version": 2}, PUBLISH, undoes=True, direct=True),
    "undo abort": Path(
        "/api/v1/config/rollback?rollout=abort", {"version": 2}, PUBLISH, undoes=True, direct=True, prepare="open"
    ),
    "import": Path("/api/v1/config/import?force=true", IMPORT, PUBLISH, direct=True),
    "start": Path(ROLLOUTS, {"config": DOCUMENT, "plan": "canary"}, START),
    "start without a wave": Path(ROLLOUTS, {"config": DOCUMENT, "plan": {"waves": []}}, PUBLISH, direct=True),
    "replace": Path(f"{ROLLOUTS}/1/replace", {"config": DOCUMENT}, START, prepare="open"),
    "promote": Path(f"{ROLLOUTS}/1/promote", {}, DELIVER, prepare="open"),
    "promote to all": Path(f"{ROLLOUTS}/1/promote", {"to": "all"}, DELIVER, prepare="open"),
    "resume": Path(f"{ROLLOUTS}/1/resume", {}, DELIVER, prepare="paused"),
    "pause": Path(f"{ROLLOUTS}/1/pause", {}, NOTHING, prepare="open", breaks_glass=False),
    "abort": Path(f"{ROLLOUTS}/1/abort", {}, NOTHING, prepare="open", breaks_glass=False),
    "abort paused": Path(f"{ROLLOUTS}/1/abort", {}, NOTHING, prepare="paused", breaks_glass=False),
    "creation": Path("/api/v1/namespaces", {"name": "team", "config": DOCUMENT}, START),
    "retirement": Path("/api/v1/namespaces/old", {}, NOTHING, breaks_glass=False, method="DELETE"),
    "apply": Path("/api/v1/changes/1/apply", {}, frozenset({"plan", "freeze"}), prepare="change"),
    "epoch": Path("/api/v1/epoch/raise", {}, NOTHING, breaks_glass=False),
    "adopt": Path("/api/v1/cluster/adopt", {"cluster_id": CLUSTER}, NOTHING, breaks_glass=False),
}

#: The namespace C{team} is retired: its policy holds its creation.
NAMESPACES = ("default", "team", "old")


@frozen
class Rules:
    """A policy, and whether a freeze is active."""

    plan: str
    frozen: bool
    exempt: bool
    free: bool
    approvals: int = 0

    @property
    def policy(self) -> dict[str, object]:
        """The body that sets it."""
        return {
            "plan": self.plan,
            "freeze_exempt": self.exempt,
            "rollback_free": self.free,
            "approvals": self.approvals,
        }

    def refusal(self, path: Path) -> str:
        """Return the code with which a path is refused; empty if it is not."""
        if path.undoes and self.free:
            return ""
        if "freeze" in path.held_by and self.frozen and not self.exempt:
            return "frozen"
        if "plan" in path.held_by and self.plan != "direct" and path.direct:
            return "plan_required"
        return "approval_required" if "approval" in path.held_by and self.approvals else ""

    def starts(self, path: Path) -> bool:
        """Return whether the policy makes a rollout of a path that asked for none."""
        free = path.undoes and self.free
        return "plan" in path.held_by and self.plan != "direct" and not path.direct and not free


#: The strictest rules.
STRICT = Rules("canary", True, False, False)


def rules_of(path: Path) -> Iterator[Rules]:
    """Yield the rules under which to try a path."""
    if path.held_by == NOTHING:
        yield STRICT
        return
    for free in (True, False):
        if not free or path.undoes:
            yield Rules("direct", False, False, free, 1)
    freezes = budget(((False, False), (True, False)), ((False, False), (True, False), (True, True)))
    for plan, (frozen_, exempt), free in product(("direct", "canary"), freezes, (True, False)):
        if not free or path.undoes:
            yield Rules(plan, frozen_, exempt, free)


class WritePathTests(SynchronousTestCase):
    """The joined controller, over HTTP in memory."""

    def setUp(self) -> None:
        self.harness = ControllerHarness(LOGIN_FAILURES="0", CHANGES_PER_MINUTE="0")
        self.secret = ""

    def prepare(self, path: Path, rules: Rules) -> None:
        """Make a controller with three versions, an agent, perhaps a rollout, and the rules."""
        self.harness = ControllerHarness(LOGIN_FAILURES="0", CHANGES_PER_MINUTE="0")
        for number in (2, 3):
            self.done("POST", "/api/v1/config", {**DOCUMENT, "n": number})
        for name in NAMESPACES[1:]:
            self.done("POST", "/api/v1/namespaces", {"name": name, "config": DOCUMENT})
        for number in range(3):
            agent_id = self.harness.join(hostname=f"host-{number}")
            self.harness.report(agent_id, self.harness.tag())
        if path.prepare == "change":
            self.approved_change()
        elif path.prepare:
            self.done("POST", "/api/v1/config?rollout=canary", {**DOCUMENT, "n": 4})
        if path.prepare == "paused":
            self.done("POST", f"{ROLLOUTS}/1/pause")
        grants = [{"role": "publisher", "namespaces": ["*"]}]
        self.secret = self.done("POST", "/api/v1/tokens", {"name": "ci", "grants": grants})["token"]
        for name in NAMESPACES:
            self.done("POST", f"/api/v1/namespaces/{name}/policy", rules.policy)
        self.done("DELETE", "/api/v1/namespaces/team")
        if rules.frozen:
            freeze = {"namespaces": ["*"], "until": "2026-11-25T00:00:00Z", "reason": "why"}
            self.done("POST", "/api/v1/freezes", freeze)

    def approved_change(self) -> None:
        """Propose a change, and approve it with another name."""
        grants = [{"role": "approver", "namespaces": ["*"]}]
        token = self.done("POST", "/api/v1/tokens", {"name": "ann", "grants": grants})["token"]
        checksum = self.done("POST", "/api/v1/changes", {"config": DOCUMENT})["checksum"]
        headers = {"Authorization": f"Bearer {token}"}
        reply = self.send("POST", "/api/v1/changes/1/approve", {"checksum": checksum}, headers=headers)
        self.assertEqual(reply.status, 200, reply)

    def done(self, method: str, path: str, body: object = None) -> Any:
        """Send a request of the admin that succeeds."""
        reply = self.send(method, path, body, auth=ADMIN)
        self.assertIn(reply.status, (200, 201, 202), (method, path, reply))
        return reply.json

    def send(self, method: str, path: str, body: object = None, **rest: Any) -> Reply:
        """Send a request."""
        caller = self.harness.caller()
        reply = caller.request(method, path, **rest, **({} if body is None else {"json": body}))
        caller.hang_up()
        return reply

    def ask(self, path: Path, reason: str = "", **rest: Any) -> Reply:
        """Send the request of a path."""
        text = path.path
        if reason:
            text += ("&" if "?" in text else "?") + f"break_glass={reason}"
        return self.send(path.method, text, None if path.method == "DELETE" else path.body, **rest)

    def delivered(self) -> object:
        """Return all that agents can get: the documents, and the members of the open rollout."""
        store = self.harness.store
        versions = [(str(each.configuration.tag)) for each in self.successResultOf(store.current())]
        rollouts = self.successResultOf(store.open_rollouts())
        return versions, rollouts, self.successResultOf(store.history("default", 100, None))

    def check(self, name: str, path: Path, rules: Rules) -> str:
        """Send the request of a path without and with break-glass; return the code with which it is refused without."""
        where = (name, rules)
        self.prepare(path, rules)
        before, code = self.delivered(), rules.refusal(path)
        if path.breaks_glass and rules == STRICT:
            token = self.ask(path, "why", headers={"Authorization": f"Bearer {self.secret}"})
            self.assertEqual((token.status, token.code), (403, "forbidden"), where)
            self.assertEqual(self.delivered(), before, where)
        if code:
            reply = self.ask(path, auth=ADMIN)
            self.assertEqual((reply.status, reply.code), (409 if code == "frozen" else 403, code), where)
            self.assertEqual(self.delivered(), before, where)
        reply = self.ask(path, "the+database+is+down" if code else "", auth=ADMIN)
        self.assertIn(reply.status, (200, 201, 202), (where, reply))
        if name != "retirement":
            self.assertNotEqual(self.delivered(), before, where)
        if not code:
            started = bool(self.successResultOf(self.harness.store.rollouts("default", ("running",), 9, None)))
            expected = rules.starts(path) or name in RUNNING
            self.assertEqual(started, expected, where)
        return code

    def test_each_path_is_held_by_what_the_table_says_and_break_glass_passes(self) -> None:
        refused = 0
        for name, path in PATHS.items():
            for rules in rules_of(path):
                refused += bool(self.check(name, path, rules))
        self.assertGreater(refused, 30)

    def test_each_declared_change_is_in_the_table(self) -> None:
        declared = {
            f"{each.method} {each.path}"
            for api in self.harness.apis
            for each, _ in endpoints_of(api)
            if each.audited and not each.reads
        }
        sent = {f"{each.method} {each.path.partition('?')[0]}" for each in PATHS.values()}
        tried = {each.replace("/1/", "/<int:number>/").replace("/old", "/<name>") for each in sent}
        self.assertEqual(declared - DELIVER_NOTHING, tried)


#: The changes after which agents get what they got before.
DELIVER_NOTHING = {
    "DELETE /api/v1/agents/<agent_id>",
    "DELETE /api/v1/blocked/<agent_id>",
    "DELETE /api/v1/freezes/<int:number>",
    "DELETE /api/v1/plans/<name>",
    "DELETE /api/v1/tokens/<token_id>",
    "POST /api/v1/agents/<agent_id>/labels",
    "POST /api/v1/agents/<agent_id>/reset",
    "POST /api/v1/changes",
    *(f"POST /api/v1/changes/<int:number>/{verb}" for verb in ("approve", "reject", "withdraw", "schedule", "rebase")),
    "POST /api/v1/freezes",
    "POST /api/v1/namespaces/<name>/policy",
    "POST /api/v1/plans",
    "POST /api/v1/rollouts/<int:number>/checks",
    "POST /api/v1/signing-key/rotate",
    "POST /api/v1/tokens",
    "POST /api/v1/webhooks/ping",
    "POST /api/v1/tokens/<token_id>/rotate",
}

#: The paths after which a rollout runs although the policy asks for none.
RUNNING = {
    "publish by a plan",
    "rollback by a plan",
    "start",
    "replace",
    "resume",
}
