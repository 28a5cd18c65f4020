"""
A connection that speaks the Redis protocol, RESP2, on txredisapi.

Importing this module installs the default reactor, because txredisapi does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from twisted.internet.defer import Deferred, DeferredLock, succeed
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from txredisapi import BaseRedisProtocol, RedisError, ResponseError

from confd.brokers.link import CommandRefused, Lost, Misplaced, one_line
from confd.codec.bodies import MAX_ANSWER_BYTES
from confd.runtime.certificate_errors import is_tls_error

#: Bytes of a value that are kept: one more than any announcement has, and the line break behind it.
_MAX_KEPT_BYTES = MAX_ANSWER_BYTES + 3

#: Errors of a server that refuses writes: a replica, or a primary that has no room or no replicas.
WRITES_REFUSED = frozenset(("READONLY", "NOREPLICAS", "MISCONF", "OOM"))

#: Errors of the wrong server, or of one whose credentials changed after the connection was opened.
MISPLACED = WRITES_REFUSED | {"LOADING", "MASTERDOWN", "CLUSTERDOWN", "MOVED", "ASK", "TRYAGAIN", "NOAUTH", "WRONGPASS"}


#: A decoded reply.
RedisReply: TypeAlias = bytes | int | str | list["RedisReply"] | None


class RedisConnection(BaseRedisProtocol):
    """One connection, which carries commands, their replies and the messages of channels, all as bytes."""

    def __init__(self, received: Callable[[str, bytes], None]) -> None:
        """
        @param received: called with the channel and the payload of each message.
        """
        super().__init__(charset=None, convertNumbers=False)
        self._received = received
        self._lost: Failure = connectionDone
        self._rest = b""
        #: Whether it has subscriptions; Redis then accepts no other commands on it.
        self.subscribed = False
        self._primary = False
        #: What the server was found to refuse to this user.
        self.refused = set[str]()
        #: Held during a transaction.
        self.transaction = DeferredLock()

    async def ask(self, *command: object) -> RedisReply:
        """
        Send a command, and return the reply.

        @raise CommandRefused: the reply is an error.
        @raise Lost: the connection was lost before the reply.
        """
        try:
            reply: RedisReply = await self.execute_command(*command)
            return reply
        except ResponseError as error:
            # Redis repeats a command that it does not know; that may hold a secret.
            words = one_line(str(error).partition(", with args")[0])
            kind = words.partition(" ")[0]
            raise Misplaced(words, kind in WRITES_REFUSED) if kind in MISPLACED else CommandRefused(words) from None
        except RedisError:
            raise Lost(self._why()) from None

    async def prove(self) -> None:
        """
        Ping the server, see L{Connection}.

        @raise Misplaced: also when a primary became a replica, which still answers pings.
        """
        await self.ask("PING")
        if self.subscribed:
            return
        try:
            info = await self.ask("INFO", "replication")
        except Misplaced:
            raise
        except CommandRefused:
            # An ACL may forbid it.
            return
        replica = isinstance(info, bytes) and b"role:slave" in info
        if replica and self._primary:
            raise Misplaced("READONLY it became a replica", writes=True)
        self._primary = not replica

    def when_lost(self) -> Deferred[object]:
        """Return a L{Deferred} that fires when the connection is closed."""
        lost: Deferred[object] = self.whenDisconnected() if self.connected else succeed(None)
        return lost

    def cut(self) -> None:
        """Close the connection at once; data that is still unsent is dropped."""
        if self.connected:
            self.transport.abortConnection()

    def connectionLost(self, why: Failure = connectionDone) -> None:
        """Remember the reason, and fail the commands that wait for a reply."""
        if self._lost is connectionDone:
            self._lost = why
        super().connectionLost(why)

    def dataReceived(self, data: bytes, unpause: bool = False) -> None:
        """Read replies; malformed data closes the connection and raises nothing."""
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
        Read the data behind a value at once.

        txredisapi would pause the connection, and continue in a later turn of the reactor, for each value.
        """
        self.line_mode = 1
        self._rest = extra

    def lineReceived(self, line: str) -> None:
        """Read one line; no command of confd has a long or nested array as its reply."""
        if line.startswith("*") and ((len(line) > 2 and line != "*-1") or self.multi_bulk.pending):
            raise RedisError("an unexpected array")
        super().lineReceived(line)

    def rawDataReceived(self, data: bytes) -> None:
        """Read more of a value; keep only as much as shows that it is too large."""
        super().rawDataReceived(data)
        del self.bulk_buffer[_MAX_KEPT_BYTES:]

    def replyReceived(self, reply: RedisReply) -> None:
        """Pass on a message or a reply; drop a reply that no command waits for."""
        match reply:
            case [b"message", bytes(channel), bytes(payload)]:
                self._received(channel.decode("utf-8", "replace"), payload)
            case _ if self.replyQueue.waiting:
                self.replyQueue.put(reply)

    def _why(self) -> str:
        error = self._lost.value
        if error is not None and is_tls_error(error) and error.args and error.args[0]:
            return one_line(", ".join(str(each[-1]) for each in error.args[0]))
        return one_line(error)
