"""The metrics of a controller's connections to PostgreSQL."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from attrs import define, field

from confd.runtime.metrics import Metrics


@define(eq=False)
class DatabaseCounts:
    """
    What happened to the connections since the start.

    @ivar deadlines: transactions that were given up, by connection.
    @ivar in_doubt: commits whose result was not known at first, by what the database said later.
    @ivar groups: transactions of the writer.
    @ivar writes: writes that shared these.
    """

    deadlines: Counter[str] = field(factory=lambda: Counter(writer=0, query=0))
    in_doubt: Counter[str] = field(factory=lambda: Counter(committed=0, lost=0, unknown=0))
    groups: int = 0
    writes: int = 0

    def expose(self, metrics: Metrics, went_back: Callable[[], bool], no_standby: Callable[[], bool]) -> None:
        """
        Add the metrics.

        @param went_back: whether the database lost changes.
        @param no_standby: whether commits wait for a standby that is away.
        """
        metrics.counter(
            "confd_database_deadlines",
            "Transactions that were given up because the server did not answer.",
            lambda: self.deadlines,
            "connection",
        )
        metrics.counter(
            "confd_database_in_doubt",
            "Commits whose result was not known at first, by the result.",
            lambda: self.in_doubt,
            "result",
        )
        metrics.counter("confd_database_groups", "Transactions that wrote.", lambda: {(): self.groups})
        metrics.counter(
            "confd_database_group_works", "Writes that shared these transactions.", lambda: {(): self.writes}
        )
        metrics.gauge(
            "confd_storage_went_back",
            "Whether the database lost changes that this controller acknowledged (1) or not (0).",
            lambda: {(): int(went_back())},
        )
        metrics.gauge(
            "confd_database_without_standby",
            "Whether commits wait for a standby that does not answer (1) or not (0).",
            lambda: {(): int(no_standby())},
        )
