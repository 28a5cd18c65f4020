"""Starts and transitions of rollouts in SQL: functions of a cursor that run in the thread of the database."""

from __future__ import annotations

from attrs import evolve

from confd.access.change_requests import describe_origin
from confd.audit import AuditOutcome
from confd.changes import EXPOSED
from confd.controller.store.change_log import Written, revision_change, rollout_change, step_changes
from confd.controller.store.cursor import Cursor
from confd.controller.store.queries import (
    audit,
    break_glass,
    change_requests,
    configs,
    members,
    policies,
    pruning,
    rollouts,
)
from confd.controller.store.rollout_rules import abort_draft, change_members, first_rollout, pick, take_step
from confd.history import check_changed, check_expected
from confd.model import Revision
from confd.rollouts.errors import no_eligible_agent, rollout_active
from confd.rollouts.rollout import Rollout
from confd.rollouts.steps import Addition, NextStep, RolloutStep, Start, Stepped


def start(cursor: Cursor, start: Start, keep: int) -> Written[Stepped]:
    """Start a rollout: L{confd.controller.interfaces.IRolloutStore.start_rollout}."""
    draft = start.draft
    standing = configs.standing(cursor, draft.namespace)
    answered = configs.answered(cursor, draft)
    if answered is not None:
        return Written(_started(cursor, answered))
    current = standing.newest
    check_expected(draft.expected, standing.current.tag)
    change = configs.check_draft(cursor, draft, standing, len(start.plan.waves))
    if standing.rollout is not None:
        raise rollout_active(draft.namespace, standing.rollout)
    check_changed(draft, current)
    number = rollouts.next_rollout(cursor)
    base = current.tag.version
    rollout, exposure = first_rollout(start, number, base, base + 1)
    here = members.here(cursor, draft.namespace, [agent_id for agent_id, _ in exposure.ranked])
    chosen, left = pick(exposure, (), here)
    if not chosen and not rollout.in_last_wave:
        raise no_eligible_agent()
    rollout = evolve(rollout, to_expose=left)
    revision = configs.append(cursor, draft, base + 1, draft.poll_interval or current.poll_interval)
    rollouts.insert(cursor, rollout)
    rollouts.set_fate(cursor, rollout, "activated" if rollout.in_last_wave else "open")
    found = rollouts.Found(rollout, (), revision.configuration.tag)
    exposed = members.expose(cursor, found, chosen, rollout.wave, "picked", draft.made_at)
    rollouts.set_current(cursor, rollout)
    pruning.prune(cursor, draft.namespace, keep)
    changes: list[tuple[str, str, object]] = [rollout_change(rollout, exposed, revision)]
    if rollout.in_last_wave:
        changes.append(revision_change(revision, draft.arrived))
    changes += change_requests.settle(cursor, change, revision)
    changes += _mark_stale(cursor, draft.namespace)
    changes += break_glass.record(cursor, draft.attempt, draft.namespace, revision, number, change is not None)
    return Written(Stepped(rollout, tuple(exposed), True, revision), changes, describe_origin(change))


def step(cursor: Cursor, step: RolloutStep, keep: int) -> Written[Stepped]:
    """Make a transition of a rollout: L{confd.controller.interfaces.IRolloutStore.step_rollout}."""
    found = rollouts.find(cursor, step.rollout)
    following = step.judge(found.rollout, found.members)
    if following is None:
        return Written(Stepped(found.rollout, found.members, False))
    draft = following.draft if isinstance(following, NextStep) else None
    change = None
    if step.delivers or draft is not None:
        reason = step.attempt.break_glass
        restrictions = policies.restrictions(cursor, found.rollout.namespace, step.at, reason)
        restrictions.check_freezes()
        if draft is not None:
            current = configs.standing(cursor, found.rollout.namespace).current
            change = change_requests.admit(cursor, draft, current, restrictions)
    if isinstance(following, Addition):
        return _add(cursor, found, following, step)
    if following.verdict is not None:
        rollouts.save_verdict(cursor, found.rollout, following.verdict)
    revision = _publish(cursor, found.rollout, following, step)
    published = None if revision is None else revision.configuration.version
    here = members.here(cursor, found.rollout.namespace, [agent_id for agent_id, _ in following.exposure.ranked])
    chosen, left = pick(following.exposure, found.members, here)
    rollout = take_step(found.rollout, following, step.at, published, left)
    rollouts.update(cursor, rollout)
    members.save_members(cursor, rollout.id, change_members(found.members, following, step.at))
    members.expose(cursor, found, chosen, rollout.wave, "picked", step.at)
    rollouts.follow_fates(cursor, found.rollout, rollout)
    rollouts.set_current(cursor, rollout)
    pruning.prune(cursor, rollout.namespace, keep)
    detail = audit.joined(following.audited, describe_origin(change))
    after = rollouts.find(cursor, rollout.id)
    changes = _changes(cursor, found.rollout, after, revision)
    if revision is not None:
        changes += change_requests.settle(cursor, change, revision)
    changes += _mark_stale(cursor, rollout.namespace)
    changes += break_glass.record(cursor, step.attempt, rollout.namespace, revision, rollout.id, change is not None)
    audited = [AuditOutcome(step.attempt, detail=detail)]
    return Written(Stepped(rollout, after.members, True, revision), changes, audited=audited)


def _mark_stale(cursor: Cursor, namespace: str) -> list[tuple[str, str, object]]:
    return change_requests.mark_stale(cursor, namespace, configs.standing(cursor, namespace).current.checksum)


def _add(cursor: Cursor, found: rollouts.Found, addition: Addition, step: RolloutStep) -> Written[Stepped]:
    """Write an addition within a step."""
    rollout = found.rollout
    changes: list[tuple[str, str, object]] = []
    audited: list[AuditOutcome] = []
    if addition.verdict is not None:
        rollouts.save_verdict(cursor, rollout, addition.verdict)
        audited.append(AuditOutcome(step.attempt, detail=addition.audited))
        changes += _changes(cursor, rollout, found, None)
    here = members.here(cursor, rollout.namespace, [agent_id for agent_id, _ in addition.exposure.ranked])
    chosen, _ = pick(addition.exposure, found.members, here)
    if chosen:
        members.expose(cursor, found, chosen, rollout.wave, "picked", step.at)
        rollouts.update(cursor, evolve(rollout, to_expose=rollout.to_expose - len(chosen)))
        changes.append((EXPOSED, rollout.namespace, tuple(chosen)))
    after = rollouts.find(cursor, rollout.id)
    return Written(Stepped(after.rollout, after.members, False), changes, audited=audited)


def _started(cursor: Cursor, revision: Revision) -> Stepped:
    """Return the rollout that a revision started, as it is now."""
    configuration = revision.configuration
    (number,) = cursor.execute(
        "SELECT rollout FROM candidates WHERE namespace = ? AND version = ?",
        (configuration.namespace, configuration.version),
    ).fetchone()
    found = rollouts.find(cursor, number)
    return Stepped(found.rollout, found.members, True, revision)


def _publish(cursor: Cursor, rollout: Rollout, following: NextStep, step: RolloutStep) -> Revision | None:
    """Append the revision that a transition publishes."""
    if following.draft is None and not following.revert:
        return None
    standing = configs.standing(cursor, rollout.namespace)
    version = standing.newest.tag.version + 1
    base = configs.revision(cursor, rollout.namespace, rollout.base).configuration
    if following.draft is not None:
        interval = following.draft.poll_interval or base.poll_interval
        return configs.append(cursor, following.draft, version, interval)
    draft = abort_draft(rollout, following, step, base.document)
    return configs.append(cursor, draft, version, base.poll_interval)


def _changes(
    cursor: Cursor, before: Rollout, after: rollouts.Found, revision: Revision | None
) -> list[tuple[str, str, object]]:
    rollout = after.rollout
    candidate = configs.revision(cursor, rollout.namespace, rollout.candidate) if rollout.open else None
    return step_changes(before, rollout, after.members, candidate, revision)
