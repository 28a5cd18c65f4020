"""What a worker shows of itself at C{/metrics}."""

from __future__ import annotations

from confd.runtime.metrics import Metrics, Values
from confd.worker.current import AppliedConfig
from confd.worker.upstream import Upstream


def worker_metrics(in_force: AppliedConfig, upstream: Upstream) -> Metrics:
    """The figures of a worker, but for those that all roles have."""
    metrics = Metrics()

    def version() -> Values:
        target = in_force.target
        return {} if target is None or target.tag is None else {(): target.tag.version}

    def applied_at() -> Values:
        target = in_force.target
        return {} if target is None else {(): target.applied_at.timestamp()}

    metrics.gauge("confd_worker_config_version", "The version that the worker works by.", version)
    metrics.gauge("confd_worker_config_applied_timestamp_seconds", "When it was taken over.", applied_at)
    metrics.counter(
        "confd_worker_configs_applied",
        "Configurations that were taken over from the agent.",
        lambda: {(): in_force.applied},
    )
    metrics.gauge("confd_hits_in_flight", "Fetches that are under way.", lambda: {(): upstream.in_flight})
    metrics.counter(
        "confd_hits",
        "Fetches by what came of them: the class of the upstream's status, or the code of the error.",
        lambda: upstream.results,
        "result",
    )
    metrics.histogram("confd_hit_duration_seconds", "From a fetch's beginning to its end or error.", upstream.seconds)
    return metrics
