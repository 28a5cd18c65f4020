"""Proposals and steps of changes in SQL: functions of a cursor that run in the thread of the database."""

from __future__ import annotations

from collections.abc import Sequence

from confd.access.change_requests import ChangeJudge, ChangeRequest, NewChange
from confd.controller.store.change_log import Written, request_change
from confd.controller.store.cursor import Cursor
from confd.controller.store.queries import change_requests, configs, policies
from confd.errors import NotFound
from confd.history import VersionSummary


def propose(cursor: Cursor, namespace: str, rollout: int | None, make: NewChange) -> Written[ChangeRequest]:
    """
    Insert a change.

    @param rollout: the id of the rollout that the change belongs to; C{None} for other kinds.
    @raise NotFound: C{unknown_namespace}.
    @raise Conflict: C{too_many_changes}.
    """
    policy, current = policies.find(cursor, namespace), _current(cursor, namespace)
    change = make(change_requests.situation(cursor, current, policy, None, rollout))
    return _written(change_requests.insert(cursor, change))


def step(cursor: Cursor, number: int, judge: ChangeJudge, token_ids: Sequence[str] = ()) -> Written[ChangeRequest]:
    """
    Ask C{judge} for the next step of a change, and write it.

    @param token_ids: of tokens that C{judge} asks for, beside the tokens of the signers.
    @raise NotFound: C{unknown_change}, C{unknown_namespace}.
    """
    change = change_requests.find(cursor, number)
    policy, current = policies.find(cursor, change.namespace), _current(cursor, change.namespace)
    following = judge(change, change_requests.situation(cursor, current, policy, change, change.rollout, token_ids))
    if following is None:
        return Written(change)
    return _written(change_requests.update(cursor, change, following.change))


def _current(cursor: Cursor, namespace: str) -> VersionSummary | None:
    """Return the current version of a namespace, C{None} while the namespace is retired."""
    try:
        return configs.standing(cursor, namespace).current
    except NotFound:
        if cursor.execute("SELECT 1 FROM namespaces WHERE name = ?", (namespace,)).fetchone() is None:
            raise
        return None


def _written(change: ChangeRequest) -> Written[ChangeRequest]:
    return Written(change, [request_change(change)])
