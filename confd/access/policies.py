"""Policies: what a namespace asks of its changes, beside the permissions of the caller."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec
from attrs import evolve, fields_dict, frozen, validators
from attrs import field as attribute

from confd.access.freezes import ActiveFreezes
from confd.errors import Conflict, Forbidden

#: The plan of a policy that asks for no rollout.
NO_PLAN = "direct"

#: The most approvals that a policy can ask for.
MAX_APPROVALS = 5


@frozen
class Policy:
    """
    The policy of one namespace; the defaults ask for nothing.

    @ivar plan: the plan of the rollout that each change starts; L{NO_PLAN} publishes to all agents at once.
    @ivar approvals: the approvals that a change needs, 0 to L{MAX_APPROVALS}.
    @ivar self_approval: whether the author of a change may approve it.
    @ivar rollback_free: whether an undo passes the plan, the approvals and freezes.
    @ivar freeze_exempt: whether the namespace ignores freezes.
    """

    plan: str = NO_PLAN
    approvals: int = attribute(default=0, validator=[validators.ge(0), validators.le(MAX_APPROVALS)])
    self_approval: bool = False
    rollback_free: bool = True
    freeze_exempt: bool = False

    def changed(self, changes: Mapping[str, Any]) -> Policy:
        """
        Return the policy with other values in some fields.

        @raise ValueError: if C{approvals} is out of range.
        """
        return evolve(self, **changes)

    def check_plan(self, namespace: str, waves: int = 0) -> None:
        """
        Check that the policy asks for no other way to deliver a document.

        @param waves: of the plan of the draft before the last wave; 0 for a draft that goes to all agents at once.
        @raise PlanRequired: C{plan_required}.
        """
        if self.plan != NO_PLAN and not waves:
            raise PlanRequired(namespace, self.plan)

    @property
    def text(self) -> str:
        """Return the fields that differ from the defaults, for people."""
        default = Policy()
        differing = [name for name in fields_dict(Policy) if getattr(self, name) != getattr(default, name)]
        return ", ".join(f"{name}={getattr(self, name)}" for name in differing).lower() or "defaults"


def check_plan_change(name: str, policies: Mapping[str, Policy], body: str | None = None) -> None:
    """
    Check that a plan may be removed, or saved with other waves.

    @param policies: by namespace.
    @param body: the JSON text of the plan; C{None} to remove it.
    @raise Conflict: C{plan_in_use}.
    """
    users = [namespace for namespace, policy in policies.items() if policy.plan == name]
    if users and (body is None or not msgspec.json.decode(body).get("waves")):
        raise Conflict(
            "plan_in_use",
            f"The policy of the namespace {users[0]!r} asks for the plan {name!r}, which keeps a wave before the last;"
            " set another plan there first.",
        )


class ApprovalRequired(Forbidden):
    """
    The policy of a namespace asks for approvals.

    @ivar path: of the call that proposes the change.
    """

    def __init__(self, namespace: str, needed: int, path: str = "/api/v1/changes", **query: str) -> None:
        """
        @param needed: approvals.
        @param query: parameters of the call, beside the namespace.
        """
        super().__init__(
            "approval_required",
            f"A change of the namespace {namespace!r} needs {needed} approval{'s' * (needed > 1)}; propose it"
            f" with POST {path}{'?propose=true' * ('propose' in query)}.",
            [{"method": "POST", "path": f"{path}?{urlencode({'namespace': namespace} | query)}", "needed": needed}],
        )
        self._namespace, self._needed = namespace, needed

    def proposed_by(self, path: str, plan: str | None) -> ApprovalRequired:
        """Return the error for a call that proposes the change where C{propose=true} is added."""
        rollout = {} if plan is None else {"rollout": plan}
        return ApprovalRequired(self._namespace, self._needed, path, **rollout, propose="true")


class PlanRequired(Forbidden):
    """
    The policy of a namespace asks for a rollout.

    @ivar plan: the name of the plan.
    """

    def __init__(self, namespace: str, plan: str) -> None:
        super().__init__(
            "plan_required",
            f"Each change of the namespace {namespace!r} is a rollout; take the plan {plan!r}, or a plan with a wave"
            " before the last.",
            [{"plan": plan}],
        )
        self.plan = plan


@frozen
class Restrictions:
    """
    What holds the changes of one namespace at a moment: its policy, and its active freezes.

    A call with a reason for break-glass is held by nothing. Each store asks L{Restrictions} in the transaction of each
    write that serves agents another document.
    """

    namespace: str
    policy: Policy
    freezes: ActiveFreezes

    def check_freezes(self) -> None:
        """
        Check that no freeze forbids to serve another document.

        @raise Conflict: C{frozen}.
        """
        if not self.policy.freeze_exempt:
            self.freezes.check(self.namespace)

    def check_plan(self, waves: int = 0) -> None:
        """Check that the policy asks for no other way to deliver a document: see L{Policy.check_plan}."""
        self.policy.check_plan(self.namespace, waves)

    def check_approvals(self) -> None:
        """
        Check that a change needs no approval.

        @raise ApprovalRequired: C{approval_required}.
        """
        needed = self.policy.approvals
        if needed:
            raise ApprovalRequired(self.namespace, needed)
