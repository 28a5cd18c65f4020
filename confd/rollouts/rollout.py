"""A rollout, its members and the verdicts of its checks, as the store keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final, Literal

from attrs import field, frozen

from confd.rollouts.plan import RolloutPlan

State = Literal["running", "paused", "finishing", "completed", "aborted", "superseded"]

#: The states of a rollout that has not ended.
OPEN_STATES: Final[tuple[State, ...]] = ("running", "paused", "finishing")

#: The states of a rollout that has ended.
ENDED_STATES: Final[tuple[State, ...]] = ("completed", "aborted", "superseded")

#: Repairs of a worker since its agent became a member, from which on the candidate counts as failed.
REPAIRS_UNTIL_FAILED = 3


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
        return self.state in OPEN_STATES

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
