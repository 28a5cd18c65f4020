"""Which approvals of a change count, and whether its signers still have the permissions that it rests on."""

from __future__ import annotations

from datetime import datetime

from confd.access.change_requests import Approval, ChangeRequest, Signer, Situation
from confd.controller.access.grants import decode_grants
from confd.web.auth.principals import Permission, permissions_of


def holds(signer: Signer, permission: Permission, namespace: str, situation: Situation, now: datetime) -> bool:
    """Return whether a signer has a permission now. A shared identity that can sign has all of them."""
    if not signer.token_id:
        return True
    token = situation.tokens.get(signer.token_id)
    if token is None or token.revoked_at is not None or (token.expires_at is not None and now >= token.expires_at):
        return False
    grants = decode_grants(token.grants)
    return any(each.covers(namespace) and permission in permissions_of(each.role) for each in grants)


def counted(change: ChangeRequest, situation: Situation, now: datetime) -> tuple[Approval, ...]:
    """
    Return the approvals that count now.

    An approval names what the change alters today. Its signer is neither the author nor the signer of another approval,
    and may still approve.
    """
    found: list[Approval] = []
    for each in change.approvals:
        own = each.signer.is_same(change.author) and not situation.self_approval
        again = any(each.signer.is_same(other.signer) for other in found)
        if each.checksum != change.checksum or own or again:
            continue
        if holds(each.signer, Permission.CHANGE_APPROVE, change.namespace, situation, now):
            found.append(each)
    return tuple(found)


def lost_permission(change: ChangeRequest, situation: Situation, now: datetime, scheduled: bool) -> str | None:
    """Return who lost the permission that the change rests on, in one sentence; C{None} if all have theirs."""
    needs = [(change.author, Permission.CHANGE_PROPOSE, "wrote")]
    if scheduled and change.scheduled_by is not None:
        needs.append((change.scheduled_by, Permission.CONFIG_PUBLISH, "scheduled"))
    for signer, permission, did in needs:
        if not holds(signer, permission, change.namespace, situation, now):
            return f"{signer.who}, who {did} the change, lacks the permission {permission.value} by now."
    return None
