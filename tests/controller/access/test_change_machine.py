"""Random calls on changes, against a model that is written from the rules in C{docs/access.rst}."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from tests.budgets import budget
from tests.controller.harness import ADMIN, ControllerHarness
from tests.conversation import Reply

CHANGES, POLICY = "/api/v1/changes", "/api/v1/namespaces/default/policy"
ROLES = {"pat": "proposer", "pub": "publisher", "ann": "approver", "amy": "approver"}
FREEZE = {"namespaces": ["*"], "until": "2026-12-01T00:00:00Z", "reason": "r"}

AUTHORS, APPROVERS, VALUES = st.sampled_from(["pat", "pub"]), st.sampled_from(["ann", "amy"]), st.integers(0, 2)


def document(value: int) -> dict[str, Any]:
    """Return a document with a value."""
    return {"url": "https://example.com", "n": value}


@define
class Model:
    """
    A change as the rules make it.

    @ivar base: the value that was current when it was written.
    @ivar trouble: the code with which it is refused until it is rebased; empty without one.
    """

    author: str
    value: int
    base: int
    approved: set[str] = field(factory=set)
    over: bool = False
    trouble: str = ""


class ChangeMachine(RuleBasedStateMachine):
    """A controller in memory, and the model of its changes."""

    def __init__(self) -> None:
        super().__init__()
        self.harness = ControllerHarness(LOGIN_FAILURES="0", CHANGES_PER_MINUTE="0")
        self.tokens = {name: self.create(name, role) for name, role in ROLES.items()}
        self.changes: list[Model] = []
        self.revoked: set[str] = set()
        self.needed, self.frozen, self.current, self.version = 0, False, 0, 1
        self.publish(0)

    def create(self, name: str, role: str) -> str:
        """Create a token; return its secret."""
        grants = [{"role": role, "namespaces": ["default"]}]
        return str(self.ask("POST", "/api/v1/tokens", {"name": name, "grants": grants}).json["token"])

    def ask(self, method: str, path: str, body: object = None, who: str = "") -> Reply:
        """Send a request: as the admin, or with a token."""
        caller = self.harness.caller()
        rest: dict[str, Any] = {"headers": {"Authorization": f"Bearer {self.tokens[who]}"}} if who else {"auth": ADMIN}
        reply = caller.request(method, path, **rest, **({} if body is None else {"json": body}))
        caller.hang_up()
        return reply

    def verb(self, number: int, verb: str, who: str, body: object) -> str:
        """Call a verb; return the code of the refusal, empty without one."""
        reply = self.ask("POST", f"{CHANGES}/{number + 1}/{verb}", body, who)
        return "" if reply.status < 300 else reply.code

    def check(self, found: str, expected: str, who: str) -> bool:
        """Prove that a call was refused as the model says; return whether it was done."""
        expected = "wrong_credentials" if who in self.revoked else expected
        assert found == expected, (found, expected)
        return not found

    def standing(self, change: Model) -> str:
        """Return the code with which the verbs of a change are refused; empty without one."""
        return "change_over" if change.over else change.trouble

    def became_current(self, value: int) -> None:
        """Follow a publish in the model."""
        self.current, self.version = value, self.version + 1
        for each in self.changes:
            if not each.over and not each.trouble and each.base != value:
                each.trouble = "change_stale"

    @rule(who=AUTHORS, value=VALUES)
    def propose(self, who: str, value: int) -> None:
        """Propose a change."""
        reply = self.ask("POST", CHANGES, {"config": document(value)}, who)
        if self.check("" if reply.status == 201 else reply.code, "", who):
            self.changes.append(Model(who, value, self.current))

    @precondition(lambda self: self.changes)
    @rule(data=st.data(), who=APPROVERS)
    def approve(self, data: Any, who: str) -> None:
        """Approve a change as it is."""
        number, change = self.pick(data)
        checksum = self.ask("GET", f"{CHANGES}/{number + 1}").json["checksum"]
        found = self.verb(number, "approve", who, {"checksum": checksum})
        if self.check(found, self.standing(change), who):
            change.approved.add(who)

    @precondition(lambda self: self.changes)
    @rule(data=st.data(), who=AUTHORS, value=st.none() | VALUES)
    def rebase(self, data: Any, who: str, value: int | None) -> None:
        """Write a change again, with another document or its own."""
        number, change = self.pick(data)
        found = self.verb(number, "rebase", who, {} if value is None else {"config": document(value)})
        if self.check(found, "change_over" if change.over else "", who):
            change.author, change.base, change.trouble, change.approved = who, self.current, "", set()
            change.value = change.value if value is None else value

    @precondition(lambda self: self.changes)
    @rule(data=st.data(), who=AUTHORS)
    def withdraw(self, data: Any, who: str) -> None:
        """End a change; only its author may."""
        number, change = self.pick(data)
        expected = "forbidden" if who != change.author else "change_over" if change.over else ""
        if self.check(self.verb(number, "withdraw", who, {}), expected, who):
            change.over = True

    @precondition(lambda self: self.changes)
    @rule(data=st.data(), who=st.sampled_from(["", "pub"]))
    def apply(self, data: Any, who: str) -> None:
        """Apply a change: this alone, and a publish without a policy, alter what agents get."""
        number, change = self.pick(data)
        found, standing = self.verb(number, "apply", who, {}), self.standing(change)
        if change.over:
            expected = "change_over"
        elif self.frozen:
            expected = "frozen"
        elif standing:
            expected = standing
        elif change.author in self.revoked:
            expected = "change_suspended"
        elif len(change.approved - self.revoked) < self.needed:
            expected = "change_not_approved"
        else:
            expected = ""
        if self.check(found, expected, who):
            change.over = True
            self.became_current(change.value)
        elif found == "change_suspended":
            change.trouble = found

    @rule(value=VALUES)
    def publish(self, value: int) -> None:
        """Publish without a change."""
        reply = self.ask("POST", "/api/v1/config", document(value))
        expected = "frozen" if self.frozen else "approval_required" if self.needed else ""
        if self.check("" if reply.status == 200 else reply.code, expected, ""):
            self.became_current(value)

    @rule(needed=st.integers(0, 2))
    def set_policy(self, needed: int) -> None:
        """Ask for another number of approvals."""
        self.needed = needed
        assert self.ask("POST", POLICY, {"approvals": needed}).status == 200

    @rule()
    def toggle_freeze(self) -> None:
        """Begin or end a freeze."""
        if self.frozen:
            [freeze] = self.ask("GET", "/api/v1/freezes").json["items"]
            self.ask("DELETE", f"/api/v1/freezes/{freeze['id']}")
        else:
            self.ask("POST", "/api/v1/freezes", FREEZE)
        self.frozen = not self.frozen

    @rule(who=st.sampled_from(["ann", "pat"]))
    def revoke(self, who: str) -> None:
        """Revoke a token."""
        self.ask("DELETE", f"/api/v1/tokens/{self.tokens[who][6:14]}")
        self.revoked.add(who)

    @invariant()
    def agents_get_what_the_model_says(self) -> None:
        """Compare the current version with the model, and the states of the changes."""
        shown = self.ask("GET", "/api/v1/config").json
        assert (shown["data"]["n"], shown["version"]) == (self.current, self.version)
        pending = self.ask("GET", f"{CHANGES}?state=pending").json["items"]
        assert [each["id"] for each in pending] == [
            number for number in range(len(self.changes), 0, -1) if not self.changes[number - 1].over
        ]

    def pick(self, data: Any) -> tuple[int, Model]:
        """Draw one of the changes."""
        number: int = data.draw(st.integers(0, len(self.changes) - 1))
        return number, self.changes[number]


class ChangeMachineTests(SynchronousTestCase):
    """The machine, as a test."""

    def test_no_sequence_of_calls_publishes_what_the_rules_forbid(self) -> None:
        run_state_machine_as_test(
            ChangeMachine,
            settings=settings(max_examples=budget(10, 200), stateful_step_count=30, deadline=None),
        )
