"""Sends each new configuration to all subscribers, with the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from operator import methodcaller

from attrs import evolve
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from confd.changes import AGENT, EXPOSED, ROLLOUT, Change, Contents
from confd.codec import sse
from confd.codec.headers import names_version
from confd.controller.configs.herd import Pacer
from confd.controller.configs.snapshot import EncodedConfig, Snapshot
from confd.errors import Unavailable
from confd.interfaces import IChangeListener, IHealth
from confd.web.api.streaming import EventStream, Streams, StreamService
from confd.web.server.request import BoundedRequest

#: The order of what a reader has that has nothing.
_NOTHING = (0, 0)

#: Readers that are written to before the reactor gets a turn.
SUBSCRIBERS_PER_TURN = 200


@implementer(IChangeListener, IHealth)
class ConfigStream(StreamService):
    """Streams that are open: each change and each heartbeat goes to all of them."""

    log = Logger()

    def __init__(self, clock: IReactorTime, snapshot: Snapshot, pacer: Pacer | None = None) -> None:
        """
        @param clock: monotonic.
        @param pacer: limits the bytes per second of changes; C{None} sets no limit.
        """
        super().__init__(clock)
        self._clock, self._snapshot, self._pacer = clock, snapshot, pacer or Pacer(clock)
        self._unpaced = Pacer(clock)
        #: Namespaces whose subscribers are being sent news, and whether there are more since.
        self._news: dict[str, bool] = {}

    def problem(self) -> str | None:
        return None if self.running else "The controller is stopping; come back in a moment."

    def join(
        self, request: BoundedRequest, namespace: str, last_event_id: str | None, agent_id: str = ""
    ) -> Subscriber:
        """
        Add a subscriber: it gets the current configuration at once unless it has it, then each newer one.

        @param agent_id: the agent of the stream; empty if it is unknown. A forgotten agent loses its stream.
        @raise NotFound: C{unknown_namespace}.
        @raise Unavailable: C{stopping}: there would be nobody to end it.
        """
        problem = self.problem()
        if problem is not None:
            raise Unavailable("stopping", problem)
        current = self._snapshot.select(namespace, agent_id) or self._snapshot.require(namespace)
        # A holder of a document of another system keeps it until the first publish.
        keeps = current.configuration.unpublished and names_version(last_event_id or "")
        order = current.order if keeps or last_event_id == current.tag else _NOTHING
        reader = Subscriber(self._streams, request, namespace, self._snapshot.select, order, agent_id)
        reader.begin()
        reader.send(current)
        return reader

    def _part(self, agent_id: str) -> None:
        """End the streams of an agent whose token is void, or void here: it has to show once more who it is."""
        for namespace in self._streams.namespaces():
            for reader in self._streams.of(namespace):
                if reader.agent_id == agent_id:
                    reader.end()

    def load(self, contents: Contents) -> None:
        for encoded in self._snapshot.published():
            self._send(encoded.namespace)

    def apply(self, change: Change) -> None:
        if change.kind == AGENT and change.value.what != "unblocked":
            self._part(change.subject)
        if change.kind in (ROLLOUT, EXPOSED):
            self._send(change.subject)
        for encoded in self._snapshot.changed(change):
            self._send(encoded.namespace)

    def _send(self, namespace: str) -> None:
        under_way = namespace in self._news
        self._news[namespace] = under_way
        if not under_way:
            self._send_newest(namespace)

    def _send_newest(self, namespace: str) -> None:
        def sent() -> None:
            if self._news.pop(namespace):
                self._send(namespace)

        self._for_each(namespace, methodcaller("catch_up"), sent, self._pacer)

    def _heartbeat(self) -> None:
        for namespace in self._streams.namespaces():
            current = self._snapshot.find(namespace)
            if current is None:
                # It was retired.
                self._for_each(namespace, methodcaller("end"))
            else:
                beats = {current.tag: sse.frame("heartbeat", current.tag.encode())}
                self._for_each(namespace, partial(self._send_heartbeat, beats))

    def _send_heartbeat(self, beats: dict[str, bytes], reader: Subscriber) -> None:
        """Send a heartbeat, which names the tag that the subscriber is served."""
        served = self._snapshot.select(reader.namespace, reader.agent_id)
        if served is not None:
            tag = served.tag
            if self._pacer.rate and reader.namespace in self._news and reader.order < served.order:
                # Its turn comes; an agent that hears of a newer tag would poll before.
                tag = str(evolve(served.configuration.tag, epoch=reader.order[0], version=reader.order[1]))
            if tag not in beats:
                beats[tag] = sse.frame("heartbeat", tag.encode())
            reader.write(beats[tag])

    def _for_each(
        self,
        namespace: str,
        act: Callable[[Subscriber], int | None],
        then: Callable[[], object] = lambda: None,
        pacer: Pacer | None = None,
    ) -> None:
        self._go_on(iter(self._streams.of(namespace)), act, then, pacer or self._unpaced)

    def _go_on(
        self,
        readers: Iterator[Subscriber],
        act: Callable[[Subscriber], int | None],
        then: Callable[[], object],
        pacer: Pacer,
    ) -> None:
        """Act on readers in slices; C{act} returns the bytes that it wrote, if they count for the pacer."""
        wait, written = pacer.wait(), 0
        if wait:
            self._clock.callLater(wait, self._go_on, readers, act, then, pacer)
            return
        for done, reader in enumerate(readers, 1):
            try:
                written += act(reader) or 0
            except Exception:
                self.log.failure("a stream failed")
                reader.stopProducing()
            if done == SUBSCRIBERS_PER_TURN or written >= pacer.slice:
                self._clock.callLater(pacer.book(written), self._go_on, readers, act, then, pacer)
                return
        pacer.book(written)
        then()


class Subscriber(EventStream):
    """
    A subscriber to the configurations of a namespace.

    @ivar order: of the configuration that it has.
    @ivar agent_id: empty where that is not known.
    """

    __slots__ = ("_select", "agent_id", "order")

    def __init__(
        self,
        streams: Streams,
        request: BoundedRequest,
        namespace: str,
        select: Callable[[str, str], EncodedConfig | None],
        order: tuple[int, int],
        agent_id: str = "",
    ) -> None:
        super().__init__(streams, request, namespace)
        self._select, self.order, self.agent_id = select, order, agent_id

    def send(self, shown: EncodedConfig) -> int:
        """Send a configuration, unless it is not newer than the last; return the bytes that were written."""
        if shown.order > self.order and self.write(shown.frame):
            self.order = shown.order
            return len(shown.frame)
        return 0

    def catch_up(self) -> int:
        """Return the number of bytes that were written."""
        current = self._select(self.namespace, self.agent_id)
        return 0 if current is None else self.send(current)
