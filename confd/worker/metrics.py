"""The metrics of a worker."""

from __future__ import annotations

from confd.runtime.metrics import Metrics, Values
from confd.worker.current import CurrentConfig
from confd.worker.upstream import Upstream


def worker_metrics(current: CurrentConfig, upstream: Upstream) -> Metrics:
    """Return the metrics of a worker, without the metrics that all roles have."""
    metrics = Metrics()

    def version() -> Values:
        config = current.config
        return {} if config is None or config.tag is None else {(): config.tag.version}

    def applied_at() -> Values:
        config = current.config
        return {} if config is None else {(): config.applied_at.timestamp()}

    metrics.gauge("confd_worker_config_version", "Number of the current version.", version)
    metrics.gauge(
        "confd_worker_config_applied_timestamp_seconds",
        "When the current version was applied.",
        applied_at,
    )
    metrics.counter(
        "confd_worker_configs_applied",
        "Configurations applied.",
        lambda: {(): current.applied},
    )
    metrics.gauge("confd_hits_in_flight", "Fetches in progress.", lambda: {(): upstream.in_flight})
    metrics.counter(
        "confd_hits",
        "Fetches, by result: the class of the status of the upstream, or the code of the error.",
        lambda: upstream.results,
        "result",
    )
    metrics.histogram("confd_hit_duration_seconds", "Time from the start of a fetch to its end.", upstream.seconds)
    return metrics
