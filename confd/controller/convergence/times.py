"""Milliseconds in their order, without a sort of all at once."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate

from attrs import define, field

from confd.controller.convergence.progress import Percentiles

#: Times of a block at most; a larger one is split.
BLOCK_TIMES = 4000

#: Points of a curve at most.
MAX_CURVE_POINTS = 100


@define(eq=False)
class OrderedTimes:
    """
    Times in blocks: each time of a block is at most as long as each time of the next block.

    A block is sorted when it is split or read. No call sorts more than some thousand times.
    """

    _most: int = BLOCK_TIMES
    _blocks: list[list[float]] = field(factory=lambda: [[]], init=False)
    #: The longest time that each block takes; the last block takes all longer times.
    _tops: list[float] = field(factory=list, init=False)

    def add(self, times: list[float]) -> None:
        """Add some hundred times; sort the list."""
        times.sort()
        start, tops = 0, self._tops
        while start < len(times):
            number = bisect_left(tops, times[start])
            end = len(times) if number == len(tops) else bisect_right(times, tops[number], start)
            block = self._blocks[number]
            block += times[start:end]
            if len(block) > self._most:
                block.sort()
                half = len(block) // 2
                self._blocks[number : number + 1] = block[:half], block[half:]
                tops.insert(number, block[half - 1])
            start = end

    def percentiles(self) -> Percentiles:
        """Return the percentiles, each by its nearest rank; C{None} without times."""
        ends = list(accumulate(map(len, self._blocks)))
        if not ends[-1]:
            return Percentiles(None, None, None)
        median, high, most = (round(self._at(ends, math.ceil(part * ends[-1]) - 1), 3) for part in (0.5, 0.99, 1.0))
        return Percentiles(median, high, most)

    def curve(self) -> Sequence[float]:
        """Return at most L{MAX_CURVE_POINTS} times, ascending, the first and the last included."""
        ends = list(accumulate(map(len, self._blocks)))
        count, points = ends[-1], MAX_CURVE_POINTS
        ranks = range(count) if count <= points else (number * (count - 1) // (points - 1) for number in range(points))
        return [round(self._at(ends, rank), 3) for rank in ranks]

    def _at(self, ends: Sequence[int], rank: int) -> float:
        """
        Return the time of a rank.

        @param ends: number of times in each block and all blocks before.
        """
        number = bisect_right(ends, rank)
        block = self._blocks[number]
        block.sort()
        return block[rank - (ends[number - 1] if number else 0)]
