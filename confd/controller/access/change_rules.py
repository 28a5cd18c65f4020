"""The rules of changes: who may propose, approve, schedule and apply, and when; pure functions of a transaction."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from attrs import evolve, frozen

from confd.access.change_requests import (
    GRACE,
    READY,
    Approval,
    ChangeJudge,
    ChangeRequest,
    ChangeStep,
    Kind,
    NewChange,
    Signer,
    Situation,
    State,
    change_over,
    checksum_of,
)
from confd.access.freezes import text_of
from confd.controller.access.approvals import counted, lost_permission
from confd.errors import ConfdError, Conflict, Forbidden
from confd.history import check_expected
from confd.model import Document
from confd.web.auth.principals import Principal

#: How far ahead a change is scheduled.
MIN_AHEAD, MAX_AHEAD = timedelta(seconds=60), timedelta(days=366)


@frozen
class Proposal:
    """
    What a caller proposes.

    @ivar document: the new document.
    @ivar rollback_of: the version whose document it is; C{None} for a document of its own.
    @ivar rollout: the rollout whose candidate the document replaces.
    @ivar plan: of the rollout to start; empty to publish to all callers.
    @ivar at: when the change is due, UTC; C{None} to wait for a person.
    @ivar expected: see L{Draft.expected}.
    """

    document: Document
    comment: str = ""
    rollback_of: int | None = None
    rollout: int | None = None
    plan: str = ""
    poll_interval: int | None = None
    at: datetime | None = None
    expected: frozenset[str] | None = None

    @property
    def checksum(self) -> str:
        """Of all that the change alters: see L{checksum_of}."""
        return checksum_of(
            self.kind, self.document.checksum, self.plan, self.poll_interval, self.rollback_of, self.rollout
        )

    @property
    def kind(self) -> Kind:
        """The kind of the change."""
        if self.rollout is not None:
            return "replace"
        return "publish" if self.rollback_of is None else "rollback"


def signer_of(principal: Principal) -> Signer:
    """Return a caller as a signer."""
    return Signer(principal.who, principal.name, principal.subject, principal.token_id)


def propose(namespace: str, proposal: Proposal, author: Signer, now: datetime) -> NewChange:
    """
    Return the function that makes a change for its surroundings.

    @raise Conflict: C{rollout_over}, from the function: the rollout has ended.
    @raise PreconditionFailed: C{version_mismatch}, from the function.
    """

    def make(situation: Situation) -> ChangeRequest:
        check_expected(proposal.expected, situation.tag)
        base, base_checksum = _base(situation, proposal)
        change = ChangeRequest(
            0,
            namespace,
            proposal.kind,
            "open",
            proposal.checksum,
            proposal.document.checksum,
            base,
            base_checksum,
            author,
            now,
            proposal.comment,
            proposal.document,
            proposal.rollback_of,
            proposal.rollout,
            proposal.plan,
            proposal.poll_interval,
            proposal.at,
            None if proposal.at is None else author,
        )
        return _settled(change, situation, now)

    return make


def approve(signer: Signer, checksum: str, comment: str, now: datetime) -> ChangeJudge:
    """
    Return a judge that adds an approval, in place of an earlier one of the same subject.

    @param checksum: of the change that the signer read.
    """

    def judge(change: ChangeRequest, situation: Situation) -> ChangeStep:
        check_ready(change, situation)
        if checksum != change.checksum:
            raise checksum_mismatch(change)
        if signer.is_same(change.author) and (change.kind == "review" or not situation.self_approval):
            raise Conflict(
                "own_change", f"{signer.subject} wrote change {change.id}; an approval needs a person of another name."
            )
        others = [each for each in change.approvals if each.signer.subject != signer.subject]
        approved = evolve(change, approvals=(*others, Approval(signer, checksum, now, comment)))
        if change.kind == "review":
            return ChangeStep(evolve(approved, state="reviewed", ended_at=now, result=comment))
        return ChangeStep(_settled(approved, situation, now))

    return judge


def reject(comment: str, now: datetime) -> ChangeJudge:
    """Return a judge that ends a change, with the reason of an approver."""

    def judge(change: ChangeRequest, situation: Situation) -> ChangeStep:
        check_document(change)
        return ChangeStep(evolve(change, state="rejected", ended_at=now, result=comment))

    return judge


def withdraw(signer: Signer, is_admin: bool, comment: str, now: datetime) -> ChangeJudge:
    """
    Return a judge that ends a change of the author.

    @param is_admin: whether the signer may withdraw changes of others.
    """

    def judge(change: ChangeRequest, situation: Situation) -> ChangeStep:
        if not (is_admin or signer.is_same(change.author)):
            raise Forbidden(
                "forbidden", f"Only its author {change.author.who}, or an admin, withdraws change {change.id}."
            )
        check_document(change)
        return ChangeStep(evolve(change, state="withdrawn", ended_at=now, result=comment))

    return judge


def schedule(signer: Signer, at: datetime | None, now: datetime) -> ChangeJudge:
    """
    Return a judge that sets when a change is due.

    @param at: UTC; C{None} to wait for a person.
    """

    def judge(change: ChangeRequest, situation: Situation) -> ChangeStep:
        _check_appliable(change, situation)
        timed = evolve(change, at=at, scheduled_by=None if at is None else signer)
        return ChangeStep(_settled(timed, situation, now))

    return judge


def rebase(signer: Signer, proposal: Proposal, now: datetime) -> ChangeJudge:
    """
    Return a judge that writes a change again, on the base of today: without approvals, and without a time.

    @param proposal: what the change alters from now on.
    """

    def judge(change: ChangeRequest, situation: Situation) -> ChangeStep:
        check_document(change)
        base, base_checksum = _base(situation, proposal)
        written = evolve(
            change,
            state="open",
            checksum=proposal.checksum,
            document=proposal.document,
            document_checksum=proposal.document.checksum,
            base=base,
            base_checksum=base_checksum,
            author=signer,
            comment=proposal.comment,
            at=None,
            scheduled_by=None,
            result="",
            approvals=(),
        )
        return ChangeStep(_settled(written, situation, now))

    return judge


def apply(seen: ChangeRequest, scheduled: bool, now: datetime) -> Callable[[ChangeRequest, Situation], ChangeRequest]:
    """
    Return the judge of the transaction that publishes a change.

    @param seen: the change that the draft was made of.
    @param scheduled: whether the clock applies it, and no person.
    """

    def judge(change: ChangeRequest, situation: Situation) -> ChangeRequest:
        _check_appliable(change, situation)
        if change.checksum != seen.checksum or change.namespace != seen.namespace:
            raise checksum_mismatch(change)
        if scheduled and (change.state != "scheduled" or change.at is None or now < change.at):
            raise not_approved(change, f"Change {change.id} is not due.")
        lost = lost_permission(change, situation, now, scheduled)
        if lost is not None:
            raise Conflict("change_suspended", f"{lost} Rebase change {change.id}, or withdraw it.")
        approvals = counted(change, situation, now)
        if len(approvals) < situation.needed:
            raise not_approved(
                change,
                f"Change {change.id} has {len(approvals)} of {situation.needed} approvals; ask another approver.",
            )
        return evolve(change, approvals=approvals)

    return judge


def refresh(now: datetime, reason: str = "") -> ChangeJudge:
    """
    Return a judge that notes that a change cannot be applied as it stands: stale, suspended or missed.

    @param reason: why it could not be applied in time.
    """

    def judge(change: ChangeRequest, situation: Situation) -> ChangeStep | None:
        if change.state not in READY or change.kind == "review":
            return None
        if situation.moved(change):
            return ChangeStep(evolve(change, state="stale"))
        scheduled = change.state == "scheduled"
        lost = lost_permission(change, situation, now, scheduled)
        if lost is not None:
            return ChangeStep(evolve(change, state="suspended", result=lost))
        if scheduled and change.at is not None and now >= change.at + GRACE:
            late = reason or f"No controller could apply it until {text_of(change.at + GRACE)}."
            return ChangeStep(evolve(change, state="missed", result=late))
        return None

    return judge


def check_ready(change: ChangeRequest, situation: Situation) -> None:
    """
    Check that a change waits for approvals, for its time, or to be applied.

    @raise Conflict: C{change_over}, C{change_stale}, C{change_suspended}, C{change_missed}.
    """
    if not change.pending:
        raise change_over(change)
    state: State = "stale" if situation.moved(change) and change.state in READY else change.state
    if state in READY:
        return
    why = {
        "stale": "was written against a document that is current no longer",
        "suspended": f"is suspended: {change.result}",
        "missed": f"missed its time: {change.result}",
    }[state]
    raise Conflict(f"change_{state}", f"Change {change.id} {why.rstrip('.')}; rebase it, or withdraw it.")


def check_document(change: ChangeRequest) -> None:
    """
    Check that a change has a document to apply.

    @raise Conflict: C{change_over}.
    """
    if not change.pending:
        raise change_over(change)
    _check_no_review(change)


def checksum_mismatch(change: ChangeRequest) -> Conflict:
    """Return the error for a change that was edited since it was read."""
    return Conflict(
        "checksum_mismatch", f"Change {change.id} is not what you read; its checksum is {change.checksum}, read it."
    )


def not_approved(change: ChangeRequest, sentence: str) -> ConfdError:
    """Return the error for a change that lacks approvals, or is not due."""
    return Conflict("change_not_approved", sentence)


def _check_appliable(change: ChangeRequest, situation: Situation) -> None:
    check_ready(change, situation)
    _check_no_review(change)


def _check_no_review(change: ChangeRequest) -> None:
    if change.kind == "review":
        raise Conflict("change_over", f"Change {change.id} records a break-glass call; it has nothing to apply.")


def _base(situation: Situation, proposal: Proposal) -> tuple[str, str]:
    rollout = situation.rollout
    if proposal.rollout is not None and (rollout is None or not rollout.open):
        raise Conflict("rollout_over", f"Rollout {proposal.rollout} has ended; propose a publish.")
    if situation.tag is None and proposal.kind != "publish":
        raise Conflict("namespace_retired", "The namespace is retired; propose a document, which creates it again.")
    return situation.base_of(proposal.kind)


def _settled(change: ChangeRequest, situation: Situation, now: datetime) -> ChangeRequest:
    """Return a change in the state that its approvals and its time give it."""
    state: State = "approved" if change.at is None else "scheduled"
    if len(counted(change, situation, now)) < situation.needed:
        state = "open"
    return evolve(change, state=state)
