"""Live news for people: the dashboard and C{confdctl watch}."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from confd.codec import sse
from confd.controller.agents.registry import Registry
from confd.controller.configs.service import Configs, Publication
from confd.controller.configs.snapshot import Snapshot
from confd.controller.convergence.tracker import Convergence
from confd.controller.streams.namespace_feed import (
    CONFIG,
    CONVERGENCE,
    EventBodies,
    FeedSubscriber,
    NamespaceFeed,
    config_event,
)
from confd.errors import TooMany, Unavailable
from confd.interfaces import IConfigStore
from confd.web.api.streaming import StreamService

#: Who may watch at the same time; a fleet listens to the stream of configurations, which is made for it.
MAX_SUBSCRIBERS = 100

_HEARTBEAT = sse.frame("heartbeat", b"{}")


class EventFeed(StreamService):
    """All who watch. What nobody watches costs next to nothing."""

    def __init__(
        self,
        clock: IReactorTime,
        store: IConfigStore,
        snapshot: Snapshot,
        configs: Configs,
        registry: Registry,
        convergence: Convergence,
        bodies: EventBodies,
    ) -> None:
        """
        @param clock: monotonic.
        @param bodies: encodes what events carry.
        """
        super().__init__(clock)
        self._store, self._snapshot, self._registry = store, snapshot, registry
        self._convergence, self._bodies = convergence, bodies
        self._topics: dict[str, NamespaceFeed] = {}
        self._in_force: dict[str, bytes] = {}
        configs.publications.add(self._published)
        configs.retirements.add(self._retired)
        registry.changes.add(self._agent_changed)
        convergence.changes.add(self._convergence_changed)

    def stopService(self) -> Deferred[None] | None:
        """End every stream, and what is gathered for them."""
        stopped = super().stopService()
        for namespace in list(self._topics):
            self._watched(namespace)
        return stopped

    async def join(self, request: Any, namespace: str) -> FeedSubscriber:
        """
        One more watcher: it gets what is in force and how far that has come at once, and then what changes.

        @raise NotFound: C{unknown_namespace}.
        @raise TooMany: C{too_many_watchers}.
        @raise Unavailable: C{stopping}: there would be nobody to end it.
        """
        if namespace not in self._in_force:
            revision = await self._store.revision(namespace, self._snapshot.get(namespace).configuration.version)
            # What was published in the meantime is newer.
            self._in_force.setdefault(namespace, config_event(revision))
        self._snapshot.get(namespace)
        if not self.running:
            raise Unavailable("stopping", "The controller is stopping; come back in a moment.")
        if len(self) >= MAX_SUBSCRIBERS:
            raise TooMany(
                "too_many_watchers", f"{MAX_SUBSCRIBERS} watch already; close a dashboard, or come back later."
            )
        topic = self._watched(namespace)
        if topic is None:
            config = self._in_force[namespace]
            topic = NamespaceFeed(self._streams, namespace, self._registry, self._convergence, self._bodies, config)
            self._topics[namespace] = topic
        watcher = FeedSubscriber(self._streams, request, namespace, topic)
        watcher.begin()
        watcher.tell(CONFIG)
        watcher.tell(CONVERGENCE)
        return watcher

    def _watched(self, namespace: str) -> NamespaceFeed | None:
        """The topic of a namespace, while somebody watches it."""
        topic = self._topics.get(namespace)
        if topic is not None and not self._streams.of(namespace):
            topic.stop()
            del self._topics[namespace]
            return None
        return topic

    def _published(self, publication: Publication) -> None:
        namespace = publication.revision.configuration.namespace
        event = self._in_force[namespace] = config_event(publication.revision)
        topic = self._watched(namespace)
        if topic is not None:
            topic.published(event)

    def _agent_changed(self, namespace: str, agent_id: str) -> None:
        topic = self._watched(namespace)
        if topic is not None:
            topic.agent_changed(agent_id)

    def _convergence_changed(self, namespace: str) -> None:
        topic = self._watched(namespace)
        if topic is not None:
            topic.convergence_changed()

    def _retired(self, namespace: str) -> None:
        self._in_force.pop(namespace, None)
        for watcher in self._streams.of(namespace):
            watcher.end()
        self._watched(namespace)

    def _heartbeat(self) -> None:
        for namespace in self._streams.namespaces():
            for watcher in self._streams.of(namespace):
                watcher.write(_HEARTBEAT)
