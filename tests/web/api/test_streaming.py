"""Tests of L{confd.web.api.streaming}, over HTTP in memory."""

from __future__ import annotations

import gc
import weakref

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.main import CONNECTION_LOST
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactor, StringTransport
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import toChunk

from confd.web.api.endpoint import ANYONE, Call, endpoint
from confd.web.api.streaming import EventStream, StreamingAnswer, send
from confd.web.api.streaming import Streams as OpenStreams
from confd.web.auth.basic import BasicAuth
from tests.conversation import Conversation, serve


class Streams:
    """
    An API with a response that goes on.

    @ivar over: ends it.
    @ivar cancelled: how often the client hung up first.
    @ivar call: the call of the handler, while an object refers to it.
    """

    def __init__(self) -> None:
        self.cancelled = 0
        self.over: Deferred[None] = Deferred(self._cancel)
        self.call: weakref.ref[Call] | None = None

    def _cancel(self, _: object) -> None:
        self.cancelled += 1

    @endpoint("GET", "/stream", ANYONE, "Goes on.")
    async def stream(self, call: Call) -> StreamingAnswer:
        """Write the first bytes of the response."""
        self.call = weakref.ref(call)
        call.request.write(b"first")
        return StreamingAnswer(self.over)


class StreamingTests(SynchronousTestCase):
    """L{StreamingAnswer}."""

    def setUp(self) -> None:
        self.streams, self.clock = Streams(), Clock()
        self.site = serve(self.clock, BasicAuth([]), self.streams)
        self.caller = Conversation(self.site, self.clock)
        self.caller.ask("GET", "/stream")

    def test_response_ends_with_its_deferred_and_keeps_the_connection(self) -> None:
        (begun,) = self.caller.replies()
        self.assertEqual((begun.body, begun.whole), (b"first", False))
        self.streams.over.callback(None)
        ended = self.caller.answer()
        self.assertEqual(ended and ended.body, b"first")
        self.assertEqual(self.caller.get("/nowhere").status, 404)
        self.assertEqual(self.streams.cancelled, 0)

    def test_response_that_is_over_before_it_begins_is_complete(self) -> None:
        self.streams.over.callback(None)
        self.caller.answer()
        self.streams.over = succeed(None)
        self.assertEqual(self.caller.get("/stream").body, b"first")

    def test_hang_up_cancels_the_stream_without_an_error(self) -> None:
        self.caller.hang_up()
        self.assertEqual(self.streams.cancelled, 1)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_failed_stream_breaks_the_connection_and_is_logged(self) -> None:
        self.streams.over.errback(RuntimeError("out of ideas"))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.clock.advance(0)
        self.assertFalse(self.caller.replies()[0].whole)
        self.assertTrue(self.caller.closed)

    def test_drain_waits_for_the_stream(self) -> None:
        drained = self.site.drain()
        self.assertNoResult(drained)
        self.streams.over.callback(None)
        self.caller.hang_up()
        self.successResultOf(drained)

    def test_call_is_freed_while_the_stream_goes_on(self) -> None:
        gc.collect()
        assert self.streams.call is not None
        self.assertIsNone(self.streams.call())


class Socket(FileDescriptor):
    """
    A connection whose peer takes some bytes.

    @ivar room: How many, or the error of the connection.
    """

    def __init__(self, reactor: MemoryReactor, room: int | BaseException) -> None:
        super().__init__(reactor)  # type: ignore[arg-type]
        self.connected, self.room, self.sent = 1, room, b""

    def writeSomeData(self, data: bytes) -> int | BaseException:
        """Take what there is room for."""
        if isinstance(self.room, BaseException):
            return self.room
        taken = data[: self.room]
        self.sent += taken
        self.room -= len(taken)
        return len(taken)


class SendTests(SynchronousTestCase):
    """L{send}."""

    def written(self, room: int | BaseException) -> Socket:
        """Send ten bytes to a connection."""
        self.reactor = MemoryReactor()
        socket = Socket(self.reactor, room)
        send(socket, b"0123456789")
        return socket

    def test_bytes_are_sent_at_once_and_none_is_left_for_the_reactor(self) -> None:
        self.assertEqual(self.written(99).sent, b"0123456789")
        self.assertEqual(self.reactor.getWriters(), [])

    def test_reactor_sends_what_does_not_fit(self) -> None:
        socket = self.written(4)
        self.assertEqual((socket.sent, self.reactor.getWriters()), (b"0123", [socket]))
        socket.room = 99
        socket.doWrite()
        self.assertEqual((socket.sent, self.reactor.getWriters()), (b"0123456789", []))

    @given(st.lists(st.tuples(st.binary(max_size=9), st.integers(0, 9), st.booleans()), max_size=20))
    def test_any_room_keeps_the_order_of_the_bytes(self, turns: list[tuple[bytes, int, bool]]) -> None:
        socket = self.written(0)
        expected = b"0123456789"
        for data, room, ready in turns:
            socket.room = room
            if ready:
                socket.doWrite()
            send(socket, data)
            expected += data
        socket.room = len(expected)
        socket.doWrite()
        self.assertEqual(socket.sent, expected)

    def test_reactor_finds_the_error_of_a_lost_connection_again(self) -> None:
        socket = self.written(CONNECTION_LOST)
        self.assertEqual(self.reactor.getWriters(), [socket])
        self.assertIs(socket.doWrite(), CONNECTION_LOST)

    def test_nothing_follows_the_end_of_a_connection(self) -> None:
        socket = self.written(4)
        socket.room = 99
        socket.loseConnection()
        send(socket, b"more")
        self.assertEqual((socket.sent, self.reactor.getWriters()), (b"0123", [socket]))
        socket.connected = 0
        send(socket, b"more")
        self.assertEqual(socket.sent, b"0123")

    def test_connection_of_another_kind_gets_all(self) -> None:
        other = StringTransport()
        send(other, b"all")
        self.assertEqual(other.value(), b"all")


class ChunkTests(SynchronousTestCase):
    """L{Streams.chunk}."""

    @given(st.lists(st.sampled_from([b"a", b"bb", b"c" * 255]), max_size=6))
    def test_each_event_is_a_chunk_of_its_length(self, frames: list[bytes]) -> None:
        streams: OpenStreams[EventStream] = OpenStreams(Clock())
        for frame in frames:
            self.assertEqual(streams.chunk(frame), b"".join(toChunk(frame)))
