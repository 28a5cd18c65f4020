"""The members of rollouts in SQL: functions of a cursor that run in the thread of the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal

import msgspec
from attrs import evolve

from confd.changes import EXPOSED, ReceivedReport
from confd.codec import headers
from confd.controller.store.change_log import Written
from confd.controller.store.cursor import Cursor
from confd.controller.store.queries.rollouts import MEMBER, OPEN, Found, elements, find, find_open, text
from confd.controller.store.rollout_rules import follow_report, new_member
from confd.reports import Report
from confd.rollouts.rollout import Member

_REPORT = msgspec.json.Decoder(Report)

#: The columns of a member that hold numbers.
_NUMBERS = {"wave", "fit", "gone", "verified", "runs", "repairs", "session_repairs"}

_NAMES = [name.strip() for name in MEMBER.split(",")]
_VALUES = [
    f"CAST(value ->> {number} AS bigint)" if name in _NUMBERS else f"value ->> {number}"
    for number, name in enumerate(_NAMES)
]
_SAVE = f"""
    INSERT INTO exposures (rollout, {MEMBER}) SELECT CAST(? AS bigint), {", ".join(_VALUES)}
    FROM json_each(?) WHERE TRUE
    ON CONFLICT (rollout, agent_id) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in _NAMES[1:])}
"""


def save_members(cursor: Cursor, rollout: int, members: Sequence[Member]) -> None:
    """Insert members or replace their rows, in one statement."""
    if not members:
        return
    rows = [
        [
            each.agent_id,
            each.wave,
            each.how,
            int(each.fit),
            headers.rfc3339(each.at),
            int(each.gone),
            each.state,
            int(each.verified),
            each.runs,
            each.repairs,
            each.session,
            each.session_repairs,
            each.error,
        ]
        for each in members
    ]
    cursor.execute(_SAVE, (rollout, text(rows)))


def expose(
    cursor: Cursor,
    found: Found,
    chosen: Mapping[str, bool],
    wave: int,
    how: Literal["picked", "detected"],
    at: datetime,
) -> Sequence[Member]:
    """
    Make agents members, in so far as they are in the namespace of the rollout.

    @param chosen: fitness by id.
    @return: the new members.
    """
    before = {each.agent_id: each for each in found.members}
    members = []
    for agent_id, last in _reports(cursor, found.rollout.namespace, list(chosen)).items():
        member = new_member(agent_id, wave, how, chosen[agent_id], last, found.tag, at)
        if agent_id in before:
            member = evolve(member, runs=member.runs + before[agent_id].runs)
        members.append(member)
    save_members(cursor, found.rollout.id, members)
    return members


def here(cursor: Cursor, namespace: str, agent_ids: Sequence[str]) -> frozenset[str]:
    """Return the agents that are in a namespace."""
    return frozenset(_reports(cursor, namespace, agent_ids))


def detect(cursor: Cursor, rollout: int, agent_id: str, fit: bool, at: datetime) -> Written[bool]:
    """
    Make an agent a member that named a version above the base: see L{IRolloutStore.detect}.

    @return: whether the rollout is open, and the agent is a member.
    """
    found = find(cursor, rollout)
    if not found.rollout.open:
        return Written(False)
    if any(each.agent_id == agent_id and not each.gone for each in found.members):
        return Written(True)
    if not expose(cursor, found, {agent_id: fit}, found.rollout.wave, "detected", at):
        return Written(False)
    return Written(True, [(EXPOSED, found.rollout.namespace, (agent_id,))])


def follow_reports(cursor: Cursor, reports: Sequence[ReceivedReport]) -> None:
    """Follow accepted reports in the rows of members of open rollouts."""
    for found in find_open(cursor, [each.agent_id for each in reports]):
        members = {each.agent_id: each for each in found.members if not each.gone}
        changed = {}
        for received in reports:
            member = members.get(received.agent_id)
            if member is not None and received.namespace == found.rollout.namespace:
                members[member.agent_id] = changed[member.agent_id] = follow_report(
                    member, received.report, found.tag, received.at
                )
        save_members(cursor, found.rollout.id, list(changed.values()))


def leave(cursor: Cursor, agent_id: str) -> None:
    """Take an agent out of the counts of open rollouts; its runs stay."""
    cursor.execute(
        f"UPDATE exposures SET gone = 1 WHERE agent_id = ? AND rollout IN (SELECT id FROM rollouts WHERE {OPEN})",
        (agent_id,),
    )


def _reports(cursor: Cursor, namespace: str, agent_ids: Sequence[str]) -> Mapping[str, Report | None]:
    """Return the last report of each of these agents that is in a namespace."""
    cursor.execute(
        """SELECT a.id, a.report FROM json_each(?) AS wanted JOIN agents AS a ON a.id = wanted.value ->> 0
        WHERE a.namespace = ?""",
        (elements(agent_ids), namespace),
    )
    return {agent_id: None if report is None else _REPORT.decode(report) for agent_id, report in cursor.fetchall()}
