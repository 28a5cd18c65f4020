"""The values of rollouts: a new version goes to the agents of a namespace in waves."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Literal

from attrs import field, frozen

from confd.audit import Attempt
from confd.errors import Conflict, NotFound
from confd.model import Draft, Revision

State = Literal["running", "paused", "finishing", "completed", "aborted", "superseded"]

#: In the place of the name of a plan: publish to all callers, and supersede an open rollout.
SUPERSEDE = "abort"

#: Repairs of a worker since its agent became a member, from which on the candidate counts as failed.
REPAIRS_UNTIL_FAILED = 3


@frozen
class Wave:
    """
    One wave of a plan, with all defaults resolved.

    @ivar count: members after the wave; C{None} if C{percent} decides.
    @ivar percent: members after the wave, in percent of the pool; C{None} in the last wave, too.
    @ivar select: limits the pool to agents whose labels match this selector.
    @ivar quorum: percent of the members that are neither failed nor silent.
    @ivar bake: seconds that a member must stay applied.
    @ivar patience: seconds without a newly applied member after which the wave is stalled.
    @ivar max_failures: members, or percent of all members as C{"2%"}; more are too many.
    @ivar hold: wait for a person after the gate.
    @ivar checks: names of the checks that must pass in each step of the wave.
    @ivar parallel: members that may be pending before the wave exposes more of them; 0 sets no limit.
    """

    quorum: int
    bake: int
    patience: int
    max_failures: int | str
    on_failure: Literal["abort", "pause"]
    on_stall: Literal["pause", "abort", "continue"] = "pause"
    hold: bool = False
    count: int | None = None
    percent: int | None = None
    select: str = ""
    checks: tuple[str, ...] = ()
    parallel: int = 0

    def limit(self, members: int) -> int:
        """Return the failures that are accepted among all members of the rollout."""
        if isinstance(self.max_failures, int):
            return self.max_failures
        return members * int(self.max_failures.partition("%")[0]) // 100


@frozen
class RolloutPlan:
    """
    A plan with all defaults resolved to seconds, as a rollout stores it.

    @ivar select: limits every wave before the last one.
    @ivar verified: count only reports of workers whose document was read back.
    @ivar salt: C{rollout}: other agents come first each time; C{namespace}: the same agents.
    @ivar waves: all but the last.
    """

    name: str
    select: str
    verified: bool
    salt: Literal["rollout", "namespace"]
    waves: tuple[Wave, ...]
    last: Wave

    def wave(self, number: int) -> Wave:
        """Return a wave by its number, from 1; the number after all sized waves is that of the last wave."""
        return self.waves[number - 1] if number <= len(self.waves) else self.last

    @property
    def last_number(self) -> int:
        """The number of the last wave."""
        return len(self.waves) + 1


@frozen
class StartedWave:
    """
    A wave that has begun.

    The counts are those of the last reports, from the time when the members were given up; C{None} before.
    """

    wave: int
    started_at: datetime
    applied: int | None = None
    failed: int | None = None
    pending: int | None = None


@frozen
class Rollout:
    """
    A rollout as the store keeps it.

    @ivar base: the version that was current at the start.
    @ivar candidate: the version that the rollout delivers.
    @ivar wave: number of the wave, from 1.
    @ivar step: counts the changes of state, wave or candidate.
    @ivar reason: why it is paused or has ended; empty otherwise.
    @ivar ended_as: the version that all agents got in the place of the candidate.
    @ivar behind: members that had not applied the candidate when the rollout completed.
    @ivar started_waves: the waves that have begun with the present candidate, in this order.
    @ivar to_expose: agents that the wave has yet to expose, as it goes on in parallel.
    @ivar verdicts: of the checks, by name, in the present step. A list of rollouts leaves them out.
    """

    id: int
    namespace: str
    base: int
    candidate: int
    plan: RolloutPlan
    state: State
    wave: int
    step: int
    reason: str
    started_by: str
    started_at: datetime
    step_at: datetime
    ended_at: datetime | None = None
    ended_as: int | None = None
    behind: int = 0
    started_waves: tuple[StartedWave, ...] = ()
    to_expose: int = 0
    verdicts: Mapping[str, bool] = field(factory=dict)

    @property
    def open(self) -> bool:
        """Whether it has not ended."""
        return self.state in ("running", "paused", "finishing")

    @property
    def in_last_wave(self) -> bool:
        """Whether the candidate is the current version, or became it."""
        return self.wave == self.plan.last_number


@frozen
class Member:
    """
    An agent that may be served the candidate.

    @ivar wave: the wave that exposed it.
    @ivar how: C{detected}: it named a version above the base by itself.
    @ivar fit: whether its failure counts.
    @ivar gone: whether it was forgotten, blocked or moved; then only C{runs} counts.
    @ivar state: what its last report says of the candidate.
    @ivar runs: how often it became applied, or had its worker repaired while it was applied.
    @ivar repairs: since it became a member.
    @ivar session: of its last report, with C{session_repairs}, the repairs that the report counted.
    @ivar at: of the last change of C{state}, UTC.
    """

    agent_id: str
    wave: int
    how: Literal["picked", "detected"]
    fit: bool
    at: datetime
    gone: bool = False
    state: Literal["pending", "applied", "failed"] = "pending"
    verified: bool = False
    runs: int = 0
    repairs: int = 0
    session: str = ""
    session_repairs: int = 0
    error: str = ""


@frozen
class CheckVerdict:
    """
    The verdict of a check on the candidate. It is valid for one step.

    @ivar at: wall clock time, UTC.
    """

    name: str
    passed: bool
    who: str
    comment: str
    at: datetime


@frozen
class Exposure:
    """
    Agents to expose.

    @ivar ranked: ids with their fitness, in the order in which they are picked.
    @ivar members: members among C{ranked} after the transition, present members included. The store
        skips agents that have left the namespace.
    @ivar at_once: agents that become members now, at most; C{None} sets no limit.
    """

    ranked: tuple[tuple[str, bool], ...] = ()
    members: int = 0
    at_once: int | None = None


@frozen
class Start:
    """
    A request to start a rollout.

    @ivar draft: becomes the candidate.
    @ivar prepare: returns the first wave and its agents for the id of the rollout; raises C{no_eligible_agent}.
    """

    draft: Draft
    plan: RolloutPlan
    prepare: Callable[[int], tuple[int, Exposure]]


@frozen(kw_only=True)
class AuditedWrite:
    """
    A write to a rollout.

    @ivar detail: for the audit log.
    @ivar comment: of the person who wants the write.
    """

    detail: str = ""
    comment: str = ""

    @property
    def audited(self) -> str:
        """Return the detail of the audit entry, with the comment."""
        return f"{self.detail}: {self.comment}" if self.comment else self.detail


@frozen
class NextStep(AuditedWrite):
    """
    What a transition writes.

    @ivar exposure: agents that become members.
    @ivar accepted: ids of members whose failure a person accepts.
    @ivar draft: the new candidate of a rollout that is replaced.
    @ivar revert: publish the document of the base as a new version for all callers.
    @ivar verdict: caused the transition; it belongs to the step before.
    """

    state: State
    wave: int
    reason: str = ""
    exposure: Exposure = Exposure()
    accepted: Collection[str] = frozenset()
    draft: Draft | None = None
    revert: bool = False
    behind: int = 0
    verdict: CheckVerdict | None = None


@frozen
class Addition(AuditedWrite):
    """
    A write within a step: more members, or a verdict. The audit log gets an entry for a verdict only.

    @ivar exposure: agents that become members of the present wave, in so far as it has yet to expose agents.
    """

    exposure: Exposure = Exposure()
    verdict: CheckVerdict | None = None


#: Decides on the next step of a rollout, in the transaction that writes it: C{None} leaves the rollout as it is.
Judge = Callable[[Rollout, Sequence[Member]], NextStep | Addition | None]


@frozen
class RolloutStep:
    """
    A request for a transition.

    @ivar at: wall clock time, UTC.
    @ivar attempt: recorded in the same transaction.
    @ivar delivers: whether the step may serve agents another version, which a freeze forbids.
    """

    rollout: int
    judge: Judge
    at: datetime
    attempt: Attempt
    delivers: bool = False


@frozen
class Stepped:
    """
    The result of L{RolloutStep}.

    @ivar done: whether the rollout made a step.
    @ivar revision: the version that the step published.
    """

    rollout: Rollout
    members: Sequence[Member] = field(factory=tuple)
    done: bool = True
    revision: Revision | None = None


def no_eligible_agent() -> Conflict:
    """Return the error for a wave without an agent that can carry it."""
    return Conflict(
        "no_eligible_agent",
        "No live agent that reports matches the selectors of the plan; publish with rollout=direct, or change the"
        " plan.",
    )


def unknown_rollout(rollout: int) -> NotFound:
    """Return the error for a rollout that does not exist."""
    return NotFound("unknown_rollout", f"Rollout {rollout} does not exist; list the rollouts.")


def unknown_plan(name: str) -> NotFound:
    """Return the error for a plan that does not exist."""
    return NotFound("unknown_plan", f"The plan {name[:63]!r} does not exist; list the plans, or save it first.")


def rollout_active(namespace: str, rollout: int) -> Conflict:
    """Return the error for a change that an open rollout forbids."""
    return Conflict(
        "rollout_active",
        f"Rollout {rollout} of the namespace {namespace!r} is open; wait for its end, abort it, or publish with"
        " rollout=abort.",
    )
