"""What a controller keeps in memory, read from SQL: a function of a cursor, run in the thread of the database."""

from __future__ import annotations

import sqlite3

from confd.changes import VERSIONS_LISTED, Contents, Published
from confd.controller.store.change_log import lanes_of
from confd.controller.store.sqlite.queries import agents, configs, epoch, rollouts


def load_contents(cursor: sqlite3.Cursor, seq: int) -> Contents:
    """
    Read what a controller keeps in memory: L{confd.interfaces.IChangeStore.contents}.

    @param seq: number of the last change that was committed before this read.
    """
    # One transaction: all statements see the same state.
    cursor.execute("BEGIN")
    try:
        revisions = configs.current(cursor)
        names = [revision.configuration.namespace for revision in revisions]
        versions = {
            name: [Published(each) for each in configs.history(cursor, name, VERSIONS_LISTED, None)] for name in names
        }
        blocked = frozenset(agents.load_blocked(cursor))
        lanes = {
            found.rollout.namespace: lanes_of(
                found.rollout,
                found.members,
                configs.revision(cursor, found.rollout.namespace, found.rollout.candidate),
            )
            for found in rollouts.find_open(cursor)
        }
        return Contents(seq, epoch.load_identity(cursor), revisions, versions, blocked, lanes)
    finally:
        cursor.execute("ROLLBACK")
