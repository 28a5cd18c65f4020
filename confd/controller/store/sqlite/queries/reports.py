"""What agents reported in SQL: functions of a cursor that return values, and run in the thread of the database."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from confd.codec import headers
from confd.reports import ReceivedReport, VersionOutcome

#: Summaries of a namespace that are kept.
SUMMARIES_KEPT = 10_000

_OUTCOME = msgspec.json.Decoder(VersionOutcome)


def save_reports(cursor: sqlite3.Cursor, receipts: Sequence[ReceivedReport]) -> None:
    """
    Keep each as the last report of its agent, and the outcome of the version: L{IReportStore.save_reports}.

    Two statements for all: after each one the thread waits for the interpreter, and makes the reactor wait.
    """
    reports = {
        each.agent_id: (each.agent_id, each.namespace, each.report, headers.rfc3339(each.outcome.at))
        for each in receipts
    }
    cursor.execute(
        """UPDATE agents SET report = value ->> 2, reported_at = value ->> 3
        FROM json_each(?) WHERE agents.id = value ->> 0 AND namespace = value ->> 1""",
        (_text(reports),),
    )
    outcomes = {
        (each.agent_id, each.report.tag): (each.agent_id, each.namespace, each.report.tag.version, each.outcome)
        for each in receipts
    }
    cursor.execute(
        """INSERT OR REPLACE INTO outcomes (namespace, version, agent_id, outcome)
        SELECT namespace, value ->> 2, agents.id, value ->> 3
        FROM json_each(?), agents WHERE agents.id = value ->> 0 AND namespace = value ->> 1""",
        (_text(outcomes),),
    )


def load_outcomes(cursor: sqlite3.Cursor) -> Sequence[tuple[str, int, str, VersionOutcome]]:
    """All that are kept."""
    cursor.execute("SELECT namespace, version, agent_id, outcome FROM outcomes ORDER BY namespace, version, agent_id")
    return [
        (namespace, version, agent_id, _OUTCOME.decode(outcome)) for namespace, version, agent_id, outcome in cursor
    ]


def settle(cursor: sqlite3.Cursor, archive: Sequence[tuple[str, int, bytes]]) -> None:
    """Keep the summary of each version in the place of its outcomes, and of those of older ones."""
    rows = {(namespace, version): (namespace, version, summary.decode()) for namespace, version, summary in archive}
    cursor.execute(
        "INSERT OR REPLACE INTO summaries SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?)",
        (_text(rows),),
    )
    for namespace, version in dict(sorted(rows)).items():
        oldest = version - SUMMARIES_KEPT
        cursor.execute("DELETE FROM outcomes WHERE namespace = ? AND version <= ?", (namespace, version))
        cursor.execute("DELETE FROM summaries WHERE namespace = ? AND version <= ?", (namespace, oldest))


def summary(cursor: sqlite3.Cursor, namespace: str, version: int) -> bytes | None:
    """The summary of a version, C{None} where none is kept."""
    row = cursor.execute(
        "SELECT summary FROM summaries WHERE namespace = ? AND version = ?", (namespace, version)
    ).fetchone()
    return None if row is None else row[0].encode()


def _text(rows: Mapping[Any, Sequence[object]]) -> str:
    return msgspec.json.encode(list(rows.values())).decode()
