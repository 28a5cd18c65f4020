"""The figures of one process, read when somebody asks for them (Prometheus text format 0.0.4)."""

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

T = TypeVar("T")

#: Values of one figure, by the values of its labels: a tuple of them, or the value itself where there is one label.
Values = Mapping[Any, float]

#: Sets of label values that are rendered at a time.
PART = 50

#: Seconds, for what should take milliseconds and may take minutes.
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


@define(eq=False)
class Histogram:
    """
    How much was observed of each size, by the values of labels. As small and quick as can be: it is on the way of every
    request.

    @ivar bounds: what each bucket holds at most, in ascending order.
    @ivar expected: the values of labels that are shown before anything was observed of them: of a series that begins
        with its first observation Prometheus sees no increase.
    """

    bounds: tuple[float, ...] = SECONDS
    expected: Callable[[], Iterable[tuple[str, ...]]] = tuple
    #: Of each bucket and of what is above all of them, and the sum.
    _counts: dict[tuple[str, ...], list[float]] = field(factory=dict, init=False)

    def observe(self, value: float, *labels: str, times: int = 1) -> None:
        """Count one, or several of the same size."""
        counts = self._counts.get(labels)
        if counts is None:
            counts = self._counts[labels] = self._nothing()
        counts[bisect_left(self.bounds, value)] += times
        counts[-1] += value * times

    def families(self, name: str, help: str, labels: tuple[str, ...]) -> Iterator[HistogramMetricFamily]:
        """Yield what there is now, for prometheus_client, in parts."""
        ends = [*map(floatToGoString, self.bounds), "+Inf"]
        expected = self.expected() if labels else [()]
        for part in _parts({each: self._nothing() for each in expected} | self._counts):
            family = HistogramMetricFamily(name, help, labels=labels)
            for values, (*counts, total) in part:
                family.add_metric(values, list(zip(ends, accumulate(counts), strict=True)), total)
            yield family

    def _nothing(self) -> list[float]:
        return [0.0] * (len(self.bounds) + 2)


@frozen
class _Figure:
    """
    @ivar make: makes the family of the figure out of its name, help, and labels; in parts, of which there is one at
        least.
    """

    name: str
    help: str
    labels: tuple[str, ...]
    make: Callable[[str, str, tuple[str, ...]], Iterator[Metric]]


@frozen
class _Part(Collector):
    """One part of a figure, as prometheus_client asks for it."""

    family: Metric

    def collect(self) -> list[Metric]:
        return [self.family]


@define(eq=False)
class Metrics:
    """What a process counts and measures. Nothing is kept here: each figure is asked of the part that knows it."""

    _figures: list[_Figure] = field(factory=list, init=False)
    _registry: CollectorRegistry = field(factory=lambda: CollectorRegistry(auto_describe=False), init=False)

    def __attrs_post_init__(self) -> None:
        ProcessCollector(registry=self._registry)
        self.gauge("confd_build_info", "The release that runs.", lambda: {confd.__version__: 1}, "version")

    def gauge(self, name: str, help: str, read: Callable[[], Values], *labels: str) -> None:
        """
        A figure that goes up and down.

        @param read: gives its values, by the values of C{labels}; without labels the key is C{()}.
        """
        self._add(name, help, labels, _reading(GaugeMetricFamily, read))

    def counter(self, name: str, help: str, read: Callable[[], Values], *labels: str) -> None:
        """A figure that only goes up; its name gets the ending C{_total}. See L{gauge}."""
        self._add(name, help, labels, _reading(CounterMetricFamily, read))

    def histogram(self, name: str, help: str, histogram: Histogram, *labels: str) -> None:
        """A figure of which there are many, and of all sizes."""
        self._add(name, help, labels, histogram.families)

    def exposition(self) -> bytes:
        """All figures as text."""
        return b"".join(self.parts())

    def parts(self) -> Iterator[bytes]:
        """Yield the text of L{exposition} in parts that each take little time, however many series there are."""
        for figure in self._figures:
            for number, family in enumerate(figure.make(figure.name, figure.help, figure.labels)):
                text = generate_latest(_Part(family))
                # The lines HELP and TYPE stand before the first part only.
                yield text.split(b"\n", 2)[2] if number else text
        yield generate_latest(self._registry)

    def _add(self, name: str, help: str, labels: tuple[str, ...], make: Callable[..., Iterator[Metric]]) -> None:
        self._figures.append(_Figure(name, help, labels, make))


def _reading(kind: Any, read: Callable[[], Values]) -> Callable[[str, str, tuple[str, ...]], Iterator[Metric]]:
    def make(name: str, help: str, labels: tuple[str, ...]) -> Iterator[Metric]:
        for part in _parts(read()):
            family = kind(name, help, labels=labels)
            for values, value in part:
                family.add_metric((values,) if isinstance(values, str) else values, value)
            yield family

    return make


def _parts(found: Mapping[Any, T]) -> Iterator[list[tuple[Any, T]]]:
    """Yield the items that there are now, L{PART} at a time; one empty part where there are none."""
    items = list(found.items())
    for first in range(0, len(items) or 1, PART):
        yield items[first : first + PART]
