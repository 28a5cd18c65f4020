"""The bodies of responses about rollouts and plans, and the functions that fill them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NotRequired, TypedDict

import msgspec

from confd.access.freezes import text_of
from confd.codec.headers import rfc3339
from confd.codec.strict_json import JsonObject
from confd.controller.api.schemas import PublishBody
from confd.controller.convergence.tracker import Convergence
from confd.controller.rollouts.decide import alive, count
from confd.controller.rollouts.plans import BUILT_IN, PlanSpec, plan_body
from confd.controller.rollouts.views import RolloutView
from confd.reports import ReportState
from confd.rollouts.rollout import Member, Rollout
from confd.web.openapi.docs import Moment

_VERDICTS: Mapping[bool | None, Literal["passed", "failed", "missing"]] = {
    True: "passed",
    False: "failed",
    None: "missing",
}


class WaveBody(TypedDict):
    """A wave, and the members that it exposed, by outcome."""

    wave: int
    count: NotRequired[int]
    percent: NotRequired[int]
    select: NotRequired[str]
    members: int
    applied: int
    failed: int
    silent: int
    pending: int
    unverified: int
    started_at: Moment | None


class GateBody(TypedDict):
    """What the gate of the present wave needs. Times are in seconds, as this controller measured them."""

    settled: int
    required: int
    failures: int
    limit: int
    bake_left_s: float
    patience_left_s: float
    frozen_until: Moment | None
    checks: dict[str, Literal["passed", "failed", "missing"]]


class RecoveryBody(TypedDict):
    """Members by their result for the version that ended a rollout."""

    version: int
    members: int
    applied: int
    failed: int
    pending: int


class RolloutItem(TypedDict):
    """A rollout without its members."""

    id: int
    namespace: str
    base: int
    candidate: int
    state: str
    reason: str
    wave: int
    step: int
    started_by: str
    started_at: Moment
    step_at: Moment
    ended_at: Moment | None
    ended_as: int | None
    laggards: int
    plan: JsonObject


class RolloutBody(RolloutItem):
    """A rollout. C{gate} is C{null} after its end, and C{recovery} is C{null} unless it ended in another version."""

    members: int
    waves: list[WaveBody]
    gate: GateBody | None
    next: str
    recovery: RecoveryBody | None
    warnings: NotRequired[list[str]]


class RolloutPage(TypedDict):
    """A page of rollouts, newest first; C{next} is the C{before} of the next page."""

    items: list[RolloutItem]
    next: NotRequired[int]


class MemberItem(TypedDict):
    """A member of a rollout."""

    id: str
    hostname: str | None
    wave: int
    how: str
    fit: bool
    outcome: str
    verified: bool
    error: str | None
    since: Moment


class MemberPage(TypedDict):
    """A page of members by id; C{next} is the C{after} of the next page."""

    items: list[MemberItem]
    next: NotRequired[str]


class PlansBody(TypedDict):
    """All plans."""

    items: list[JsonObject]


class RolloutStartBody(PublishBody):
    """A candidate, and the rollout that delivers it."""

    rollout: RolloutBody


def rollout_item(rollout: Rollout) -> RolloutItem:
    """Return a rollout without its members."""
    return {
        "id": rollout.id,
        "namespace": rollout.namespace,
        "base": rollout.base,
        "candidate": rollout.candidate,
        "state": rollout.state,
        "reason": rollout.reason,
        "wave": rollout.wave,
        "step": rollout.step,
        "started_by": rollout.started_by,
        "started_at": rfc3339(rollout.started_at),
        "step_at": rfc3339(rollout.step_at),
        "ended_at": rfc3339(rollout.ended_at),
        "ended_as": rollout.ended_as,
        "laggards": rollout.behind,
        "plan": _without_nulls(msgspec.to_builtins(rollout.plan)),
    }


def rollout_body(view: RolloutView, recovery: RecoveryBody | None = None) -> RolloutBody:
    """Return a rollout with its members by wave."""
    rollout = view.rollout
    gate = _gate(view) if rollout.open else None
    item = rollout_item(rollout)
    return {
        **item,  # type: ignore[typeddict-item]
        "members": view.counts.members,
        "waves": [_wave(view, number) for number in range(1, rollout.plan.last_number + 1)],
        "gate": gate,
        "next": _next(view, gate),
        "recovery": recovery,
    }


def whole_rollout(convergence: Convergence, view: RolloutView) -> RolloutBody:
    """Return a rollout as GET shows it: after another end than completion, with its recovery."""
    return rollout_body(view, _recovery(convergence, view))


def member_item(view: RolloutView, member: Member, hostname: str | None) -> MemberItem:
    """Return a member of a rollout; C{hostname} is C{None} for an unknown agent."""
    return {
        "id": member.agent_id,
        "hostname": hostname,
        "wave": member.wave,
        "how": member.how,
        "fit": member.fit,
        "outcome": view.outcome(member),
        "verified": member.verified,
        "error": member.error or None,
        "since": rfc3339(member.at),
    }


def plan_item(spec: PlanSpec) -> JsonObject:
    """Return a plan as people write it."""
    return plan_body(spec) | {"built_in": spec.name in BUILT_IN}


def _without_nulls(plan: JsonObject) -> JsonObject:
    """Return a plan without fields that its waves do not have."""
    waves = [*plan["waves"], plan["last"]]
    *sized, last = ({name: each for name, each in wave.items() if each is not None} for wave in waves)
    return plan | {"waves": sized, "last": last}


def _wave(view: RolloutView, number: int) -> WaveBody:
    wave = view.rollout.plan.wave(number)
    started = next((each for each in view.rollout.started_waves if each.wave == number), None)
    counts = count((each for each in view.members if each.wave == number), view.rollout, view.around)
    body: WaveBody = {
        "wave": number,
        "members": counts.members,
        "applied": counts.applied,
        "failed": counts.failed,
        "silent": counts.silent,
        "pending": counts.pending,
        "unverified": counts.unverified,
        "started_at": None if started is None else rfc3339(started.started_at),
    }
    if started is not None and started.applied is not None:
        # The members were given up.
        body["applied"], body["failed"], body["pending"] = started.applied, started.failed or 0, started.pending or 0
        body["members"] = body["applied"] + body["failed"] + body["pending"]
    if wave.count is not None:
        body["count"] = wave.count
    if wave.percent is not None:
        body["percent"] = wave.percent
    if wave.select:
        body["select"] = wave.select
    return body


def _gate(view: RolloutView) -> GateBody:
    counts = view.counts
    return {
        "settled": view.settled,
        "required": view.required,
        "failures": counts.failures,
        "limit": view.rollout.plan.wave(view.rollout.wave).limit(counts.members),
        "bake_left_s": round(view.bake_left, 1),
        "patience_left_s": round(view.patience_left, 1),
        "frozen_until": None if view.frozen_until is None else text_of(view.frozen_until),
        "checks": {name: _VERDICTS[verdict] for name, verdict in view.checks.items()},
    }


def _recovery(convergence: Convergence, view: RolloutView) -> RecoveryBody | None:
    """Return how the members of an ended rollout follow the version that ended it."""
    version = view.rollout.ended_as
    progress = None if version is None else convergence.progress(view.rollout.namespace, version)
    if version is None or progress is None:
        return None
    members = alive(view.members)
    found = [progress.outcomes.get(each.agent_id) for each in members]
    states = [each.state for each in found if each is not None]
    applied, failed = states.count(ReportState.APPLIED), states.count(ReportState.FAILED)
    return {
        "version": version,
        "members": len(members),
        "applied": applied,
        "failed": failed,
        "pending": len(members) - applied - failed,
    }


def _next(view: RolloutView, gate: GateBody | None) -> str:
    """Return one sentence on what the rollout waits for."""
    rollout = view.rollout
    if gate is None:
        ended = f" in favor of version {rollout.ended_as}" if rollout.ended_as is not None else ""
        return f"The rollout is {rollout.state}{ended}."
    if rollout.state == "paused":
        return f"Paused ({rollout.reason}); resume, promote or abort the rollout."
    if gate["frozen_until"] is not None and rollout.state == "running":
        return f"Frozen until {gate['frozen_until']}; the rollout stays in its wave, and failures still count."
    said = f"{gate['settled']} of {gate['required']} members settled"
    if gate["failures"]:
        said += f", {gate['failures']} failed or silent (limit {gate['limit']})"
    missing = [name for name, verdict in gate["checks"].items() if verdict == "missing"]
    if missing:
        said += f"; waiting for the check {' and '.join(missing)}"
    if rollout.to_expose:
        said += f"; {rollout.to_expose} agents are to follow"
    if gate["bake_left_s"]:
        said += f"; the bake ends in {gate['bake_left_s']:.0f} s at the earliest"
    return said + "."


def named_members(view: RolloutView, wanted: str | None) -> list[Member]:
    """Return the members with an outcome, by id; all members if C{wanted} is C{None}."""
    return [each for each in alive(view.members) if wanted is None or view.outcome(each) == wanted]
