"""The metrics of a process, read at each scrape (Prometheus text format 0.0.4)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Any, TypeVar

from attrs import define, field, frozen
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

import confd

K = TypeVar("K")
T = TypeVar("T")

#: Values of a metric by the values of its labels: a tuple, or the value itself of a single label. The type of the keys
#: is Any, as C{Mapping} is invariant in it.
Values = Mapping[Any, float]

#: Series to render at a time.
MAX_PART_SERIES = 50

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

    def families(self, name: str, help: str, labels: tuple[str, ...]) -> Iterator[HistogramMetricFamily]:
        """Yield the current values for prometheus_client, in parts."""
        ends = [*map(floatToGoString, self.bounds), "+Inf"]
        expected = self.expected() if labels else [()]
        for part in _parts({each: self._zeros() for each in expected} | self._counts):
            family = HistogramMetricFamily(name, help, labels=labels)
            for values, (*counts, total) in part:
                family.add_metric(values, list(zip(ends, accumulate(counts), strict=True)), total)
            yield family

    def _zeros(self) -> list[float]:
        return [0.0] * (len(self.bounds) + 2)


@frozen
class _Registered:
    """
    A registered metric.

    @ivar make: yields the metric family in one or more parts, given name, help and labels.
    """

    name: str
    help: str
    labels: tuple[str, ...]
    make: Callable[[str, str, tuple[str, ...]], Iterator[Metric]]


@frozen
class _Part(Collector):
    """One part of a metric, as a collector of prometheus_client."""

    family: Metric

    def collect(self) -> list[Metric]:
        return [self.family]


@define(eq=False)
class Metrics:
    """The metrics of a process. The values stay in the parts, which L{Metrics} asks at each scrape."""

    _registered: list[_Registered] = field(factory=list, init=False)
    _registry: CollectorRegistry = field(factory=lambda: CollectorRegistry(auto_describe=False), init=False)

    def __attrs_post_init__(self) -> None:
        ProcessCollector(registry=self._registry)
        self.gauge("confd_build_info", "Version of confd.", lambda: {confd.__version__: 1}, "version")

    def gauge(self, name: str, help: str, read: Callable[[], Values], *labels: str) -> None:
        """
        Register a gauge.

        @param read: returns the values by the values of C{labels}; without labels the key is C{()}.
        """
        self._add(name, help, labels, _reading(GaugeMetricFamily, read))

    def counter(self, name: str, help: str, read: Callable[[], Values], *labels: str) -> None:
        """Register a counter, exposed with the suffix C{_total}. See L{gauge}."""
        self._add(name, help, labels, _reading(CounterMetricFamily, read))

    def histogram(self, name: str, help: str, histogram: Histogram, *labels: str) -> None:
        """Register a histogram."""
        self._add(name, help, labels, histogram.families)

    def exposition(self) -> bytes:
        """Return all metrics as text."""
        return b"".join(self.parts())

    def parts(self) -> Iterator[bytes]:
        """Yield the text of L{exposition} in parts that each take little time, however many series exist."""
        for each in self._registered:
            for number, family in enumerate(each.make(each.name, each.help, each.labels)):
                text = generate_latest(_Part(family))
                # Only the first part keeps the lines HELP and TYPE.
                yield text.split(b"\n", 2)[2] if number else text
        yield generate_latest(self._registry)

    def _add(self, name: str, help: str, labels: tuple[str, ...], make: Callable[..., Iterator[Metric]]) -> None:
        self._registered.append(_Registered(name, help, labels, make))


def _reading(
    kind: type[CounterMetricFamily | GaugeMetricFamily], read: Callable[[], Values]
) -> Callable[[str, str, tuple[str, ...]], Iterator[Metric]]:
    def make(name: str, help: str, labels: tuple[str, ...]) -> Iterator[Metric]:
        for part in _parts(read()):
            family = kind(name, help, labels=labels)
            for values, value in part:
                family.add_metric((values,) if isinstance(values, str) else values, value)
            yield family

    return make


def _parts(found: Mapping[K, T]) -> Iterator[list[tuple[K, T]]]:
    """Yield the current items, L{MAX_PART_SERIES} at a time; without items, one empty part."""
    items = list(found.items())
    for first in range(0, len(items) or 1, MAX_PART_SERIES):
        yield items[first : first + MAX_PART_SERIES]
