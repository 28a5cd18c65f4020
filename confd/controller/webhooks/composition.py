"""Where the webhooks of a controller are built."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from random import Random

from attrs import define, frozen
from twisted.application.service import IService

from confd.controller.agents.registry import Registry
from confd.controller.configs.identity import ClusterIdentity
from confd.controller.configs.snapshot import Snapshot
from confd.controller.convergence.tracker import Convergence
from confd.controller.interfaces import IControllerStore
from confd.controller.webhooks.detector import Detector
from confd.controller.webhooks.events import Events
from confd.controller.webhooks.queue import QueueSender, QueueSenders
from confd.interfaces import IChangeListener
from confd.interfaces.webhooks import EVENTS
from confd.runtime.daemon import reload_secrets
from confd.runtime.reactor import Reactor
from confd.runtime.settings import ControllerSettings
from confd.web.auth.throttle import Throttle


@define(eq=False)
class _Secret:
    """The secret that signs events."""

    value: str


@frozen
class Webhooks:
    """
    The parts that send events; without C{WEBHOOK_URLS} it has no listeners.

    @ivar events: describes events; C{None} without C{WEBHOOK_URLS}.
    @ivar listeners: come after the parts that count.
    """

    senders: QueueSenders
    events: Events | None = None
    listeners: Sequence[IChangeListener] = ()
    services: Sequence[IService] = ()


def make_webhooks(
    reactor: Reactor,
    settings: ControllerSettings,
    environ: Mapping[str, str],
    store: IControllerStore,
    identity: ClusterIdentity,
    snapshot: Snapshot,
    registry: Registry,
    convergence: Convergence,
    throttle: Throttle,
    now: Callable[[], datetime],
    random: Random,
) -> Webhooks:
    """Return the parts that send events, and have the store queue the events of changes."""
    urls = settings.webhook_urls
    if not urls:
        return Webhooks(QueueSenders([], now))
    # A controller without webhooks loads no HTTP client.
    from confd.controller.webhooks.request import WebhookReceiver

    secret, holder = _Secret(settings.webhook_secret), uuid.uuid4().hex
    receivers = [WebhookReceiver(reactor, number, url) for number, url in enumerate(urls, 1)]
    senders = QueueSenders(
        [QueueSender(reactor, now, store, each, holder, lambda: secret.value, random) for each in receivers], now
    )
    wanted = settings.webhook_events or EVENTS
    events = Events(lambda: identity.current().cluster_id, registry.count, now, wanted)
    store.queue_changes(len(urls), events.of_change, now)
    detector = Detector(
        reactor,
        now,
        store,
        store,
        snapshot,
        registry,
        convergence,
        events,
        settings.webhook_stalled_after,
        senders.wake,
    )
    convergence.changes.add(detector.convergence_changed)
    throttle.lockouts.add(detector.locked_out)

    def changed(now: ControllerSettings) -> None:
        secret.value = now.webhook_secret

    reloading = reload_secrets(reactor, settings, environ, changed, "WEBHOOK_SECRET")
    return Webhooks(senders, events, [detector, senders], [senders, detector, *reloading])
