"""Requests for the start and the steps of rollouts, and their results."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime

from attrs import field, frozen

from confd.audit import Attempt
from confd.model import Draft, Revision
from confd.rollouts.plan import RolloutPlan
from confd.rollouts.rollout import CheckVerdict, Member, Rollout, State


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
