"""Where what listens, here and in other processes, is built and joined."""

from __future__ import annotations

import os
from random import Random
from typing import Any

from confd.controller.configs import Configs
from confd.controller.fronts.offspring import starter
from confd.controller.fronts.outpost import Served
from confd.controller.fronts.writer import Fronts
from confd.controller.registry import Registry
from confd.controller.snapshot import Snapshot
from confd.controller.stream import Hub
from confd.listening import Listener
from confd.metrics import Metrics
from confd.settings import ControllerSettings
from confd.web.edge import Edge
from confd.web.site import BoundedSite


def doors(
    reactor: Any,
    settings: ControllerSettings,
    site: BoundedSite,
    metrics: Metrics,
    snapshot: Snapshot,
    configs: Configs,
    registry: Registry,
    hub: Hub,
    edge: Edge,
) -> tuple[Listener, list[Fronts]]:
    """
    Build what listens.

    @return: the listener of this process, and what looks after the others, if there are to be any.
    @raise StartError: if the endpoint cannot be understood.
    """
    where, shared = "LISTEN" if settings.listen else "PORT", settings.processes > 1
    listener = Listener(reactor, where, settings.endpoint, site, settings.client_ca_file, shared)
    fronts = [_fronts(reactor, settings, site, listener, snapshot)] if shared else []
    for each in fronts:
        each.join(configs, registry, hub, edge)
    metrics.gauge(
        "confd_fronts",
        "Processes that serve besides the one that decides.",
        lambda: {(): sum(each.up for each in fronts)},
    )
    return listener, fronts


def _fronts(
    reactor: Any, settings: ControllerSettings, site: BoundedSite, listener: Listener, snapshot: Snapshot
) -> Fronts:
    served = Served(
        site,
        lambda: listener.port,
        settings.endpoint,
        settings.client_ca_file,
        site.memo is not None,
        settings.log_level,
    )
    return Fronts(reactor, settings.processes - 1, served, snapshot, starter(reactor, os.environ), Random())
