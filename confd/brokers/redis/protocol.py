"""
The Redis protocol, RESP2, on txredisapi.

Importing this module installs the default reactor, because txredisapi does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from OpenSSL.SSL import Error as TLSError
from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from txredisapi import BaseRedisProtocol, RedisError, ResponseError

from confd.brokers.link import Lost, Misplaced, Refused, one_line
from confd.codec.bodies import MAX_ANSWER_BYTES

#: Bytes of a value that are kept: enough to see that it is larger than any announcement, and the two that end it.
_KEPT = MAX_ANSWER_BYTES + 3


#: Errors of a server that refuses writes: a replica, or a primary that has no room or no replicas.
WRITES_REFUSED = frozenset(("READONLY", "NOREPLICAS", "MISCONF", "OOM"))

#: Errors of a server that is not the one to ask, or has other credentials than when the connection was opened.
MISPLACED = WRITES_REFUSED | {"LOADING", "MASTERDOWN", "CLUSTERDOWN", "MOVED", "ASK", "TRYAGAIN", "NOAUTH", "WRONGPASS"}


class RedisConnection(BaseRedisProtocol):
    """One connection: commands and their replies, all bytes, and between these the messages of channels."""

    def __init__(self, heard: Callable[[str, bytes], None]) -> None:
        """
        @param heard: called with the channel and the payload of each message.
        """
        super().__init__(charset=None, convertNumbers=False)
        self._heard = heard
        self._lost: Failure = connectionDone
        self._rest = b""
        #: A connection with subscriptions takes no other commands.
        self.subscribed = False
        self._primary = False

    async def ask(self, *command: object) -> Any:
        """
        Send a command, and return the reply.

        @raise Refused: the reply is an error.
        @raise Lost: there is none.
        """
        try:
            return await self.execute_command(*command)
        except ResponseError as error:
            # Redis repeats what it did not understand; it may be secret.
            words = one_line(str(error).partition(", with args")[0])
            kind = words.partition(" ")[0]
            raise Misplaced(words, kind in WRITES_REFUSED) if kind in MISPLACED else Refused(words) from None
        except RedisError:
            raise Lost(self._why()) from None

    async def prove(self) -> None:
        """
        See L{Connection}.

        @raise Misplaced: also where a primary became a replica, which answers pings as before.
        """
        await self.ask("PING")
        if self.subscribed:
            return
        try:
            replica = b"role:slave" in await self.ask("INFO", "replication")
        except Misplaced:
            raise
        except Refused:
            # An ACL may forbid it.
            return
        if replica and self._primary:
            raise Misplaced("READONLY it became a replica", writes=True)
        self._primary = not replica

    def when_lost(self) -> Deferred[Any]:
        """Fires when it is closed."""
        lost: Deferred[Any] = self.whenDisconnected() if self.connected else succeed(None)
        return lost

    def cut(self) -> None:
        """Close it, whatever is still to be sent."""
        if self.connected:
            self.transport.abortConnection()

    def connectionLost(self, why: Failure = connectionDone) -> None:
        """Nobody gets an answer any more."""
        if self._lost is connectionDone:
            self._lost = why
        super().connectionLost(why)

    def dataReceived(self, data: bytes, unpause: bool = False) -> None:
        """Read replies; what is none ends the connection instead of the reader."""
        self._rest = data
        try:
            while self._rest:
                data, self._rest = self._rest, b""
                super().dataReceived(data)
        except Exception as error:
            self._lost = Failure(RedisError(f"this is not the Redis protocol ({type(error).__name__})"))
            self.cut()

    def setLineMode(self, extra: bytes = b"") -> None:
        """
        A value has ended: what follows is read at once.

        txredisapi would pause the connection and go on in a later turn of the reactor, for each value of a message.
        """
        self.line_mode = 1
        self._rest = extra

    def lineReceived(self, line: str) -> None:
        """Read one line; no reply to a command of ours is a long or a nested array."""
        if line.startswith("*") and (len(line) > 2 or self.multi_bulk.pending):
            raise RedisError("an array that nobody asked for")
        super().lineReceived(line)

    def rawDataReceived(self, data: bytes) -> None:
        """Read more of a value, and keep no more of it in memory than tells that it is too large."""
        super().rawDataReceived(data)
        del self.bulk_buffer[_KEPT:]

    def replyReceived(self, reply: Any) -> None:
        """Tell a message from a reply; what nobody waits for is not kept."""
        if isinstance(reply, list) and len(reply) == 3 and reply[0] == b"message":
            self._heard(reply[1].decode("utf-8", "replace"), reply[2])
        elif self.replyQueue.waiting:
            self.replyQueue.put(reply)

    def _why(self) -> str:
        error = self._lost.value
        if isinstance(error, TLSError) and error.args and error.args[0]:
            return one_line(", ".join(str(each[-1]) for each in error.args[0]))
        return one_line(error)
