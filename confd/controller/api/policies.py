"""Endpoints of policies."""

from __future__ import annotations

from typing import Annotated, TypedDict

import msgspec
from attrs import define

from confd.access.policies import MAX_APPROVALS, NO_PLAN, Policy
from confd.controller.access.policies import Policies
from confd.controller.configs.snapshot import Snapshot, unknown_namespace
from confd.controller.feed import Feed
from confd.controller.rollouts.service import Rollouts
from confd.errors import NotFound, Unprocessable
from confd.web.api.endpoint import Call, Scope, endpoint
from confd.web.auth.principals import Permission
from confd.web.openapi.docs import Docs

_PATH, _TAG = "/api/v1/namespaces/<name>/policy", "access"


class PolicyRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The fields of a policy to set; the others stay."""

    plan: Annotated[str, msgspec.Meta(min_length=1, max_length=63)] | msgspec.UnsetType = msgspec.UNSET
    approvals: Annotated[int, msgspec.Meta(ge=0, le=MAX_APPROVALS)] | msgspec.UnsetType = msgspec.UNSET
    self_approval: bool | msgspec.UnsetType = msgspec.UNSET
    rollback_free: bool | msgspec.UnsetType = msgspec.UNSET
    freeze_exempt: bool | msgspec.UnsetType = msgspec.UNSET


class PolicyBody(TypedDict):
    """What a namespace asks of its changes."""

    plan: str
    approvals: int
    self_approval: bool
    rollback_free: bool
    freeze_exempt: bool


@define(eq=False)
class PoliciesApi:
    """Shows and changes policies of namespaces."""

    _policies: Policies
    _snapshot: Snapshot
    _rollouts: Rollouts
    _feed: Feed

    @endpoint(
        "GET",
        _PATH,
        Permission.CHANGES_READ,
        "The policy of a namespace.",
        scope=Scope.NAMESPACE,
        docs=Docs(errors=(NotFound,), tag=_TAG),
    )
    async def policy(self, call: Call, name: str) -> PolicyBody:
        """Show what a namespace asks of its changes. Without a policy, the body has the defaults."""
        self._require(name)
        return policy_body(self._policies.of(name))

    @endpoint(
        "POST",
        _PATH,
        Permission.ADMIN,
        "Set the policy of a namespace.",
        body=PolicyRequest,
        docs=Docs(errors=(NotFound, Unprocessable), example={"plan": "careful", "approvals": 1}, tag=_TAG),
    )
    async def set_policy(self, call: Call, name: str) -> PolicyBody:
        """
        Set fields of the policy of a namespace; the other fields stay. The policy holds for the next change, and stays
        when the namespace is retired.
        """
        self._require(name)
        changes = msgspec.structs.asdict(call.body)
        changes = {field: value for field, value in changes.items() if value is not msgspec.UNSET}
        if changes.get("plan", NO_PLAN) != NO_PLAN:
            await self._check_plan(changes["plan"])
        assert call.attempt is not None
        return policy_body(await self._feed.follow(self._policies.save(name, changes, call.attempt)))

    def _require(self, name: str) -> None:
        if self._snapshot.find(name) is None and self._policies.get(name) is None:
            raise unknown_namespace(name)

    async def _check_plan(self, name: str) -> None:
        plan = (await self._rollouts.plans()).get(name)
        if plan is None:
            raise _bad_plan(f"The plan {name!r} does not exist; list the plans, or save it first.")
        if not plan.waves:
            raise _bad_plan(f"The plan {name!r} has no wave before the last; take a plan that has one.")


def policy_body(policy: Policy) -> PolicyBody:
    """Return a policy as the API shows it."""
    return {
        "plan": policy.plan,
        "approvals": policy.approvals,
        "self_approval": policy.self_approval,
        "rollback_free": policy.rollback_free,
        "freeze_exempt": policy.freeze_exempt,
    }


def _bad_plan(sentence: str) -> Unprocessable:
    return Unprocessable("bad_policy", sentence, [{"pointer": "/plan", "message": sentence}])
