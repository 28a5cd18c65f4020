"""Policies in SQL: functions of a cursor that return values, and run in the thread of the database."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

from confd.access.freezes import ActiveFreezes
from confd.access.policies import Policy, Restrictions
from confd.changes import POLICY
from confd.controller.store.change_log import Written
from confd.controller.store.cursor import Cursor
from confd.controller.store.queries import freezes

_BODY = msgspec.json.Decoder(Policy)

#: Whether L{restrictions} of a namespace C{n} has rows to read.
HELD = """(EXISTS (SELECT 1 FROM policies WHERE namespace = n.name)
            OR EXISTS (SELECT 1 FROM freezes WHERE removed_at IS NULL))"""


def load(cursor: Cursor) -> Mapping[str, Policy]:
    """Return the policy of each namespace that has one, by namespace."""
    cursor.execute("SELECT namespace, body FROM policies ORDER BY namespace")
    return {namespace: _BODY.decode(body) for namespace, body in cursor.fetchall()}


def find(cursor: Cursor, namespace: str) -> Policy:
    """Return the policy that applies in a namespace."""
    cursor.execute("SELECT body FROM policies WHERE namespace = ?", (namespace,))
    row = cursor.fetchone()
    return Policy() if row is None else _BODY.decode(row[0])


def save(cursor: Cursor, namespace: str, changes: Mapping[str, object]) -> Written[Policy]:
    """Change fields of the policy of a namespace."""
    cursor.execute("SELECT body FROM policies WHERE namespace = ?", (namespace,))
    row = cursor.fetchone()
    policy = (Policy() if row is None else _BODY.decode(row[0])).changed({**changes})
    cursor.execute(
        "INSERT INTO policies (namespace, body) VALUES (?, ?) ON CONFLICT (namespace) DO UPDATE SET body = ?",
        (namespace, *[msgspec.json.encode(policy).decode()] * 2),
    )
    return Written(policy, [(POLICY, namespace, policy)])


def restrictions(
    cursor: Cursor, namespace: str, now: datetime, break_glass: str = "", held: bool = True
) -> Restrictions:
    """
    Return what holds a change of a namespace, with one statement.

    @param break_glass: the reason for which nothing holds the change; empty without one.
    @param held: L{HELD} of the namespace in the same transaction; nothing is read where it is false.
    """
    if break_glass or not held:
        return Restrictions(namespace, Policy(), ActiveFreezes(now))
    cursor.execute(
        f"""SELECT (SELECT body FROM policies WHERE namespace = ?), {freezes.COLUMNS}
        FROM (SELECT 1 AS one) AS always LEFT JOIN freezes ON removed_at IS NULL ORDER BY id""",
        (namespace,),
    )
    rows = cursor.fetchall()
    [body, *_] = rows[0]
    found = [freezes.freeze_of(row[1:]) for row in rows if row[1] is not None]
    policy = Policy() if body is None else _BODY.decode(body)
    return Restrictions(namespace, policy, ActiveFreezes.of(found, namespace, now))
