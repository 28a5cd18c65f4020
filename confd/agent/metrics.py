"""What an agent shows of itself at C{/metrics}."""

from __future__ import annotations

from confd.agent.poller import Poller
from confd.agent.receiver import Receiver
from confd.agent.reporter import Reporter
from confd.agent.worker_sync import WorkerSync
from confd.interfaces import POLL, IStrategy
from confd.model import Tag
from confd.runtime.metrics import Metrics, Values


def agent_metrics(
    strategy: IStrategy, receiver: Receiver, poller: Poller, worker_sync: WorkerSync, reporter: Reporter
) -> Metrics:
    """The figures of an agent, but for those that all roles have."""
    metrics = Metrics()
    _of_changes(metrics, strategy, receiver, poller)
    _of_worker(metrics, worker_sync)
    metrics.counter(
        "confd_agent_reports", "Reports to the controller by what came of them.", lambda: reporter.reports, "result"
    )
    metrics.gauge(
        "confd_cache_age_seconds",
        "Seconds since a controller last confirmed what is cached, or since the start.",
        lambda: {(): poller.silence},
    )
    return metrics


def _of_changes(metrics: Metrics, strategy: IStrategy, receiver: Receiver, poller: Poller) -> None:
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
        lambda: {(): receiver.unverified},
    )
    metrics.counter("confd_polls", "Polls by what came of them.", lambda: poller.polls, "result")
    metrics.gauge("confd_known_version", "The newest version that is known.", lambda: _version(receiver.known()))


def _of_worker(metrics: Metrics, worker_sync: WorkerSync) -> None:
    metrics.gauge(
        "confd_applied_version",
        "The version that the worker has.",
        lambda: _version(worker_sync.applied.tag if worker_sync.applied else None),
    )
    metrics.counter(
        "confd_deliveries",
        "Configurations brought to the worker, by what came of it.",
        lambda: worker_sync.deliveries,
        "result",
    )
    metrics.counter(
        "confd_repairs",
        "How often a worker that no longer had its configuration was put right.",
        lambda: {(): worker_sync.repairs},
    )


def _version(tag: Tag | None) -> Values:
    return {} if tag is None else {(): tag.version}
