"""Tests of L{confd.web.api.streaming}, over HTTP in memory."""

from __future__ import annotations

import gc
import weakref

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from confd.web.api.endpoint import ANYONE, Call, endpoint
from confd.web.api.streaming import StreamingAnswer
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
