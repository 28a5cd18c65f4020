"""Decide on the next transition of a rollout: pure functions of counts and clocks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Literal

from attrs import frozen

from confd.rollouts.rollout import REPAIRS_UNTIL_FAILED, Member, Rollout

OutcomeName = Literal["applied", "failed", "silent", "pending"]


@frozen
class Surroundings:
    """
    What the controller knows of agents, and what the store does not.

    @ivar silent: ids of agents not heard of for three intervals, where silence can be believed.
    @ivar unheard: ids of agents not heard of for three intervals, whatever the reason.
    @ivar duplicates: ids that more than one agent uses.
    """

    silent: Collection[str] = frozenset()
    unheard: Collection[str] = frozenset()
    duplicates: Collection[str] = frozenset()


@frozen
class Counts:
    """
    The members of a rollout by outcome.

    @ivar failures: fit members that are failed or silent.
    @ivar unverified: applied members whose document was not read back.
    @ivar runs: sum over all members, gone ones included.
    """

    applied: int = 0
    failed: int = 0
    silent: int = 0
    pending: int = 0
    failures: int = 0
    unverified: int = 0
    runs: int = 0

    @property
    def members(self) -> int:
        """All members that are not gone."""
        return self.applied + self.failed + self.silent + self.pending


@frozen
class Clocks:
    """
    What a controller measured since it saw the step of a rollout, by its monotonic clock.

    @ivar idle: seconds since the step began, or since a member became applied.
    @ivar runs_before: the runs C{bake} seconds ago; C{None} if the controller has watched the step for less.
    """

    idle: float = 0.0
    runs_before: int | None = None


@frozen
class Transition:
    """
    A transition that is due.

    @ivar to: C{next} stands for the next wave that adds a member, and C{more} for more members of this wave, which is
        no transition.
    @ivar reason: a code such as C{failures}; empty after a gate.
    """

    to: Literal["next", "more", "paused", "aborted", "completed"]
    reason: str = ""


def outcome(member: Member, rollout: Rollout, around: Surroundings) -> OutcomeName:
    """Return the outcome of a member; the first condition that holds decides."""
    if member.state == "failed" or member.repairs >= REPAIRS_UNTIL_FAILED or member.agent_id in around.duplicates:
        return "failed"
    if member.agent_id in around.silent:
        return "silent"
    heard = member.agent_id not in around.unheard
    if heard and member.state == "applied" and (member.verified or not rollout.plan.verified):
        return "applied"
    return "pending"


def count(members: Iterable[Member], rollout: Rollout, around: Surroundings) -> Counts:
    """Count the members of a rollout."""
    found: dict[OutcomeName, int] = {"applied": 0, "failed": 0, "silent": 0, "pending": 0}
    failures = unverified = runs = 0
    for member in members:
        runs += member.runs
        if member.gone:
            continue
        name = outcome(member, rollout, around)
        found[name] += 1
        failures += member.fit and name in ("failed", "silent")
        unverified += name == "applied" and not member.verified
    return Counts(**found, failures=failures, unverified=unverified, runs=runs)


def settled(rollout: Rollout, counts: Counts, clocks: Clocks) -> int:
    """Return the members that stayed applied for C{bake} seconds, or fewer."""
    if rollout.plan.wave(rollout.wave).bake == 0:
        return counts.applied
    if clocks.runs_before is None:
        return 0
    return max(0, counts.applied - (counts.runs - clocks.runs_before))


def required(rollout: Rollout, counts: Counts) -> int:
    """Return the settled members that the gate of the wave needs."""
    quorum = rollout.plan.wave(rollout.wave).quorum
    return max(1, -(-quorum * (counts.applied + counts.pending) // 100))


def decide(rollout: Rollout, counts: Counts, clocks: Clocks, frozen: bool = False) -> Transition | None:
    """
    Return the transition that is due: failures first, then the gate, then patience.

    @param frozen: whether a freeze of the namespace is active: a rollout then stays in its wave, unless it fails.

    @return: C{None} while the rollout waits.
    """
    wave = rollout.plan.wave(rollout.wave)
    if not rollout.open:
        return None
    failure = _failure(rollout, counts)
    if failure:
        if wave.on_failure == "abort":
            return Transition("aborted", failure)
        return None if rollout.state == "paused" else Transition("paused", failure)
    if rollout.state == "paused" or (frozen and rollout.state == "running"):
        return None
    if rollout.to_expose and counts.pending < wave.parallel and clocks.idle < wave.patience:
        return Transition("more")
    enough, passed = settled(rollout, counts, clocks), all(map(rollout.verdicts.get, wave.checks))
    if enough >= required(rollout, counts) and passed and not rollout.to_expose:
        if rollout.state == "finishing":
            return Transition("completed")
        return Transition("paused", "held") if wave.hold else Transition("next")
    if clocks.idle < wave.patience:
        return None
    if rollout.state == "finishing":
        return Transition("completed", "stalled")
    if wave.on_stall == "continue" and enough and passed and not wave.hold:
        return Transition("next", "stalled")
    return Transition("aborted" if wave.on_stall == "abort" else "paused", "stalled")


def _failure(rollout: Rollout, counts: Counts) -> str:
    """Return why the rollout is to be stopped, empty without a reason."""
    if counts.failures > rollout.plan.wave(rollout.wave).limit(counts.members):
        return "failures"
    return "check_failed" if False in rollout.verdicts.values() else ""


def alive(members: Sequence[Member]) -> list[Member]:
    """Return the members that are not gone."""
    return [member for member in members if not member.gone]
