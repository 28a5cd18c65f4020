"""The rows of changes in SQL: functions of a cursor that return values, and run in the thread of the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from attrs import evolve

from confd.access.change_requests import (
    MAX_PENDING,
    PENDING,
    READY,
    Approval,
    ChangeRequest,
    Origin,
    Signer,
    Situation,
    State,
    applied,
    too_many_changes,
    unknown_change,
)
from confd.access.policies import Policy, Restrictions
from confd.codec.headers import parse_rfc3339, rfc3339
from confd.controller.store.change_log import request_change
from confd.controller.store.cursor import Cursor, Row
from confd.controller.store.queries import rollouts, tokens
from confd.errors import NotFound
from confd.history import VersionSummary
from confd.model import Document, Draft, Revision

_COLUMNS = """
    id, namespace, kind, state, checksum, document_checksum, base, base_checksum, author, created_at, comment,
    rollback_of, rollout, plan, poll_interval, at, scheduled_by, ended_at, result, version, step
"""
_NAMES = [each.strip() for each in _COLUMNS.split(",")]

_SIGNER = msgspec.json.Decoder(Signer)

#: The largest integer of SQLite, beyond any id.
_ENDLESS = 2**63 - 1


def _names(states: Sequence[State]) -> str:
    return ", ".join(f"'{each}'" for each in states)


#: The condition of the index C{change_requests_pending}.
_PENDING = f"state IN ({_names(PENDING)})"
_READY = f"state IN ({_names(READY)})"

#: Whether L{mark_stale} of a namespace C{n} has rows to read.
ANY_PENDING = f"EXISTS (SELECT 1 FROM change_requests WHERE namespace = n.name AND {_PENDING})"


def find(cursor: Cursor, number: int) -> ChangeRequest:
    """
    Return a change with its document and its approvals.

    @raise NotFound: C{unknown_change}.
    """
    cursor.execute(f"SELECT {_COLUMNS}, document FROM change_requests WHERE id = ?", (min(number, _ENDLESS),))
    row = cursor.fetchone()
    if row is None:
        raise unknown_change(number)
    *columns, document = row
    [found] = _with_approvals(cursor, [_change(columns)])
    return found if document is None else evolve(found, document=Document(document.encode(), found.document_checksum))


def page(
    cursor: Cursor, namespace: str, states: Sequence[State], limit: int, before: int | None
) -> Sequence[ChangeRequest]:
    """Return at most C{limit} changes of a namespace older than number C{before}, newest first, without documents."""
    cursor.execute(
        f"""SELECT {_COLUMNS} FROM change_requests
        WHERE namespace = ? AND id < ? AND state IN (SELECT value ->> 0 FROM json_each(?)) ORDER BY id DESC LIMIT ?""",
        (namespace, _ENDLESS if before is None else min(before, _ENDLESS), rollouts.elements(states), limit),
    )
    return _with_approvals(cursor, [_change(row) for row in cursor.fetchall()])


def load_pending(cursor: Cursor) -> Sequence[ChangeRequest]:
    """Return the changes that are not over, by id, without documents."""
    cursor.execute(f"SELECT {_COLUMNS} FROM change_requests WHERE {_PENDING} ORDER BY id")
    return _with_approvals(cursor, [_change(row) for row in cursor.fetchall()])


def origins(cursor: Cursor, namespace: str, versions: Sequence[int]) -> Mapping[int, Origin]:
    """Return the change, and its approvals, of each of these versions that came from a change."""
    cursor.execute(
        f"""SELECT {_COLUMNS} FROM change_requests
        WHERE namespace = ? AND kind <> 'review'
        AND version IN (SELECT CAST(value ->> 0 AS bigint) FROM json_each(?))""",
        (namespace, rollouts.elements(versions)),
    )
    found = _with_approvals(cursor, [_change(row) for row in cursor.fetchall()])
    return {each.version: Origin(each.id, each.approvals) for each in found if each.version is not None}


def insert(cursor: Cursor, change: ChangeRequest) -> ChangeRequest:
    """
    Insert a change, which gets the next id.

    @raise Conflict: C{too_many_changes}.
    """
    (pending,) = cursor.execute(
        f"SELECT count(*) FROM change_requests WHERE namespace = ? AND {_PENDING}", (change.namespace,)
    ).fetchone()
    if pending >= MAX_PENDING:
        raise too_many_changes(change.namespace)
    return append(cursor, change)


def append(cursor: Cursor, change: ChangeRequest) -> ChangeRequest:
    """Insert a change, which gets the next id, although other changes are pending."""
    (number,) = cursor.execute("SELECT coalesce(max(id), 0) + 1 FROM change_requests").fetchone()
    cursor.execute(
        f"INSERT INTO change_requests ({_COLUMNS}, document) VALUES ({', '.join('?' * (len(_NAMES) + 1))})",
        (*_row(evolve(change, id=number)), _text(change.document)),
    )
    return find(cursor, number)


def update(cursor: Cursor, before: ChangeRequest, after: ChangeRequest) -> ChangeRequest:
    """Write a change as it becomes, as the next step; return the row."""
    columns = ", ".join(f"{each} = ?" for each in (*_NAMES[1:], "document"))
    values = _row(evolve(after, step=before.step + 1))
    cursor.execute(
        f"UPDATE change_requests SET {columns} WHERE id = ?", (*values[1:], _text(after.document), before.id)
    )
    if after.approvals != before.approvals:
        cursor.execute("DELETE FROM approvals WHERE change = ?", (before.id,))
        for each in after.approvals:
            cursor.execute(
                "INSERT INTO approvals (change, subject, signer, checksum, at, comment) VALUES (?, ?, ?, ?, ?, ?)",
                (
                    before.id,
                    each.signer.subject,
                    rollouts.text(each.signer),
                    each.checksum,
                    rfc3339(each.at),
                    each.comment,
                ),
            )
    return find(cursor, before.id)


def situation(
    cursor: Cursor,
    current: VersionSummary | None,
    policy: Policy,
    change: ChangeRequest | None,
    rollout: int | None,
    token_ids: Sequence[str] = (),
) -> Situation:
    """
    Return the surroundings of a change.

    @param current: the current version of the namespace; C{None} while it is retired.
    @param change: C{None} for a change that is written now.
    @param rollout: the id of the rollout that the change belongs to; C{None} for other kinds.
    @param token_ids: of tokens, beside the tokens of the signers.
    """
    found, candidate = None, ""
    if rollout is not None:
        try:
            found = rollouts.find(cursor, rollout).rollout
        except NotFound:
            pass
        else:
            (candidate,) = cursor.execute(
                "SELECT checksum FROM revisions WHERE namespace = ? AND version = ?", (found.namespace, found.candidate)
            ).fetchone() or ("",)
    signers = () if change is None else change.signers
    ids = {*token_ids, *(each.token_id for each in signers)} - {""}
    return Situation(
        None if current is None else current.tag,
        "" if current is None else current.checksum,
        found,
        candidate,
        policy.approvals,
        policy.self_approval,
        tokens.find_tokens(cursor, sorted(ids)),
    )


def admit(
    cursor: Cursor, draft: Draft, current: VersionSummary | None, restrictions: Restrictions, free: bool = False
) -> ChangeRequest | None:
    """
    Check that a draft has the approvals that the policy asks for.

    @param current: the current version of the namespace; C{None} while it is retired.
    @param free: whether the draft needs no approval.
    @return: the change that the draft applies, with the approvals that count; C{None} for a draft without a change.
    @raise Forbidden: C{approval_required}.
    @raise Conflict: the change cannot be applied.
    """
    if draft.applies is None:
        if not free:
            restrictions.check_approvals()
        return None
    change = find(cursor, draft.applies.change)
    return draft.applies.judge(change, situation(cursor, current, restrictions.policy, change, change.rollout))


def settle(cursor: Cursor, change: ChangeRequest | None, made: Revision) -> list[tuple[str, str, object]]:
    """
    Write that a change was applied; return the change of the feed.

    @param change: as its judge returned it; C{None} if the version comes from no change.
    @param made: the version that the change published.
    """
    if change is None:
        return []
    return [request_change(update(cursor, find(cursor, change.id), applied(change, made)))]


def mark_stale(cursor: Cursor, namespace: str, checksum: str) -> list[tuple[str, str, object]]:
    """
    Mark the changes of a namespace whose base is current no longer; return the changes of the feed.

    @param checksum: of the document that is current now.
    """
    cursor.execute(
        f"""SELECT c.id FROM change_requests AS c LEFT JOIN rollouts AS r ON r.id = c.rollout
        WHERE c.namespace = ? AND c.{_PENDING} AND c.{_READY} AND c.kind <> 'review' AND (
            CASE WHEN c.kind = 'replace'
            THEN r.{rollouts.OPEN} AND 'r' || r.id || '.' || r.step = c.base ELSE c.base_checksum = ? END) IS NOT TRUE
        ORDER BY c.id""",
        (namespace, checksum),
    )
    found = [find(cursor, number) for (number,) in cursor.fetchall()]
    return [request_change(update(cursor, each, evolve(each, state="stale"))) for each in found]


def _text(document: Document | None) -> str | None:
    return None if document is None else document.raw.decode()


def _with_approvals(cursor: Cursor, changes: Sequence[ChangeRequest]) -> list[ChangeRequest]:
    by_change: dict[int, list[Approval]] = {each.id: [] for each in changes}
    if by_change:
        cursor.execute(
            """SELECT change, signer, checksum, at, comment FROM approvals
            WHERE change IN (SELECT CAST(value ->> 0 AS bigint) FROM json_each(?)) ORDER BY change, at, subject""",
            (rollouts.elements(list(by_change)),),
        )
        for change, signer, checksum, at, comment in cursor.fetchall():
            approval = Approval(_SIGNER.decode(signer), checksum, parse_rfc3339(at), comment)
            by_change[change].append(approval)
    return [evolve(each, approvals=tuple(by_change[each.id])) for each in changes]


def _row(change: ChangeRequest) -> Sequence[object]:
    return (
        change.id,
        change.namespace,
        change.kind,
        change.state,
        change.checksum,
        change.document_checksum,
        change.base,
        change.base_checksum,
        rollouts.text(change.author),
        rfc3339(change.created_at),
        change.comment,
        change.rollback_of,
        change.rollout,
        change.plan,
        change.poll_interval,
        rfc3339(change.at),
        None if change.scheduled_by is None else rollouts.text(change.scheduled_by),
        rfc3339(change.ended_at),
        change.result,
        change.version,
        change.step,
    )


def _change(row: Row) -> ChangeRequest:
    number, namespace, kind, state, checksum, document_checksum, base, base_checksum, author, created_at, *rest = row
    comment, rollback_of, rollout, plan, poll_interval, at, scheduled_by, ended_at, result, version, step = rest
    return ChangeRequest(
        number,
        namespace,
        kind,
        state,
        checksum,
        document_checksum,
        base,
        base_checksum,
        _SIGNER.decode(author),
        parse_rfc3339(created_at),
        comment,
        None,
        rollback_of,
        rollout,
        plan,
        poll_interval,
        None if at is None else parse_rfc3339(at),
        None if scheduled_by is None else _SIGNER.decode(scheduled_by),
        None if ended_at is None else parse_rfc3339(ended_at),
        result,
        version,
        step,
    )
