"""Break-glass: calls of an admin that pass the policy and the freezes of a namespace, for a reason."""

from __future__ import annotations

from datetime import datetime

from attrs import frozen

from confd.audit import Attempt

#: Characters of a reason.
MAX_REASON = 200


@frozen
class BreakGlass:
    """
    A call that passed the policy and the freezes of a namespace.

    @ivar version: the version that it published; C{None} without one.
    @ivar rollout: the rollout that it started or changed; C{None} without one.
    @ivar action: method and path template.
    @ivar at: UTC.
    """

    id: int
    namespace: str
    version: int | None
    rollout: int | None
    action: str
    reason: str
    who: str
    subject: str
    at: datetime

    @classmethod
    def of(cls, attempt: Attempt, number: int, namespace: str, version: int | None, rollout: int | None) -> BreakGlass:
        """Return the record of an attempt that has a reason."""
        action, reason = attempt.action, attempt.break_glass
        return cls(number, namespace, version, rollout, action, reason, attempt.who, attempt.subject, attempt.made_at)
