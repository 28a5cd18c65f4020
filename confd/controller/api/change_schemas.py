"""The bodies of changes."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired, TypedDict

import msgspec

from confd.access.change_requests import ChangeRequest, Kind, State
from confd.access.freezes import text_of
from confd.codec.headers import rfc3339
from confd.codec.strict_json import JsonObject
from confd.controller.api.bodies import approval_items
from confd.controller.api.change_options import Comment, PollInterval, VersionNumber
from confd.controller.api.rollout_schemas import RolloutBody
from confd.controller.api.schemas import ApprovalItem
from confd.web.api.endpoint import NamespaceQuery
from confd.web.openapi.docs import Moment, Spliced

#: Characters of a time and of a checksum in a request, at most.
_Text = Annotated[str, msgspec.Meta(max_length=80)]

_Id = Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]


class ChangesQuery(NamespaceQuery, forbid_unknown_fields=True):
    """
    A page of changes.

    @ivar state: only changes in this state; C{pending} for the changes that are not over.
    @ivar limit: changes on the page, at most.
    @ivar before: the C{next} of the page before.
    """

    state: State | Literal["pending"] | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 50
    before: Annotated[int, msgspec.Meta(ge=1)] | None = None


class ContentRequest(msgspec.Struct, forbid_unknown_fields=True):
    """What a change alters: a document, or the number of the version whose document it repeats."""

    config: JsonObject | None = None
    comment: Comment = ""


class ProposeRequest(ContentRequest, forbid_unknown_fields=True):
    """
    A change to propose. C{rollout} is the rollout whose candidate it replaces, C{plan} the plan of the rollout that it
    starts, and C{at} its time in RFC 3339.
    """

    rollback_of: VersionNumber | None = None
    rollout: _Id | None = None
    plan: Annotated[str, msgspec.Meta(min_length=1, max_length=63)] | None = None
    poll_interval_seconds: PollInterval | None = None
    at: _Text | None = None


class ApproveRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The C{checksum} of the change that was read."""

    checksum: _Text
    comment: Comment = ""


class RejectRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Why a change is rejected."""

    comment: Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]


class WithdrawRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Why a change is withdrawn."""

    comment: Comment = ""


class ApplyRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The C{checksum} of the change that was read; without it, the change is applied as it is."""

    checksum: _Text | None = None


class ScheduleRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The time of a change in RFC 3339, with an offset; C{null} takes the time away."""

    at: _Text | None


class ChangeDiff(TypedDict):
    """What a change alters in the current document: for programs (RFC 6902), and for people."""

    patch: list[JsonObject]
    text: str


class ChangeItem(TypedDict):
    """
    A change without its document. C{needed} is the number of approvals that the policy asks for.

    C{result} is the tag that the change published, the reason of its end, or C{null}.
    """

    id: int
    namespace: str
    kind: Kind
    state: State
    base: str
    base_checksum: str
    checksum: str
    plan: str | None
    poll_interval_seconds: int | None
    rollback_of: int | None
    rollout: int | None
    at: Moment | None
    scheduled_by: str | None
    comment: str
    author: str
    subject: str
    created_at: Moment
    ended_at: Moment | None
    needed: int
    approvals: list[ApprovalItem]
    result: str | None
    version: int | None


class ProposedBody(TypedDict):
    """The answer to a call that proposed a change in the place of a publish."""

    change: ChangeItem


class ChangePage(TypedDict):
    """Changes, newest first; C{next} is the C{before} of the next page, if another page follows."""

    items: list[ChangeItem]
    next: NotRequired[int]


class ChangeBody(ChangeItem):
    """A change. A change that is over has neither a document nor a diff, if the history has them."""

    config: NotRequired[Spliced]
    diff: NotRequired[ChangeDiff]


class ReplacedBody(RolloutBody):
    """The rollout, and the change that replaced its candidate."""

    change: int


def change_item(change: ChangeRequest, needed: int) -> ChangeItem:
    """
    Return a change as the API shows it.

    @param needed: approvals that the policy of the namespace asks for.
    """
    return {
        "id": change.id,
        "namespace": change.namespace,
        "kind": change.kind,
        "state": change.state,
        "base": change.base,
        "base_checksum": change.base_checksum,
        "checksum": change.checksum,
        "plan": change.plan or None,
        "poll_interval_seconds": change.poll_interval,
        "rollback_of": change.rollback_of,
        "rollout": change.rollout,
        "at": None if change.at is None else text_of(change.at),
        "scheduled_by": None if change.scheduled_by is None else change.scheduled_by.who,
        "comment": change.comment,
        "author": change.author.who,
        "subject": change.author.subject,
        "created_at": rfc3339(change.created_at),
        "ended_at": rfc3339(change.ended_at),
        "needed": max(needed, 1) if change.kind == "review" else needed,
        "approvals": approval_items(change.approvals),
        "result": change.result or None,
        "version": change.version,
    }
