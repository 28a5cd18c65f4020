"""Where the agent is built and joined."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from random import Random
from typing import Any

from twisted.application.service import IService
from twisted.web.client import HTTPConnectionPool

from confd.agent import plugin
from confd.agent.cache import Cache
from confd.agent.disk import CacheFiles
from confd.agent.enrolment import Enrolment
from confd.agent.forwarder import RETRY_MAX, Forwarder
from confd.agent.funnel import Funnel
from confd.agent.inbox import Inbox
from confd.agent.reconciler import Reconciler
from confd.agent.service import Agent, Parts
from confd.client import ControllerClient, WorkerClient
from confd.daemon import Listener, in_threads_of
from confd.http import Http, tls_policy, web_agent
from confd.interfaces import POLL, IStrategy, StrategyContext
from confd.metrics import Metrics, Values
from confd.model import Configuration, Registration, Tag
from confd.settings import AgentSettings
from confd.signing import KeyRing
from confd.timing import Backoff
from confd.web.endpoint import Edge
from confd.web.guard import BasicGuard
from confd.web.ops import Figures, Health, Readiness
from confd.web.site import BoundedSite, Limits


def compose(reactor: Any, settings: AgentSettings, environ: Mapping[str, str]) -> list[IService]:
    """
    Build the agent and join its parts; nothing is opened or connected.

    @param environ: what the strategy finds its own settings in.
    @raise StartError: if the settings cannot work.
    """
    random = Random()
    controllers, worker = _clients(reactor, settings)
    registration = Registration(
        hostname=socket.gethostname(),
        metadata=settings.agent_metadata,
        strategy=settings.distribution_strategy,
        namespace=settings.namespace,
    )
    cache = Cache(reactor, CacheFiles(settings.cache_file, settings.namespace), in_threads_of(reactor))
    forwarder = Forwarder(reactor, worker, Backoff(random, RETRY_MAX), cache.keep)

    def deliver(configuration: Configuration) -> None:
        forwarder.deliver(configuration)
        reconciler.reconsider()

    funnel = Funnel(deliver)
    enrolment = Enrolment(reactor, controllers, Backoff(random, settings.backoff_max), registration, cache.keep_id)
    context = StrategyContext(
        reactor, settings.namespace, environ, controllers, lambda: enrolment.agent_id, random, settings.backoff_max
    )
    strategy = plugin.make(settings.distribution_strategy, context)
    inbox = Inbox(settings.namespace, KeyRing(), funnel, lambda: reconciler.hint())
    reconciler = Reconciler(
        reactor,
        controllers,
        inbox,
        enrolment,
        Backoff(random, settings.backoff_max),
        random,
        push_is_down=lambda: strategy.pushes and strategy.path() == POLL,
    )
    agent = Agent(Parts(cache, funnel, forwarder, enrolment, reconciler, inbox, strategy))
    if settings.agent_listen is None:
        return [agent]
    readiness = Readiness({"worker": forwarder, "controller": reconciler, "cache": cache}, {"path": strategy.path})
    return [agent, _ops(reactor, settings.agent_listen, readiness, _metrics(strategy, inbox, forwarder))]


def _clients(reactor: Any, settings: AgentSettings) -> tuple[ControllerClient, WorkerClient]:
    to_controllers = Http(
        reactor,
        web_agent(reactor, HTTPConnectionPool(reactor), tls_policy(settings.controller_ca_file)),
        settings.controller_username,
        settings.controller_password,
    )
    to_worker = Http(
        reactor,
        web_agent(reactor, HTTPConnectionPool(reactor), tls_policy(None)),
        settings.worker_username,
        settings.worker_password,
    )
    return (
        ControllerClient(to_controllers, settings.controller_url, settings.namespace),
        WorkerClient(to_worker, settings.worker_url),
    )


def _metrics(strategy: IStrategy, inbox: Inbox, forwarder: Forwarder) -> Metrics:
    metrics = Metrics()
    metrics.gauge(
        "confd_push_up",
        "Whether changes arrive by the push path of the strategy; by poll they arrive in any case.",
        lambda: {(strategy.name,): strategy.path() != POLL},
        "strategy",
    )
    metrics.counter(
        "confd_unverified_announcements",
        "Messages of a broker that were no more than a hint.",
        lambda: {(): inbox.unverified},
    )
    metrics.gauge("confd_known_version", "The newest version that is known.", lambda: _version(inbox.known()))
    metrics.gauge(
        "confd_applied_version",
        "The version that the worker has.",
        lambda: _version(forwarder.applied.tag if forwarder.applied else None),
    )
    return metrics


def _version(tag: Tag | None) -> Values:
    return {} if tag is None else {(): tag.version}


def _ops(reactor: Any, endpoint: str, readiness: Readiness, metrics: Metrics) -> IService:
    resource = Edge(BasicGuard(()), in_threads_of(reactor)).resource(Health(), readiness, Figures(metrics))
    return Listener(reactor, "AGENT_LISTEN", endpoint, BoundedSite(reactor, resource, Limits(connections=64)))
