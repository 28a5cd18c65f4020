"""Change requests: changes of a namespace that are proposed, approved, perhaps scheduled, and applied."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal, get_args

from attrs import evolve, field, frozen

from confd.access.tokens import Token
from confd.audit import Attempt
from confd.codec import strict_json
from confd.errors import Conflict, NotFound
from confd.model import Document, Revision, Tag
from confd.rollouts.rollout import Rollout
from confd.rollouts.steps import AuditedWrite

Kind = Literal["publish", "rollback", "replace", "review"]

State = Literal[
    "open",
    "approved",
    "scheduled",
    "stale",
    "suspended",
    "missed",
    "applied",
    "rejected",
    "withdrawn",
    "reviewed",
]

STATES: tuple[State, ...] = get_args(State)

#: The states in which a change can be applied, as far as its approvals suffice.
READY: tuple[State, ...] = ("open", "approved", "scheduled")

#: The states that a change never leaves.
FINAL: tuple[State, ...] = ("applied", "rejected", "withdrawn", "reviewed")

#: The states of a change that is not over.
PENDING: tuple[State, ...] = tuple(each for each in STATES if each not in FINAL)

#: How long after its time a scheduled change is tried.
GRACE = timedelta(hours=1)

#: Pending changes of a namespace.
MAX_PENDING = 200


@frozen
class Signer:
    """
    A caller who proposes, approves or schedules a change.

    @ivar who: the caller as the audit names it.
    @ivar name: of the token or of the shared identity.
    @ivar subject: the person or team that answers for the caller.
    @ivar token_id: of the API token; empty for a shared identity.
    """

    who: str
    name: str
    subject: str
    token_id: str = ""

    def is_same(self, other: Signer) -> bool:
        """Return whether two callers are one person, as far as their names tell."""
        return self.name == other.name or self.subject == other.subject


@frozen
class Approval:
    """
    An approval of a change.

    @ivar checksum: of the change that was approved: see L{checksum_of}.
    @ivar at: UTC.
    """

    signer: Signer
    checksum: str
    at: datetime
    comment: str = ""


@frozen
class ChangeRequest:
    """
    A change as the store keeps it.

    @ivar document: the new document; C{None} in lists and in the feed, and for a review.
    @ivar checksum: of all that a reviewer approves: see L{checksum_of}.
    @ivar document_checksum: of the new document.
    @ivar rollback_of: the version whose document it repeats; C{None} for a document of its own.
    @ivar rollout: the rollout whose candidate a change of the kind C{replace} replaces.
    @ivar plan: of the rollout that it starts; empty to publish to all callers.
    @ivar poll_interval: seconds; C{None} keeps the current one.
    @ivar base: the tag that was current when it was written; the step of the rollout for the kind C{replace}.
    @ivar base_checksum: of the document of C{base}.
    @ivar at: when it is due, UTC; C{None} if it waits for a person.
    @ivar scheduled_by: the caller who chose C{at}.
    @ivar result: the tag that it published, or why it was missed; empty before.
    @ivar version: the number of the version that it published.
    @ivar step: counts the changes of the row.
    """

    id: int
    namespace: str
    kind: Kind
    state: State
    checksum: str
    document_checksum: str
    base: str
    base_checksum: str
    author: Signer
    created_at: datetime
    comment: str = ""
    document: Document | None = field(default=None, repr=False)
    rollback_of: int | None = None
    rollout: int | None = None
    plan: str = ""
    poll_interval: int | None = None
    at: datetime | None = None
    scheduled_by: Signer | None = None
    ended_at: datetime | None = None
    result: str = ""
    version: int | None = None
    step: int = 1
    approvals: tuple[Approval, ...] = ()

    @property
    def pending(self) -> bool:
        """Whether it is not over."""
        return self.state not in FINAL

    @property
    def signers(self) -> Sequence[Signer]:
        """All callers who signed it."""
        scheduled = () if self.scheduled_by is None else (self.scheduled_by,)
        return (self.author, *scheduled, *(each.signer for each in self.approvals))


@frozen
class Situation:
    """
    What a transaction knows of the surroundings of a change.

    @ivar tag: the current version of the namespace; C{None} while it is retired.
    @ivar checksum: of the current document; empty while the namespace is retired.
    @ivar rollout: the rollout that the change belongs to; C{None} for other kinds.
    @ivar candidate_checksum: of the document of the candidate of C{rollout}.
    @ivar needed: approvals that the policy of the namespace asks for.
    @ivar self_approval: whether the policy counts an approval by the author.
    @ivar tokens: the tokens of the signers of the change, by id; revoked and expired tokens included.
    """

    tag: Tag | None
    checksum: str
    rollout: Rollout | None = None
    candidate_checksum: str = ""
    needed: int = 0
    self_approval: bool = False
    tokens: Mapping[str, Token] = field(factory=dict)

    def base_of(self, kind: Kind) -> tuple[str, str]:
        """Return the base of a change that is written now, and the checksum of its document."""
        if kind == "replace" and self.rollout is not None:
            return step_name(self.rollout), self.candidate_checksum
        return "" if self.tag is None else str(self.tag), self.checksum

    def moved(self, change: ChangeRequest) -> bool:
        """Return whether the base of a change is current no longer; a new tag on the same document moves nothing."""
        if change.kind == "review":
            return False
        if change.kind == "replace":
            rollout = self.rollout
            return rollout is None or not rollout.open or step_name(rollout) != change.base
        return self.checksum != change.base_checksum


@frozen
class ChangeStep(AuditedWrite):
    """
    What a verb writes.

    @ivar change: the change as it becomes, its approvals included; the store counts the step.
    """

    change: ChangeRequest


#: Decides on the next step of a change, in the transaction that writes it: C{None} leaves the change as it is.
ChangeJudge = Callable[[ChangeRequest, Situation], ChangeStep | None]

#: Returns the change to insert, for its surroundings; its number is set by the store.
NewChange = Callable[[Situation], ChangeRequest]


@frozen
class ApplyChange:
    """
    The change that a draft applies.

    @ivar judge: returns the change with the approvals that count; raises unless it may be applied.
    """

    change: int
    judge: Callable[[ChangeRequest, Situation], ChangeRequest]


@frozen
class Origin:
    """
    The change that a version came from.

    @ivar approvals: the approvals that counted when it was applied.
    """

    change: int
    approvals: tuple[Approval, ...] = ()


def checksum_of(
    kind: Kind,
    document_checksum: str,
    plan: str = "",
    poll_interval: int | None = None,
    rollback_of: int | None = None,
    rollout: int | None = None,
) -> str:
    """Return the checksum that an approval names: of all that a change alters."""
    fields = [kind, document_checksum, plan or None, poll_interval, rollback_of, rollout]
    return f"sha256:{hashlib.sha256(strict_json.canonical(fields)).hexdigest()}"


def review_of(
    attempt: Attempt, namespace: str, made: Revision | None, rollout: int | None, applied: bool
) -> ChangeRequest:
    """
    Return the change that records a break-glass call; it is open until another person approves it.

    @param made: the version that the call published; C{None} without one.
    @param rollout: the rollout that the call started or changed; C{None} without one.
    @param applied: whether the call applied a change, which owns the version.
    """
    there = None if made is None else made.configuration
    document = "" if there is None else there.document.checksum
    who = attempt.who
    name = who.removeprefix("token ").rpartition(" (")[0] if who.startswith("token ") else who
    return ChangeRequest(
        0,
        namespace,
        "review",
        "open",
        checksum_of("review", document, rollout=rollout),
        document,
        "",
        "",
        Signer(who, name, attempt.subject),
        attempt.made_at,
        attempt.break_glass,
        rollout=rollout,
        result="" if there is None else str(there.tag),
        version=None if there is None or applied else there.version,
    )


def step_name(rollout: Rollout) -> str:
    """Return the name of a step of a rollout, as its entity tag has it."""
    return f"r{rollout.id}.{rollout.step}"


def applied(change: ChangeRequest, made: Revision) -> ChangeRequest:
    """
    Return a change as it becomes when it is applied.

    @param made: the version that the change published; the history keeps its document.
    """
    there = made.configuration
    result, version = str(there.tag), there.version
    return evolve(change, state="applied", ended_at=there.updated_at, result=result, version=version, document=None)


def describe_change(change: ChangeRequest) -> str:
    """Return what the audit says of a change."""
    return f"change {change.id}: {change.state}"


def describe_origin(change: ChangeRequest | None) -> str:
    """Return what the audit says of the change that was applied, and of its approvers; nothing without a change."""
    if change is None:
        return ""
    approvers = ", ".join(each.signer.who for each in change.approvals)
    return f"change {change.id}" + (f" approved by {approvers}" if approvers else "")


def unknown_change(number: int) -> NotFound:
    """Return the error for a change that does not exist."""
    return NotFound("unknown_change", f"Change {number} does not exist; list the changes.")


def change_over(change: ChangeRequest) -> Conflict:
    """Return the error for a change that is over."""
    return Conflict("change_over", f"Change {change.id} is {change.state}; propose another change.")


def too_many_changes(namespace: str) -> Conflict:
    """Return the error for a namespace with as many pending changes as it may have."""
    return Conflict(
        "too_many_changes",
        f"The namespace {namespace!r} has {MAX_PENDING} changes that are not over; apply, reject or withdraw some.",
    )
