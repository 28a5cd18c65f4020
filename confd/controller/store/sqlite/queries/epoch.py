"""Epoch and cluster in SQL: a function of a cursor that returns values, and runs in the thread of the database."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

from confd.codec import headers
from confd.controller.store.sqlite.queries import configs, pruning
from confd.history import EpochChange, check_renaming
from confd.model import Revision


def rename(
    cursor: sqlite3.Cursor, renaming: EpochChange, keep: int, announced: Callable[[str, str], object]
) -> Sequence[Revision]:
    """
    Begin a new epoch: L{confd.interfaces.IConfigStore.rename}.

    @param keep: see L{pruning.prune}.
    @param announced: called with the C{cluster_id} that is given up and the one that takes its place, before the change
        is on disk.
    """
    before, epoch = cursor.execute("SELECT cluster_id, epoch FROM meta").fetchone()
    check_renaming(renaming, before, epoch)
    if renaming.cluster_id is not None:
        announced(before, renaming.cluster_id)
    cursor.execute("UPDATE meta SET cluster_id = ?, epoch = ?", (renaming.cluster_id or before, renaming.epoch))
    cursor.execute(
        """INSERT INTO revisions
            (namespace, version, cluster, epoch, document, checksum, poll_interval, author, comment, created_at)
        SELECT r.namespace, r.version + 1, c.id, m.epoch, r.document, r.checksum, r.poll_interval, ?, ?, ?
        FROM meta AS m JOIN clusters AS c USING (cluster_id) CROSS JOIN namespaces AS n
            CROSS JOIN revisions AS r ON r.namespace = n.name
        WHERE NOT n.retired AND r.version = (SELECT max(version) FROM revisions WHERE namespace = n.name)""",
        (renaming.author, renaming.comment, headers.rfc3339(renaming.made_at)),
    )
    revisions = configs.in_force(cursor)
    for revision in revisions:
        pruning.prune(cursor, revision.configuration.namespace, keep)
    return revisions
