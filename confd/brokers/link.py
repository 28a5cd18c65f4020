"""
A connection to a broker that is made anew for ever.

The libraries' own reconnecting is not used: txredisapi's ends with the first wrong password, and nats-py's with a
server that hangs while data is on its way to it. Nor is L{twisted.application.internet.ClientService}: in Twisted 26.10
it raises where a connection is lost in its C{prepareConnection}.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Generic, NoReturn, Protocol, TypeAlias, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from confd.codec.text import printable
from confd.errors import Unavailable
from confd.runtime.timing import Backoff, Periodic

#: Seconds between two attempts at most, so that a broker that is back is found within 5 (promise G4).
RETRY_MAX_SECONDS = 4.0

#: Seconds for a new connection to be of use, and between the pings that notice a broker that hangs.
OPEN_TIMEOUT_SECONDS, PING_INTERVAL_SECONDS = 5.0, 3.0

#: Seconds that a caller waits for a connection, and then for the answer: together what L{IBroker} promises.
CONNECT_TIMEOUT_SECONDS, ANSWER_TIMEOUT_SECONDS = 2.0, 3.0

#: Characters of a message of another program that are kept.
_MAX_WORDS_CHARS = 300

T = TypeVar("T")

#: What a coroutine function that awaits L{Deferred}s returns.
Work: TypeAlias = Coroutine[Deferred[Any], Any, T]


class Refused(Exception):
    """The broker answers that it will not; with its words."""


class Misplaced(Refused):
    """
    The broker will not serve this connection: another server may be behind the name, or other credentials apply.

    @ivar writes: whether it refuses writes only; a ping then says nothing about them.
    """

    def __init__(self, words: str, writes: bool = False) -> None:
        super().__init__(words)
        self.writes = writes


class Lost(Exception):
    """The connection was lost before the answer came."""


class Connection(Protocol):
    """A connection to a broker that is ready for use; its other methods raise L{Refused} and L{Lost}."""

    def when_lost(self) -> Deferred[Any]:
        """Fires when it is closed, and nothing of it is left."""

    async def prove(self) -> None:
        """Return when the other side gave a sign of life, fail if it does not."""

    def cut(self) -> None:
        """Close it without waiting for anybody; any number of times."""


C = TypeVar("C", bound=Connection)


class Link(Periodic, Generic[C]):
    """
    One connection to a broker, for as long as the service runs: each round opens it and keeps it until it is lost.

    Whoever does not answer in time loses the connection: a late answer would be taken for that of the next question.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        where: str,
        open: Callable[[], Work[C]],
        backoff: Backoff,
        opened: Callable[[], None] = lambda: None,
        left: Callable[[], None] = lambda: None,
        returned: Callable[[], None] = lambda: None,
    ) -> None:
        """
        @param where: the setting that names the broker, and its value: begins a sentence.
        @param open: makes a connection; fails with L{Unavailable}, and leaves nothing open when it is cancelled.
        @param opened: called each time that there is a connection.
        @param left: called each time that a connection is dropped because its server is L{Misplaced}.
        @param returned: called each time that there is a connection after one was lost or could not be made.
        """
        # A round is not cancelled at once: whoever stops the link may have been called by it.
        super().__init__(clock, self._live, backoff.next, grace=0.1)
        self._where = where
        self._open = open
        self._backoff = backoff
        self._opened, self._left, self._returned = opened, left, returned
        self._connection: C | None = None
        self._waiting: list[Deferred[C]] = []
        self._reason: str | None = None
        self._refusal: str | None = None
        #: Whether a ping that is answered ends the refusal.
        self._passing = False

    def stopService(self) -> Deferred[None] | None:
        """Fires when the connection is closed; whoever waits for one is told."""
        stopped = super().stopService()
        if self._connection is not None:
            self._connection.cut()
        self._failed_with(self._unavailable("is not in use any more"))
        return stopped

    def problem(self) -> str | None:
        """L{IHealth.trouble}."""
        if self.running and self._connection is None:
            return self._reason or f"{self._where} is not connected yet."
        return self._refusal

    async def use(self, operation: Callable[[C], Work[T]]) -> T:
        """
        Do something with the connection, waiting for one if need be.

        @raise Unavailable: there is no connection, or no answer, within 5 seconds.
        """
        if not self.running:
            raise self._unavailable("is not in use")
        connection = self._connection or await self._next()
        try:
            answer = await self._in_time(operation(connection), ANSWER_TIMEOUT_SECONDS)
        except _Late:
            connection.cut()
            raise
        except (Lost, OSError):
            raise self._unavailable("lost the connection") from None
        except Refused as refused:
            error = self._unavailable(f"refuses: {refused}")
            self._refusal = error.message
            if isinstance(refused, Misplaced):
                self._passing = not refused.writes
                self._leave(connection)
            raise error from None
        self._refusal = None
        return answer

    def renew(self) -> None:
        """Drop the connection; the next one resolves the name again."""
        if self._connection is not None:
            self._connection.cut()

    def _leave(self, connection: C) -> None:
        connection.cut()
        self._left()

    def _next(self) -> Deferred[C]:
        """Fire with the next connection; fail with the next attempt, or when the wait gets long."""

        def late(*_: object) -> NoReturn:
            raise self._unavailable("is not connected yet")

        waiting: Deferred[C] = Deferred()
        self._waiting.append(waiting)
        return waiting.addTimeout(CONNECT_TIMEOUT_SECONDS, self._clock, late)

    async def _live(self) -> None:
        try:
            connection = await self._in_time(self._open(), OPEN_TIMEOUT_SECONDS)
        except Unavailable as error:
            return self._failed_with(error)
        alive = Deferred.fromCoroutine(self._keep_alive(connection)).addErrback(lambda _: connection.cut())
        try:
            self._begin_with(connection)
            await connection.when_lost()
        finally:
            self._connection = None
            alive.cancel()
            connection.cut()
            await connection.when_lost()
        self._failed_with(self._unavailable("lost the connection"))

    def _begin_with(self, connection: C) -> None:
        self.log.info("{where} is connected", where=self._where)
        again, self._connection, self._reason = self._reason is not None, connection, None
        for each in self._swap():
            each.callback(connection)
        self._opened()
        if again:
            self._returned()

    def _failed_with(self, error: Unavailable) -> None:
        if self.running and error.message != self._reason:
            self._reason = error.message
            self.log.warn("{reason}", reason=error.message)
        for each in self._swap():
            each.errback(error)

    def _swap(self) -> list[Deferred[C]]:
        waiting, self._waiting = self._waiting, []
        return waiting

    async def _keep_alive(self, connection: C) -> NoReturn:
        while True:
            await deferLater(self._clock, PING_INTERVAL_SECONDS)
            try:
                await self._in_time(connection.prove(), ANSWER_TIMEOUT_SECONDS)
            except Misplaced:
                self._leave(connection)
                raise
            if self._passing:
                # The server serves again, although nothing was asked of it since.
                self._refusal, self._passing = None, False
            # Only now: a broker that accepts and then hangs up would be asked again at once, and again.
            self._backoff.reset()

    def _in_time(self, work: Work[T], seconds: float) -> Deferred[T]:
        def late(_: object, seconds: float) -> NoReturn:
            raise self._unavailable(f"does not answer within {seconds:.0f} seconds", _Late)

        return Deferred.fromCoroutine(work).addTimeout(seconds, self._clock, late)

    def _unavailable(self, what: str, kind: type[Unavailable] = Unavailable) -> Unavailable:
        return unavailable(self._where, what, kind)


class _Late(Unavailable):
    """No answer in time."""


def unavailable(where: str, what: str, kind: type[Unavailable] = Unavailable) -> Unavailable:
    """
    The error of a broker that is of no use now.

    @param where: the setting to look at, and its value.
    """
    return kind("broker_unavailable", f"{where} {what}.")


def one_line(words: object) -> str:
    """Return the words of another program as the end of a sentence; the name of their type where they are empty."""
    text = " ".join(str(words)[:_MAX_WORDS_CHARS].split()).rstrip(".")
    return printable(text, _MAX_WORDS_CHARS) or type(words).__name__
