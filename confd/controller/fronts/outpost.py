"""One front, as the process sees it that decides: what it holds for it, and what is said between the two."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from attrs import frozen
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IAddress, IDelayedCall
from twisted.logger import Logger, LogLevel

from confd.controller.fronts.control import (
    Answered,
    Closed,
    Cut,
    Data,
    Detached,
    Drain,
    Forgotten,
    FromFront,
    Line,
    Logged,
    Message,
    News,
    Opened,
    Setup,
    Taken,
)
from confd.controller.fronts.ledger import Ledger
from confd.controller.fronts.wires import Wire
from confd.tls import is_tls
from confd.web.site import BoundedSite

#: Seconds in which a front has to say that it forgot something; and to say anything at all, which it does each second.
PROMPT, PATIENCE = 1.5, 20.0

#: Seconds between two looks whether it does.
LOOK = 0.25


@frozen
class Served:
    """
    What fronts serve.

    @ivar port: gives what listens.
    @ivar endpoint: the same, as the settings have it.
    @ivar remembers: whether answers may be given again at all.
    """

    site: BoundedSite
    port: Callable[[], Any]
    endpoint: str
    client_ca: str | None
    remembers: bool
    log_level: str


class Outpost:
    """One front, from its start to its end."""

    log = Logger()

    def __init__(self, clock: Any, name: str, served: Served, over: Callable[[Outpost, str], None]) -> None:
        """
        @param name: for the log.
        @param over: called once, with why, when it has ended.
        """
        self._clock, self.name, self._served, self._over = clock, name, served, over
        self.line = Line(FromFront, self._hear, self.kill)
        self.ledger = Ledger(say=self.line.say)
        self.kill_process: Callable[[], None] | None = None
        #: By whom each stream is read.
        self.readers: dict[int, str] = {}
        self._peers: dict[int, IAddress] = {}
        self._wires: dict[int, Wire] = {}
        self._forgotten = 0
        self._waiting: list[tuple[int, Deferred[None]]] = []
        #: When it said anything last; and since when it is to say that it forgot something, if it is.
        self._heard = clock.seconds()
        self._asked: float | None = None
        self._watch: IDelayedCall | None = None
        self.up = self._ended = False
        self.born = clock.seconds()
        self._acts: dict[type[Message], Callable[[Any], None]] = {
            Data: self._data,
            Taken: self._taken,
            Opened: self._opened,
            Closed: self._closed,
            Detached: self._detached,
            Answered: lambda it: self.ledger.given(it.counts, self._served.site.traffic),
            Forgotten: self._has_forgotten,
            Logged: self._logged,
        }

    def begin(self, news: list[News]) -> None:
        """Tell it what it needs to know."""
        served = self._served
        limits, family = served.site.limits, served.port().socket.family
        self.line.say(
            Setup(
                served.endpoint,
                served.client_ca,
                family,
                limits.idle_seconds,
                limits.connections,
                served.log_level,
            )
        )
        for each in news:
            self.line.say(each)
        self._look()

    def clear(self) -> None:
        """Have it forget all answers."""
        self.ledger.clear()
        self._expect()

    def forget(self, agent_id: str) -> None:
        """Have it forget what is about an agent."""
        self.ledger.forget(agent_id)
        self._expect()

    def cut(self, callers: Collection[str]) -> None:
        """End the streams of these callers, and have it forget all answers."""
        for number, caller in self.readers.items():
            if caller in callers:
                self.line.say(Cut(number))
        self.clear()

    def drain(self) -> None:
        """Have it take nothing new; once it is settled, all that it has taken is known here."""
        self.line.say(Drain())
        self.ledger.mark()
        self._expect()

    def settled(self) -> Deferred[None] | None:
        """Fires when it gives no answer any more that it was told to forget, C{None} if that is so."""
        if self._ended or self._forgotten >= self.ledger.changed:
            return None
        settled: Deferred[None] = Deferred()
        self._waiting.append((self.ledger.changed, settled))
        return settled

    def kill(self) -> None:
        """End it now."""
        if self.kill_process is not None and not self._ended:
            self.kill_process()

    def ended(self, why: str) -> None:
        """The process is gone, and its connections with it."""
        if self._ended:
            return
        self._ended, self.up = True, False
        if self._watch is not None and self._watch.active():
            self._watch.cancel()
        for wire in list(self._wires.values()):
            wire.lost(ConnectionLost())
        for peer in self._peers.values():
            self._served.site.free_place(peer)
        waiting, self._waiting = self._waiting, []
        for _, settled in waiting:
            settled.callback(None)
        self._over(self, why)

    # -- what it says --

    def _hear(self, message: Message) -> None:
        if self._ended:
            return
        self._heard = self._clock.seconds()
        if not self.up:
            self.up = True
            self.log.info("{process} is up", process=self.name)
        self._acts[type(message)](message)

    def _opened(self, it: Opened) -> None:
        kind = IPv6Address if ":" in it.host else IPv4Address
        peer: IAddress = kind("TCP", it.host, it.port) if it.host else UNIXAddress(None)
        if self._served.site.take_place(peer):
            self._peers[it.number] = peer
        else:
            self.line.say(Cut(it.number))

    def _closed(self, it: Closed) -> None:
        peer = self._peers.pop(it.number, None)
        self.readers.pop(it.number, None)
        self._detached(it)
        if peer is not None:
            self._served.site.free_place(peer)

    def _detached(self, it: Closed | Detached) -> None:
        wire = self._wires.pop(it.number, None)
        if wire is not None:
            wire.lost()

    def _data(self, it: Data) -> None:
        wire = self._wires.get(it.number)
        if wire is None:
            peer = self._peers.get(it.number)
            if peer is None or it.number in self.readers:
                return
            wire = self._wires[it.number] = self._wire(it.number, peer)
        wire.receive(it.data)

    def _wire(self, number: int, peer: IAddress) -> Wire:
        served = self._served
        memo = self.ledger if served.remembers else None
        secure = is_tls(served.endpoint)
        wire = Wire(number, self.line.say, peer, served.port().getHost(), memo, secure, self._handed)
        wire.begin(served.site.relayed(peer, wire))
        return wire

    def _handed(self, number: int, caller: str) -> None:
        del self._wires[number]
        self.readers[number] = caller

    def _taken(self, it: Taken) -> None:
        wire = self._wires.get(it.number)
        if wire is not None:
            wire.taken(it.size)

    def _logged(self, it: Logged) -> None:
        level = LogLevel.lookupByName(it.level)
        Logger(it.namespace).emit(level, "{process}: {log_text}", log_text=it.text, process=self.name)

    def _expect(self) -> None:
        if self._asked is None and self._forgotten < self.ledger.changed:
            self._asked = self._clock.seconds()

    def _has_forgotten(self, it: Forgotten) -> None:
        self.ledger.forgotten(it.number)
        self._forgotten = it.number
        self._asked = None
        self._expect()
        while self._waiting and self._waiting[0][0] <= it.number:
            self._waiting.pop(0)[1].callback(None)

    def _look(self) -> None:
        """Whether it hangs; it has another moment to say so, as it may be this process that stood still."""
        self._watch = self._clock.callLater(LOOK, self._look)
        if self._hangs():
            self._clock.callLater(LOOK, self._judge)

    def _judge(self) -> None:
        if not self._ended and self._hangs():
            self.log.error("{process} does not answer and is killed", process=self.name)
            self.kill()

    def _hangs(self) -> bool:
        now = self._clock.seconds()
        return now - self._heard >= PATIENCE or (self._asked is not None and now - self._asked >= PROMPT)
