"""Rules of rollouts that every store applies: pure functions of rollouts, members and reports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Literal

from attrs import evolve

from confd.model import Document, Draft, Tag
from confd.reports import Report, ReportState
from confd.rollouts.rollout import Member, Rollout, StartedWave, State
from confd.rollouts.steps import Exposure, NextStep, RolloutStep, Start, Stepped

#: Rollouts of a namespace whose members are kept.
ROLLOUTS_WITH_MEMBERS = 16


def follow_report(member: Member, report: Report, candidate: Tag, at: datetime) -> Member:
    """
    Return a member after a report of its agent.

    @param candidate: the tag of the candidate.
    """
    before = member.session_repairs if report.session == member.session else 0
    repaired = max(0, report.repairs - before)
    state: Literal["pending", "applied", "failed"] = "pending"
    if report.tag == candidate and report.state.final:
        state = "applied" if report.state is ReportState.APPLIED else "failed"
    began = state == "applied" and (member.state != "applied" or repaired > 0)
    return evolve(
        member,
        state=state,
        verified=state == "applied" and report.verified,
        runs=member.runs + began,
        repairs=member.repairs + repaired,
        session=report.session,
        session_repairs=report.repairs,
        error=report.error if state == "failed" else "",
        at=member.at if state == member.state else at,
    )


def new_member(
    agent_id: str, wave: int, how: Literal["picked", "detected"], fit: bool, last: Report | None, tag: Tag, at: datetime
) -> Member:
    """
    Return the row of an agent that becomes a member.

    @param last: its last report. Repairs that it counts happened before.
    @param tag: the candidate.
    """
    member = Member(agent_id, wave, how, fit, at)
    if last is None:
        return member
    return follow_report(evolve(member, session=last.session, session_repairs=last.repairs), last, tag, at)


def take_step(rollout: Rollout, following: NextStep, at: datetime, published: int | None, left: int = 0) -> Rollout:
    """
    Return a rollout after a transition.

    @param published: the version that the transition published; C{None} without one.
    @param left: agents of the next wave that are exposed later.
    """
    same_wave = following.wave == rollout.wave and following.draft is None
    ended = following.state in ("completed", "aborted", "superseded")
    started = () if following.draft is not None else rollout.started_waves
    if following.draft is not None or following.wave != rollout.wave:
        started += (StartedWave(following.wave, at),)
    return evolve(
        rollout,
        candidate=rollout.candidate if following.draft is None or published is None else published,
        state=following.state,
        wave=following.wave,
        step=rollout.step + 1,
        reason=following.reason,
        step_at=at,
        ended_at=at if ended else None,
        ended_as=published if ended else None,
        behind=following.behind,
        started_waves=started,
        to_expose=0 if ended else rollout.to_expose if same_wave else left,
        verdicts={},
    )


def give_up_members(rollout: Rollout, members: Sequence[Member]) -> Rollout:
    """Return a rollout with counts in the place of its members."""
    by_wave = {each.wave: Counter[str]() for each in rollout.started_waves}
    for member in members:
        if not member.gone:
            by_wave.setdefault(member.wave, Counter())[member.state] += 1
    counted = tuple(
        StartedWave(each.wave, each.started_at, counts["applied"], counts["failed"], counts["pending"])
        for each in rollout.started_waves
        for counts in [by_wave[each.wave]]
    )
    return evolve(rollout, started_waves=counted)


def abort_draft(rollout: Rollout, following: NextStep, step: RolloutStep, base: Document) -> Draft:
    """
    Return the version that an abort publishes.

    @param base: the document of the base.
    """
    comment = f"Rollout {rollout.id} was aborted: {following.comment or following.reason}"
    return Draft(rollout.namespace, base, step.attempt.who, step.at, comment=comment, rollback_of=rollout.base)


def fates_after(before: Rollout, after: Rollout) -> Sequence[tuple[Rollout, str]]:
    """Return what a transition makes of candidates: the rollout with the candidate, and the fate of the candidate."""
    if after.candidate != before.candidate:
        return [(before, "dropped"), (after, "open")]
    if not before.in_last_wave and (after.in_last_wave or not after.open):
        return [(after, "activated" if after.open else "dropped")]
    return []


def change_members(members: Sequence[Member], following: NextStep, at: datetime) -> Sequence[Member]:
    """Return the members whose rows a transition changes, as they are afterwards."""
    if following.draft is not None:
        return [reset_member(each, at) for each in members]
    return [evolve(each, fit=False) for each in members if each.agent_id in following.accepted]


def pick(exposure: Exposure, members: Sequence[Member], here: Collection[str]) -> tuple[Mapping[str, bool], int]:
    """
    Return the agents that become members, with their fitness, and how many agents are to follow later.

    @param here: ids of the agents that are in the namespace.
    """
    present = {each.agent_id for each in members if not each.gone}
    missing = exposure.members - sum(agent_id in present for agent_id, _ in exposure.ranked)
    able = [(agent_id, fit) for agent_id, fit in exposure.ranked if agent_id not in present and agent_id in here]
    due = able[: max(0, missing)]
    chosen = dict(due[: exposure.at_once])
    return chosen, len(due) - len(chosen)


def first_rollout(start: Start, number: int, base: int, candidate: int) -> tuple[Rollout, Exposure]:
    """
    Return a rollout at its start, and the agents of its first wave.

    @param number: the id of the rollout.
    """
    wave, exposure = start.prepare(number)
    draft, at = start.draft, start.draft.made_at
    state: State = "finishing" if wave == start.plan.last_number else "running"
    rollout = Rollout(number, draft.namespace, base, candidate, start.plan, state, wave, 1, "", draft.author, at, at)
    return evolve(rollout, started_waves=(StartedWave(wave, at),)), exposure


def describe_start(stepped: Stepped) -> str:
    """Return the audit detail of a start."""
    return f"rollout {stepped.rollout.id} of version {stepped.rollout.candidate}"


def reset_member(member: Member, at: datetime) -> Member:
    """Return a member as if it had not reported, for another candidate. It keeps its runs."""
    return evolve(member, state="pending", verified=False, repairs=0, error="", at=at)
