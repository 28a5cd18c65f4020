"""The text in which Prometheus reads metrics (format 0.0.4), made by prometheus_client."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import TypeVar

from attrs import frozen
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from confd.runtime.histogram import Histogram
from confd.runtime.metrics import MAX_PART_SERIES, MetricKind, RegisteredMetric

K = TypeVar("K")
T = TypeVar("T")

_FAMILIES = {MetricKind.GAUGE: GaugeMetricFamily, MetricKind.COUNTER: CounterMetricFamily}

_registry = CollectorRegistry(auto_describe=False)
ProcessCollector(registry=_registry)


def expose(registered: Sequence[RegisteredMetric]) -> Iterator[bytes]:
    """Yield the text of metrics, and of the resources of this process, in parts that each take little time."""
    for each in registered:
        described = False
        for family in _families(each):
            text = b"" if family is None else generate_latest(_Part(family))
            # Only the first part keeps the lines HELP and TYPE.
            yield text.split(b"\n", 2)[2] if described and text else text
            described = described or family is not None
    yield generate_latest(_registry)


@frozen
class _Part(Collector):
    """One part of a metric, as a collector of prometheus_client."""

    family: Metric

    def collect(self) -> list[Metric]:
        return [self.family]


def _families(metric: RegisteredMetric) -> Iterator[Metric | None]:
    """Yield a metric in one or more parts, and C{None} after each step to its values."""
    if isinstance(metric.source, Histogram):
        yield from _histogram(metric, metric.source)
        return
    source = metric.source()
    for found in [source] if isinstance(source, Mapping) else source:
        if found is None:
            yield None
            continue
        for part in _parts(found):
            family = _FAMILIES[metric.kind](metric.name, metric.help, labels=metric.labels)
            for values, value in part:
                family.add_metric((values,) if isinstance(values, str) else values, value)
            yield family


def _histogram(metric: RegisteredMetric, histogram: Histogram) -> Iterator[Metric]:
    ends = [*map(floatToGoString, histogram.bounds), "+Inf"]
    for part in _parts(histogram.counts(bool(metric.labels))):
        family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
        for values, (*counts, total) in part:
            family.add_metric(values, list(zip(ends, accumulate(counts), strict=True)), total)
        yield family


def _parts(found: Mapping[K, T]) -> Iterator[list[tuple[K, T]]]:
    """Yield the current items, L{MAX_PART_SERIES} at a time; without items, one empty part."""
    items = list(found.items())
    for first in range(0, len(items) or 1, MAX_PART_SERIES):
        yield items[first : first + MAX_PART_SERIES]
