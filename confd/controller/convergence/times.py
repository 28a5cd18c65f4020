"""The times of many agents in their order."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterable
from itertools import accumulate
from typing import Protocol

from attrs import define, field

from confd.controller.convergence.progress import Percentiles

#: Times up to which all are sorted; more times are known by a histogram.
MAX_SORTED = 20_000

#: Points of a curve at most.
MAX_CURVE_POINTS = 100

#: Bits of a time that a histogram keeps; a time that it returns is at most 1.6 % off.
_BITS = 6


class RankedTimes(Protocol):
    """Times in microseconds, ascending."""

    def __len__(self) -> int: ...

    def __getitem__(self, rank: int, /) -> int: ...


def percentiles(times: RankedTimes) -> Percentiles:
    """Return the percentiles in milliseconds, each by its nearest rank; C{None} without times."""
    count = len(times)
    if not count:
        return Percentiles(None, None, None)
    median, high, most = (times[math.ceil(part * count) - 1] / 1000 for part in (0.5, 0.99, 1.0))
    return Percentiles(median, high, most)


def curve(times: RankedTimes) -> list[float]:
    """Return at most L{MAX_CURVE_POINTS} times in milliseconds, ascending, the first and the last included."""
    count, points = len(times), MAX_CURVE_POINTS
    ranks = range(count) if count <= points else (number * (count - 1) // (points - 1) for number in range(points))
    return [times[rank] / 1000 for rank in ranks]


@define(eq=False)
class TimeHistogram:
    """
    Counts times in buckets that are 1.6 to 3.2 percent wide: any number of times takes little memory.

    A time is known by its bucket only; the longest time is exact until it is removed.
    """

    _counts: Counter[int] = field(factory=Counter, init=False)
    _longest: int = field(default=0, init=False)
    #: The buckets in order, and the times in each bucket and all before; empty after a change.
    _order: list[int] = field(factory=list, init=False)
    _ends: list[int] = field(factory=list, init=False)

    def add(self, times: Collection[int]) -> None:
        """Add times in microseconds."""
        self._counts.update(map(_bucket, times))
        self._longest = max(self._longest, *times) if times else self._longest
        self._ends = []

    def remove(self, times: Iterable[int]) -> None:
        """Remove times that were added."""
        self._counts.subtract(map(_bucket, times))
        self._ends = []

    def __len__(self) -> int:
        return self._counts.total()

    def __getitem__(self, rank: int) -> int:
        if not self._ends:
            self._order = sorted(bucket for bucket, count in self._counts.items() if count)
            self._ends = list(accumulate(self._counts[bucket] for bucket in self._order))
        bucket = self._order[bisect_right(self._ends, rank)]
        least, width = _bounds(bucket)
        if bucket == self._order[-1] and rank == self._ends[-1] - 1 and self._longest < least + width:
            return self._longest
        return min(least + width // 2, self._longest)


@define(eq=False)
class CollectedTimes:
    """Times that come in parts."""

    _times: list[int] = field(factory=list, init=False)
    _histogram: TimeHistogram | None = field(default=None, init=False)

    def add(self, times: list[int]) -> None:
        """Add times in microseconds."""
        if self._histogram is not None:
            self._histogram.add(times)
            return
        self._times += times
        if len(self._times) > MAX_SORTED:
            self._histogram = TimeHistogram()
            self._histogram.add(self._times)

    def ranked(self) -> RankedTimes:
        """Return the times in their order."""
        return sorted(self._times) if self._histogram is None else self._histogram


def _bucket(time: int) -> int:
    shift = time.bit_length() - _BITS
    return time if shift <= 0 else (shift << (_BITS - 1)) + (time >> shift)


def _bounds(bucket: int) -> tuple[int, int]:
    """Return the least time of a bucket, and the number of times in it."""
    shift = max((bucket >> (_BITS - 1)) - 1, 0)
    return (bucket - (shift << (_BITS - 1))) << shift, 1 << shift
