"""Queries and bodies of the endpoints of rollouts."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

import msgspec

from confd.codec import strict_json
from confd.controller.api.change_options import Comment, PollInterval, VersionNumber
from confd.controller.rollouts.plans import CheckName
from confd.rollouts.rollout import State
from confd.web.api.endpoint import BreakGlassReason, NamespaceQuery

STATES: tuple[State, ...] = get_args(State)


class StartQuery(NamespaceQuery, forbid_unknown_fields=True):
    """
    Where a rollout starts.

    @ivar break_glass: why the rollout is to pass the policy and the freezes of the namespace; only an admin gives it.
    @ivar propose: propose the change that starts the rollout: it waits for approvals, or for a person who applies it.
    """

    break_glass: BreakGlassReason | None = None
    propose: bool = False


class RolloutsQuery(NamespaceQuery, forbid_unknown_fields=True):
    """
    A page of rollouts.

    @ivar state: only rollouts in this state.
    @ivar limit: rollouts on the page, at most.
    @ivar before: the C{next} of the page before.
    """

    state: State | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 50
    before: Annotated[int, msgspec.Meta(ge=1)] | None = None


class MembersQuery(msgspec.Struct, forbid_unknown_fields=True):
    """
    A page of members.

    @ivar outcome: only members with this outcome.
    @ivar limit: members on the page, at most.
    @ivar after: the C{next} of the page before.
    """

    outcome: Literal["applied", "failed", "silent", "pending"] | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100
    after: str = ""


class VerbRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A comment for people."""

    comment: Comment = ""


class PromoteRequest(VerbRequest, forbid_unknown_fields=True):
    """Whether the next wave starts, or the last one."""

    to: Literal["next", "all"] = "next"


class CheckRequest(VerbRequest, forbid_unknown_fields=True, kw_only=True):
    """The verdict of a check."""

    name: CheckName
    passed: bool = msgspec.field(name="pass")


class ReplaceRequest(VerbRequest, forbid_unknown_fields=True):
    """The new candidate: a document, or the number of the version whose document it repeats."""

    config: strict_json.JsonObject | None = None
    rollback_of: VersionNumber | None = None
    poll_interval_seconds: PollInterval | None = None


class StartRequest(ReplaceRequest, forbid_unknown_fields=True, kw_only=True):
    """The candidate and the plan: a name, or the plan itself."""

    plan: str | strict_json.JsonObject
