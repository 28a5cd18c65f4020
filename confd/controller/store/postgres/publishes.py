"""Publishes that share a transaction: two statements for all of a namespace, in place of two for each."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from confd.audit import AuditOutcome
from confd.controller.store.change_log import Written, revision_change
from confd.controller.store.cursor import Row
from confd.controller.store.postgres.cursor import PostgresCursor
from confd.controller.store.postgres.shared_works import NotShared
from confd.controller.store.queries import audit, configs, pruning
from confd.errors import ConfdError
from confd.history import VersionSummary, check_changed, check_expected
from confd.model import Draft, Revision

#: Bytes of a document that others share a statement with, at most: a list of large documents takes long to make.
_MAX_BYTES = 65_536

_INSERT = """
    INSERT INTO revisions
        (cluster, epoch, version, namespace, document, checksum, poll_interval, created_at, author, comment,
        rollback_of)
    SELECT c.id, ?, made.* FROM clusters AS c, unnest(
        CAST(? AS bigint[]), CAST(? AS text[]), CAST(? AS text[]), CAST(? AS text[]), CAST(? AS int[]),
        CAST(? AS text[]), CAST(? AS text[]), CAST(? AS text[]), CAST(? AS bigint[])) AS made
    WHERE c.cluster_id = ?
"""


def may_share(draft: Draft) -> bool:
    """Return whether a draft asks for no more than a new version."""
    special = draft.idempotency_key or draft.continues or draft.rollout or draft.applies or draft.break_glass
    return not special and len(draft.document.raw) <= _MAX_BYTES


def publish_all(cursor: PostgresCursor, drafts: Sequence[Draft], keep: int) -> Written[Sequence[Revision | ConfdError]]:
    """
    Make drafts the next versions of their namespaces, in order: see L{configs.publish}.

    @return: for each its revision, or why it was refused. L{NotShared} stands for a draft that others hold up.
    """
    if len(drafts) == 1:
        publish = partial(configs.publish, draft=drafts[0], keep=keep)
        one = audit.audited(publish, drafts[0].attempt, audit.describe_version)(cursor)
        return Written([one.value], one.changes, audited=one.audited)
    read = cursor.queue("SELECT cluster_id, epoch FROM meta")
    there = {name: _standing(cursor, name) for name in dict.fromkeys(each.namespace for each in drafts)}
    cluster_id, epoch = read.fetchone() or ("", 0)
    results, rows, made = list[Revision | ConfdError](), list[Row](), list[tuple[Draft, Revision]]()
    for draft in drafts:
        current = there[draft.namespace]
        if isinstance(current, VersionSummary):
            try:
                check_expected(draft.expected, current.tag)
                check_changed(draft, current)
            except ConfdError as error:
                results.append(error)
                continue
            columns = configs.columns_of(draft, draft.poll_interval or current.poll_interval)
            version = current.tag.version + 1
            revision = configs.revision_of((cluster_id, epoch, version, *columns), draft.document)
            there[draft.namespace] = VersionSummary.of(revision)
            rows.append((version, *columns))
            made.append((draft, revision))
            results.append(revision)
        else:
            results.append(current)
    if rows:
        cursor.execute(_INSERT, (epoch, *map(list, zip(*rows, strict=True)), cluster_id))
    for draft, _ in made:
        pruning.prune(cursor, draft.namespace, keep)
    changes = [revision_change(revision, draft.arrived) for draft, revision in made]
    return Written(results, changes, audited=_endings(made))


def _standing(cursor: PostgresCursor, namespace: str) -> VersionSummary | ConfdError:
    """Return the current version of a namespace that takes publishes without conditions now."""
    try:
        there = configs.standing(cursor, namespace)
    except ConfdError as error:
        return error
    free = there.rollout is None and there.current is there.newest and not there.held and not there.pending
    return there.current if free else NotShared()


def _endings(made: Sequence[tuple[Draft, Revision]]) -> Sequence[AuditOutcome]:
    return [
        AuditOutcome(draft.attempt, detail=audit.describe_version(revision))
        for draft, revision in made
        if draft.attempt
    ]
