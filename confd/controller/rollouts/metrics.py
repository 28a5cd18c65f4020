"""Metrics of rollouts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection

from twisted.internet.defer import Deferred
from zope.interface import implementer

from confd.changes import ROLLOUT, Change, Contents
from confd.controller.rollouts.views import RolloutViews
from confd.errors import ConfdError
from confd.interfaces import IChangeListener
from confd.rollouts.rollout import ENDED_STATES, OPEN_STATES
from confd.runtime.histogram import Histogram
from confd.runtime.metrics import Metrics, Values

#: Buckets in seconds, from a minute to four days.
ROLLOUT_SECONDS = (60.0, 300.0, 900.0, 1800.0, 3600.0, 10800.0, 21600.0, 43200.0, 86400.0, 172800.0, 345600.0)

_OUTCOMES = ("applied", "failed", "silent", "pending")


@implementer(IChangeListener)
class RolloutMetrics:
    """Counts the rollouts that end, and shows the open ones."""

    def __init__(self, views: RolloutViews, namespaces: Callable[[], Collection[str]]) -> None:
        """
        @param namespaces: the names of the namespaces with series of their own.
        """
        self._views, self._namespaces = views, namespaces
        self._ended = Counter(dict.fromkeys(ENDED_STATES, 0))
        self._seconds = Histogram(ROLLOUT_SECONDS)

    def load(self, contents: Contents) -> None:
        pass

    def apply(self, change: Change) -> None:
        if change.kind == ROLLOUT and not change.value.open:
            # A rollout that cannot be read is not counted.
            counted = Deferred.fromCoroutine(self._count(change.value.rollout))
            counted.addErrback(lambda failure: failure.trap(ConfdError))

    def expose(self, metrics: Metrics) -> None:
        """Add the metrics of rollouts."""
        metrics.gauge(
            "confd_rollout_state",
            "1 for the state of the open rollout, 0 for the other states.",
            self._states,
            "namespace",
            "state",
        )
        metrics.gauge(
            "confd_rollout_members",
            "Members of the open rollout by outcome.",
            self._members,
            "namespace",
            "outcome",
        )
        metrics.counter("confd_rollouts", "Rollouts that ended.", lambda: self._ended, "result")
        metrics.histogram("confd_rollout_seconds", "Time from the start of a rollout to its end.", self._seconds)

    async def _count(self, number: int) -> None:
        rollout = (await self._views.find(number)).rollout
        self._ended[rollout.state] += 1
        if rollout.ended_at is not None:
            self._seconds.observe((rollout.ended_at - rollout.started_at).total_seconds())

    def _states(self) -> Values:
        return {
            (namespace, state): float(view is not None and view.rollout.state == state)
            for namespace in self._namespaces()
            for view in [self._views.present(namespace)]
            for state in OPEN_STATES
        }

    def _members(self) -> Values:
        return {
            (namespace, outcome): 0 if view is None else getattr(view.counts, outcome)
            for namespace in self._namespaces()
            for view in [self._views.present(namespace)]
            for outcome in _OUTCOMES
        }
