"""The ids of a namespace in order."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from itertools import chain, islice

from attrs import define, field

#: Ids of a block at most: an insert moves some thousand bytes.
BLOCK_IDS = 1000


@define(eq=False)
class SortedIds:
    """Ids in blocks: an insert into a million ids moves the ids of one block only."""

    _most: int = BLOCK_IDS
    _blocks: list[list[str]] = field(factory=lambda: [[]], init=False)
    #: The first id of each block but the first block, at the time when the block was made.
    _firsts: list[str] = field(factory=list, init=False)

    def __iter__(self) -> Iterator[str]:
        return chain.from_iterable(self._blocks)

    def __bool__(self) -> bool:
        return bool(self._blocks[0])

    def add(self, agent_id: str) -> None:
        """Add an id that is not there."""
        number = bisect_right(self._firsts, agent_id)
        block = self._blocks[number]
        if len(block) >= self._most:
            last = number == len(self._firsts) and block[-1] < agent_id
            # Ids that come in order, as in a load, fill the blocks.
            at = len(block) if last else len(block) // 2
            rest = block[at:]
            del block[at:]
            self._blocks.insert(number + 1, rest)
            self._firsts.insert(number, agent_id if last else rest[0])
            if agent_id >= self._firsts[number]:
                block = rest
        insort(block, agent_id)

    def remove(self, agent_id: str) -> None:
        """Remove an id that is there."""
        number = bisect_right(self._firsts, agent_id)
        block = self._blocks[number]
        del block[bisect_left(block, agent_id)]
        if not block and self._firsts:
            del self._blocks[number]
            del self._firsts[max(number - 1, 0)]

    def after(self, agent_id: str) -> Iterator[str]:
        """Yield the ids that follow an id."""
        number = bisect_right(self._firsts, agent_id)
        block = self._blocks[number]
        rest = islice(self._blocks, number + 1, None)
        return chain(islice(block, bisect_right(block, agent_id), None), chain.from_iterable(rest))
