"""Namespaces and revisions in SQL: functions of a cursor that return values, and run in the thread of the database."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from attrs import frozen

from confd.access.change_requests import ChangeRequest, describe_origin
from confd.access.policies import PlanRequired
from confd.changes import RETIRED
from confd.codec import headers, strict_json
from confd.controller.store.change_log import Written, revision_change
from confd.controller.store.cursor import Cursor, Row
from confd.controller.store.queries import break_glass, change_requests, policies, pruning, rollouts
from confd.errors import Conflict, Gone, NotFound, Unprocessable
from confd.history import OtherHistory, VersionSummary, check_changed, check_expected, check_import
from confd.model import DEFAULT_NAMESPACE, Configuration, Document, Draft, Revision, Tag
from confd.rollouts.errors import rollout_active
from confd.rollouts.plan import SUPERSEDE

#: Idempotency keys that are remembered, of all namespaces together.
KEYS_KEPT = 10_000

#: The largest integer of SQLite, beyond any version.
_ENDLESS = 2**63 - 1

_FROM = """
    FROM namespaces AS n CROSS JOIN revisions AS r ON r.namespace = n.name CROSS JOIN clusters AS c ON c.id = r.cluster
"""
_REVISIONS = f"""
    SELECT c.cluster_id, r.epoch, r.version, r.namespace, r.document, r.checksum, r.poll_interval, r.created_at,
           r.author, r.comment, r.rollback_of {_FROM}
"""

#: What the index C{revisions_listed} holds.
_LISTED_COLUMNS = (
    "c.cluster_id, r.epoch, r.version, r.checksum, r.poll_interval, r.created_at, r.author, r.comment, r.rollback_of"
)
_LISTED = f"SELECT {_LISTED_COLUMNS} {_FROM}"


@frozen
class Standing:
    """
    The state of an active namespace.

    @ivar current: the version that callers outside of a rollout get.
    @ivar rollout: the id of the open rollout, C{None} without one.
    @ivar held: whether the namespace has a policy, or any namespace a freeze.
    @ivar pending: whether a change request of the namespace is not over.
    """

    newest: VersionSummary
    current: VersionSummary
    rollout: int | None
    held: bool
    pending: bool


def current(cursor: Cursor) -> Sequence[Revision]:
    """Return the current revision of each namespace in use."""
    cursor.execute(
        f"""{_REVISIONS} WHERE NOT n.retired AND r.version = coalesce(
            n.current_version, (SELECT max(version) FROM revisions WHERE namespace = n.name))"""
    )
    return [revision_of(row) for row in cursor]


def history(cursor: Cursor, namespace: str, limit: int, before: int | None) -> Sequence[VersionSummary]:
    """Return at most C{limit} versions older than number C{before}, newest first."""
    bound = _ENDLESS if before is None else min(before, _ENDLESS)
    cursor.execute(
        f"""{_LISTED} WHERE n.name = ? AND r.version > n.pruned AND r.version < ?
        ORDER BY r.version DESC LIMIT ?""",
        (namespace, bound, limit),
    )
    return [_version(row) for row in cursor]


def revision(cursor: Cursor, namespace: str, version: int) -> Revision:
    """
    Return one revision.

    @raise NotFound: C{unknown_version}.
    @raise Gone: C{version_pruned}.
    """
    number = min(version, _ENDLESS)
    cursor.execute("SELECT pruned FROM namespaces WHERE name = ?", (namespace,))
    (pruned,) = cursor.fetchone() or (0,)
    if 0 < number <= pruned:
        raise version_pruned(namespace, version, pruned + 1)
    cursor.execute(f"{_REVISIONS} WHERE n.name = ? AND r.version = ?", (namespace, number))
    row = cursor.fetchone()
    if row is None:
        raise unknown_version(namespace, version)
    return revision_of(row)


def unknown_version(namespace: str, version: int) -> NotFound:
    """Return the error for a version that never existed."""
    return NotFound("unknown_version", f"The namespace {namespace!r} has no version {version}.")


def version_pruned(namespace: str, version: int, oldest: int) -> Gone:
    """Return the error for a pruned version; C{oldest} is the oldest stored one."""
    return Gone("version_pruned", f"Version {version} of {namespace!r} is not kept any more; the oldest is {oldest}.")


def publish(cursor: Cursor, draft: Draft, keep: int = 0) -> Written[Revision]:
    """
    Make a draft the next version of its namespace: L{confd.interfaces.IConfigStore.publish}.

    @param keep: see L{pruning.prune}.
    """
    there = standing(cursor, draft.namespace)
    made = answered(cursor, draft)
    if made is not None:
        _check_answer(cursor, draft, made)
        return Written(made)
    check_expected(draft.expected, there.current.tag)
    change = check_draft(cursor, draft, there)
    if there.rollout is not None and draft.rollout != SUPERSEDE:
        raise rollout_active(draft.namespace, there.rollout)
    if there.rollout is None:
        check_changed(draft, there.current)
    interval, newest = draft.poll_interval or there.current.poll_interval, there.newest.tag.version
    if draft.continues is None:
        made = append(cursor, draft, newest + 1, interval)
    else:
        made = _import(cursor, draft, draft.continues, newest, interval)
    changes: list[tuple[str, str, object]] = [revision_change(made, draft.arrived)]
    if there.rollout is not None:
        changes.insert(0, rollouts.supersede(cursor, there.rollout, made.configuration.version, draft.made_at))
    changes += break_glass.record(cursor, draft.attempt, draft.namespace, made, applied=change is not None)
    changes += change_requests.settle(cursor, change, made)
    if there.pending:
        changes += change_requests.mark_stale(cursor, draft.namespace, draft.document.checksum)
    pruning.prune(cursor, draft.namespace, keep)
    return Written(made, changes, describe_origin(change))


def check_draft(cursor: Cursor, draft: Draft, there: Standing, waves: int = 0) -> ChangeRequest | None:
    """
    Check that neither a freeze nor the policy of the namespace forbids a draft.

    @param there: the state of the namespace, read in the same transaction.
    @param waves: see L{Restrictions.check_plan}.
    @return: see L{change_requests.admit}.
    @raise Conflict: C{frozen}.
    @raise PlanRequired: C{plan_required}.
    @raise Forbidden: C{approval_required}.
    """
    if not there.held and draft.applies is None:
        return None
    restrictions = policies.restrictions(cursor, draft.namespace, draft.asked_at, draft.break_glass, there.held)
    free = not waves and restrictions.policy.rollback_free and _undoes(cursor, draft, there.current)
    if not free:
        restrictions.check_freezes()
        restrictions.check_plan(waves)
    return change_requests.admit(cursor, draft, there.current, restrictions, free)


def preview(cursor: Cursor, draft: Draft, waves: int) -> None:
    """Check a draft as L{check_draft} does: L{confd.controller.interfaces.IPolicyStore.check_draft}."""
    check_draft(cursor, draft, standing(cursor, draft.namespace), waves)


def _check_answer(cursor: Cursor, draft: Draft, made: Revision) -> None:
    """
    Send the retry of a publish that started a rollout by the policy of its namespace to L{rollout_steps.start}.

    @raise PlanRequired: C{plan_required}.
    """
    for number, _ in rollouts.fates(cursor, draft.namespace, [made.configuration.version]).values():
        if not draft.rollout:
            raise PlanRequired(draft.namespace, rollouts.find(cursor, number).rollout.plan.name)


def _undoes(cursor: Cursor, draft: Draft, current: VersionSummary) -> bool:
    """Return whether a draft goes back from a version that is no rollback to the version that was current before."""
    if draft.rollback_of is None or current.rollback_of is not None:
        return False
    (before,) = cursor.execute(
        """SELECT max(r.version) FROM revisions AS r WHERE r.namespace = ? AND r.version < ? AND NOT EXISTS (
            SELECT 1 FROM candidates AS c
            WHERE c.namespace = r.namespace AND c.version = r.version AND c.fate <> 'activated')""",
        (draft.namespace, current.tag.version),
    ).fetchone()
    return bool(draft.rollback_of == before)


def standing(cursor: Cursor, namespace: str) -> Standing:
    """
    Return the state of an active namespace.

    @raise NotFound: C{unknown_namespace}.
    """
    cursor.execute(
        f"""SELECT {_LISTED_COLUMNS}, n.current_version,
            (SELECT id FROM rollouts WHERE namespace = n.name AND {rollouts.OPEN}),
            {policies.HELD}, {change_requests.ANY_PENDING} {_FROM}
        WHERE n.name = ? AND NOT n.retired ORDER BY r.version DESC LIMIT 1""",
        (namespace,),
    )
    row = cursor.fetchone()
    if row is None:
        raise _unknown(namespace)
    *line, current_version, rollout, held, pending = row
    newest = current = _version(line)
    if current_version is not None:
        cursor.execute(f"{_LISTED} WHERE n.name = ? AND r.version = ?", (namespace, current_version))
        current = _version(cursor.fetchone())
    return Standing(newest, current, rollout, bool(held), bool(pending))


def _import(cursor: Cursor, draft: Draft, other: OtherHistory, newest: int, poll_interval: int) -> Revision:
    """Go on with the history of another system; what is missing of it counts as pruned."""
    added = check_import(draft, other, newest)
    first, _ = added[0]
    if first > newest + 1:
        pruning.give_up(cursor, draft.namespace, first - 1)
    return [append(cursor, each, number, poll_interval) for number, each in added][-1]


def create_namespace(cursor: Cursor, draft: Draft) -> Written[Revision]:
    """Make a namespace, or take a retired one back into use: L{confd.interfaces.IConfigStore.create_namespace}."""
    name, default = draft.namespace, _newest(cursor, DEFAULT_NAMESPACE)
    if _newest(cursor, name) is not None:
        before = answered(cursor, draft)
        if before is not None:
            return Written(before)
        raise Conflict("namespace_exists", f"The namespace {name!r} exists; publish to it instead.")
    restrictions = policies.restrictions(cursor, name, draft.asked_at, draft.break_glass)
    restrictions.check_freezes()
    change = change_requests.admit(cursor, draft, None, restrictions)
    cursor.execute("INSERT INTO namespaces (name) VALUES (?) ON CONFLICT (name) DO UPDATE SET retired = FALSE", (name,))
    newest = _newest(cursor, name)
    interval = draft.poll_interval or (default and default.poll_interval)
    assert interval, "the first namespace brings its own"
    made = append(cursor, draft, 1 if newest is None else newest.tag.version + 1, interval)
    changes = [revision_change(made, draft.arrived), *change_requests.settle(cursor, change, made)]
    changes += change_requests.mark_stale(cursor, name, draft.document.checksum)
    changes += break_glass.record(cursor, draft.attempt, name, made, applied=change is not None)
    return Written(made, changes, describe_origin(change))


def retire_namespace(cursor: Cursor, name: str) -> Written[None]:
    """
    Take a namespace out of use; its history stays, the keys of its answers go.

    @raise NotFound: C{unknown_namespace}.
    @raise Conflict: C{rollout_active}.
    """
    rollout = standing(cursor, name).rollout
    if rollout is not None:
        raise rollout_active(name, rollout)
    cursor.execute("UPDATE namespaces SET retired = TRUE WHERE name = ?", (name,))
    cursor.execute("DELETE FROM idempotency_keys WHERE namespace = ?", (name,))
    return Written(None, [(RETIRED, name, None)])


def _unknown(namespace: str) -> NotFound:
    return NotFound("unknown_namespace", f"Namespace {namespace!r} does not exist; create it first.")


def _newest(cursor: Cursor, namespace: str) -> VersionSummary | None:
    """Return the newest version of an active namespace, C{None} without one."""
    cursor.execute(f"{_LISTED} WHERE n.name = ? AND NOT n.retired ORDER BY r.version DESC LIMIT 1", (namespace,))
    row = cursor.fetchone()
    return None if row is None else _version(row)


def answered(cursor: Cursor, draft: Draft) -> Revision | None:
    """Return the revision that this draft made when it came first."""
    if draft.idempotency_key is None:
        return None
    row = cursor.execute(
        "SELECT fingerprint, version FROM idempotency_keys WHERE namespace = ? AND key = ?",
        (draft.namespace, draft.idempotency_key),
    ).fetchone()
    if row is None:
        return None
    first, version = row
    if first != _fingerprint(draft):
        raise Unprocessable(
            "idempotency_key_reused", "This Idempotency-Key came before with another request; use a new one."
        )
    return revision(cursor, draft.namespace, version)


def _fingerprint(draft: Draft) -> str:
    """What must be the same in a retry with the same idempotency key."""
    fields = [draft.document.checksum, draft.poll_interval, draft.comment, draft.rollback_of]
    # Keys of earlier releases stay valid.
    fields += [draft.rollout] if draft.rollout else []
    return hashlib.sha256(strict_json.encode(fields)).hexdigest()


def append(cursor: Cursor, draft: Draft, version: int, poll_interval: int) -> Revision:
    """Append a revision to the history of a namespace."""
    columns = columns_of(draft, poll_interval)
    # What comes back need not be read again: after each statement the thread waits for the interpreter.
    [(cluster_id, epoch)] = cursor.execute(
        """INSERT INTO revisions
            (version, cluster, epoch, namespace, document, checksum, poll_interval, created_at, author, comment,
            rollback_of)
        SELECT ?, c.id, m.epoch, ?, ?, ?, ?, ?, ?, ?, ? FROM meta AS m JOIN clusters AS c USING (cluster_id)
        RETURNING (SELECT cluster_id FROM meta), epoch""",
        (version, *columns),
    ).fetchall()
    if draft.idempotency_key is not None:
        [(number,)] = cursor.execute(
            "INSERT INTO idempotency_keys (namespace, key, fingerprint, version) VALUES (?, ?, ?, ?) RETURNING id",
            (draft.namespace, draft.idempotency_key, _fingerprint(draft), version),
        ).fetchall()
        cursor.execute("DELETE FROM idempotency_keys WHERE id <= ?", (number - KEYS_KEPT,))
    return revision_of((cluster_id, epoch, version, *columns), draft.document)


def columns_of(draft: Draft, poll_interval: int) -> Row:
    """Return the columns of a new revision behind its version."""
    config = draft.namespace, draft.document.raw.decode(), draft.document.checksum, poll_interval
    return *config, headers.rfc3339(draft.made_at), draft.author, draft.comment, draft.rollback_of


def revision_of(row: Row, given: Document | None = None) -> Revision:
    """Return the revision in a row, with the document C{given} in place of the text in the row."""
    cluster_id, epoch, version, namespace, document, checksum, poll_interval, created_at, author, comment, of = row
    return Revision(
        Configuration(
            cluster_id=cluster_id,
            epoch=epoch,
            version=version,
            namespace=namespace,
            document=given or Document(document.encode(), checksum),
            poll_interval=poll_interval,
            updated_at=headers.parse_rfc3339(created_at),
        ),
        author,
        comment,
        of,
    )


def _version(row: Row) -> VersionSummary:
    cluster_id, epoch, version, checksum, poll_interval, created_at, *rest = row
    tag = Tag(cluster_id[:8], epoch, version)
    return VersionSummary(tag, checksum, poll_interval, headers.parse_rfc3339(created_at), *rest)
