"""Who may do what, where: permissions, roles, grants, and the check that every request passes."""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Literal

from attrs import frozen

from confd.access.patterns import covers
from confd.errors import ConfdError, Forbidden, Unauthenticated

#: The pattern that matches every namespace, future ones too.
EVERYWHERE = "*"

#: The namespace of what belongs to no namespace: only L{EVERYWHERE} matches it.
CLUSTER = ""


class Permission(enum.Enum):
    """What a caller may do."""

    #: Each request looks permissions up, and an enumeration computes its hash in Python.
    __hash__ = object.__hash__

    AGENT_SERVE = "agent.serve"
    CONFIG_READ = "config.read"
    AGENTS_READ = "agents.read"
    ROLLOUTS_READ = "rollouts.read"
    CHANGES_READ = "changes.read"
    AUDIT_READ = "audit.read"
    CHANGE_PROPOSE = "change.propose"
    CONFIG_PUBLISH = "config.publish"
    ROLLOUT_STOP = "rollout.stop"
    ROLLOUT_ADVANCE = "rollout.advance"
    ROLLOUT_PROMOTE_HELD = "rollout.promote_held"
    CHANGE_APPROVE = "change.approve"
    AGENTS_WRITE = "agents.write"
    FREEZE_WRITE = "freeze.write"
    CHECK_POST = "check.post"
    ADMIN = "admin"


#: The permissions that a poll needs one of.
POLL = (Permission.AGENT_SERVE, Permission.CONFIG_READ)


class Role(enum.Enum):
    """A set of permissions: see L{permissions_of}."""

    __hash__ = object.__hash__

    AGENT = "agent"
    VIEWER = "viewer"
    PROPOSER = "proposer"
    PUBLISHER = "publisher"
    APPROVER = "approver"
    OPERATOR = "operator"
    CHECKER = "checker"
    ADMIN = "admin"


_READ = frozenset(
    {
        Permission.CONFIG_READ,
        Permission.AGENTS_READ,
        Permission.ROLLOUTS_READ,
        Permission.CHANGES_READ,
        Permission.AUDIT_READ,
    }
)

_PERMISSIONS: Mapping[Role, frozenset[Permission]] = {
    Role.AGENT: frozenset({Permission.AGENT_SERVE}),
    Role.VIEWER: _READ,
    Role.PROPOSER: _READ | {Permission.CHANGE_PROPOSE},
    Role.PUBLISHER: _READ
    | {
        Permission.CHANGE_PROPOSE,
        Permission.CONFIG_PUBLISH,
        Permission.ROLLOUT_STOP,
        Permission.ROLLOUT_ADVANCE,
        Permission.ROLLOUT_PROMOTE_HELD,
    },
    Role.APPROVER: _READ | {Permission.ROLLOUT_PROMOTE_HELD, Permission.CHANGE_APPROVE},
    Role.OPERATOR: _READ
    | {Permission.ROLLOUT_STOP, Permission.AGENTS_WRITE, Permission.FREEZE_WRITE, Permission.CHECK_POST},
    Role.CHECKER: frozenset({Permission.CHECK_POST}),
    Role.ADMIN: frozenset(Permission) - {Permission.AGENT_SERVE},
}


def permissions_of(role: Role) -> frozenset[Permission]:
    """Return the permissions of a role."""
    return _PERMISSIONS[role]


@frozen
class Grant:
    """
    A role in some namespaces.

    @ivar namespaces: patterns: see L{confd.access.patterns}.
    """

    role: Role
    namespaces: tuple[str, ...] = (EVERYWHERE,)

    def covers(self, namespace: str) -> bool:
        """Return whether the grant holds in a namespace; L{CLUSTER} needs the pattern L{EVERYWHERE}."""
        return EVERYWHERE in self.namespaces or covers(self.namespaces, namespace)


@frozen
class Principal:
    """
    An authenticated caller.

    @ivar name: of the identity, the token or the agent.
    @ivar subject: who answers for the caller; two tokens of one person carry one subject.
    @ivar agent_id: the only agent that the caller may speak for; empty for any agent.
    @ivar token_id: of the API token; empty for other credentials.
    @ivar expires_at: when the credentials become invalid, UTC; C{None} for never.
    """

    name: str
    subject: str
    kind: Literal["password", "token", "agent"]
    grants: tuple[Grant, ...]
    agent_id: str = ""
    token_id: str = ""
    expires_at: datetime | None = None

    @classmethod
    def shared(cls, name: str, role: Role, namespaces: tuple[str, ...] = (EVERYWHERE,)) -> Principal:
        """
        Return an identity that many callers share.

        @param namespaces: patterns of the namespaces in which it has the role.
        """
        return cls(name, name, "password", (Grant(role, namespaces),))

    @property
    def who(self) -> str:
        """The caller as the audit, the history and the limits name it."""
        return f"token {self.name} ({self.token_id})" if self.token_id else self.name

    def permissions(self, namespace: str) -> frozenset[Permission]:
        """Return the permissions in a namespace: the union over the grants; L{CLUSTER} for the cluster."""
        held = [_PERMISSIONS[each.role] for each in self.grants if each.covers(namespace)]
        return held[0] if len(held) == 1 else frozenset().union(*held)

    def may(self, permission: Permission, namespace: str) -> bool:
        """Return whether the caller has a permission in a namespace; L{CLUSTER} for the cluster."""
        return permission in self.permissions(namespace)

    def patterns(self, permission: Permission) -> Sequence[str]:
        """Return the patterns of the namespaces in which the caller has a permission."""
        found = [each for grant in self.grants if permission in _PERMISSIONS[grant.role] for each in grant.namespaces]
        return (EVERYWHERE,) if EVERYWHERE in found else tuple(dict.fromkeys(found))


NOBODY = Principal("", "", "password", ())


@frozen
class Place:
    """
    Where a request acts.

    @ivar namespace: L{CLUSTER} for the cluster, and for an object that does not exist.
    @ivar unknown: returns the error for a caller without any permission there: the same as for an object that does not
        exist; C{None} if the place is no secret.
    """

    namespace: str = CLUSTER
    unknown: Callable[[], ConfdError] | None = None


#: The place of what belongs to no namespace.
NOWHERE = Place()


def allow(principal: Principal, needs: Collection[Permission], place: Place) -> None:
    """
    Check that a caller has one of some permissions in a place.

    @raise NotFound: the caller has no permission in the namespace.
    @raise Forbidden: C{forbidden}.
    @raise Unauthenticated: C{token_of_other_namespace}: an agent with a token of its own uses the shared identity then.
    """
    held = principal.permissions(place.namespace)
    if not held.isdisjoint(needs):
        return
    if principal.kind == "agent":
        if Permission.AGENT_SERVE in needs:
            raise Unauthenticated(
                "token_of_other_namespace",
                "The token of an agent is valid in the namespace of the agent only; register there with the shared"
                " identity.",
            )
        raise forbidden(principal, needs, place.namespace)
    if not held and place.unknown is not None:
        raise place.unknown()
    raise forbidden(principal, needs, place.namespace)


def allow_somewhere(principal: Principal, needs: Collection[Permission]) -> None:
    """
    Check that a caller has one of some permissions in at least one namespace.

    @raise Forbidden: C{forbidden}.
    """
    if all(_PERMISSIONS[each.role].isdisjoint(needs) for each in principal.grants):
        raise forbidden(principal, needs, EVERYWHERE)


def forbidden(principal: Principal, needs: Collection[Permission], namespace: str) -> Forbidden:
    """Return the error for a caller that lacks all of some permissions."""
    missing = sorted(each.value for each in needs)
    if principal.kind != "token":
        # An identity has one role, so the role says more than the permission.
        wanted = Role.AGENT if Permission.AGENT_SERVE in needs else Role.ADMIN
        has = principal.grants[0].role.value if principal.grants else "other"
        return Forbidden(
            "forbidden", f"This needs the {wanted.value} identity; {principal.name!r} is the {has} identity."
        )
    where = f"the namespace {namespace!r}" if namespace not in (CLUSTER, EVERYWHERE) else "every namespace"
    return Forbidden(
        "forbidden",
        f"The {principal.who} lacks the permission {' or '.join(missing)} in {where}; ask an admin for a grant.",
        [{"missing": each, "namespace": namespace or EVERYWHERE} for each in missing],
    )
