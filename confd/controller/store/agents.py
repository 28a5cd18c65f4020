"""Agents in SQL: functions of a cursor that return values, and run in the thread of the database."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from confd import wire
from confd.model import AgentRecord

_COLUMNS = "id, namespace, hostname, metadata, strategy, registered_at, last_poll"


def load_agents(cursor: sqlite3.Cursor) -> Sequence[AgentRecord]:
    """All of them."""
    cursor.execute(f"SELECT {_COLUMNS} FROM agents ORDER BY id")
    return [
        AgentRecord(
            agent_id,
            namespace,
            hostname,
            metadata,
            strategy,
            wire.parse_rfc3339(registered_at),
            None if last_poll is None else wire.parse_rfc3339(last_poll),
        )
        for agent_id, namespace, hostname, metadata, strategy, registered_at, last_poll in cursor
    ]


def save_agents(cursor: sqlite3.Cursor, records: Sequence[AgentRecord]) -> None:
    """Insert or replace these."""
    cursor.executemany(
        f"INSERT OR REPLACE INTO agents ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (
                each.id,
                each.namespace,
                each.hostname,
                each.metadata,
                each.strategy,
                wire.rfc3339(each.registered_at),
                wire.rfc3339(each.last_poll),
            )
            for each in records
        ],
    )


def forget_agent(cursor: sqlite3.Cursor, agent_id: str) -> None:
    """Delete one, if it is there."""
    cursor.execute("DELETE FROM agents WHERE id = ?", (agent_id,))
