"""Registrations of many agents in SQL: functions of a cursor, which run in the thread of the database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec
from attrs import frozen

from confd.controller.store.change_log import Written
from confd.controller.store.cursor import Cursor
from confd.controller.store.queries.agents import NEW_COLUMNS, new_row, register_again, registered
from confd.errors import ConfdError
from confd.model import Registration
from confd.reports import AgentRecord

#: Rows of one statement: few sizes, so that databases know the statements.
_SHARED_ROWS = 64, 8, 1

_INSERT = f"INSERT INTO agents ({NEW_COLUMNS}) VALUES "
_ROW = "(?, ?, ?, ?, ?, ?, ?, ?)"

#: Ids of agents that exist or are blocked. A database looks each one up by its key: a join may read whole tables, and
#: a plan that was made for few agents would go on so for many.
KNOWN = """
    SELECT id FROM (
        SELECT coalesce(
            (SELECT id FROM agents WHERE id = value ->> 0), (SELECT id FROM blocked_agents WHERE id = value ->> 0)
        ) AS id FROM json_each(?)
    ) AS found WHERE id IS NOT NULL"""


@frozen
class Joining:
    """
    A registration to write.

    @ivar token: the digest of a new token; empty keeps the token of the agent.
    """

    registration: Registration
    token: bytes
    at: datetime


def register_all(cursor: Cursor, joining: Sequence[Joining]) -> Written[Sequence[AgentRecord | ConfdError]]:
    """
    Insert agents, or update what they say of themselves, in order: L{IAgentStore.register}.

    New agents share statements: the writer waits once for the server, and holds the lock of all writers for less time.

    @return: for each its row, or why it was refused.
    """
    ids = msgspec.json.encode([[each.registration.agent_id] for each in joining]).decode()
    known = {agent_id for (agent_id,) in cursor.execute(KNOWN, (ids,)).fetchall()}
    results, changes = list[AgentRecord | ConfdError](), list[tuple[str, str, object]]()
    new = {each.registration.agent_id: each for each in reversed(joining) if each.registration.agent_id not in known}
    _insert(cursor, list(new.values()))
    for each in joining:
        if new.get(each.registration.agent_id) is each:
            written = registered(each.registration, each.token, each.at)
        else:
            try:
                written = register_again(cursor, each.registration, each.token)
            except ConfdError as error:
                results.append(error)
                continue
        results.append(written.value)
        changes += written.changes
    return Written(results, changes)


def _insert(cursor: Cursor, joining: Sequence[Joining]) -> None:
    """Insert agents that are neither there nor blocked."""
    begin = 0
    for size in _SHARED_ROWS:
        while len(joining) - begin >= size:
            values: list[object] = []
            for each in joining[begin : begin + size]:
                values += new_row(each.registration, each.token, each.at)
            cursor.execute(_INSERT + ", ".join([_ROW] * size), values)
            begin += size
