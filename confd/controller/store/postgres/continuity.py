"""Tell whether a database continues the history that a controller wrote: after a failover or a restore it may not."""

from __future__ import annotations

import uuid
from typing import Literal

from attrs import frozen

from confd.controller.store.postgres.cursor import PostgresCursor
from confd.controller.store.postgres.errors import StorageRefusal


@frozen
class DatabaseState:
    """
    The state of a database after a transaction.

    @ivar seq: number of the last change.
    @ivar mark: of the transaction that wrote this change.
    @ivar audit_number: number of the last audit entry; 0 without one.
    @ivar audit_hash: its hash.
    """

    cluster_id: str
    epoch: int
    seq: int
    mark: uuid.UUID
    audit_number: int
    audit_hash: str


class WentBack(StorageRefusal):
    """
    The database lost changes that this controller acknowledged, or is another one.

    @ivar foreign: whether it belongs to another cluster.
    """

    code = "storage_went_back"

    def __init__(self, foreign: bool = False) -> None:
        self.foreign = foreign
        super().__init__(
            "it is not a continuation of the database that this controller wrote to, so changes may be lost; compare"
            " the histories, then run confdctl epoch raise",
            final=False,
        )


Found = Literal["continuation", "far_behind", "reset", "went_back", "raised"]


_STATE = """
    SELECT cluster_id, epoch, seq, mark, coalesce(newest.number, 0), coalesce(newest.hash, '') FROM head
    LEFT JOIN LATERAL (SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1) AS newest ON TRUE
"""


def load_state(cursor: PostgresCursor) -> DatabaseState:
    """Return the state of the database as of one moment."""
    return DatabaseState(*cursor.execute(_STATE).fetchone())


def compare(before: DatabaseState, now: DatabaseState, mark: uuid.UUID | None, audit_hash: str | None) -> Found:
    """
    Return what a database is to a controller.

    Every change of an operator carries an audit entry, so the chain tells a fork.

    @param before: the state that the controller knows.
    @param mark: of the change C{before.seq}, as the database has it; C{None} if the change is gone.
    @param audit_hash: of the entry C{before.audit_number}, likewise.
    """
    known = audit_hash == before.audit_hash
    if known and now.seq >= before.seq and mark == before.mark:
        # Another controller may have adopted the cluster of another database meanwhile.
        return "continuation"
    if not known or now.cluster_id != before.cluster_id:
        raised = now.cluster_id == before.cluster_id and now.epoch > before.epoch
        return "raised" if raised else "went_back"
    return "far_behind" if mark is None and now.seq > before.seq else "reset"


def check_continuation(cursor: PostgresCursor, before: DatabaseState | None, now: DatabaseState) -> Found:
    """
    Compare a database with the state that this controller knows.

    @raise WentBack: if it must not be written.
    """
    if before is None:
        return "continuation"
    mark = audit_hash = None
    if before.seq == now.seq:
        mark = now.mark
    elif (row := cursor.execute("SELECT mark FROM changes WHERE seq = ?", (before.seq,)).fetchone()) is not None:
        (mark,) = row
    if before.audit_number == 0:
        audit_hash = ""
    elif (
        row := cursor.execute("SELECT hash FROM audit WHERE number = ?", (before.audit_number,)).fetchone()
    ) is not None:
        (audit_hash,) = row
    found = compare(before, now, mark, audit_hash)
    if found == "went_back":
        raise WentBack(now.cluster_id != before.cluster_id)
    return found
