"""
One end of a WebSocket, bounded in bytes, fragments and time.

wsproto parses the frames. It passes on the pieces of a message as they arrive, so a large message is refused before
it is whole.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    Pong,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

#: Bytes of a message, and the number of its pieces.
MAX_MESSAGE_BYTES, MAX_PIECES = 1024, 8

#: Bytes of the headers of a handshake, and the seconds that it may take.
MAX_HANDSHAKE_BYTES, HANDSHAKE_SECONDS = 8192, 10.0

#: Seconds between two pings, and until a closed connection is cut. The answer to a ping comes before the next ping.
PING_SECONDS, CLOSE_SECONDS = 10.0, 2.0


class WebSocket(Protocol):
    """
    A connection; subclasses say what to do with its events.

    @ivar opened: whether messages can be sent.
    """

    def __init__(self, clock: IReactorTime, kind: ConnectionType) -> None:
        self._clock, self._wire = clock, WSConnection(kind)
        self.opened = False
        self._handshake = 0
        self._text, self._pieces = "", 0
        self._timer: IDelayedCall | None = None
        self._answered = True

    # -- for subclasses --

    def requested(self, request: Request) -> None:
        """Take the request of a client."""

    def accepted(self) -> None:
        """Take the acceptance of the server."""

    def received(self, text: str) -> None:
        """Take a message."""

    def closed(self, reason: str) -> None:
        """Take the end of the connection, once."""

    # -- what can be done with it --

    def send(self, event: Event) -> None:
        """Send an event, unless the connection is closed or closing."""
        try:
            data = self._wire.send(event)
        except LocalProtocolError:
            return
        if self.transport is not None:
            self.transport.write(data)

    def open(self) -> None:
        """Begin to send pings: the handshake is over."""
        self.opened = True
        self._after(PING_SECONDS, self._ping)

    def close(self, code: CloseReason, reason: str) -> None:
        """Close with a code, and cut the connection if the peer does not answer."""
        if self.opened:
            self.opened = False
            self.send(CloseConnection(code=code, reason=reason))
            self._after(CLOSE_SECONDS, self.abort)
        else:
            self.abort()

    def abort(self) -> None:
        """Cut the connection."""
        if self.transport is not None:
            self.transport.abortConnection()

    # -- Protocol --

    def connectionMade(self) -> None:
        self._after(HANDSHAKE_SECONDS, self.abort)

    def dataReceived(self, data: bytes) -> None:
        if not self.opened:
            self._handshake += len(data)
            if self._handshake > MAX_HANDSHAKE_BYTES:
                self.abort()
                return
        try:
            self._wire.receive_data(data)
            for event in self._wire.events():
                self._take(event)
        except RemoteProtocolError as error:
            if self.opened:
                self.send(error.event_hint or CloseConnection(code=CloseReason.PROTOCOL_ERROR))
            elif isinstance(error.event_hint, RejectConnection):
                self.send(error.event_hint)
            self.opened = False
            self._after(CLOSE_SECONDS, self.abort)

    def connectionLost(self, reason: Failure) -> None:
        self.opened = False
        self._stop_timer()
        self.closed(reason.getErrorMessage())

    def _take(self, event: Event) -> None:
        if isinstance(event, Request):
            self.requested(event)
        elif isinstance(event, AcceptConnection):
            self.open()
            self.accepted()
        elif isinstance(event, TextMessage):
            self._take_piece(event)
        elif isinstance(event, BytesMessage):
            self.close(CloseReason.UNSUPPORTED_DATA, "text only")
        elif isinstance(event, Ping):
            self.send(event.response())
        elif isinstance(event, Pong):
            self._answered = True
        elif isinstance(event, CloseConnection):
            self.send(event.response())
            self.opened = False
            self.transport.loseConnection()
        elif isinstance(event, RejectConnection):
            self.closed(f"the gateway answers {event.status_code}")
            self.abort()

    def _take_piece(self, event: TextMessage) -> None:
        if not self.opened:
            return
        self._pieces += 1
        if len(self._text) + len(event.data.encode()) > MAX_MESSAGE_BYTES or self._pieces > MAX_PIECES:
            self.close(CloseReason.MESSAGE_TOO_BIG, f"at most {MAX_MESSAGE_BYTES} bytes in {MAX_PIECES} pieces")
            return
        self._text += event.data
        if event.message_finished:
            text, self._text, self._pieces = self._text, "", 0
            self.received(text)

    def _ping(self) -> None:
        if not self._answered:
            self.abort()
            return
        self._answered = False
        self.send(Ping())
        self._after(PING_SECONDS, self._ping)

    def _after(self, seconds: float, call: Callable[[], None]) -> None:
        self._stop_timer()
        self._timer = self._clock.callLater(seconds, call)

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
