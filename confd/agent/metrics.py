"""What an agent shows of itself at C{/metrics}."""

from __future__ import annotations

from confd.agent.poller import Reconciler
from confd.agent.receiver import Inbox
from confd.agent.reporter import Reporter
from confd.agent.worker_sync import Forwarder
from confd.interfaces import POLL, IStrategy
from confd.model import Tag
from confd.runtime.metrics import Metrics, Values


def figures(
    strategy: IStrategy, inbox: Inbox, reconciler: Reconciler, forwarder: Forwarder, reporter: Reporter
) -> Metrics:
    """The figures of an agent, but for those that all roles have."""
    metrics = Metrics()
    _of_changes(metrics, strategy, inbox, reconciler)
    _of_worker(metrics, forwarder)
    metrics.counter(
        "confd_agent_reports", "Reports to the controller by what came of them.", lambda: reporter.reports, "result"
    )
    metrics.gauge(
        "confd_cache_age_seconds",
        "Seconds since a controller last confirmed what is cached, or since the start.",
        lambda: {(): reconciler.silence},
    )
    return metrics


def _of_changes(metrics: Metrics, strategy: IStrategy, inbox: Inbox, reconciler: Reconciler) -> None:
    metrics.gauge(
        "confd_push_up",
        "Whether changes arrive by the push path of the strategy; by poll they arrive in any case.",
        lambda: {strategy.name: strategy.path() != POLL},
        "strategy",
    )
    metrics.counter(
        "confd_push_connections",
        "How often the push path came up.",
        lambda: {strategy.name: strategy.connections},
        "strategy",
    )
    metrics.counter(
        "confd_unverified_announcements",
        "Messages of a broker that were no more than a hint.",
        lambda: {(): inbox.unverified},
    )
    metrics.counter("confd_polls", "Polls by what came of them.", lambda: reconciler.polls, "result")
    metrics.gauge("confd_known_version", "The newest version that is known.", lambda: _version(inbox.known()))


def _of_worker(metrics: Metrics, forwarder: Forwarder) -> None:
    metrics.gauge(
        "confd_applied_version",
        "The version that the worker has.",
        lambda: _version(forwarder.applied.tag if forwarder.applied else None),
    )
    metrics.counter(
        "confd_deliveries",
        "Configurations brought to the worker, by what came of it.",
        lambda: forwarder.deliveries,
        "result",
    )
    metrics.counter(
        "confd_repairs",
        "How often a worker that no longer had its configuration was put right.",
        lambda: {(): forwarder.repairs},
    )


def _version(tag: Tag | None) -> Values:
    return {} if tag is None else {(): tag.version}
