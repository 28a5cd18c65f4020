"""
Write at the end of each turn of the reactor, without asking the system first whether it has room.

Twisted registers a descriptor before each write and removes it again afterwards: two system calls for each response.
The system nearly always has room. So a reactor with prompt writes registers only descriptors that the system refused.
The writes of a turn follow all of its reads: peers that get their answers one by one take the processor between reads.
"""

from __future__ import annotations

from errno import EINTR
from typing import TYPE_CHECKING

from attrs import define, field
from twisted.internet.interfaces import IWriteDescriptor
from twisted.logger import Logger

from confd.runtime.reactor import Reactor

if TYPE_CHECKING:
    from twisted.internet.epollreactor import EPollReactor

_log = Logger()


def write_promptly(reactor: Reactor) -> None:
    """
    Let a reactor write promptly, if it polls with epoll; call this once, before anything is written.

    @param reactor: the reactor of the process.
    """
    try:
        from twisted.internet.epollreactor import EPollReactor
    except ImportError:
        # The system has no epoll.
        return
    if isinstance(reactor, EPollReactor):
        writes = _PromptWrites(reactor)
        reactor.addWriter = writes.add  # type: ignore[method-assign]
        reactor.removeWriter = writes.remove  # type: ignore[method-assign]
        reactor.removeAll = writes.remove_all  # type: ignore[method-assign]
        reactor.getWriters = writes.all  # type: ignore[method-assign]
        reactor.doIteration = writes.take_turn  # type: ignore[method-assign]


@define(eq=False)
class _PromptWrites:
    """
    The descriptors that have something to write in this turn.

    It replaces the methods of the reactor whose names stand in L{write_promptly}.
    """

    _reactor: EPollReactor
    _waiting: dict[IWriteDescriptor, None] = field(factory=dict, init=False)

    def add(self, writer: IWriteDescriptor) -> None:
        if writer.fileno() not in self._reactor._writes:
            self._waiting[writer] = None

    def remove(self, writer: IWriteDescriptor) -> None:
        if self._waiting.pop(writer, self) is self:
            type(self._reactor).removeWriter(self._reactor, writer)

    def remove_all(self) -> list[object]:
        self._register()
        removed: list[object] = type(self._reactor).removeAll(self._reactor)
        return removed

    def all(self) -> list[IWriteDescriptor]:
        return [*type(self._reactor).getWriters(self._reactor), *self._waiting]

    def take_turn(self, timeout: float | None) -> None:
        """
        Write what waits, then wait for events and handle them.

        @param timeout: seconds to wait for an event; C{None} for any time.
        """
        reactor = self._reactor
        if self._waiting:
            self._write()
            # A write may have scheduled a call.
            timeout = reactor.running and reactor.timeout()
        try:
            events = reactor._poller.poll(-1 if timeout is None else timeout, len(reactor._selectables))
        except OSError as error:
            if error.errno == EINTR:
                return
            raise
        find = reactor._selectables.get
        for descriptor, event in events:
            selectable = find(descriptor)
            if selectable is not None:
                self._handle(selectable, descriptor, event)

    def _handle(self, selectable: object, descriptor: int, event: int) -> None:
        try:
            self._reactor._doReadOrWrite(selectable, descriptor, event)
        except Exception:
            _log.failure("a connection could not be ended")

    def _write(self) -> None:
        for writer in list(self._waiting):
            if writer in self._waiting:
                self._handle(writer, writer.fileno(), self._reactor._POLL_OUT)
        self._register()

    def _register(self) -> None:
        """Let the system report when it has room for what it refused, or for what came with the writes."""
        waiting, self._waiting = self._waiting, {}
        for writer in waiting:
            type(self._reactor).addWriter(self._reactor, writer)
