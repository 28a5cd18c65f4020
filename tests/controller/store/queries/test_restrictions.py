"""
What policies and freezes let pass, in SQL and in memory, against a model.

A namespace that is frozen, or whose policy asks for a plan or approvals, gets no new document but by a free undo, an
abort, an epoch, or a reason for break-glass; these always pass.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from functools import partial
from typing import Any

from attrs import evolve
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from confd.access.policies import Policy
from confd.audit import Attempt
from confd.controller.store.migrations import shipped_migrations
from confd.controller.store.queries import (
    agents,
    change_requests,
    configs,
    epoch,
    freezes,
    policies,
    rollout_steps,
)
from confd.controller.store.sqlite.bootstrap import open_database
from confd.controller.store.sqlite.connection import connect_arguments
from confd.errors import ConfdError
from confd.history import EpochChange
from confd.model import Draft, Registration
from confd.rollouts.plan import SUPERSEDE
from confd.rollouts.steps import Exposure, NextStep, RolloutStep, Start
from confd.testing import MemoryStore, a_draft
from confd.testing.change_requests import a_change
from confd.testing.freezes import a_freeze
from confd.testing.rollout_case import CANARY, NOON
from tests.budgets import budget
from tests.controller.store.fixtures import FIRST, connect, make_database, new_path
from tests.controller.store.queries.test_configs import fired

_NAME = "default"


def outcome(work: Callable[[], Any]) -> str:
    """Return the code with which a work is refused; empty if it is not."""
    try:
        work()
    except ConfdError as error:
        return error.code
    return ""


class RestrictionMachine(RuleBasedStateMachine):
    """
    One namespace: what happens to it in a database and in a L{MemoryStore}, and what should.

    @ivar line: the versions that became current, in order, each with whether it was a rollback.
    @ivar candidate: the version of the open rollout; C{None} without one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.mkdtemp()
        opened = open_database(f"{self.folder}/controller.db", FIRST, shipped_migrations())
        opened.identity_file.release()
        uri, arguments = connect_arguments(opened.path, 30)
        self.connection = sqlite3.connect(uri, **arguments)
        self.memory = MemoryStore(FIRST)
        self.policy, self.frozen = Policy(), 0
        self.line, self.newest, self.candidate = [(1, False)], 1, 0
        self.rollouts, self.freezes, self.number = 0, 0, 1
        self.both(partial(agents.register, registration=Registration(agent_id="a"), token=b"", at=NOON), "register",
                  Registration(agent_id="a"), b"", NOON)  # fmt: skip

    def teardown(self) -> None:
        self.connection.close()
        shutil.rmtree(self.folder)

    def both(self, work: Callable[..., Any], name: str, *arguments: Any) -> str:
        """Do the same in both stores; return the code with which both refuse it."""
        cursor = self.connection.cursor()
        cursor.execute("BEGIN")
        stored = outcome(lambda: work(cursor))
        cursor.execute("ROLLBACK" if stored else "COMMIT")
        remembered = outcome(lambda: fired(getattr(self.memory, name)(*arguments)))
        assert stored == remembered, (stored, remembered)
        return stored

    def attempt(self, reason: str) -> Attempt:
        """Return an attempt, perhaps with a reason."""
        return Attempt("admin", "", "POST", _NAME, "", NOON, break_glass=reason)

    def draft(self, reason: str, **fields: Any) -> Draft:
        """Return a draft of a new document."""
        self.number += 1
        return a_draft(self.number, made_at=NOON, attempt=self.attempt(reason), **fields)

    def expected(self, draft: Draft, waves: int, open_code: str) -> str:
        """Return the code with which a draft should be refused."""
        _, is_rollback = self.line[-1]
        before = self.line[-2][0] if len(self.line) > 1 else 0
        undo = draft.rollback_of is not None and draft.rollback_of == before and not is_rollback
        if not draft.break_glass and not (undo and self.policy.rollback_free and not waves):
            if self.frozen and not self.policy.freeze_exempt:
                return "frozen"
            if self.policy.plan != "direct" and not waves:
                return "plan_required"
            if self.policy.approvals:
                return "approval_required"
        return open_code if self.candidate else ""

    @rule(
        plan=st.sampled_from(["direct", "canary"]),
        free=st.booleans(),
        exempt=st.booleans(),
        approvals=st.sampled_from([0, 0, 1]),
    )
    def set_policy(self, plan: str, free: bool, exempt: bool, approvals: int) -> None:
        changes = {"plan": plan, "rollback_free": free, "freeze_exempt": exempt, "approvals": approvals}
        assert not self.both(partial(policies.save, namespace=_NAME, changes=changes), "save_policy", _NAME, changes)
        self.policy = Policy(plan, approvals, rollback_free=free, freeze_exempt=exempt)

    @precondition(lambda self: not self.frozen)
    @rule(pattern=st.sampled_from(["*", "def*", "default"]))
    def freeze(self, pattern: str) -> None:
        self.freezes += 1
        self.frozen = self.freezes
        assert not self.both(partial(freezes.add, freeze=a_freeze(pattern)), "add_freeze", a_freeze(pattern))

    @precondition(lambda self: self.frozen)
    @rule()
    def thaw(self) -> None:
        assert not self.both(partial(freezes.remove, number=self.frozen, at=NOON), "remove_freeze", self.frozen, NOON)
        self.frozen = 0

    @rule(
        back=st.sampled_from([None, None, 1, 2, 3]),
        supersedes=st.booleans(),
        reason=st.sampled_from(["", "", "down"]),
    )
    def publish(self, back: int | None, supersedes: bool, reason: str) -> None:
        """Publish, or go back some versions of the line."""
        rollback_of = None if back is None else self.line[-min(back + 1, len(self.line))][0]
        draft = self.draft(reason, rollback_of=rollback_of, rollout=SUPERSEDE if supersedes else "")
        code = self.expected(draft, 0, "" if supersedes else "rollout_active")
        assert self.both(partial(configs.publish, draft=draft), "publish", draft) == code, code
        if not code:
            self.newest += 1
            self.candidate = 0
            self.line.append((self.newest, rollback_of is not None))

    @rule(has_wave=st.booleans(), reason=st.sampled_from(["", "", "down"]))
    def start(self, has_wave: bool, reason: str) -> None:
        draft = self.draft(reason)
        plan = CANARY if has_wave else evolve(CANARY, waves=())
        wave = 1
        start = Start(draft, plan, lambda number: (wave, Exposure((("a", True),), 1)))
        code = self.expected(draft, len(plan.waves), "rollout_active")
        assert self.both(partial(rollout_steps.start, start=start, keep=0), "start_rollout", start) == code, code
        if not code:
            self.newest += 1
            self.rollouts += 1
            self.candidate = self.newest
            if not has_wave:
                self.line.append((self.newest, False))

    def step(self, following: NextStep, delivers: bool, reason: str) -> str:
        """Make a transition of the open rollout."""
        step = RolloutStep(self.rollouts, lambda rollout, members: following, NOON, self.attempt(reason), delivers)
        return self.both(partial(rollout_steps.step, step=step, keep=0), "step_rollout", step)

    @precondition(lambda self: self.candidate and self.line[-1][0] != self.candidate)
    @rule(reason=st.sampled_from(["", "", "down"]))
    def promote(self, reason: str) -> None:
        held = self.frozen and not self.policy.freeze_exempt and not reason
        code = self.step(NextStep("finishing", 2), True, reason)
        assert code == ("frozen" if held else ""), code
        if not code:
            self.line.append((self.candidate, False))

    @precondition(lambda self: self.candidate)
    @rule(reason=st.sampled_from(["", "", "down"]))
    def replace(self, reason: str) -> None:
        if self.line[-1][0] == self.candidate:
            return
        held = self.frozen and not self.policy.freeze_exempt
        expected = "frozen" if held else "approval_required" if self.policy.approvals else ""
        code = self.step(NextStep("running", 1, draft=self.draft(reason)), True, reason)
        assert code == ("" if reason else expected), code
        if not code:
            self.newest += 1
            self.candidate = self.newest

    @precondition(lambda self: self.candidate)
    @rule()
    def abort(self) -> None:
        """Whatever policy and freezes say."""
        assert not self.step(NextStep("aborted", 1, revert=True), False, "")
        self.newest += 1
        self.candidate = 0
        self.line.append((self.newest, True))

    @rule()
    def raise_epoch(self) -> None:
        """Whatever policy and freezes say."""
        number = fired(self.memory.contents()).identity.epoch + 1
        change = EpochChange("admin", NOON, number)
        work = partial(epoch.begin_epoch, change=change, keep=0, announced=lambda before, after: None)
        assert not self.both(work, "begin_epoch", change)
        self.newest += 1
        self.candidate = 0
        self.line.append((self.newest, False))

    @invariant()
    def agents_get_what_the_model_says(self) -> None:
        (stored,) = configs.current(self.connection.cursor())
        (remembered,) = fired(self.memory.current())
        versions = stored.configuration.version, remembered.configuration.version
        assert versions == (self.line[-1][0],) * 2, (versions, self.line)


class RestrictionTests(SynchronousTestCase):
    """See L{RestrictionMachine}."""

    def test_stores_let_pass_what_the_model_lets_pass(self) -> None:
        drawn = settings(max_examples=budget(10, 60), stateful_step_count=budget(25, 40), deadline=None)
        run_state_machine_as_test(RestrictionMachine, settings=drawn)

    def test_publish_reads_only_what_holds_its_namespace(self) -> None:
        """A namespace without policy, freeze and change costs a publish no statement for them."""
        path = new_path(self)
        make_database(path)
        connection = connect(self, path)
        cursor = connection.cursor()

        def reads() -> set[str]:
            statements: list[str] = []
            connection.set_trace_callback(statements.append)
            configs.publish(cursor, a_draft(made_at=NOON))
            connection.set_trace_callback(None)
            selects = [each for each in statements if each.split()[0] == "SELECT"]
            found = {"policy": "SELECT (SELECT body FROM policies", "changes": "SELECT c.id FROM change_requests"}
            return {name for name, start in found.items() if any(each.startswith(start) for each in selects)}

        self.assertEqual(reads(), set())
        policies.save(cursor, "other", {"plan": "canary"})
        self.assertEqual(reads(), set())
        number = freezes.add(cursor, a_freeze("other")).value.id
        self.assertEqual(reads(), {"policy"})
        freezes.remove(cursor, number, NOON)
        self.assertEqual(reads(), set())
        change_requests.append(cursor, evolve(a_change("unknown"), namespace="other"))
        self.assertEqual(reads(), set())
        change_requests.append(cursor, a_change("unknown"))
        self.assertEqual(reads(), {"changes"})
