"""The metrics of an agent."""

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
    """Return the metrics of an agent, without the metrics that all roles have."""
    metrics = Metrics()
    _add_receiving(metrics, strategy, receiver, poller)
    _add_worker(metrics, worker_sync)
    metrics.counter("confd_agent_reports", "Reports to the controller by result.", lambda: reporter.reports, "result")
    metrics.gauge(
        "confd_cache_age_seconds",
        "Seconds since the last answer of a controller, or since the start.",
        lambda: {(): poller.silence},
    )
    return metrics


def _add_receiving(metrics: Metrics, strategy: IStrategy, receiver: Receiver, poller: Poller) -> None:
    metrics.gauge(
        "confd_push_up",
        "Whether the push path of the strategy is up; polls continue in any case.",
        lambda: {strategy.name: strategy.path() != POLL},
        "strategy",
    )
    metrics.counter(
        "confd_push_connections",
        "Connections of the push path.",
        lambda: {strategy.name: strategy.connections},
        "strategy",
    )
    metrics.counter(
        "confd_unverified_announcements",
        "Announcements that were only hints, because they could not be verified or changed nothing.",
        lambda: {(): receiver.unverified},
    )
    metrics.counter("confd_polls", "Polls by result.", lambda: poller.polls, "result")
    metrics.gauge("confd_known_version", "Newest version that the agent received.", lambda: _version(receiver.known()))


def _add_worker(metrics: Metrics, worker_sync: WorkerSync) -> None:
    metrics.gauge(
        "confd_applied_version",
        "Version that the worker applied last.",
        lambda: _version(worker_sync.applied.tag if worker_sync.applied else None),
    )
    metrics.counter(
        "confd_deliveries",
        "Deliveries to the worker by result.",
        lambda: worker_sync.deliveries,
        "result",
    )
    metrics.counter(
        "confd_repairs",
        "Configurations restored after the worker lost them.",
        lambda: {(): worker_sync.repairs},
    )


def _version(tag: Tag | None) -> Values:
    return {} if tag is None else {(): tag.version}
