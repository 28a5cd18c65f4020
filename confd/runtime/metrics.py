"""The metrics of a process, read at each scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from typing import Any

from attrs import define, field, frozen

import confd
from confd.runtime.histogram import Histogram

#: Values of a metric by the values of its labels: a tuple, or the value itself of a single label. The type of the keys
#: is Any, as C{Mapping} is invariant in it.
Values = Mapping[Any, float]

#: Values, or the steps that find them.
Read = Values | Iterator[Values | None]

#: Series to render at a time.
MAX_PART_SERIES = 50


class MetricKind(Enum):
    """The types of metrics."""

    GAUGE, COUNTER, HISTOGRAM = range(3)


@frozen
class RegisteredMetric:
    """
    A registered metric.

    @ivar source: returns the values, or holds them: see L{Metrics.gauge}.
    """

    kind: MetricKind
    name: str
    help: str
    source: Callable[[], Read] | Histogram
    labels: tuple[str, ...]


@define(eq=False)
class Metrics:
    """The metrics of a process. The values stay in the parts, which L{Metrics} asks at each scrape."""

    _registered: list[RegisteredMetric] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self.gauge("confd_build_info", "Version of confd.", lambda: {confd.__version__: 1}, "version")

    def gauge(self, name: str, help: str, read: Callable[[], Read], *labels: str) -> None:
        """
        Register a gauge.

        @param read: returns the values by the values of C{labels}; without labels the key is C{()}. Where that takes
            long, it yields C{None} after each step of some milliseconds, and the values at last.
        """
        self._registered.append(RegisteredMetric(MetricKind.GAUGE, name, help, read, labels))

    def counter(self, name: str, help: str, read: Callable[[], Values], *labels: str) -> None:
        """Register a counter, exposed with the suffix C{_total}. See L{gauge}."""
        self._registered.append(RegisteredMetric(MetricKind.COUNTER, name, help, read, labels))

    def histogram(self, name: str, help: str, histogram: Histogram, *labels: str) -> None:
        """Register a histogram."""
        self._registered.append(RegisteredMetric(MetricKind.HISTOGRAM, name, help, histogram, labels))

    def exposition(self) -> bytes:
        """Return all metrics as text."""
        return b"".join(self.parts())

    def parts(self) -> Iterator[bytes]:
        """Return the text of L{exposition} in parts that each take little time, however many series exist."""
        # The first scrape loads the library: a process that nothing scrapes goes without it.
        from confd.runtime.exposition import expose

        return expose(self._registered)
