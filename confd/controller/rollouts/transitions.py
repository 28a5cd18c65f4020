"""What each transition of a rollout writes: pure functions, which the store calls inside its transaction."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve

from confd.controller.rollouts.decide import Clocks, Counts, Surroundings, Transition, alive, count, decide, outcome
from confd.controller.rollouts.picking import PoolAgent, all_reported, choose, next_wave, pool_of, salt_of
from confd.errors import ConfdError, Conflict, PreconditionFailed
from confd.model import Draft
from confd.rollouts.errors import no_eligible_agent
from confd.rollouts.rollout import CheckVerdict, Member, Rollout, State
from confd.rollouts.steps import Addition, Judge, NextStep

#: Checks with a verdict in one step.
MAX_VERDICTS = 64


def judge_automatically(
    seen: Rollout, due: Transition, around: Surroundings, clocks: Clocks, agents: Sequence[PoolAgent]
) -> Judge:
    """
    Return a judge that makes a transition if it is still due.

    @param seen: the rollout for which C{due} was decided.
    @param agents: the agents of the namespace that have reported.
    """

    def judge(rollout: Rollout, members: Sequence[Member]) -> NextStep | Addition | None:
        if rollout.step != seen.step:
            return None
        counts = count(members, rollout, around)
        if decide(rollout, counts, clocks) != due:
            return None
        if due.to == "next":
            return _advance(rollout, members, agents, due.reason, counts.pending)
        if due.to == "more":
            return add_members(rollout, members, agents, counts)
        return _follow(rollout, due, counts)

    return judge


def add_members(
    rollout: Rollout, members: Sequence[Member], agents: Sequence[PoolAgent], counts: Counts
) -> Addition | None:
    """
    Return the agents that a wave in parallel exposes next, those of lowest rank in its pool.

    @param agents: the agents of the namespace that have reported.
    @return: C{None} while no agent is eligible.
    """
    plan, ids = rollout.plan, {each.agent_id for each in alive(members)}
    salt = salt_of(plan, rollout.namespace, rollout.id)
    exposure = choose(plan, plan.wave(rollout.wave), agents, ids, salt, counts.pending)
    here = sum(agent_id in ids for agent_id, _ in exposure.ranked)
    if here == len(exposure.ranked):
        return None
    return Addition(evolve(exposure, members=here + rollout.to_expose))


def can_add(rollout: Rollout, members: Sequence[Member], agents: Sequence[PoolAgent]) -> bool:
    """Return whether L{add_members} finds an agent; this ranks none of them."""
    ids = {each.agent_id for each in alive(members)}
    pool = pool_of(rollout.plan, rollout.plan.wave(rollout.wave), agents, ids)
    return any(each.id not in ids for each in pool)


def post_check(expected: str | None, verdict: CheckVerdict, around: Surroundings) -> Judge:
    """Return a judge that records a verdict; a failed check stops the rollout as a failure does."""

    def judge(rollout: Rollout, members: Sequence[Member]) -> NextStep | Addition | None:
        check(rollout, expected)
        verdicts = {**rollout.verdicts, verdict.name: verdict.passed}
        if len(verdicts) > MAX_VERDICTS:
            raise Conflict(
                "too_many_checks",
                f"Rollout {rollout.id} has verdicts of {MAX_VERDICTS} checks in this step; post one of their names.",
            )
        if not verdict.passed:
            judged, counts = evolve(rollout, verdicts=verdicts), count(members, rollout, around)
            due = decide(judged, counts, Clocks())
            if due is not None:
                stop = _follow(rollout, due, counts)
                return evolve(stop, verdict=verdict, detail=f"{stop.detail}: check {verdict.name} failed")
        said = "passed" if verdict.passed else "failed"
        return Addition(verdict=verdict, detail=_detail(rollout, f"check {verdict.name} {said}", ""))

    return judge


def commented(judge: Judge, comment: str) -> Judge:
    """Return a judge that adds the comment of a person to each step of C{judge}."""

    def commented(rollout: Rollout, members: Sequence[Member]) -> NextStep | Addition | None:
        following = judge(rollout, members)
        return None if following is None else evolve(following, comment=comment)

    return commented


def only_held(judge: Judge, refusal: ConfdError) -> Judge:
    """Return a judge that raises C{refusal} for an open rollout, unless the rollout is paused in a wave that holds."""

    def held(rollout: Rollout, members: Sequence[Member]) -> NextStep | Addition | None:
        if rollout.open and (rollout.state, rollout.reason) != ("paused", "held"):
            raise refusal
        return judge(rollout, members)

    return held


def pause(expected: str | None) -> Judge:
    """
    Return a judge that pauses a rollout; see L{check} for the parameter.
    """

    def judge(rollout: Rollout, members: Sequence[Member]) -> NextStep | None:
        check(rollout, expected)
        if rollout.state == "paused":
            return None
        return NextStep("paused", rollout.wave, "requested", detail=_detail(rollout, "paused", "requested"))

    return judge


def resume(expected: str | None, around: Surroundings) -> Judge:
    """Return a judge that resumes a paused rollout; a person accepts the present failures."""

    def judge(rollout: Rollout, members: Sequence[Member]) -> NextStep | None:
        check(rollout, expected)
        if rollout.state != "paused":
            raise Conflict("not_paused", f"Rollout {rollout.id} is {rollout.state}; only a paused rollout resumes.")
        state: State = "finishing" if rollout.in_last_wave else "running"
        accepted = _failing(rollout, members, around)
        return NextStep(state, rollout.wave, accepted=accepted, detail=_detail(rollout, state, "resumed"))

    return judge


def promote(expected: str | None, to_all: bool, around: Surroundings, agents: Sequence[PoolAgent]) -> Judge:
    """Return a judge that starts the next wave, or the last one, without waiting for the gate."""

    def judge(rollout: Rollout, members: Sequence[Member]) -> NextStep | None:
        check(rollout, expected)
        if rollout.in_last_wave:
            raise Conflict("last_wave", f"Rollout {rollout.id} is in its last wave; abort it, or wait for its end.")
        accepted, pending = _failing(rollout, members, around), count(members, rollout, around).pending
        skipped = f"skipped the gate of wave {rollout.wave}"
        if to_all:
            last = rollout.plan.last_number
            return NextStep(
                "finishing",
                last,
                exposure=all_reported(agents),
                accepted=accepted,
                detail=_detail(rollout, f"wave {last}", skipped),
            )
        return _advance(rollout, members, agents, skipped, pending, accepted)

    return judge


def replace(expected: str | None, draft: Draft) -> Judge:
    """Return a judge that gives a rollout another candidate; its members stay exposed."""

    def judge(rollout: Rollout, members: Sequence[Member]) -> NextStep | None:
        check(rollout, expected)
        if rollout.in_last_wave:
            raise Conflict(
                "rollout_finishing",
                f"The candidate of rollout {rollout.id} is current already; abort the rollout, or publish with"
                " rollout=abort.",
            )
        return NextStep("running", 1, draft=draft, detail=_detail(rollout, "running", "replaced the candidate"))

    return judge


def abort(expected: str | None) -> Judge:
    """Return a judge that aborts a rollout; it leaves an aborted one as it is."""

    def judge(rollout: Rollout, members: Sequence[Member]) -> NextStep | None:
        if rollout.state == "aborted":
            return None
        check(rollout, expected)
        detail = _detail(rollout, "aborted", "requested")
        return NextStep("aborted", rollout.wave, "requested", revert=True, detail=detail)

    return judge


def etag_of(rollout: Rollout) -> str:
    """Return the entity tag of a rollout, without quotes."""
    return f"r{rollout.id}.{rollout.step}"


def check(rollout: Rollout, expected: str | None) -> None:
    """
    Check that a person may change a rollout.

    @param expected: C{If-Match}; C{None} skips the check.
    @raise Conflict: C{rollout_over}.
    @raise PreconditionFailed: C{version_mismatch}.
    """
    if not rollout.open:
        raise Conflict("rollout_over", f"Rollout {rollout.id} is {rollout.state}; start a new rollout.")
    if expected is not None and f'"{etag_of(rollout)}"' not in expected and expected != "*":
        raise PreconditionFailed(
            "version_mismatch", f"Rollout {rollout.id} has made a step since; read it, then decide again."
        )


def _advance(
    rollout: Rollout,
    members: Sequence[Member],
    agents: Sequence[PoolAgent],
    reason: str,
    pending: int,
    accepted: frozenset[str] = frozenset(),
) -> NextStep:
    """
    Return the step to the next wave that adds a member.

    @raise Conflict: C{no_eligible_agent}, if a person asked for the step.
    """
    ids = {each.agent_id for each in alive(members)}
    salt = salt_of(rollout.plan, rollout.namespace, rollout.id)
    found = next_wave(rollout.plan, rollout.wave, agents, ids, salt, pending)
    if found is None:
        if accepted or reason.startswith("skipped"):
            raise no_eligible_agent()
        return NextStep(
            "paused", rollout.wave, "no_eligible_agent", detail=_detail(rollout, "paused", "no_eligible_agent")
        )
    number, exposure = found
    state: State = "finishing" if number == rollout.plan.last_number else "running"
    detail = _detail(rollout, f"wave {number}", reason)
    return NextStep(state, number, exposure=exposure, accepted=accepted, detail=detail)


def _follow(rollout: Rollout, due: Transition, counts: Counts) -> NextStep:
    """Return the step to a state other than the next wave."""
    assert due.to != "next" and due.to != "more"
    return NextStep(
        due.to,
        rollout.wave,
        due.reason,
        revert=due.to == "aborted",
        behind=counts.members - counts.applied if due.to == "completed" else 0,
        detail=_detail(rollout, due.to, due.reason),
    )


def _failing(rollout: Rollout, members: Sequence[Member], around: Surroundings) -> frozenset[str]:
    failing = (each for each in alive(members) if outcome(each, rollout, around) in ("failed", "silent"))
    return frozenset(each.agent_id for each in failing)


def _detail(rollout: Rollout, to: str, reason: str) -> str:
    """Return the detail of an audit entry."""
    return f"rollout {rollout.id}: {to}" + (f" ({reason})" if reason else "")
