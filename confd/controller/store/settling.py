"""Put summaries in the place of outcomes in many short transactions: other writes wait for each of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from confd.controller.store.cursor import Work
from confd.controller.store.queries.reports import drop_outcomes, settle


async def settle_versions(
    write: Callable[[Work[Any]], Awaitable[Any]],
    archive: Sequence[tuple[str, int, bytes]],
    goes_on: Callable[[], bool],
) -> None:
    """
    Replace the outcomes of versions, and of older ones: see L{IReportStore.settle}.

    @param write: does a work in a transaction.
    @param goes_on: returns whether to go on; what is left is deleted with the next summary of the namespace.
    """
    rest = list(await write(partial(settle, archive=archive)))
    while rest and goes_on():
        left = await write(partial(drop_outcomes, wanted=rest.pop()))
        rest += [] if left is None else [left]
