"""The row of an agent, read from the disk while other statements write other columns of it."""

from __future__ import annotations

from attrs import evolve

from confd.codec.labels import NO_LABELS
from confd.reports import AgentRecord


def with_later_writes(row: AgentRecord, there: AgentRecord) -> AgentRecord:
    """
    Return a row with the values that memory may know to have been written after it was read.

    @param there: the same agent in memory. In another namespace it keeps the time of its last poll only.
    """
    last_poll = max((at for at in (there.last_poll, row.last_poll) if at is not None), default=None)
    if there.namespace != row.namespace:
        return evolve(row, last_poll=last_poll, report=None, reported_at=None, labels_set=NO_LABELS)
    return evolve(
        row,
        last_poll=last_poll,
        report=there.report,
        reported_at=there.reported_at,
        labels_set=there.labels_set,
    )
