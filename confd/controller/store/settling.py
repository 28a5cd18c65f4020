"""Put summaries in the place of outcomes in many short transactions: other writes wait for each of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import cast

from confd.controller.store.cursor import Work
from confd.controller.store.queries.reports import Unsettled, drop_outcomes, settle


async def settle_versions(
    write: Callable[[Work[object]], Awaitable[object]],
    archive: Sequence[tuple[str, int, bytes]],
    goes_on: Callable[[], bool],
) -> None:
    """
    Replace the outcomes of versions, and of older ones: see L{IReportStore.settle}.

    @param write: does a work in a transaction.
    @param goes_on: returns whether to go on; the next summary of the namespace deletes the rest.
    """
    rest = list(cast("Sequence[Unsettled]", await write(partial(settle, archive=archive))))
    while rest and goes_on():
        left = cast("Unsettled | None", await write(partial(drop_outcomes, wanted=rest.pop())))
        rest += [] if left is None else [left]
