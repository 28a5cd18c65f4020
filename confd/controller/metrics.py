"""The metrics of a controller."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence

from confd.controller.agents.liveness import SILENT
from confd.controller.agents.registry import Registry
from confd.controller.agents.selection import AGENTS_PER_TURN
from confd.controller.configs.publishers import BrokerPublisher
from confd.controller.configs.snapshot import Snapshot
from confd.controller.convergence.metrics import PropagationMetrics
from confd.controller.convergence.report_intake import ReportIntake
from confd.controller.convergence.tracker import Convergence
from confd.controller.streams.config_stream import ConfigStream
from confd.controller.streams.event_feed import EventFeed
from confd.interfaces import IConfigStore
from confd.model import Configuration
from confd.reports import ReportState
from confd.runtime.metrics import Metrics, Values

#: The states of agents; C{pending} for agents that have not reported.
STATES = (SILENT, "pending", *(state.value for state in ReportState))


def controller_metrics(
    store: IConfigStore,
    snapshot: Snapshot,
    registry: Registry,
    convergence: Convergence,
    speed: PropagationMetrics,
    report_intake: ReportIntake,
    config_stream: ConfigStream,
    events: EventFeed,
    broker_publishers: Sequence[BrokerPublisher],
    shown: Callable[[], Collection[str]] | None = None,
) -> Metrics:
    """
    Return the metrics of a controller, without the ones that all roles share.

    @param shown: the namespaces with series of their own; C{None} shows all.
    """
    metrics = Metrics()
    shown = shown or snapshot.namespaces
    _of_storage(metrics, store, registry)
    registry.newcomers.expose(metrics)
    _of_configurations(metrics, snapshot, shown)
    _of_agents(metrics, snapshot, registry, convergence, shown)
    metrics.counter("confd_reports", "Reports of agents that were stored.", lambda: report_intake.taken, "state")
    speed.expose(metrics)
    _of_brokers(metrics, broker_publishers)
    metrics.gauge("confd_stream_readers", "Streams of configurations that are open.", lambda: {(): len(config_stream)})
    metrics.gauge("confd_event_readers", "Streams of events that are open.", lambda: {(): len(events)})
    return metrics


def _of_storage(metrics: Metrics, store: IConfigStore, registry: Registry) -> None:
    metrics.gauge("confd_storage_waiting_writes", "Writes that wait for a transaction.", lambda: {(): store.waiting})
    metrics.gauge(
        "confd_unwritten_agents",
        "Agents whose last poll is not on disk yet.",
        lambda: {(): registry.unwritten},
    )


def _of_configurations(metrics: Metrics, snapshot: Snapshot, shown: Callable[[], Collection[str]]) -> None:
    def each(read: Callable[[Configuration], float]) -> Callable[[], Values]:
        return lambda: {name: read(snapshot.require(name).configuration) for name in shown()}

    metrics.gauge("confd_config_version", "The current version.", each(lambda it: it.version), "namespace")
    metrics.gauge("confd_config_epoch", "The epoch of the current version.", each(lambda it: it.epoch), "namespace")
    metrics.gauge(
        "confd_config_published_timestamp_seconds",
        "When the current version was published.",
        each(lambda it: it.updated_at.timestamp()),
        "namespace",
    )
    metrics.gauge(
        "confd_config_size_bytes",
        "Size of the current document.",
        each(lambda it: len(it.document.raw)),
        "namespace",
    )


def _of_agents(
    metrics: Metrics,
    snapshot: Snapshot,
    registry: Registry,
    convergence: Convergence,
    shown: Callable[[], Collection[str]],
) -> None:
    def agents() -> Iterator[Values | None]:
        names = list(shown())
        counts = Counter({(name, state): 0 for name in names for state in STATES})
        for name in names:
            for found in registry.rows.slices(name, AGENTS_PER_TURN):
                state_of = registry.liveness(name).state_of
                counts.update((name, state_of(each.id, each.report) or "pending") for each in found)
                yield None
        yield counts

    def current() -> Values:
        found = {}
        for name in shown():
            progress = convergence.progress(name, snapshot.require(name).configuration.version)
            found[name] = 0 if progress is None else progress.applied
        return found

    metrics.gauge("confd_agents", "Agents by what they reported last; silent wins.", agents, "namespace", "state")
    metrics.gauge(
        "confd_agents_conflicting",
        "Agent ids used by more than one agent in the last hour.",
        lambda: {(): len(registry.duplicates)},
    )
    metrics.gauge("confd_agents_blocked", "Blocked agent ids.", lambda: {(): len(registry.agent_tokens.blocked)})
    metrics.gauge("confd_agents_current", "Agents that have applied the current version.", current, "namespace")


def _of_brokers(metrics: Metrics, broker_publishers: Sequence[BrokerPublisher]) -> None:
    def each(read: Callable[[BrokerPublisher], float]) -> Callable[[], Values]:
        return lambda: {broker_publisher.broker.name: read(broker_publisher) for broker_publisher in broker_publishers}

    metrics.gauge(
        "confd_broker_up", "Whether a broker can be used.", each(lambda it: it.broker.problem() is None), "broker"
    )
    metrics.gauge(
        "confd_broker_keeps",
        "Whether a broker keeps the newest announcement for agents that come later.",
        each(lambda it: it.broker.keeps()),
        "broker",
    )
    metrics.gauge(
        "confd_unpublished_namespaces",
        "Namespaces whose newest announcement a broker does not have.",
        each(lambda it: it.waiting()),
        "broker",
    )
    metrics.counter("confd_announcements", "Announcements that a broker took.", each(lambda it: it.delivered), "broker")
    metrics.counter(
        "confd_announcement_failures",
        "Attempts to bring an announcement to a broker that failed.",
        each(lambda it: it.failures),
        "broker",
    )
