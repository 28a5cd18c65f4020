"""Agents in SQL: functions of a cursor that return values, and run in the thread of the database."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import msgspec

from confd.codec import headers
from confd.reports import AgentRecord, Report

_COLUMNS = "id, namespace, hostname, metadata, strategy, registered_at, last_poll, token"

_REPORT = msgspec.json.Decoder(Report)


def load_agents(cursor: sqlite3.Cursor) -> Sequence[AgentRecord]:
    """All of them."""
    cursor.execute(f"SELECT {_COLUMNS}, report, reported_at FROM agents ORDER BY id")
    return [
        AgentRecord(
            agent_id,
            namespace,
            hostname,
            metadata,
            strategy,
            headers.parse_rfc3339(registered_at),
            None if last_poll is None else headers.parse_rfc3339(last_poll),
            None if report is None else _REPORT.decode(report),
            None if reported_at is None else headers.parse_rfc3339(reported_at),
            token or b"",
        )
        for (
            agent_id,
            namespace,
            hostname,
            metadata,
            strategy,
            registered_at,
            last_poll,
            token,
            report,
            reported_at,
        ) in cursor
    ]


def save_agents(cursor: sqlite3.Cursor, records: Sequence[AgentRecord]) -> None:
    """Insert or replace these, but for blocked ones, and leave what they reported."""
    cursor.executemany(
        f"""INSERT INTO agents ({_COLUMNS}) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8
        WHERE NOT EXISTS (SELECT 1 FROM blocked_agents WHERE id = ?1)
        ON CONFLICT (id) DO UPDATE SET
            namespace = excluded.namespace, hostname = excluded.hostname, metadata = excluded.metadata,
            strategy = excluded.strategy, registered_at = excluded.registered_at, last_poll = excluded.last_poll,
            token = excluded.token""",
        [
            (
                each.id,
                each.namespace,
                each.hostname,
                each.metadata,
                each.strategy,
                headers.rfc3339(each.registered_at),
                headers.rfc3339(each.last_poll),
                each.token or None,
            )
            for each in records
        ],
    )


def forget_agent(cursor: sqlite3.Cursor, agent_id: str, block: bool) -> None:
    """Delete one with all that it reported, if it is there, and perhaps keep it out."""
    if block:
        cursor.execute("INSERT OR IGNORE INTO blocked_agents VALUES (?)", (agent_id,))
    cursor.execute("DELETE FROM agents WHERE id = ?", (agent_id,))
    cursor.execute("DELETE FROM outcomes WHERE agent_id = ?", (agent_id,))


def load_blocked(cursor: sqlite3.Cursor) -> Sequence[str]:
    """The ids of those that are kept out, in order."""
    return [agent_id for (agent_id,) in cursor.execute("SELECT id FROM blocked_agents ORDER BY id")]


def unblock_agent(cursor: sqlite3.Cursor, agent_id: str) -> None:
    """Keep one out no longer."""
    cursor.execute("DELETE FROM blocked_agents WHERE id = ?", (agent_id,))
