"""The figures of one process, read when somebody asks for them (Prometheus text format 0.0.4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from attrs import define, field, frozen
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

import confd

#: Values of one figure, by the values of its labels.
Values = Mapping[tuple[str, ...], float]


@frozen
class _Figure:
    name: str
    help: str
    family: Any
    labels: tuple[str, ...]
    read: Callable[[], Values]


@define(eq=False)
class Metrics:
    """What a process counts and measures. Nothing is kept here: each figure is asked of the part that knows it."""

    _figures: list[_Figure] = field(factory=list)
    _registry: CollectorRegistry = field(factory=lambda: CollectorRegistry(auto_describe=False))

    def __attrs_post_init__(self) -> None:
        self._registry.register(self)
        self.gauge("confd_build_info", "The release that runs.", lambda: {(confd.__version__,): 1}, "version")

    def gauge(self, name: str, help: str, read: Callable[[], Values], *labels: str) -> None:
        """
        A figure that goes up and down.

        @param read: gives its values, by the values of C{labels}; without labels the key is C{()}.
        """
        self._figures.append(_Figure(name, help, GaugeMetricFamily, labels, read))

    def counter(self, name: str, help: str, read: Callable[[], Values], *labels: str) -> None:
        """A figure that only goes up; its name gets the ending C{_total}. See L{gauge}."""
        self._figures.append(_Figure(name, help, CounterMetricFamily, labels, read))

    def exposition(self) -> bytes:
        """All figures as text."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """What prometheus_client asks of a collector."""
        for figure in self._figures:
            family = figure.family(figure.name, figure.help, labels=figure.labels)
            for values, value in figure.read().items():
                family.add_metric(values, value)
            yield family
