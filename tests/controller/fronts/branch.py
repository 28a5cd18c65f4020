"""A controller with a front, in memory: what they say to each other goes over wires that a clock moves."""

from __future__ import annotations

import socket
from collections.abc import Callable
from random import Random
from typing import Any

from attrs import define
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock

from confd.controller.fronts.control import FromWriter, Line, Message, Setup
from confd.controller.fronts.exchange import Exchange
from confd.controller.fronts.outpost import Served
from confd.controller.fronts.writer import Fronts
from confd.web.edge import Edge
from confd.web.site import BoundedSite
from tests.controller.house import House
from tests.conversation import LOOPBACK, Conversation

#: Turns of the clock in which everything is said that has to be said.
TURNS = 12


class Way:
    """One direction of a line; the other end hears in the next turn, unless it is stopped."""

    disconnecting = False

    def __init__(self, clock: Clock) -> None:
        self._clock, self.to = clock, Line(FromWriter, print, print)
        self._under_way, self.stopped = bytearray(), False

    def write(self, data: bytes) -> None:
        """See L{ITransport}."""
        self._under_way += data
        self._clock.callLater(0, self.deliver)

    def loseConnection(self) -> None:
        """See L{ITransport}."""

    def deliver(self) -> None:
        """Let all arrive, unless it is stopped."""
        if not self.stopped:
            self.step(len(self._under_way))

    def step(self, size: int) -> None:
        """Let so many bytes arrive in any case."""
        data, self._under_way = bytes(self._under_way[:size]), self._under_way[size:]
        if data:
            self.to.dataReceived(data)


@define(eq=False)
class Port:
    """What is listened on."""

    socket: socket.socket

    def getHost(self) -> IAddress:
        """See L{IListeningPort}."""
        return IPv4Address("TCP", "127.0.0.1", 80)


class Child:
    """
    A front process that is played.

    @ivar killed: whether it was.
    @ivar listening: whether it takes connections.
    @ivar said: what the writer said to it.
    """

    def __init__(self, clock: Clock, writer: Line, ended: Callable[[str], None]) -> None:
        self._clock, self._ended = clock, ended
        self.line = Line(FromWriter, self._hear, self._lost)
        self.up, self.down = Way(clock), Way(clock)
        self.up.to, self.down.to = writer, self.line
        writer.makeConnection(self.down)
        self.line.makeConnection(self.up)
        self.exchange: Exchange = None  # type: ignore[assignment]
        self.killed = False
        self.listening = True
        self.said: list[Message] = []

    def _hear(self, message: Message) -> None:
        self.said.append(message)
        if isinstance(message, Setup):
            self.exchange = Exchange(self._clock, self.line.say, message.idle_seconds, self._stop_listening)
            self.exchange.start()
        else:
            self.exchange.hear(message)

    def _stop_listening(self) -> None:
        self.listening = False

    def _lost(self) -> None:
        """Nothing: a test ends it."""

    def stop(self) -> None:
        """As SIGSTOP does."""
        self.up.stopped = self.down.stopped = True

    def go_on(self) -> None:
        """As SIGCONT does."""
        for way in (self.up, self.down):
            way.stopped = False
            way.deliver()

    def kill(self) -> None:
        """As SIGKILL does; its end is told in the next turn."""
        self.killed = True
        self.stop()
        self._clock.callLater(0, self._ended, "killed")


class Branch:
    """
    Fronts of a site, and of the house that answers there.

    @ivar children: all that were started.
    """

    def __init__(self, house: House, site: BoundedSite, edge: Edge, count: int = 1) -> None:
        self.house, self.clock, self.children = house, house.clock, list[Child]()
        self._port = Port(socket.socket())
        served = Served(site, lambda: self._port, "tcp:80", None, True, "info")
        self.fronts = Fronts(self.clock, count, served, house.snapshot, self._start, Random(1))
        self.fronts.join(house.configs, house.registry, house.hub, edge)
        self.fronts.startService()
        self.turn()

    def _start(self, line: Line, listening: Any, ended: Callable[[str], None]) -> Callable[[], None]:
        child = Child(self.clock, line, ended)
        self.children.append(child)
        return child.kill

    def turn(self) -> None:
        """Let all be said."""
        for _ in range(TURNS):
            self.clock.advance(0)

    def wait(self, seconds: float) -> None:
        """Let time pass, with all that is said meanwhile."""
        while seconds > 0:
            self.clock.advance(min(seconds, 0.5))
            self.turn()
            seconds -= 0.5

    def caller(self, peer: IAddress = LOOPBACK, number: int = -1) -> Visitor:
        """A client of the newest front, or of another one."""
        return Visitor(self, peer, self.children[number].exchange)

    def close(self) -> None:
        """Leave nothing behind."""
        self._port.socket.close()


class Visitor(Conversation):
    """A conversation over a front."""

    def __init__(self, branch: Branch, peer: IAddress, exchange: Exchange) -> None:
        super().__init__(exchange, branch.clock, peer)  # type: ignore[arg-type]
        self._branch = branch
        branch.turn()

    def send(self, raw: bytes) -> None:
        """See L{Conversation.send}."""
        super().send(raw)
        self._branch.turn()
