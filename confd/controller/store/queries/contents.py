"""What a controller keeps in memory, read from SQL: a function of a cursor, run in the thread of the database."""

from __future__ import annotations

from confd.changes import VERSIONS_LISTED, Contents, Published
from confd.controller.store.change_log import lanes_of
from confd.controller.store.cursor import Cursor
from confd.controller.store.queries import agents, configs, epoch, rollouts


def load_contents(cursor: Cursor, seq: int) -> Contents:
    """
    Read what a controller keeps in memory, in one transaction: L{confd.interfaces.IChangeStore.contents}.

    @param seq: number of the last change that was committed before this read.
    """
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
