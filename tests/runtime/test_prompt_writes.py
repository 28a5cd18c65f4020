"""Tests of L{confd.runtime.prompt_writes}."""

from __future__ import annotations

import socket
from collections.abc import Callable
from errno import EBADF, EINTR
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.abstract import FileDescriptor
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from confd.runtime.prompt_writes import write_promptly

#: The system takes a few kilobytes at once, so that longer texts wait for the peer.
ROOM = 4096

#: A part of it.
PIECE = b"r" * 500


class Poller:
    """
    Polls without waiting.

    @ivar changes: how often a descriptor was registered, or registered for other events.
    @ivar timeouts: of all polls, in seconds.
    @ivar error: raised by each poll.
    """

    def __init__(self, poller: Any) -> None:
        self._poller, self.changes = poller, 0
        self.timeouts: list[float] = []
        self.error: OSError | None = None

    def register(self, *args: int) -> None:
        self.changes += 1
        self._poller.register(*args)

    def modify(self, *args: int) -> None:
        self.changes += 1
        self._poller.modify(*args)

    def unregister(self, descriptor: int) -> None:
        self._poller.unregister(descriptor)

    def poll(self, timeout: float, most: int) -> Any:
        self.timeouts.append(timeout)
        if self.error is not None:
            raise self.error
        return self._poller.poll(0, most)


class Peer(Protocol):
    """Sends back what it receives, and notes how its connection ended."""

    transport: Any
    lost: Failure | None = None
    resumed = 0

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self.lost = reason

    def pauseProducing(self) -> None:
        pass

    def stopProducing(self) -> None:
        pass

    def resumeProducing(self) -> None:
        self.resumed += 1
        self.transport.write(PIECE)


class Wire:
    """A connection of a reactor of its own, with the other end in the hands of a test."""

    def __init__(self, case: SynchronousTestCase, prompt: bool = True, peer: type[Peer] = Peer) -> None:
        self.reactor = EPollReactor()
        poller = self.reactor._poller
        self.poller = self.reactor._poller = Poller(poller)
        if prompt:
            write_promptly(cast(Any, self.reactor))
        near, self.far = socket.socketpair()
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, ROOM)
        self.far.setblocking(False)
        self.peer = peer()
        self.reactor.adoptStreamConnection(near.fileno(), socket.AF_UNIX, Factory.forProtocol(lambda: self.peer))
        near.close()
        self.transport: Any = self.peer.transport
        case.addCleanup(self._close, poller)

    def _close(self, poller: Any) -> None:
        self.far.close()
        for each in self.reactor.removeAll():
            each.connectionLost(Failure(ConnectionError()))
        for each in self.reactor._internalReaders:
            each.connectionLost(None)
        poller.close()

    def turn(self) -> None:
        self.reactor.iterate(0)

    def turn_until(self, reached: Callable[[], bool]) -> None:
        """Let the reactor turn until a state is reached, or far too often."""
        for _ in range(100_000):
            if reached():
                return
            self.turn()

    def read(self, size: int) -> bytes:
        try:
            return self.far.recv(size)
        except BlockingIOError:
            return b""

    def drain(self) -> bytes:
        """Read until nothing more comes."""
        pieces, idle = [], 0
        while idle < 4:
            self.turn()
            piece = self.read(1 << 20)
            pieces.append(piece)
            idle = 0 if piece else idle + 1
        return b"".join(pieces)


class Other(FileDescriptor):
    """A descriptor that removes writers when it may write."""

    removes: tuple[Other, ...] = ()

    def __init__(self, wire: Wire, written: list[FileDescriptor]) -> None:
        super().__init__(wire.reactor)
        self.fileno, self._written = wire.far.fileno, written  # type: ignore[method-assign]

    def doWrite(self) -> None:
        self._written.append(self)
        for each in self.removes:
            each.stopWriting()


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(1, 3 * ROOM)),
        st.tuples(st.just("read"), st.integers(1, 2 * ROOM)),
        st.tuples(st.just("send"), st.integers(1, ROOM)),
    ),
    max_size=12,
)

#: How a connection ends. The last two drop what the system had no room for.
ENDINGS = st.sampled_from(["", "lose", "half", "hang up", "abort"])


def play(wire: Wire, steps: list[tuple[str, int]], ending: str) -> tuple[bytes, str]:
    """Return what the other end read, and how the connection ended."""
    got = b""
    for number, (step, size) in enumerate(steps):
        if step == "write":
            wire.transport.write(bytes([97 + number]) * size)
        elif step == "read":
            got += wire.read(size)
        else:
            wire.far.send(bytes([65 + number]) * size)
        wire.turn()
        # An echo leaves Twisted's reactor in the next turn.
        wire.turn()
    if ending == "lose":
        wire.transport.loseConnection()
    elif ending == "half":
        wire.transport.loseWriteConnection()
    got += wire.drain()
    if ending == "hang up":
        wire.far.shutdown(socket.SHUT_WR)
    elif ending == "abort":
        wire.transport.abortConnection()
    got += wire.drain()
    return got, type(wire.peer.lost and wire.peer.lost.value).__name__


class PromptWritesTests(SynchronousTestCase):
    """L{write_promptly}."""

    @given(STEPS, ENDINGS)
    def test_peers_see_what_they_see_without_prompt_writes(self, steps: list[tuple[str, int]], ending: str) -> None:
        plain, prompt = (play(Wire(self, prompt), steps, ending) for prompt in (False, True))
        self.assertEqual(plain, prompt)

    def test_an_answer_on_an_idle_connection_registers_nothing(self) -> None:
        wire = Wire(self)
        before = wire.poller.changes
        for _ in range(3):
            wire.far.send(b"hello")
            self.assertEqual(wire.drain(), b"hello")
        self.assertEqual(wire.poller.changes, before)

    def test_writes_follow_all_reads_of_their_turn(self) -> None:
        wire = Wire(self)
        wire.far.send(b"hello")
        wire.turn()
        self.assertEqual(wire.read(9), b"")
        wire.turn()
        self.assertEqual(wire.read(9), b"hello")

    def test_what_the_system_refuses_waits_for_room(self) -> None:
        wire = Wire(self)
        wire.transport.write(b"x" * 64 * ROOM)
        self.assertEqual(wire.reactor.getWriters(), [wire.transport])
        before = wire.poller.changes
        wire.turn()
        self.assertEqual((wire.reactor.getWriters(), wire.poller.changes), ([wire.transport], before + 1))
        wire.transport.write(b"y")
        self.assertEqual(wire.drain(), b"x" * 64 * ROOM + b"y")
        self.assertEqual(wire.reactor.getWriters(), [])

    def test_a_producer_without_end_does_not_keep_the_reactor_in_one_turn(self) -> None:
        wire = Wire(self)
        wire.transport.registerProducer(wire.peer, False)
        for turn in range(1, 4):
            wire.turn()
            self.assertTrue(wire.read(ROOM))
            self.assertLessEqual(wire.peer.resumed, 1 + 2 * turn)

    def test_a_call_that_a_write_schedules_is_not_delayed(self) -> None:
        wire = Wire(self)
        wire.reactor.running = True
        wire.peer.resumeProducing = lambda: wire.reactor.callLater(0, list)  # type: ignore[method-assign,assignment]
        wire.transport.registerProducer(wire.peer, False)
        wire.transport.write(b"x")
        wire.reactor.doIteration(None)
        self.assertEqual(wire.poller.timeouts, [0])

    def test_a_reactor_with_nothing_to_write_waits_as_long_as_it_may(self) -> None:
        wire = Wire(self)
        for timeout in (None, 7.0):
            wire.reactor.doIteration(timeout)
        self.assertEqual(wire.poller.timeouts, [-1, 7.0])

    def test_a_stop_ends_connections_with_writes_that_wait(self) -> None:
        wire = Wire(self)
        wire.transport.pauseProducing()
        wire.transport.write(b"x")
        self.assertEqual(wire.reactor.removeAll(), [wire.transport])
        self.assertEqual(wire.reactor.getWriters(), [])

    def test_a_writer_that_another_writer_removes_is_left_alone(self) -> None:
        wire = Wire(self)
        written: list[FileDescriptor] = []
        first, second = Other(wire, written), Other(wire, written)
        first.removes = (first, second)
        for each in first.removes:
            wire.reactor.addWriter(each)
        wire.turn()
        self.assertEqual(len(written), 1)

    def test_connections_are_made_and_refused(self) -> None:
        wire, client = Wire(self), Peer()
        port = wire.reactor.listenTCP(0, Factory.forProtocol(Peer), interface="127.0.0.1")
        number, outcomes = port.getHost().port, []  # type: int, list[object]
        TCP4ClientEndpoint(wire.reactor, "127.0.0.1", number).connect(Factory.forProtocol(lambda: client))
        wire.turn_until(lambda: client.transport is not None)
        client.transport.abortConnection()
        port.stopListening()
        wire.turn_until(lambda: not port.connected and client.lost is not None)
        refused = TCP4ClientEndpoint(wire.reactor, "127.0.0.1", number).connect(Factory.forProtocol(Peer))
        refused.addErrback(lambda failure: outcomes.append(failure.type))
        wire.turn_until(lambda: bool(outcomes))
        self.assertEqual(outcomes, [ConnectionRefusedError])

    def test_a_signal_ends_a_wait(self) -> None:
        wire = Wire(self)
        wire.poller.error = OSError(EINTR, "interrupted")
        wire.turn()
        wire.poller.error = OSError(EBADF, "closed")
        self.assertRaises(OSError, wire.turn)

    def test_an_error_of_one_connection_is_logged(self) -> None:
        class Careless(Peer):
            def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
                raise ZeroDivisionError

        wire = Wire(self, peer=Careless)
        wire.transport.write(b"x")
        wire.transport.loseConnection()
        wire.turn()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_other_reactors_are_left_alone(self) -> None:
        for reactor in (Clock(), MemoryReactorClock()):
            write_promptly(cast(Any, reactor))
            self.assertNotIn("addWriter", vars(reactor))
