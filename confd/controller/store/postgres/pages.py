"""Read long tables in pages, since each read has a deadline."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Protocol, TypeVar

from confd.controller.store.cursor import Cursor

K = TypeVar("K")
K_contra = TypeVar("K_contra", contravariant=True)
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

#: Rows of one read: some hundred milliseconds of work.
PAGE_ROWS = 20_000


class Page(Protocol[K_contra, R_co]):
    """A query for the rows above a key, in the order of their keys."""

    def __call__(self, cursor: Cursor, after: K_contra, limit: int) -> Sequence[R_co]:
        """Return C{limit} rows at most."""


async def read_pages(
    read: Callable[[Callable[[Cursor], Sequence[R]]], Awaitable[Sequence[R]]],
    page: Page[K, R],
    key: Callable[[R], K],
    after: K,
    limit: int = PAGE_ROWS,
) -> Sequence[R]:
    """
    Return all rows of a query.

    Rows that change meanwhile may be of the page before or after the change: the feed brings each such change later.

    @param read: runs a work that reads, with a deadline of its own.
    @param key: returns the key of a row.
    @param after: below the key of every row.
    @param limit: rows of one page.
    """
    rows: list[R] = []
    while True:
        found = await read(partial(page, after=after, limit=limit))
        rows += found
        if len(found) < limit:
            return rows
        after = key(found[-1])
