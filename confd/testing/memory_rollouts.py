"""The rollouts of a store that forgets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Literal

from attrs import evolve
from twisted.internet.defer import Deferred, execute
from zope.interface import implementer

from confd.access.change_requests import ChangeRequest, describe_origin
from confd.access.policies import PlanRequired, Policy, Restrictions, check_plan_change
from confd.audit import Attempt, AuditOutcome
from confd.changes import EXPOSED, Committed, Lanes, ReceivedReport, ReportVerdict
from confd.controller.interfaces import IRolloutStore
from confd.controller.store.change_log import (
    ChangeLog,
    Written,
    judged,
    lanes_of,
    revision_change,
    rollout_change,
    step_changes,
)
from confd.controller.store.queries.audit import joined
from confd.controller.store.rollout_rules import (
    ROLLOUTS_WITH_MEMBERS,
    abort_draft,
    change_members,
    describe_start,
    fates_after,
    first_rollout,
    follow_report,
    give_up_members,
    new_member,
    pick,
    take_step,
)
from confd.history import VersionSummary, check_changed, check_expected
from confd.model import Draft, Registration, Revision
from confd.reports import AgentRecord
from confd.rollouts.errors import no_eligible_agent, rollout_active, unknown_plan, unknown_rollout
from confd.rollouts.rollout import Member, Rollout
from confd.rollouts.steps import Addition, NextStep, RolloutStep, Start, Stepped
from confd.testing.memory_agents import MemoryAgents
from confd.testing.memory_rows import Rows


@implementer(IRolloutStore)
class RolloutRows(Rows):
    """The part of a L{confd.testing.memory.MemoryStore} that keeps rollouts."""

    agents: MemoryAgents
    _log: ChangeLog
    _revisions: dict[str, list[Revision]]
    _answered: Callable[[Draft], Revision | None]
    _append: Callable[[Draft, int], Revision]
    _record: Callable[[Sequence[AuditOutcome]], None]
    _prune: Callable[[str], None]
    _check_in_use: Callable[[str], None]
    _restrictions: Callable[..., Restrictions]
    _policies: dict[str, Policy]
    _check_draft: Callable[..., ChangeRequest | None]
    _admit: Callable[..., ChangeRequest | None]
    _follow_publish: Callable[..., list[tuple[str, str, object]]]
    _follow_step: Callable[..., list[tuple[str, str, object]]]

    def __init__(self) -> None:
        super().__init__()
        self._rollouts: list[Rollout] = []
        self._members: dict[int, dict[str, Member]] = {}
        self._plans: dict[str, str] = {}
        self._fates: dict[tuple[str, int], tuple[int, str]] = {}

    def start_rollout(self, start: Start) -> Deferred[Committed[Stepped]]:
        return self._audited(start.draft.attempt, describe_start, self._start, start)

    def step_rollout(self, step: RolloutStep) -> Deferred[Committed[Stepped]]:
        return self._write(self._step, step)

    def detect(self, rollout: int, agent_id: str, fit: bool, at: datetime) -> Deferred[Committed[bool]]:
        return self._write(self._detect, rollout, agent_id, fit, at)

    def rollout(self, rollout: int) -> Deferred[tuple[Rollout, Sequence[Member]]]:
        return execute(lambda: (self._find(rollout), self._members_of(rollout)))

    def rollouts(
        self, namespace: str, states: Sequence[str], limit: int, before: int | None
    ) -> Deferred[Sequence[Rollout]]:
        found = [
            each
            for each in self._rollouts[::-1]
            if each.namespace == namespace and each.state in states and (before is None or each.id < before)
        ]
        return execute(lambda: found[:limit])

    def next_rollout(self) -> Deferred[int]:
        return execute(lambda: len(self._rollouts) + 1)

    def open_rollouts(self) -> Deferred[Sequence[tuple[Rollout, Sequence[Member]]]]:
        return execute(lambda: [(each, self._members_of(each.id)) for each in self._rollouts if each.open])

    def fates(self, namespace: str, versions: Sequence[int]) -> Deferred[Mapping[int, tuple[int, str]]]:
        found = {version: fate for version in versions if (fate := self._fates.get((namespace, version)))}
        return execute(lambda: found)

    def plans(self) -> Deferred[Mapping[str, str]]:
        return execute(lambda: dict(sorted(self._plans.items())))

    def save_plan(self, name: str, body: str, attempt: Attempt | None = None) -> Deferred[Committed[None]]:
        return self._audited(attempt, lambda _: name, self._save_plan, name, body)

    def remove_plan(self, name: str, attempt: Attempt | None = None) -> Deferred[Committed[None]]:
        return self._audited(attempt, lambda _: name, self._remove_plan, name)

    def _save_plan(self, name: str, body: str) -> Written[None]:
        check_plan_change(name, self._policies, body)
        self._plans[name] = body
        return Written(None)

    def _remove_plan(self, name: str) -> Written[None]:
        if name not in self._plans:
            raise unknown_plan(name)
        check_plan_change(name, self._policies)
        del self._plans[name]
        return Written(None)

    def _find(self, rollout: int) -> Rollout:
        if not 0 < rollout <= len(self._rollouts):
            raise unknown_rollout(rollout)
        return self._rollouts[rollout - 1]

    def _members_of(self, rollout: int) -> Sequence[Member]:
        return tuple(member for _, member in sorted(self._members.get(rollout, {}).items()))

    def _open(self, namespace: str) -> Rollout | None:
        return next((each for each in self._rollouts if each.namespace == namespace and each.open), None)

    def _current_of(self, namespace: str) -> Revision:
        """Return the revision that callers outside of a rollout get."""
        rollout, revisions = self._open(namespace), self._revisions[namespace]
        return revisions[-1] if rollout is None or rollout.in_last_wave else revisions[rollout.base - 1]

    def _lanes(self) -> dict[str, Lanes]:
        return {
            each.namespace: lanes_of(each, self._members_of(each.id), self._candidate(each))
            for each in self._rollouts
            if each.open
        }

    def _candidate(self, rollout: Rollout) -> Revision:
        return self._revisions[rollout.namespace][rollout.candidate - 1]

    def _check_answer(self, draft: Draft, answered: Revision) -> None:
        """Refuse the retry of a publish that started a rollout by the policy of its namespace."""
        number, _ = self._fates.get((draft.namespace, answered.configuration.version), (0, ""))
        if number and not draft.rollout:
            raise PlanRequired(draft.namespace, self._find(number).plan.name)

    def _start(self, start: Start) -> Written[Stepped]:
        draft = start.draft
        self._check_in_use(draft.namespace)
        answered = self._answered(draft)
        if answered is not None:
            number, _ = self._fates[draft.namespace, answered.configuration.version]
            return Written(Stepped(self._find(number), self._members_of(number), True, answered))
        current = self._current_of(draft.namespace).configuration
        check_expected(draft.expected, current.tag)
        change = self._check_draft(draft, len(start.plan.waves))
        self._refuse_while_open(draft.namespace)
        self._check_changed(draft)
        number = len(self._rollouts) + 1
        rollout, exposure = first_rollout(start, number, current.version, current.version + 1)
        chosen, left = pick(exposure, (), self._here(draft.namespace))
        if not chosen and not rollout.in_last_wave:
            raise no_eligible_agent()
        rollout = evolve(rollout, to_expose=left)
        revision = self._append(draft, draft.poll_interval or current.poll_interval)
        self._rollouts.append(rollout)
        self._give_up_members(draft.namespace)
        self._members[number] = {}
        self._fates[draft.namespace, rollout.candidate] = number, "activated" if rollout.in_last_wave else "open"
        self._expose(rollout, chosen, "picked", draft.made_at)
        self._prune(draft.namespace)
        members = self._members_of(number)
        changes: list[tuple[str, str, object]] = [rollout_change(rollout, members, revision)]
        if rollout.in_last_wave:
            changes.append(revision_change(revision, draft.arrived))
        changes += self._follow_publish(draft, change, revision, number)
        return Written(Stepped(rollout, members, True, revision), changes, describe_origin(change))

    def _give_up_members(self, namespace: str) -> None:
        there = [each for each in self._rollouts if each.namespace == namespace]
        for each in there[:-ROLLOUTS_WITH_MEMBERS]:
            if self._members[each.id]:
                self._rollouts[each.id - 1] = give_up_members(each, self._members_of(each.id))
                self._members[each.id] = {}

    def _step(self, step: RolloutStep) -> Written[Stepped]:
        before = self._find(step.rollout)
        members = self._members_of(before.id)
        following = step.judge(before, members)
        if following is None:
            return Written(Stepped(before, members, False))
        draft = following.draft if isinstance(following, NextStep) else None
        change = None
        if step.delivers or draft is not None:
            restrictions = self._restrictions(before.namespace, step.at, step.attempt.break_glass)
            restrictions.check_freezes()
            change = None if draft is None else self._admit(draft, restrictions)
        if isinstance(following, Addition):
            return self._add(before, members, following, step)
        revision = self._publish_step(before, following, step)
        published = None if revision is None else revision.configuration.version
        chosen, left = pick(following.exposure, members, self._here(before.namespace))
        rollout = take_step(before, following, step.at, published, left)
        self._rollouts[before.id - 1] = rollout
        self._members[rollout.id].update({each.agent_id: each for each in change_members(members, following, step.at)})
        self._expose(before, chosen, "picked", step.at, rollout.wave)
        self._follow_fates(before, rollout)
        self._prune(rollout.namespace)
        self._record([AuditOutcome(step.attempt, detail=joined(following.audited, describe_origin(change)))])
        members = self._members_of(rollout.id)
        changes = step_changes(before, rollout, members, self._candidate(rollout), revision)
        changes += self._follow_step(step, rollout, change, revision)
        return Written(Stepped(rollout, members, True, revision), changes)

    def _add(
        self, rollout: Rollout, members: Sequence[Member], addition: Addition, step: RolloutStep
    ) -> Written[Stepped]:
        """Write an addition within a step."""
        changes: list[tuple[str, str, object]] = []
        if addition.verdict is not None:
            verdicts = {**rollout.verdicts, addition.verdict.name: addition.verdict.passed}
            rollout = evolve(rollout, verdicts=verdicts)
            self._record([AuditOutcome(step.attempt, detail=addition.audited)])
            changes.append(rollout_change(rollout, members, self._candidate(rollout)))
        chosen, _ = pick(addition.exposure, members, self._here(rollout.namespace))
        if chosen:
            self._expose(rollout, chosen, "picked", step.at)
            rollout = evolve(rollout, to_expose=rollout.to_expose - len(chosen))
            changes.append((EXPOSED, rollout.namespace, tuple(chosen)))
        self._rollouts[rollout.id - 1] = rollout
        return Written(Stepped(rollout, self._members_of(rollout.id), False), changes)

    def _publish_step(self, rollout: Rollout, following: NextStep, step: RolloutStep) -> Revision | None:
        base = self._revisions[rollout.namespace][rollout.base - 1].configuration
        if following.draft is not None:
            return self._append(following.draft, following.draft.poll_interval or base.poll_interval)
        if not following.revert:
            return None
        return self._append(abort_draft(rollout, following, step, base.document), base.poll_interval)

    def _supersede(self, namespace: str, version: int, at: datetime) -> list[tuple[str, str, object]]:
        """End the open rollout of a namespace, if one is open; return the change."""
        before = self._open(namespace)
        if before is None:
            return []
        ended = take_step(before, NextStep("superseded", before.wave), at, version)
        self._rollouts[before.id - 1] = ended
        self._follow_fates(before, ended)
        return [rollout_change(ended, (), None)]

    def _follow_fates(self, before: Rollout, after: Rollout) -> None:
        for rollout, fate in fates_after(before, after):
            self._fates[rollout.namespace, rollout.candidate] = rollout.id, fate

    def _refuse_while_open(self, namespace: str) -> None:
        rollout = self._open(namespace)
        if rollout is not None:
            raise rollout_active(namespace, rollout.id)

    def _check_changed(self, draft: Draft) -> None:
        if self._open(draft.namespace) is None:
            check_changed(draft, VersionSummary.of(self._current_of(draft.namespace)))

    def _here(self, namespace: str) -> frozenset[str]:
        return frozenset(each.id for each in self.agents.rows.values() if each.namespace == namespace)

    def _expose(
        self,
        rollout: Rollout,
        chosen: Mapping[str, bool],
        how: Literal["picked", "detected"],
        at: datetime,
        wave: int | None = None,
    ) -> None:
        rows, tag = self._members[rollout.id], self._candidate(rollout).configuration.tag
        for agent_id, fit in chosen.items():
            last = self.agents.rows[agent_id].report
            member = new_member(agent_id, wave or rollout.wave, how, fit, last, tag, at)
            before = rows.get(agent_id)
            rows[agent_id] = evolve(member, runs=member.runs + (before.runs if before else 0))

    def _detect(self, number: int, agent_id: str, fit: bool, at: datetime) -> Written[bool]:
        rollout = self._find(number)
        member = self._members[number].get(agent_id)
        if not rollout.open:
            return Written(False)
        if member is not None and not member.gone:
            return Written(True)
        if agent_id not in self._here(rollout.namespace):
            return Written(False)
        self._expose(rollout, {agent_id: fit}, "detected", at)
        return Written(True, [(EXPOSED, rollout.namespace, (agent_id,))])

    def _leave(self, agent_id: str) -> None:
        """Take an agent out of the counts of open rollouts."""
        for rollout in self._rollouts:
            member = self._members[rollout.id].get(agent_id)
            if rollout.open and member is not None:
                self._members[rollout.id][agent_id] = evolve(member, gone=True)

    def _register(self, registration: Registration, token: bytes, at: datetime) -> Written[AgentRecord]:
        there = self.agents.rows.get(registration.agent_id)
        written = self.agents.register(registration, token, at)
        if there is not None and there.namespace != registration.namespace:
            self._leave(there.id)
        return written

    def _remove_agent(self, remove: Callable[[str], Written[None]], agent_id: str) -> Written[None]:
        self._leave(agent_id)
        return remove(agent_id)

    def _save_reports(self, reports: Sequence[ReceivedReport]) -> Written[Sequence[ReportVerdict]]:
        verdicts = self.agents.save_reports(reports, self._log.times(reports))
        self._follow_reports([each for each, verdict in zip(reports, verdicts, strict=True) if verdict.outcome])
        return judged(reports, verdicts)

    def _follow_reports(self, reports: Sequence[ReceivedReport]) -> None:
        """Follow accepted reports in the rows of members."""
        for received in reports:
            rollout = self._open(received.namespace)
            member = self._members[rollout.id].get(received.agent_id) if rollout else None
            if rollout is not None and member is not None and not member.gone:
                tag = self._candidate(rollout).configuration.tag
                self._members[rollout.id][member.agent_id] = follow_report(member, received.report, tag, received.at)
