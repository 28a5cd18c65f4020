"""Agents in SQL: functions of a cursor that return values, and run in the thread of the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from sys import intern

import msgspec

from confd.changes import AGENT, LABELS, AgentChange
from confd.codec import headers
from confd.codec.labels import NO_LABELS, merge
from confd.controller.store.change_log import Written, registration_changes
from confd.controller.store.cursor import ALL, Cursor, Row
from confd.controller.store.queries import members
from confd.model import Registration
from confd.reports import AgentRecord, Report, agent_blocked, new_record, unknown_agent

_SAID = "id, namespace, hostname, metadata, strategy, advertise"
_COLUMNS = f"{_SAID}, registered_at, last_poll, report, reported_at, token, labels"

#: The columns of a new agent.
NEW_COLUMNS = "id, namespace, hostname, metadata, strategy, registered_at, token, advertise"

_LABELS = msgspec.json.Decoder(dict[str, str])
_REPORT = msgspec.json.Decoder(Report)


def load_agents(cursor: Cursor, after: str = "", limit: int = ALL) -> Sequence[AgentRecord]:
    """Return agents by id: at most C{limit} whose id is above C{after}."""
    statement = f"SELECT {_COLUMNS} FROM agents WHERE id > ? ORDER BY id LIMIT ?"
    return [_record(row) for row in cursor.execute(statement, (after, limit))]


def register(cursor: Cursor, registration: Registration, token: bytes, at: datetime) -> Written[AgentRecord]:
    """
    Insert an agent or update what it says of itself: L{IAgentStore.register}.

    One statement for a new agent: after each one the thread waits for the interpreter, and makes the reactor wait.
    """
    cursor.execute(
        f"""INSERT INTO agents ({NEW_COLUMNS})
        SELECT ?, ?, ?, ?, ?, ?, ?, ? WHERE NOT EXISTS (SELECT 1 FROM blocked_agents WHERE id = ?)
        ON CONFLICT (id) DO NOTHING""",
        (*new_row(registration, token, at), registration.agent_id),
    )
    return registered(registration, token, at) if cursor.rowcount else register_again(cursor, registration, token)


def new_row(registration: Registration, token: bytes, at: datetime) -> tuple[object, ...]:
    """Return the values of L{NEW_COLUMNS} for an agent that registers for the first time."""
    said = registration
    described = said.agent_id, said.namespace, said.hostname, said.metadata, said.strategy
    return *described, headers.rfc3339(at), token or None, said.advertise


def registered(registration: Registration, token: bytes, at: datetime) -> Written[AgentRecord]:
    """Return what the row of L{new_row} means."""
    record = new_record(registration, token, at.replace(microsecond=at.microsecond // 1000 * 1000))
    return Written(record, registration_changes(None, b"", record))


def register_again(cursor: Cursor, registration: Registration, token: bytes) -> Written[AgentRecord]:
    """
    Update what an agent says of itself.

    @raise Forbidden: C{agent_blocked}: no agent has the id, since it is blocked.
    """
    agent_id, namespace = registration.agent_id, registration.namespace
    row = cursor.execute("SELECT namespace, token FROM agents WHERE id = ?", (agent_id,)).fetchone()
    if row is None:
        raise agent_blocked(agent_id)
    before, old_token = row
    if before != namespace:
        cursor.execute("DELETE FROM outcomes WHERE agent_id = ?", (agent_id,))
        members.leave(cursor, agent_id)
        cursor.execute("UPDATE agents SET report = NULL, reported_at = NULL, labels = NULL WHERE id = ?", (agent_id,))
    cursor.execute(
        f"""UPDATE agents SET namespace = ?, hostname = ?, metadata = ?, strategy = ?, token = coalesce(?, token),
            advertise = ?
        WHERE id = ? RETURNING {_COLUMNS}""",
        (
            namespace,
            registration.hostname,
            registration.metadata,
            registration.strategy,
            token or None,
            registration.advertise,
            agent_id,
        ),
    )
    record = _record(cursor.fetchone())
    return Written(record, registration_changes(before, old_token or b"", record))


def touch(cursor: Cursor, polls: Mapping[str, datetime], statement: str) -> None:
    """
    Raise the time of the last poll of agents that exist: L{IAgentStore.touch}.

    @param statement: see L{Dialect}.
    """
    rows = {agent_id: headers.rfc3339(at) for agent_id, at in polls.items()}
    # One statement for all: after each one the thread waits for the interpreter, and makes the reactor wait.
    cursor.execute(statement, (msgspec.json.encode(rows).decode(),))


def forget(cursor: Cursor, agent_id: str) -> Written[None]:
    """Delete an agent with all that it reported."""
    cursor.execute("DELETE FROM agents WHERE id = ?", (agent_id,))
    cursor.execute("DELETE FROM outcomes WHERE agent_id = ?", (agent_id,))
    members.leave(cursor, agent_id)
    return Written(None, [(AGENT, agent_id, AgentChange("forgotten"))])


def reset_token(cursor: Cursor, agent_id: str) -> Written[None]:
    """Remove the token of an agent."""
    there = find(cursor, agent_id)
    if there is None:
        raise unknown_agent(agent_id)
    if not there.token:
        return Written(None)
    cursor.execute("UPDATE agents SET token = NULL WHERE id = ?", (agent_id,))
    return Written(None, [(AGENT, agent_id, AgentChange("token", there.namespace))])


def block(cursor: Cursor, agent_id: str) -> Written[None]:
    """Delete an agent, and refuse its id."""
    cursor.execute("INSERT INTO blocked_agents VALUES (?) ON CONFLICT DO NOTHING", (agent_id,))
    forget(cursor, agent_id)
    return Written(None, [(AGENT, agent_id, AgentChange("blocked"))])


def unblock(cursor: Cursor, agent_id: str) -> Written[None]:
    """Accept an id again."""
    cursor.execute("DELETE FROM blocked_agents WHERE id = ?", (agent_id,))
    return Written(None, [(AGENT, agent_id, AgentChange("unblocked"))])


def set_labels(cursor: Cursor, agent_id: str, changes: Mapping[str, str | None]) -> Written[Mapping[str, str]]:
    """Change the labels that operators set on an agent: L{IAgentStore.set_labels}."""
    there = find(cursor, agent_id)
    if there is None:
        raise unknown_agent(agent_id)
    labels = merge(there.labels_set, changes)
    if labels == there.labels_set:
        return Written(labels)
    stored = msgspec.json.encode(labels).decode() if labels else None
    cursor.execute("UPDATE agents SET labels = ? WHERE id = ?", (stored, agent_id))
    return Written(labels, [(LABELS, agent_id, labels)])


def load_blocked(cursor: Cursor) -> Sequence[str]:
    """Return the ids of all blocked agents, in order."""
    return [agent_id for (agent_id,) in cursor.execute("SELECT id FROM blocked_agents ORDER BY id")]


def find(cursor: Cursor, agent_id: str) -> AgentRecord | None:
    """Return an agent, C{None} where none has the id."""
    return find_all(cursor, [agent_id]).get(agent_id)


def find_all(cursor: Cursor, agent_ids: Sequence[str]) -> Mapping[str, AgentRecord]:
    """Return the agents that have some ids, by id."""
    places = ", ".join("?" * len(agent_ids))
    rows = cursor.execute(f"SELECT {_COLUMNS} FROM agents WHERE id IN ({places})", agent_ids)
    return {record.id: record for record in map(_record, rows)}


def find_token(cursor: Cursor, digest: bytes) -> str | None:
    """Return the id of the agent whose token has a digest, C{None} where no agent has it."""
    row = cursor.execute("SELECT id FROM agents WHERE token = ?", (digest,)).fetchone()
    return None if row is None else str(row[0])


def page(cursor: Cursor, namespace: str, limit: int, after: str) -> Sequence[AgentRecord]:
    """Return a page of the agents of a namespace: L{IAgentStore.page}."""
    query = f"SELECT {_COLUMNS} FROM agents WHERE id > ? AND namespace = ? ORDER BY id LIMIT ?"
    return [_record(row) for row in cursor.execute(query, (after, namespace, limit))]


def counts(cursor: Cursor) -> Mapping[str, int]:
    """Return the number of agents of each namespace that has any."""
    return dict(cursor.execute("SELECT namespace, count(*) FROM agents GROUP BY namespace"))


def _record(row: Row) -> AgentRecord:
    agent_id, namespace, hostname, metadata, strategy, advertise, registered_at, last_poll, *rest = row
    report, reported_at, token, labels = rest
    return AgentRecord(
        agent_id,
        # A fleet has few different texts of these kinds, and a million agents share them.
        intern(namespace),
        hostname,
        intern(metadata),
        intern(strategy),
        headers.parse_rfc3339(registered_at),
        None if last_poll is None else headers.parse_rfc3339(last_poll),
        None if report is None else _REPORT.decode(report),
        None if reported_at is None else headers.parse_rfc3339(reported_at),
        token or b"",
        NO_LABELS if labels is None else _LABELS.decode(labels),
        advertise,
    )
