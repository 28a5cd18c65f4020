"""A histogram that counts before any metric is read: processes that expose no metrics load no library for them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping

from attrs import define, field

#: Buckets in seconds, for work that takes milliseconds or minutes.
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


@define(eq=False)
class Histogram:
    """
    Count observed values in buckets, by the values of labels. Every request pays for it, so it is small and fast.

    @ivar bounds: upper bounds of the buckets in ascending order.
    @ivar expected: label values to expose before the first observation. Prometheus sees no increase in a series that
        begins with its first observation.
    """

    bounds: tuple[float, ...] = SECONDS
    expected: Callable[[], Iterable[tuple[str, ...]]] = tuple
    #: A count for each bucket, a count of larger values, and the sum of all values.
    _counts: dict[tuple[str, ...], list[float]] = field(factory=dict, init=False)

    def observe(self, value: float, *labels: str, times: int = 1) -> None:
        """Count a value, or several equal values."""
        counts = self._counts.get(labels)
        if counts is None:
            counts = self._counts[labels] = self._zeros()
        counts[bisect_left(self.bounds, value)] += times
        counts[-1] += value * times

    def counts(self, labeled: bool) -> Mapping[tuple[str, ...], list[float]]:
        """
        Return, by label values, a count for each bucket, a count of larger values, and the sum of all values.

        @param labeled: whether the histogram has labels; without labels, the key is C{()}.
        """
        expected = self.expected() if labeled else [()]
        return {each: self._zeros() for each in expected} | self._counts

    def _zeros(self) -> list[float]:
        return [0.0] * (len(self.bounds) + 2)
