"""Metrics of publishes and of their propagation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection

from zope.interface import implementer

from confd.changes import REVISION, Change, Contents
from confd.controller.agents.registry import Registry
from confd.controller.convergence.version import VersionProgress
from confd.interfaces import IChangeListener
from confd.runtime.histogram import Histogram
from confd.runtime.metrics import Metrics

#: Percent of the agents of a namespace that have to apply a version for it to count as converged.
CONVERGED_PERCENT = 95


@implementer(IChangeListener)
class PropagationMetrics:
    """Counts the versions that became current, and measures how fast agents apply them."""

    def __init__(
        self,
        registry: Registry,
        namespaces: Callable[[], Collection[str]],
    ) -> None:
        """
        @param namespaces: the names of the namespaces with series of their own.
        """
        self._registry, self._namespaces = registry, namespaces
        self._published: Counter[str] = Counter()
        self._propagation, self._convergence = (
            Histogram(expected=lambda: ((name,) for name in namespaces())) for _ in range(2)
        )

    def load(self, contents: Contents) -> None:
        pass

    def apply(self, change: Change) -> None:
        if change.kind == REVISION and change.subject in self._namespaces():
            self._published[change.subject] += 1

    def measure(self, namespace: str, progress: VersionProgress, took: float) -> None:
        """
        Observe that one more agent applied a version.

        @param took: milliseconds from the POST.
        """
        shown = namespace in self._namespaces()
        if shown:
            self._propagation.observe(took / 1000, namespace)
        if not progress.converged and 100 * progress.applied >= CONVERGED_PERCENT * self._registry.count(namespace):
            progress.converged = True
            if shown:
                self._convergence.observe(progress.slowest / 1000, namespace)

    def expose(self, metrics: Metrics) -> None:
        """Add the metrics of the propagation."""
        metrics.counter(
            "confd_publishes",
            "Published versions.",
            lambda: dict.fromkeys(self._namespaces(), 0) | self._published,
            "namespace",
        )
        metrics.histogram(
            "confd_propagation_seconds",
            "Time from a POST, or from the start of a wave, until an agent applied its configuration.",
            self._propagation,
            "namespace",
        )
        metrics.histogram(
            "confd_convergence_seconds",
            f"Time from a POST until {CONVERGED_PERCENT} % of the agents of its namespace applied it.",
            self._convergence,
            "namespace",
        )
