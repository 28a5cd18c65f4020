"""Epoch, cluster and keys in SQL: functions of a cursor that return values, and run in the thread of the database."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from confd.changes import IDENTITY, KEYS, IdentityRecord
from confd.codec import headers
from confd.controller.store.change_log import Written, revision_change
from confd.controller.store.cursor import Cursor
from confd.controller.store.queries import configs, keys, pruning, rollouts
from confd.history import EpochChange, check_epoch
from confd.model import Revision


def load_identity(cursor: Cursor) -> IdentityRecord:
    """Return the identity of the cluster."""
    cluster_id, epoch = cursor.execute("SELECT cluster_id, epoch FROM meta").fetchone()
    return IdentityRecord(cluster_id, epoch, keys.load_keys(cursor))


def rotate_keys(cursor: Cursor) -> Written[IdentityRecord]:
    """Add a signing key: L{confd.interfaces.IConfigStore.rotate_keys}."""
    keys.add_key(cursor)
    identity = load_identity(cursor)
    return Written(identity, [(KEYS, "", identity)])


def begin_epoch(
    cursor: Cursor, change: EpochChange, keep: int, announced: Callable[[str, str], object]
) -> Written[Sequence[Revision]]:
    """
    Begin a new epoch: L{confd.interfaces.IConfigStore.begin_epoch}.

    @param keep: see L{pruning.prune}.
    @param announced: called with the old and the new C{cluster_id}, before the change
        is on disk.
    """
    before = load_identity(cursor)
    check_epoch(change, before.cluster_id, before.epoch)
    if change.cluster_id is not None:
        announced(before.cluster_id, change.cluster_id)
    cursor.execute("UPDATE meta SET cluster_id = ?, epoch = ?", (change.cluster_id or before.cluster_id, change.epoch))
    cursor.execute(
        """INSERT INTO revisions
            (namespace, version, cluster, epoch, document, checksum, poll_interval, author, comment, created_at)
        SELECT r.namespace, (SELECT max(version) FROM revisions WHERE namespace = n.name) + 1, c.id, m.epoch,
            r.document, r.checksum, r.poll_interval, ?, ?, ?
        FROM meta AS m JOIN clusters AS c USING (cluster_id) JOIN namespaces AS n ON NOT n.retired
            CROSS JOIN revisions AS r ON r.namespace = n.name
        WHERE r.version = coalesce(
            n.current_version, (SELECT max(version) FROM revisions WHERE namespace = n.name))""",
        (change.author, change.comment, headers.rfc3339(change.made_at)),
    )
    superseded = [
        rollouts.supersede(cursor, found.rollout.id, made, change.made_at)
        for found in rollouts.find_open(cursor, [])
        if (made := configs.standing(cursor, found.rollout.namespace).newest.tag.version)
    ]
    revisions = configs.current(cursor)
    for revision in revisions:
        pruning.prune(cursor, revision.configuration.namespace, keep)
    changes = [revision_change(revision, change.arrived) for revision in revisions]
    return Written(revisions, [(IDENTITY, "", load_identity(cursor)), *superseded, *changes])
