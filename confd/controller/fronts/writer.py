"""
The other processes of a controller, as the one that decides sees them.

A front accepts connections from the same socket, answers polls again that were answered here before, and fans streams
out; all else it passes on. What makes an answer wrong is told to every front before whoever changed it has an answer:
one that does not say in time that it knows is killed, so that nobody is told what is no longer so.
"""

from __future__ import annotations

from collections.abc import Collection
from random import Random
from typing import Any

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from confd.controller.configs import Configs
from confd.controller.fronts.control import Message, News, Part, Retired
from confd.controller.fronts.offspring import Start
from confd.controller.fronts.outpost import Outpost, Served
from confd.controller.fronts.wires import Wire
from confd.controller.registry import Registry
from confd.controller.snapshot import Encoded, Snapshot
from confd.controller.stream import Hub, Reader
from confd.timing import Backoff
from confd.web.edge import Edge

#: Seconds between two starts of a front that ends again and again, at most.
RESTART_MAX = 10.0

#: Seconds after which one that ends is started again as if it had never ended before.
SETTLED = 60.0


@define(eq=False)
class Fronts(Service):
    """
    Starts them, starts them anew, and tells them.

    @ivar clock: the reactor.
    @ivar count: how many there are to be.
    """

    _clock: Any
    _count: int
    _served: Served
    _snapshot: Snapshot
    _start: Start
    _random: Random
    _fronts: dict[int, Outpost] = field(factory=dict, init=False)
    _backoffs: dict[int, Backoff] = field(factory=dict, init=False)
    _timers: dict[int, IDelayedCall] = field(factory=dict, init=False)
    log: Logger = field(factory=Logger, init=False)

    def join(self, configs: Configs, registry: Registry, hub: Hub, edge: Edge) -> None:
        """Hear of all that makes an answer wrong, and of streams that begin."""
        # Before those who tell agents, who may come and ask.
        configs.listeners.insert(0, self.announce)
        configs.retirements.add(self.retired)
        registry.departures.add(self.departed)
        registry.admission.voided.add(self.voided)
        hub.arrivals.add(self.joined)
        hub.elsewhere.append(self.readers)
        edge.settling.append(self.settled)

    def startService(self) -> None:
        """Start all of them."""
        super().startService()
        for number in range(1, self._count + 1):
            self._backoffs[number] = Backoff(self._random, RESTART_MAX, 0.25)
            self._begin(number)

    def stopService(self) -> Deferred[Any]:
        """Fires when they take nothing new, and all that they have taken is known here; they end with this process."""
        super().stopService()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for front in self._fronts.values():
            front.drain()
        # One that hangs would be waited for.
        self._clock.callLater(self._served.site.limits.drain_seconds, self._kill)
        return self.settled()

    def announce(self, encoded: Encoded) -> None:
        """Something is newly in force."""
        self._tell(_news(encoded))
        self._clear()

    def retired(self, namespace: str) -> None:
        """A namespace is gone."""
        self._tell(Retired(namespace))
        self._clear()

    def departed(self, agent_id: str) -> None:
        """An agent was forgotten."""
        self._tell(Part(agent_id))
        self.voided(agent_id)

    def voided(self, agent_id: str) -> None:
        """An agent's token is good no longer."""
        for front in self._fronts.values():
            front.forget(agent_id)

    def cut(self, callers: Collection[str]) -> None:
        """The passwords of these callers are others now: see L{BoundedSite.cut}."""
        for front in self._fronts.values():
            front.cut(callers)

    def settled(self) -> Deferred[Any]:
        """Fires when no front gives an answer that was made wrong before."""
        waits = [wait for front in self._fronts.values() if (wait := front.settled()) is not None]
        return DeferredList(waits) if waits else succeed(None)

    def joined(self, reader: Reader) -> None:
        """A stream has begun: if it came over a front, it goes on there once its answer is known to go on."""
        wire = reader.transport
        if isinstance(wire, Wire):
            self._clock.callLater(0, wire.hand_over, reader)

    @property
    def up(self) -> int:
        """How many serve."""
        return sum(front.up for front in self._fronts.values())

    def readers(self) -> int:
        """Streams that are open in fronts."""
        return sum(len(front.readers) for front in self._fronts.values())

    def _kill(self) -> None:
        for front in self._fronts.values():
            front.kill()

    def _tell(self, message: Message) -> None:
        for front in self._fronts.values():
            front.line.say(message)

    def _clear(self) -> None:
        for front in self._fronts.values():
            front.clear()

    def _begin(self, number: int) -> None:
        self._timers.pop(number, None)
        front = Outpost(self._clock, f"front {number}", self._served, self._over)
        try:
            front.kill_process = self._start(front.line, self._served.port().socket, front.ended)
        except OSError as error:
            self._again(number, f"it cannot be started: {error}")
            return
        self._fronts[number] = front
        front.begin([_news(encoded) for encoded in self._snapshot.all()])

    def _over(self, front: Outpost, why: str) -> None:
        number = next(number for number, each in self._fronts.items() if each is front)
        del self._fronts[number]
        if self._clock.seconds() - front.born > SETTLED:
            self._backoffs[number].reset()
        self._again(number, why)

    def _again(self, number: int, why: str) -> None:
        if not self.running:
            return
        pause = self._backoffs[number].next()
        self.log.error(
            "front {number} has ended, and another one is started in {pause:.1f} s: {why}",
            number=number,
            pause=pause,
            why=why,
        )
        self._timers[number] = self._clock.callLater(pause, self._begin, number)


def _news(encoded: Encoded) -> News:
    return News(encoded.namespace, encoded.tag, encoded.order, encoded.frame)
