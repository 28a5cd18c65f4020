"""
A connection to a broker that is opened again whenever it is lost.

The libraries' own reconnection is not used. That of txredisapi ends at the first wrong password. That of nats-py ends
when a server hangs while it is sent data. L{twisted.application.internet.ClientService} of Twisted 26.10 raises when a
connection is lost in C{prepareConnection}.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Generic, NoReturn, Protocol, TypeAlias, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from confd.codec.text import printable
from confd.errors import Unavailable
from confd.runtime.timing import Backoff, Periodic

#: The longest pause between two attempts, in seconds: a broker that returns is found within 5 (promise G4).
RETRY_MAX_SECONDS = 4.0

#: Time limit for opening a connection.
OPEN_TIMEOUT_SECONDS = 5.0

#: Pause between two pings, which detect a broker that hangs.
PING_INTERVAL_SECONDS = 3.0

#: Time that a caller waits for a connection. With L{ANSWER_TIMEOUT_SECONDS} it is the limit that L{IBroker} promises.
CONNECT_TIMEOUT_SECONDS = 2.0

#: Time that a caller waits for the answer.
ANSWER_TIMEOUT_SECONDS = 3.0

#: Characters that are kept of another program's message.
_MAX_WORDS_CHARS = 300

T = TypeVar("T")

#: The result of a coroutine function that awaits L{Deferred}s.
Work: TypeAlias = Coroutine[Deferred[object], object, T]


class CommandRefused(Exception):
    """The broker refuses the command; the message is its answer."""


class Misplaced(CommandRefused):
    """
    The broker no longer serves this connection: the name may lead to another server now, or credentials changed.

    @ivar writes: whether it refuses writes only, so that an answered ping proves nothing.
    """

    def __init__(self, words: str, writes: bool = False) -> None:
        super().__init__(words)
        self.writes = writes


class Lost(Exception):
    """The connection was lost before the answer arrived."""


class Connection(Protocol):
    """A connection that is ready for commands; the commands of each broker raise L{CommandRefused} and L{Lost}."""

    def when_lost(self) -> Awaitable[object]:
        """Return an awaitable that ends when the connection is closed and its resources are free."""

    async def prove(self) -> None:
        """Ping the server; fail if it does not answer properly."""

    def cut(self) -> None:
        """Close the connection at once; a repeated call does nothing."""


C = TypeVar("C", bound=Connection)


class Link(Periodic, Generic[C]):
    """
    Keep one connection to a broker while the service runs: each round opens it and lasts until it is lost.

    A server that does not answer in time loses the connection: its late answer would be taken for the next one.
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
        @param where: the setting that names the broker, and its value; begins each error sentence.
        @param open: opens a connection; fails with L{Unavailable}, and closes everything when it is cancelled.
        @param opened: called after each connection.
        @param left: called when a connection is dropped because its server answered L{Misplaced}.
        @param returned: called after each connection that follows a loss or a failed attempt.
        """
        # A round is not cancelled at once: a callback of the round may be what stops the link.
        super().__init__(clock, self._live, backoff.next, grace=0.1)
        self._where = where
        self._open = open
        self._backoff = backoff
        self._opened, self._left, self._returned = opened, left, returned
        self._connection: C | None = None
        self._waiting: list[Deferred[C]] = []
        self._reason: str | None = None
        self._refusal: str | None = None
        #: Whether an answered ping ends the refusal.
        self._passing = False

    def stopService(self) -> Deferred[None] | None:
        """Close the connection, and fail the callers that wait for one."""
        stopped = super().stopService()
        if self._connection is not None:
            self._connection.cut()
        self._failed_with(self._unavailable("is stopped"))
        return stopped

    def problem(self) -> str | None:
        """Return the reason for which the broker cannot be used; C{None} while all is well."""
        if self.running and self._connection is None:
            return self._reason or f"{self._where} is not connected yet."
        return self._refusal

    async def use(self, operation: Callable[[C], Work[T]]) -> T:
        """
        Return the result of an operation on the connection; wait for a connection first where necessary.

        @raise Unavailable: no connection or no answer within 5 seconds, or the broker refuses.
        """
        if not self.running:
            raise self._unavailable("is not started")
        connection = self._connection or await self._next()
        try:
            answer = await self._in_time(operation(connection), ANSWER_TIMEOUT_SECONDS)
        except _Late:
            connection.cut()
            raise
        except (Lost, OSError):
            raise self._unavailable("lost the connection") from None
        except CommandRefused as refused:
            error = self._unavailable(f"refuses: {refused}")
            self._refusal = error.message
            if isinstance(refused, Misplaced):
                self._passing = not refused.writes
                self._leave(connection)
            raise error from None
        self._refusal = None
        return answer

    def renew(self) -> None:
        """Drop the connection; the next one resolves the host name again."""
        if self._connection is not None:
            self._connection.cut()

    def _leave(self, connection: C) -> None:
        connection.cut()
        self._left()

    def _next(self) -> Deferred[C]:
        """Fire with the next connection; fail with the next attempt, or after L{CONNECT_TIMEOUT_SECONDS}."""

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
                # The server accepts commands again, although no command was sent since.
                self._refusal, self._passing = None, False
            # Only now: otherwise a broker that accepts and hangs up would be tried again without a pause.
            self._backoff.reset()

    def _in_time(self, work: Work[T], seconds: float) -> Deferred[T]:
        def late(_: object, seconds: float) -> NoReturn:
            raise self._unavailable(f"does not answer within {seconds:.0f} seconds", _Late)

        return Deferred.fromCoroutine(work).addTimeout(seconds, self._clock, late)

    def _unavailable(self, what: str, kind: type[Unavailable] = Unavailable) -> Unavailable:
        return unavailable(self._where, what, kind)


class _Late(Unavailable):
    """The broker did not answer in time."""


def unavailable(where: str, what: str, kind: type[Unavailable] = Unavailable) -> Unavailable:
    """
    Return the error of a broker that cannot be used now.

    @param where: the setting to check, and its value.
    """
    return kind("broker_unavailable", f"{where} {what}.")


def one_line(words: object) -> str:
    """Return the words of another program as the end of a sentence; the name of their type where they are empty."""
    text = " ".join(str(words)[:_MAX_WORDS_CHARS].split()).rstrip(".")
    return printable(text, _MAX_WORDS_CHARS) or type(words).__name__
