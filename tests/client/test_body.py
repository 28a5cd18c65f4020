"""Tests of L{confd.client.body}."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseDone

from confd.client.body import StreamBody

DONE = Failure(ResponseDone())


class StreamBodyTests(SynchronousTestCase):
    """L{StreamBody}, whose pieces take time."""

    def setUp(self) -> None:
        self.pieces: list[tuple[bytes, Deferred[None]]] = []
        self.transport = StringTransport()
        self.body = StreamBody(self.receive)
        self.body.makeConnection(self.transport)

    def receive(self, piece: bytes) -> Deferred[None]:
        """Begin to handle a piece."""
        self.pieces.append((piece, Deferred()))
        return self.pieces[-1][1]

    def test_the_connection_is_paused_while_a_piece_is_handled(self) -> None:
        self.body.dataReceived(b"one")
        self.assertEqual(self.transport.producerState, "paused")
        self.pieces[0][1].callback(None)
        self.assertEqual(self.transport.producerState, "producing")

    def test_pieces_are_handled_one_after_the_other(self) -> None:
        """A transport may hand on what it has read before it pauses."""
        for piece in (b"one", b"two"):
            self.body.dataReceived(piece)
        self.assertEqual([piece for piece, _ in self.pieces], [b"one"])
        self.pieces[0][1].callback(None)
        self.assertEqual([piece for piece, _ in self.pieces], [b"one", b"two"])

    def test_the_body_ends_after_its_last_piece(self) -> None:
        self.body.dataReceived(b"one")
        self.body.connectionLost(DONE)
        self.assertNoResult(self.body.ended)
        self.pieces[0][1].callback(None)
        self.successResultOf(self.body.ended)

    def test_a_piece_that_cannot_be_handled_ends_the_body(self) -> None:
        for piece in (b"one", b"two"):
            self.body.dataReceived(piece)
        self.pieces[0][1].errback(ZeroDivisionError())
        self.failureResultOf(self.body.ended, ZeroDivisionError)
        self.assertEqual((self.transport.disconnecting, len(self.pieces)), (True, 1))

    def test_cancelling_closes_a_paused_connection(self) -> None:
        self.body.dataReceived(b"one")
        self.body.ended.cancel()
        self.failureResultOf(self.body.ended, CancelledError)
        self.assertEqual((self.transport.disconnecting, self.transport.producerState), (True, "producing"))
        self.body.dataReceived(b"two")
        self.pieces[0][1].callback(None)
        self.assertEqual(len(self.pieces), 1)
