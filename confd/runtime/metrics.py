"""The metrics of a process, read at each scrape (Prometheus text format 0.0.4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from typing import Any, TypeVar

from attrs import define, field, frozen
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

import confd
from confd.runtime.histogram import Histogram

K = TypeVar("K")
T = TypeVar("T")

#: Values of a metric by the values of its labels: a tuple, or the value itself of a single label. The type of the keys
#: is Any, as C{Mapping} is invariant in it.
Values = Mapping[Any, float]

#: Series to render at a time.
MAX_PART_SERIES = 50


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
        self._add(name, help, labels, _counting(histogram))

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


def _counting(histogram: Histogram) -> Callable[[str, str, tuple[str, ...]], Iterator[Metric]]:
    ends = [*map(floatToGoString, histogram.bounds), "+Inf"]

    def make(name: str, help: str, labels: tuple[str, ...]) -> Iterator[Metric]:
        for part in _parts(histogram.counts(bool(labels))):
            family = HistogramMetricFamily(name, help, labels=labels)
            for values, (*counts, total) in part:
                family.add_metric(values, list(zip(ends, accumulate(counts), strict=True)), total)
            yield family

    return make


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
