"""Live news for people: the dashboard and C{confdctl watch}."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from confd.changes import BREAK_GLASS, CHANGE_REQUEST, RETIRED, REVISION, ROLLOUT, Change, Contents
from confd.codec import sse
from confd.controller.agents.registry import Registry
from confd.controller.configs.snapshot import Snapshot
from confd.controller.convergence.tracker import Convergence
from confd.controller.rollouts.views import RolloutViews
from confd.controller.streams.namespace_feed import (
    EventBodies,
    FeedSubscriber,
    NamespaceFeed,
    break_glass_event,
    change_event,
    config_event,
)
from confd.errors import TooMany, Unavailable
from confd.history import VersionSummary
from confd.interfaces import IChangeListener
from confd.web.api.streaming import StreamService
from confd.web.server.request import BoundedRequest

#: Who may watch at the same time; a fleet listens to the stream of configurations, which is made for it.
MAX_SUBSCRIBERS = 100

_HEARTBEAT = sse.frame("heartbeat", b"{}")


@implementer(IChangeListener)
class EventFeed(StreamService):
    """All who watch. What nobody watches costs next to nothing."""

    def __init__(
        self,
        clock: IReactorTime,
        snapshot: Snapshot,
        registry: Registry,
        convergence: Convergence,
        rollouts: RolloutViews,
        bodies: EventBodies,
    ) -> None:
        """
        @param clock: monotonic.
        @param bodies: encodes what events carry.
        """
        super().__init__(clock)
        self._snapshot, self._registry = snapshot, registry
        self._convergence, self._rollouts, self._bodies = convergence, rollouts, bodies
        self._topics: dict[str, NamespaceFeed] = {}
        self._current: dict[str, VersionSummary] = {}

    def load(self, contents: Contents) -> None:
        self._current = {each.configuration.namespace: VersionSummary.of(each) for each in contents.revisions}
        for namespace in list(self._topics):
            self._tell_config(namespace)

    def apply(self, change: Change) -> None:
        if change.kind == REVISION:
            self._current[change.subject] = change.value.version
            self._tell_config(change.subject)
        elif change.kind == ROLLOUT and not change.value.open:
            topic = self._watched(change.subject)
            if topic is not None:
                topic.rollout_ended(change.value.rollout)
        elif change.kind == CHANGE_REQUEST:
            topic = self._watched(change.subject)
            if topic is not None:
                topic.change_moved(change_event(change.value))
        elif change.kind == BREAK_GLASS:
            topic = self._watched(change.subject)
            if topic is not None:
                topic.broke_glass(break_glass_event(change.value))
        elif change.kind == RETIRED:
            self._retired(change.subject)

    def stopService(self) -> Deferred[None] | None:
        """End every stream, and drop their pending events."""
        stopped = super().stopService()
        for namespace in list(self._topics):
            self._watched(namespace)
        return stopped

    def join(self, request: BoundedRequest, namespace: str) -> FeedSubscriber:
        """
        Add a subscriber: it gets the current version, its convergence and the open rollout at once, then changes.

        @raise NotFound: C{unknown_namespace}.
        @raise TooMany: C{too_many_watchers}.
        @raise Unavailable: C{stopping}.
        """
        self._snapshot.require(namespace)
        if not self.running:
            raise Unavailable("stopping", "The controller is stopping; come back in a moment.")
        if len(self) >= MAX_SUBSCRIBERS:
            raise TooMany(
                "too_many_watchers", f"{MAX_SUBSCRIBERS} watch already; close a dashboard, or come back later."
            )
        topic = self._watched(namespace)
        if topic is None:
            config = config_event(namespace, self._current[namespace])
            topic = NamespaceFeed(
                self._streams, namespace, self._registry, self._convergence, self._rollouts, self._bodies, config
            )
            self._topics[namespace] = topic
        watcher = FeedSubscriber(self._streams, request, namespace, topic)
        watcher.begin()
        topic.greet(watcher)
        return watcher

    def _watched(self, namespace: str) -> NamespaceFeed | None:
        """Return the feed of a namespace with subscribers."""
        topic = self._topics.get(namespace)
        if topic is not None and not self._streams.of(namespace):
            topic.stop()
            del self._topics[namespace]
            return None
        return topic

    def _tell_config(self, namespace: str) -> None:
        topic = self._watched(namespace)
        if topic is not None and namespace in self._current:
            topic.published(config_event(namespace, self._current[namespace]))

    def agents_changed(self, namespace: str, agent_ids: Iterable[str]) -> None:
        """Note that agents came, changed or left."""
        topic = self._watched(namespace)
        if topic is not None:
            topic.agents_changed(agent_ids)

    def convergence_changed(self, namespace: str) -> None:
        """Note that the convergence of a namespace may have changed."""
        topic = self._watched(namespace)
        if topic is not None:
            topic.convergence_changed()

    def rollout_changed(self, namespace: str) -> None:
        """Note that the open rollout of a namespace may have changed."""
        topic = self._watched(namespace)
        if topic is not None:
            topic.rollout_changed()

    def _retired(self, namespace: str) -> None:
        self._current.pop(namespace, None)
        for watcher in self._streams.of(namespace):
            watcher.end()
        self._watched(namespace)

    def _heartbeat(self) -> None:
        for namespace in self._streams.namespaces():
            for watcher in self._streams.of(namespace):
                watcher.write(_HEARTBEAT)
