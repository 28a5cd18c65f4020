"""Where the export of audit entries is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from random import Random

from attrs import frozen
from twisted.application.service import IService

from confd.brokers.factory import make_audit_sink
from confd.controller.audit_export.exporter import (
    ALONE_SECONDS,
    RETRY_MAX_SECONDS,
    SHARED_SECONDS,
    AuditExporter,
    expose,
)
from confd.controller.audit_export.file_sink import FileAuditSink
from confd.controller.configs.identity import ClusterIdentity
from confd.interfaces import IAuditStore
from confd.interfaces.audit_sinks import IAuditSink
from confd.runtime.daemon import in_threads_of
from confd.runtime.metrics import Metrics
from confd.runtime.reactor import Reactor
from confd.runtime.settings import ControllerSettings
from confd.runtime.timing import Backoff


@frozen
class AuditExports:
    """
    The exports of a controller; none without C{AUDIT_FILE} and C{KAFKA_AUDIT_TOPIC}.

    @ivar services: the exports and what they need.
    """

    exports: Sequence[AuditExporter] = ()
    services: Sequence[IService] = ()

    def wake(self) -> None:
        """Look for new entries."""
        for each in self.exports:
            each.wake()

    def facts(self) -> dict[str, Callable[[], str]]:
        """Return what C{/ready} says of each."""
        return {each.sink.name: each.fact for each in self.exports}

    def expose(self, metrics: Metrics) -> None:
        """Add the metrics of exports."""
        expose(metrics, self.exports)


def make_audit_exports(
    reactor: Reactor,
    settings: ControllerSettings,
    environ: Mapping[str, str],
    store: IAuditStore,
    identity: ClusterIdentity,
    now: Callable[[], datetime],
    random: Random,
) -> AuditExports:
    """
    Return the exports that the settings name.

    @raise StartError: a setting cannot work.
    """
    sinks: list[IAuditSink] = []
    services: list[IService] = []
    if settings.audit_file is not None:
        sinks.append(FileAuditSink(in_threads_of(reactor), settings.audit_file))
    if settings.kafka_audit_topic is not None:
        sink, passwords = make_audit_sink(
            reactor, settings, environ, settings.kafka_audit_topic, lambda: identity.current().cluster_id
        )
        sinks.append(sink)
        services += passwords
    idle = ALONE_SECONDS if settings.database_url is None else SHARED_SECONDS
    exports = [
        AuditExporter(reactor, now, store, each, Backoff(random, RETRY_MAX_SECONDS), idle_seconds=idle)
        for each in sinks
    ]
    return AuditExports(exports, [*sinks, *services, *exports])
