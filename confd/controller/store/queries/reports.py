"""Reports in SQL: functions of a cursor that return values, and run in the thread of the database."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from attrs import evolve, frozen

from confd.changes import ReceivedReport, ReportVerdict
from confd.codec import headers
from confd.controller.store.change_log import Written, judged
from confd.controller.store.cursor import ALL, Cursor
from confd.controller.store.queries import members
from confd.controller.store.report_verdicts import PublishTimes, judge_reports
from confd.reports import Report, VersionOutcome

#: Summaries of a namespace that are kept.
SUMMARIES_KEPT = 10_000

#: Outcomes that one transaction deletes at most: some milliseconds.
MAX_DROPPED = 1000

#: Takes a list of agent, report and time.
STORE_REPORTS = """
    UPDATE agents SET report = value ->> 1, reported_at = value ->> 2 FROM json_each(?) WHERE agents.id = value ->> 0"""

#: The last of some outcomes of a version and of older ones; takes the number of outcomes before it.
FIND_END = """
    SELECT version, agent_id FROM outcomes WHERE namespace = ? AND version <= ? AND (version, agent_id) > (?, ?)
    ORDER BY version, agent_id LIMIT 1 OFFSET ?"""

DROP = """
    DELETE FROM outcomes WHERE namespace = ? AND version <= ? AND (version, agent_id) > (?, ?)
    AND (version, agent_id) <= (?, ?)"""

_OUTCOME = msgspec.json.Decoder(VersionOutcome)

#: Number of the key, and of its agent: the namespace, the last report, and the outcome of the version.
_STORED = msgspec.json.Decoder(list[tuple[int, str, Report | None, VersionOutcome | None]])


@frozen
class Unsettled:
    """
    Outcomes that a summary stands for, and that are still there.

    @ivar version: their newest version.
    @ivar after: version and agent behind which they begin.
    """

    namespace: str
    version: int
    after: tuple[int, str] = (0, "")


def save_reports(
    cursor: Cursor, reports: Sequence[ReceivedReport], times: PublishTimes, statement: str
) -> Written[Sequence[ReportVerdict]]:
    """
    Judge reports, and store the accepted ones: L{IReportStore.save_reports}.

    Three statements for all: after each one, and after each row that one returns, the thread waits for the interpreter,
    and makes the reactor wait. So the first returns a single row.

    @param statement: see L{Dialect.load_reported}.
    """
    keys = list(dict.fromkeys((each.agent_id, each.report.tag.version) for each in reports))
    cursor.execute(statement, (msgspec.json.encode(keys).decode(),))
    agents: dict[str, tuple[str, Report | None]] = {}
    outcomes: dict[tuple[str, int], VersionOutcome] = {}
    follows, stored = cursor.fetchone()
    for number, namespace, last, before in _STORED.decode(stored):
        agents[keys[number][0]] = namespace, last
        if before is not None:
            outcomes[keys[number]] = before
    verdicts = judge_reports(reports, agents, outcomes, times)
    written = judged(reports, verdicts)
    taken: Sequence[tuple[ReceivedReport, VersionOutcome]] = [each for *_, value in written.changes for each in value]  # type: ignore[attr-defined]
    store_outcomes(cursor, taken)
    if follows:
        members.follow_reports(cursor, [each for each, _ in taken])
    return written


def store_outcomes(cursor: Cursor, taken: Sequence[tuple[ReceivedReport, VersionOutcome]]) -> None:
    """Store reports as the last ones of their agents, and the outcomes that they make."""
    if not taken:
        return
    rows = {each.agent_id: (each.agent_id, each.report, headers.rfc3339(each.at)) for each, _ in taken}
    cursor.execute(STORE_REPORTS, (_text(rows.values()),))
    made = {
        (each.agent_id, each.report.tag.version): (each.namespace, each.report.tag.version, each.agent_id, outcome)
        for each, outcome in taken
    }
    cursor.execute(
        """INSERT INTO outcomes (namespace, version, agent_id, outcome)
        SELECT value ->> 0, CAST(value ->> 1 AS bigint), value ->> 2, value ->> 3 FROM json_each(?) WHERE TRUE
        ON CONFLICT (namespace, version, agent_id) DO UPDATE SET outcome = excluded.outcome""",
        (_text(made.values()),),
    )


def load_outcomes(
    cursor: Cursor, after: tuple[str, int, str] = ("", 0, ""), limit: int = ALL
) -> Sequence[tuple[str, int, str, VersionOutcome]]:
    """Return outcomes by namespace, version and agent: at most C{limit} above C{after}."""
    cursor.execute(
        """SELECT namespace, version, agent_id, outcome FROM outcomes WHERE (namespace, version, agent_id) > (?, ?, ?)
        ORDER BY namespace, version, agent_id LIMIT ?""",
        (*after, limit),
    )
    return [
        (namespace, version, agent_id, _OUTCOME.decode(outcome)) for namespace, version, agent_id, outcome in cursor
    ]


def settle(cursor: Cursor, archive: Sequence[tuple[str, int, bytes]], limit: int = MAX_DROPPED) -> Sequence[Unsettled]:
    """
    Replace the outcomes of versions, and of older ones, by summaries.

    @param limit: outcomes of a namespace to delete, at most.
    @return: the outcomes that are still there.
    """
    rows = {(namespace, version): (namespace, version, summary.decode()) for namespace, version, summary in archive}
    cursor.execute(
        """INSERT INTO summaries SELECT value ->> 0, CAST(value ->> 1 AS bigint), value ->> 2
        FROM json_each(?) WHERE TRUE
        ON CONFLICT (namespace, version) DO UPDATE SET summary = excluded.summary""",
        (_text(rows.values()),),
    )
    rest = []
    for namespace, version in dict(sorted(rows)).items():
        left = drop_outcomes(cursor, Unsettled(namespace, version), limit)
        rest += [] if left is None else [left]
        oldest = version - SUMMARIES_KEPT
        cursor.execute("DELETE FROM summaries WHERE namespace = ? AND version <= ?", (namespace, oldest))
    return rest


def drop_outcomes(cursor: Cursor, wanted: Unsettled, limit: int = MAX_DROPPED) -> Unsettled | None:
    """
    Delete the first of some outcomes: all other writes wait for the transaction.

    @param limit: outcomes to delete, at most.
    @return: the outcomes that are still there; C{None} without any.
    """
    those = wanted.namespace, wanted.version, *wanted.after
    end = cursor.execute(FIND_END, (*those, limit - 1)).fetchone()
    cursor.execute(DROP, (*those, *(end or (wanted.version + 1, ""))))
    return None if end is None else evolve(wanted, after=end)


def summary(cursor: Cursor, namespace: str, version: int) -> bytes | None:
    """Return the summary of a version, C{None} if none is stored."""
    row = cursor.execute(
        "SELECT summary FROM summaries WHERE namespace = ? AND version = ?", (namespace, version)
    ).fetchone()
    return None if row is None else row[0].encode()


def _text(rows: Iterable[Sequence[object]]) -> str:
    return msgspec.json.encode(list(rows)).decode()
