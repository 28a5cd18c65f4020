"""The events of one namespace: collected, and sent a few times a second at most."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from confd.access.break_glass import BreakGlass
from confd.access.change_requests import ChangeRequest
from confd.codec import sse, strict_json
from confd.codec.headers import rfc3339
from confd.controller.agents.registry import Registry
from confd.controller.convergence.interfaces import IProgress
from confd.controller.convergence.progress import ConvergenceSummary, LaggingAgent
from confd.controller.rollouts.views import RolloutView, RolloutViews
from confd.errors import ConfdError
from confd.history import VersionSummary
from confd.reports import AgentStatus
from confd.web.api.streaming import EventStream, Streams
from confd.web.server.request import BoundedRequest

#: The kinds of events.
CONFIG, AGENTS, CONVERGENCE, ROLLOUT, BREAK_GLASS = "config", "agents", "convergence", "rollout", "break_glass"
CHANGES = "changes"

#: Seconds from one event of a kind to the next, at least.
PERIOD_SECONDS = {CONFIG: 0.25, AGENTS: 0.5, CONVERGENCE: 0.25, ROLLOUT: 0.5, BREAK_GLASS: 0.25, CHANGES: 0.5}

#: Agents in one event, and laggards. For more agents, readers ask the API.
MAX_AGENTS_PER_EVENT, MAX_LAGGARDS_PER_EVENT = 200, 20


@frozen
class EventBodies:
    """Functions that encode what events carry in the form of the API."""

    agent: Callable[[AgentStatus], object]
    convergence: Callable[[ConvergenceSummary, Sequence[LaggingAgent]], object]
    rollout: Callable[[RolloutView], object]


@define(eq=False)
class Coalescer:
    """
    Coalesces calls: acts soon after a call, but not more often than allowed, and for at most a tenth of the time.

    @ivar period: seconds from one time to the next, at least.
    """

    _clock: IReactorTime
    _period: float
    _act: Callable[[], object]
    _not_before: float = field(default=0.0, init=False)
    _timer: IDelayedCall | None = field(default=None, init=False)

    def call(self) -> None:
        """Do it; any number of calls in the meantime do it once."""
        if self._timer is None:
            self._timer = self._clock.callLater(max(0.0, self._not_before - self._clock.seconds()), self._run)

    def stop(self) -> None:
        """Do it no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _run(self) -> None:
        self._timer = None
        began = self._clock.seconds()
        self._act()
        self._not_before = began + max(self._period, 10 * (self._clock.seconds() - began))


class NamespaceFeed:
    """
    Collects the events of a namespace while it has subscribers.

    @ivar newest: the last event of each kind.
    """

    def __init__(
        self,
        streams: Streams,
        namespace: str,
        registry: Registry,
        progress: IProgress,
        rollouts: RolloutViews,
        bodies: EventBodies,
        config: bytes,
    ) -> None:
        """
        @param config: the event of the current configuration.
        """
        self.newest = {CONFIG: config}
        self._streams, self._namespace = streams, namespace
        self._registry, self._progress, self._rollouts, self._bodies = registry, progress, rollouts, bodies
        self._changed: dict[str, None] = {}
        #: The rollout that ended last, until its event is sent.
        self._ended: int | None = None
        acts: dict[str, Callable[[], object]] = {
            CONFIG: partial(self._notify, CONFIG),
            AGENTS: self._tell_agents,
            CONVERGENCE: self._tell_convergence,
            ROLLOUT: self._tell_rollout,
            BREAK_GLASS: partial(self._notify, BREAK_GLASS),
            CHANGES: partial(self._notify, CHANGES),
        }
        self._throttles = {kind: Coalescer(streams.clock, PERIOD_SECONDS[kind], act) for kind, act in acts.items()}
        self._tell_convergence()
        self._tell_rollout()

    def greet(self, watcher: FeedSubscriber) -> None:
        """Send a new subscriber the present state."""
        watcher.notify(CONFIG)
        watcher.notify(CONVERGENCE)
        if ROLLOUT in self.newest and self._rollouts.present(self._namespace) is not None:
            watcher.notify(ROLLOUT)

    def published(self, config: bytes) -> None:
        """Send the event of a new current version."""
        self.newest[CONFIG] = config
        self._throttles[CONFIG].call()

    def broke_glass(self, event: bytes) -> None:
        """Send the event of a call that passed the policy and the freezes of the namespace."""
        self.newest[BREAK_GLASS] = event
        self._throttles[BREAK_GLASS].call()

    def change_moved(self, event: bytes) -> None:
        """Send the event of a change that was proposed or made a step."""
        self.newest[CHANGES] = event
        self._throttles[CHANGES].call()

    def agents_changed(self, agent_ids: Iterable[str]) -> None:
        """Note that agents changed or left."""
        for agent_id in agent_ids:
            if len(self._changed) <= MAX_AGENTS_PER_EVENT:
                self._changed[agent_id] = None
        self._throttles[AGENTS].call()

    def convergence_changed(self) -> None:
        """Note that the convergence changed."""
        self._throttles[CONVERGENCE].call()

    def rollout_changed(self) -> None:
        """Note that the open rollout may have changed."""
        self._throttles[ROLLOUT].call()

    def rollout_ended(self, number: int) -> None:
        """Note that a rollout has ended."""
        self._ended = number
        self._throttles[ROLLOUT].call()

    def stop(self) -> None:
        """Stop all timers, as no subscriber is left."""
        for throttle in self._throttles.values():
            throttle.stop()

    def _notify(self, kind: str) -> None:
        for watcher in self._streams.of(self._namespace):
            watcher.notify(kind)

    def _tell_agents(self) -> None:
        changed, self._changed = list(self._changed), {}
        here, forgotten = [], []
        for agent_id in changed[:MAX_AGENTS_PER_EVENT]:
            record = self._registry.find(agent_id)
            if record is None or record.namespace != self._namespace:
                forgotten.append(agent_id)
            else:
                here.append(self._bodies.agent(self._registry.status(record)))
        self.newest[AGENTS] = agents_event(here, forgotten, len(changed) > MAX_AGENTS_PER_EVENT)
        self._notify(AGENTS)

    def _tell_convergence(self) -> None:
        Deferred.fromCoroutine(self._read_convergence()).addErrback(_gone)

    async def _read_convergence(self) -> None:
        summary = await self._progress.summary(self._namespace, None)
        laggards = await self._progress.laggards(self._namespace, None, MAX_LAGGARDS_PER_EVENT)
        body = self._bodies.convergence(summary, laggards)
        self.newest[CONVERGENCE] = sse.frame(CONVERGENCE, strict_json.encode(body))
        self._notify(CONVERGENCE)

    def _tell_rollout(self) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            Deferred.fromCoroutine(self._read_rollout(ended)).addErrback(_gone)
        view = self._rollouts.present(self._namespace)
        if view is not None:
            self._show_rollout(view)

    async def _read_rollout(self, number: int) -> None:
        self._show_rollout(await self._rollouts.find(number))

    def _show_rollout(self, view: RolloutView) -> None:
        event = sse.frame(ROLLOUT, strict_json.encode(self._bodies.rollout(view)))
        if event != self.newest.get(ROLLOUT):
            self.newest[ROLLOUT] = event
            self._notify(ROLLOUT)


class FeedSubscriber(EventStream):
    """A subscriber to the events of a namespace."""

    __slots__ = ("_missed", "_topic")

    def __init__(self, streams: Streams, request: BoundedRequest, namespace: str, topic: NamespaceFeed) -> None:
        super().__init__(streams, request, namespace)
        self._topic = topic
        # Keys of a dictionary, for their order.
        self._missed: dict[str, None] = {}

    def notify(self, kind: str) -> None:
        """Queue an event of a kind."""
        if self.takes_more:
            self.write(self._topic.newest[kind])
        else:
            self._missed[kind] = None

    def catch_up(self) -> None:
        """Write the missed events: the newest of each kind, and one mark for agents."""
        while self._missed and self.takes_more:
            kind = next(iter(self._missed))
            del self._missed[kind]
            self.write(_MISSED_AGENTS if kind == AGENTS else self._topic.newest[kind])


def config_event(namespace: str, version: VersionSummary) -> bytes:
    """Return the event of the current version; it holds all but the document."""
    body = {
        "namespace": namespace,
        "version": version.tag.version,
        "epoch": version.tag.epoch,
        "tag": str(version.tag),
        "author": version.author,
        "comment": version.comment,
        "created_at": rfc3339(version.created_at),
        "checksum": version.checksum,
        "poll_interval_seconds": version.poll_interval,
    }
    return sse.frame(CONFIG, strict_json.encode(body), str(version.tag))


def change_event(change: ChangeRequest) -> bytes:
    """Return the event of a change: enough to read the changes again."""
    body = {"namespace": change.namespace, "id": change.id, "state": change.state, "step": change.step}
    return sse.frame(CHANGES, strict_json.encode(body))


def break_glass_event(record: BreakGlass) -> bytes:
    """Return the event of a call that passed the policy and the freezes of its namespace."""
    body = {
        "namespace": record.namespace,
        "version": record.version,
        "rollout": record.rollout,
        "action": record.action,
        "reason": record.reason,
        "who": record.who,
        "at": rfc3339(record.at),
    }
    return sse.frame(BREAK_GLASS, strict_json.encode(body))


def agents_event(here: Sequence[object], forgotten: list[str], more: bool) -> bytes:
    """
    Return the event of changed agents.

    @param here: as in GET C{/api/v1/agents}.
    @param forgotten: ids of agents that left the namespace.
    @param more: whether more agents changed than the event names.
    """
    return sse.frame(AGENTS, strict_json.encode({"agents": here, "forgotten": forgotten, "more": more}))


_MISSED_AGENTS = agents_event([], [], True)


def _gone(failure: Failure) -> None:
    failure.trap(ConfdError)
