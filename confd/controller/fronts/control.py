"""
What the writer and a front say to each other, in order, over the one connection between them.

The writer is the process that decides; a front holds connections of clients for it, and knows no secret. What is said
of a client's connection names it by the number that its front gave it. Bytes of a connection flow under a window in
both directions, so that one that is slow fills neither the connection that all share nor anybody's memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from twisted.internet.protocol import connectionDone
from twisted.protocols.basic import Int32StringReceiver
from twisted.python.failure import Failure

#: Bytes of one connection that may be under way in one direction before more are held back; and how many have to be
#: taken until the other end is told.
WINDOW, ENOUGH = 65_536, 32_768

#: Bytes of a connection in one message: others have their turn in between.
PIECE = 32_768


class Message(msgspec.Struct, array_like=True, tag=True):
    """Anything that is said."""


# -- in both directions --


class Data(Message):
    """Bytes of a connection: from its client to the writer, or back."""

    number: int
    data: bytes


class Taken(Message):
    """So many bytes of a connection were passed on since this was said last."""

    number: int
    size: int


# -- from a front to the writer --


class Opened(Message):
    """A client has connected; C{host} is empty where it came over a unix socket."""

    number: int
    host: str
    port: int


class Closed(Message):
    """A client's connection is gone, whoever ended it."""

    number: int


class Detached(Message):
    """The writer is rid of a connection that is at rest; it will hear of it again when there is something to do."""

    number: int


class Answered(Message):
    """How often each remembered answer was given since this was said last."""

    counts: dict[int, int]


class Forgotten(Message):
    """What L{Forget} with this number named is given no more."""

    number: int


class Logged(Message):
    """Something for the log."""

    level: str
    namespace: str
    text: str


# -- from the writer to a front --


class Setup(Message):
    """
    The first message.

    @ivar endpoint: what is listened on, as the settings have it.
    @ivar family: of the socket.
    @ivar idle_seconds: that a connection may be silent.
    @ivar connections: at the same time, in all processes.
    """

    endpoint: str
    client_ca: str | None
    family: int
    idle_seconds: float
    connections: int
    log_level: str


class Lose(Message):
    """Close a connection once its client has taken what was written."""

    number: int


class Shut(Message):
    """Write no more to a connection, once its client has taken what was written."""

    number: int


class Cut(Message):
    """Reset a connection."""

    number: int


class Rest(Message):
    """All is answered that came on a connection until so many bytes had come since it was L{Detached}."""

    number: int
    received: int


class Remember(Message):
    """Whoever sends these bytes from this address while nothing else is under way is given an answer."""

    id: int
    host: str
    request: bytes
    template: bytes


class Forget(Message):
    """Give these answers no more, or none of those that were remembered until now, and say so."""

    number: int
    ids: list[int] | None


class Handed(Message):
    """A connection is a reader's from now on: its front goes on with the stream."""

    number: int
    namespace: str
    order: tuple[int, int]
    agent_id: str
    chunked: bool


class News(Message):
    """A configuration is in force; what a stream needs to know of it."""

    namespace: str
    tag: str
    order: tuple[int, int]
    frame: bytes


class Retired(Message):
    """A namespace is gone."""

    namespace: str


class Part(Message):
    """End the streams of an agent."""

    agent_id: str


class Drain(Message):
    """Take no more connections, and end those that wait for nothing."""


FromFront = Data | Taken | Opened | Closed | Detached | Answered | Forgotten | Logged
FromWriter = (
    Setup | Data | Taken | Lose | Shut | Cut | Rest | Remember | Forget | Handed | News | Retired | Part | Drain
)

_ENCODER = msgspec.msgpack.Encoder()


class Line(Int32StringReceiver):
    """One end of the connection between the writer and a front."""

    # A message holds a whole configuration at most, and what is said of it.
    MAX_LENGTH = 1 << 26

    def __init__(self, kinds: Any, hear: Callable[[Message], None], lost: Callable[[], None]) -> None:
        """
        @param kinds: the messages that the other end may send.
        @param hear: called with each.
        @param lost: called when the other end is gone.
        """
        self._decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(kinds)
        self._hear, self._lost = hear, lost

    def say(self, message: Message) -> None:
        """Tell the other end."""
        if self.transport is not None:
            self.sendString(_ENCODER.encode(message))

    def stringReceived(self, string: bytes) -> None:
        """The other end says something."""
        self._hear(self._decoder.decode(string))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It says nothing more."""
        self._lost()


def pieces(number: int, data: bytes) -> Iterator[Data]:
    """Bytes of a connection as messages."""
    for at in range(0, len(data), PIECE):
        yield Data(number, data[at : at + PIECE])
