"""The rows of rollouts, members and plans in SQL: functions of a cursor that run in the thread of the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec
from attrs import evolve, frozen

from confd.access.policies import check_plan_change
from confd.changes import Lanes
from confd.codec import headers
from confd.controller.store.change_log import Written, rollout_change
from confd.controller.store.cursor import Cursor, Row
from confd.controller.store.queries import policies
from confd.controller.store.rollout_rules import ROLLOUTS_WITH_MEMBERS, fates_after, give_up_members, take_step
from confd.model import Tag
from confd.rollouts.errors import unknown_plan, unknown_rollout
from confd.rollouts.plan import RolloutPlan
from confd.rollouts.rollout import OPEN_STATES, CheckVerdict, Member, Rollout, StartedWave
from confd.rollouts.steps import NextStep

#: The condition of an open rollout, as in the index C{one_open_rollout}.
OPEN = f"state IN {tuple(OPEN_STATES)}"

_PLAN = msgspec.json.Decoder(RolloutPlan)
_WAVES = msgspec.json.Decoder(tuple[StartedWave, ...])

_ROLLOUT = """
    id, namespace, base, candidate, plan, state, wave, step, reason, started_by, started_at, step_at, ended_at,
    ended_as, behind, waves, to_expose
"""

#: The columns of a member.
MEMBER = """
    agent_id, wave, how, fit, at, gone, state, verified, runs, repairs, session, session_repairs, error
"""

#: The largest integer of SQLite, beyond any id.
_ENDLESS = 2**63 - 1


@frozen
class Found:
    """
    A rollout with its members.

    @ivar tag: of the candidate.
    """

    rollout: Rollout
    members: Sequence[Member]
    tag: Tag


def find(cursor: Cursor, rollout: int) -> Found:
    """
    Return a rollout with its members.

    @raise NotFound: C{unknown_rollout}.
    """
    cursor.execute(f"SELECT {_ROLLOUT} FROM rollouts WHERE id = ?", (min(rollout, _ENDLESS),))
    row = cursor.fetchone()
    if row is None:
        raise unknown_rollout(rollout)
    return _found(cursor, _rollout(row))


def load(cursor: Cursor, rollout: int) -> tuple[Rollout, Sequence[Member]]:
    """Return a rollout with its members; fails as L{find} does."""
    found = find(cursor, rollout)
    return found.rollout, found.members


def next_rollout(cursor: Cursor) -> int:
    """Return the id of the next rollout."""
    (number,) = cursor.execute("SELECT coalesce(max(id), 0) + 1 FROM rollouts").fetchone()
    return int(number)


def load_open(cursor: Cursor) -> Sequence[tuple[Rollout, Sequence[Member]]]:
    """Return the open rollouts with their members."""
    return [(found.rollout, found.members) for found in find_open(cursor)]


def fates(cursor: Cursor, namespace: str, versions: Sequence[int]) -> Mapping[int, tuple[int, str]]:
    """Return the rollout and the fate of each of these versions that was a candidate."""
    cursor.execute(
        """SELECT version, rollout, fate FROM candidates
        WHERE namespace = ? AND version IN (SELECT CAST(value ->> 0 AS bigint) FROM json_each(?))""",
        (namespace, elements(versions)),
    )
    return {version: (rollout, fate) for version, rollout, fate in cursor}


def find_open(cursor: Cursor, agents: Sequence[str] | None = None) -> Sequence[Found]:
    """
    Return the open rollouts.

    @param agents: ids of the members to return; C{None} for all members.
    """
    cursor.execute(f"SELECT {_ROLLOUT} FROM rollouts WHERE {OPEN} ORDER BY id")
    return [_found(cursor, _rollout(row), agents) for row in cursor.fetchall()]


def page(cursor: Cursor, namespace: str, states: Sequence[str], limit: int, before: int | None) -> Sequence[Rollout]:
    """Return at most C{limit} rollouts of a namespace older than number C{before}, newest first."""
    cursor.execute(
        f"""SELECT {_ROLLOUT} FROM rollouts
        WHERE namespace = ? AND id < ? AND state IN (SELECT value ->> 0 FROM json_each(?)) ORDER BY id DESC LIMIT ?""",
        (namespace, _ENDLESS if before is None else min(before, _ENDLESS), elements(states), limit),
    )
    return [_rollout(row) for row in cursor]


def insert(cursor: Cursor, rollout: Rollout) -> None:
    """Insert a rollout, and give up the members of the oldest ones of its namespace."""
    cursor.execute(
        f"INSERT INTO rollouts ({_ROLLOUT}) VALUES ({', '.join('?' * len(_ROLLOUT.split(',')))})", _row(rollout)
    )
    cursor.execute(
        """SELECT id FROM rollouts WHERE namespace = ? AND id IN (SELECT rollout FROM exposures)
        ORDER BY id DESC LIMIT ? OFFSET ?""",
        (rollout.namespace, _ENDLESS, ROLLOUTS_WITH_MEMBERS - 1),
    )
    for (number,) in cursor.fetchall():
        update(cursor, give_up_members(*load(cursor, number)))
        for table in ("exposures", "verdicts"):
            cursor.execute(f"DELETE FROM {table} WHERE rollout = ?", (number,))


def update(cursor: Cursor, rollout: Rollout) -> None:
    """Write all columns of a rollout that change."""
    cursor.execute(
        """UPDATE rollouts SET candidate = ?, state = ?, wave = ?, step = ?, reason = ?, step_at = ?, ended_at = ?,
            ended_as = ?, behind = ?, waves = ?, to_expose = ? WHERE id = ?""",
        (
            rollout.candidate,
            rollout.state,
            rollout.wave,
            rollout.step,
            rollout.reason,
            headers.rfc3339(rollout.step_at),
            headers.rfc3339(rollout.ended_at),
            rollout.ended_as,
            rollout.behind,
            text(rollout.started_waves),
            rollout.to_expose,
            rollout.id,
        ),
    )


def save_verdict(cursor: Cursor, rollout: Rollout, verdict: CheckVerdict) -> None:
    """Save a verdict on the present step of a rollout, in place of a verdict with its name."""
    cursor.execute(
        """INSERT INTO verdicts VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (rollout, step, name) DO UPDATE
        SET pass = excluded.pass, who = excluded.who, comment = excluded.comment, at = excluded.at""",
        (
            rollout.id,
            rollout.step,
            verdict.name,
            int(verdict.passed),
            verdict.who,
            verdict.comment,
            headers.rfc3339(verdict.at),
        ),
    )


def supersede(cursor: Cursor, rollout: int, version: int, at: datetime) -> tuple[str, str, Lanes]:
    """
    End an open rollout in favour of a version that was just appended; return the change.

    @param version: becomes the current version.
    """
    found = find(cursor, rollout)
    ended = take_step(found.rollout, NextStep("superseded", found.rollout.wave), at, version)
    update(cursor, ended)
    follow_fates(cursor, found.rollout, ended)
    set_current(cursor, ended)
    return rollout_change(ended, found.members, None)


def follow_fates(cursor: Cursor, before: Rollout, after: Rollout) -> None:
    """Write what a transition makes of the candidates of a rollout."""
    for rollout, fate in fates_after(before, after):
        set_fate(cursor, rollout, fate)


def set_fate(cursor: Cursor, rollout: Rollout, fate: str) -> None:
    """Write the fate of the candidate of a rollout."""
    cursor.execute(
        """INSERT INTO candidates VALUES (?, ?, ?, ?)
        ON CONFLICT (namespace, version) DO UPDATE SET rollout = excluded.rollout, fate = excluded.fate""",
        (rollout.namespace, rollout.candidate, rollout.id, fate),
    )


def set_current(cursor: Cursor, rollout: Rollout) -> None:
    """Set the current version of a namespace: the base before the last wave, the newest one otherwise."""
    version = rollout.base if rollout.open and not rollout.in_last_wave else None
    cursor.execute("UPDATE namespaces SET current_version = ? WHERE name = ?", (version, rollout.namespace))


def load_plans(cursor: Cursor) -> Mapping[str, str]:
    """Return the text of each saved plan, by name."""
    return dict(cursor.execute("SELECT name, body FROM plans ORDER BY name"))


def save_plan(cursor: Cursor, name: str, body: str) -> Written[None]:
    """
    Save a plan, in place of a plan with its name.

    @raise Conflict: C{plan_in_use}.
    """
    check_plan_change(name, policies.load(cursor), body)
    cursor.execute(
        "INSERT INTO plans VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET body = excluded.body", (name, body)
    )
    return Written(None)


def remove_plan(cursor: Cursor, name: str) -> Written[None]:
    """
    Remove a plan.

    @raise NotFound: C{unknown_plan}.
    @raise Conflict: C{plan_in_use}.
    """
    check_plan_change(name, policies.load(cursor))
    if cursor.execute("DELETE FROM plans WHERE name = ?", (name,)).rowcount == 0:
        raise unknown_plan(name)
    return Written(None)


def _found(cursor: Cursor, rollout: Rollout, agents: Sequence[str] | None = None) -> Found:
    cursor.execute(
        """SELECT c.cluster_id, r.epoch FROM revisions AS r JOIN clusters AS c ON c.id = r.cluster
        WHERE r.namespace = ? AND r.version = ?""",
        (rollout.namespace, rollout.candidate),
    )
    cluster, epoch = cursor.fetchone() or ("", 0)
    chosen = "" if agents is None else "AND agent_id IN (SELECT value ->> 0 FROM json_each(?))"
    cursor.execute(
        f"SELECT {MEMBER} FROM exposures WHERE rollout = ? {chosen} ORDER BY agent_id",
        (rollout.id, *([] if agents is None else [elements(agents)])),
    )
    members = tuple(_member(row) for row in cursor.fetchall())
    cursor.execute("SELECT name, pass FROM verdicts WHERE rollout = ? AND step = ?", (rollout.id, rollout.step))
    verdicts = {name: bool(passed) for name, passed in cursor}
    return Found(evolve(rollout, verdicts=verdicts), members, Tag(cluster[:8], epoch, rollout.candidate))


def _member(row: Row) -> Member:
    agent_id, wave, how, fit, at, gone, state, verified, *rest = row
    moment = headers.parse_rfc3339(at)
    return Member(agent_id, wave, how, bool(fit), moment, bool(gone), state, bool(verified), *rest)


def _rollout(row: Row) -> Rollout:
    rollout, namespace, base, candidate, plan, state, wave, step, reason, started_by, *rest = row
    started_at, step_at, ended_at, ended_as, behind, waves, to_expose = rest
    return Rollout(
        rollout,
        namespace,
        base,
        candidate,
        _PLAN.decode(plan),
        state,
        wave,
        step,
        reason,
        started_by,
        headers.parse_rfc3339(started_at),
        headers.parse_rfc3339(step_at),
        None if ended_at is None else headers.parse_rfc3339(ended_at),
        ended_as,
        behind,
        _WAVES.decode(waves),
        to_expose,
    )


def _row(rollout: Rollout) -> Sequence[object]:
    return (
        rollout.id,
        rollout.namespace,
        rollout.base,
        rollout.candidate,
        text(rollout.plan),
        rollout.state,
        rollout.wave,
        rollout.step,
        rollout.reason,
        rollout.started_by,
        headers.rfc3339(rollout.started_at),
        headers.rfc3339(rollout.step_at),
        headers.rfc3339(rollout.ended_at),
        rollout.ended_as,
        rollout.behind,
        text(rollout.started_waves),
        rollout.to_expose,
    )


def elements(values: Sequence[object]) -> str:
    """Return a list for C{json_each}, with each value as C{value ->> 0}."""
    return text([[each] for each in values])


def text(value: object) -> str:
    """Return a value as JSON text."""
    return msgspec.json.encode(value).decode()
