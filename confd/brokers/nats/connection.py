"""
The NATS protocol on nats-py, for Twisted: only here and in L{confd.brokers.nats.client} there is asyncio.

nats-py runs its coroutines on the event loop of the asyncio reactor. Each L{NatsConnection} is a client of its own,
which never reconnects; see L{confd.brokers.link}.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from attrs import define, field, frozen
from nats.aio.msg import Msg
from nats.errors import (
    ConnectionClosedError,
    Error,
    MaxPayloadError,
    NoRespondersError,
    SlowConsumerError,
    StaleConnectionError,
)
from twisted.internet.defer import CancelledError, Deferred

from confd.brokers.link import Lost, Refused, one_line
from confd.brokers.nats.client import CLOSED_WITHIN, NatsClient
from confd.codec.bodies import MAX_ANSWER_BYTES

__all__ = ["Msg", "NatsConnection", "SlowConsumerError", "Subscription"]

T = TypeVar("T")


@frozen
class Subscription:
    """
    What to listen to.

    @ivar queue: a group of which one member gets each message; empty for all.
    @ivar heard: called with each message.
    """

    subject: str
    queue: str
    heard: Callable[[Msg], Awaitable[None]]


@define(eq=False)
class NatsConnection:
    """
    One connection to one of the servers.

    @ivar failed: told of errors that answer no call, once it is open.
    """

    loop: asyncio.AbstractEventLoop
    failed: Callable[[Exception], None]
    _client: NatsClient = field(factory=NatsClient, init=False)
    _complaint: Exception | None = field(default=None, init=False)
    _opened: bool = field(default=False, init=False)
    _lost: asyncio.Event = field(factory=asyncio.Event, init=False)
    _under_way: set[asyncio.Task[Any]] = field(factory=set, init=False)
    _closing: asyncio.Task[None] | None = field(default=None, init=False)

    async def open(self, options: Mapping[str, Any], subscriptions: Sequence[Subscription]) -> None:
        """
        Connect and subscribe; leaves nothing open if it fails.

        @param options: of nats-py's C{connect}: servers, TLS and credentials.
        """
        try:
            await self._run(self._connect(options))
            await self._run(self._subscribe(subscriptions))
        except BaseException:
            self.cut()
            raise
        self._opened = True

    async def publish(self, subject: str, message: bytes) -> None:
        """Publish, and return when the server has it."""
        await self._run(self._publish(subject, message))

    async def request(self, subject: str, seconds: float) -> bytes | None:
        """
        Ask whoever answers, and return the answer: C{None} where nobody is there to answer.

        @raise TimeoutError: somebody is, and does not.
        """
        try:
            # In the old style there is no standing subscription for answers.
            answer = await self._run(self._client.request(subject, timeout=seconds, old_style=True))
        except NoRespondersError:
            return None
        return bytes(answer.data)

    async def reply(self, subject: str, message: bytes) -> None:
        """Answer a request; to be awaited in asyncio."""
        await self._client.publish(subject, message)

    async def prove(self) -> None:
        """See L{Connection}."""
        await self._run(self._client.rtt())

    def when_lost(self) -> Deferred[Any]:
        """See L{Connection}."""
        return _deferred(self.loop.create_task(self._lost.wait()))

    def cut(self) -> None:
        """See L{Connection}."""
        if self._closing is None:
            self._closing = self.loop.create_task(self._cut())

    async def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """
        Run a coroutine of asyncio.

        It is cancelled with the connection, as nats-py does not end those that wait then, and never before: the answer
        to a ping that was given up kills nats-py's reader.

        @raise Lost: the connection was, meanwhile.
        """
        task = self.loop.create_task(coroutine)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        try:
            return await _deferred(task)
        except (CancelledError, ConnectionClosedError, StaleConnectionError):
            raise Lost("it hangs up") from None

    async def _connect(self, options: Mapping[str, Any]) -> None:
        try:
            await self._client.connect(
                allow_reconnect=False,
                # For each server; nats-py takes 0 for no limit.
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                connect_timeout=2,
                # With room for nothing, what is published goes out before the ping that follows it.
                pending_size=1,
                error_cb=self._error,
                closed_cb=self._closed,
                # The server is about to stop, and takes no new connections: the next one is another server's.
                lame_duck_mode_cb=self._closed,
                **options,
            )
        except Error:
            # This one says that no server is left; why, the one before it tells.
            raise self._complaint or Error("there is no server") from None

    async def _subscribe(self, subscriptions: Sequence[Subscription]) -> None:
        self._complaint = None
        for each in subscriptions:
            await self._client.subscribe(each.subject, each.queue, each.heard, pending_bytes_limit=4 * MAX_ANSWER_BYTES)
        await self._settle()

    async def _publish(self, subject: str, message: bytes) -> None:
        self._complaint = None
        try:
            await self._client.publish(subject, message)
        except MaxPayloadError:
            raise Refused(f"{len(message)} bytes are more than its max_payload") from None
        await self._settle()

    async def _settle(self) -> None:
        """Return when the server has dealt with what it was sent, and did not complain."""
        await self._client.rtt()
        if self._complaint is not None:
            raise Refused(one_line(self._complaint))

    async def _error(self, error: Exception) -> None:
        if not isinstance(error, SlowConsumerError):
            self._complaint = error
        if self._opened and not isinstance(error, StaleConnectionError):
            self.failed(error)

    async def _closed(self) -> None:
        self.cut()

    async def _cut(self) -> None:
        for _ in range(10):
            for task in self._under_way:
                task.cancel()
            await self._client.abort()
            if not self._under_way:
                break
            # Once may not be enough: nats-py swallows a cancellation while it sends.
            await asyncio.wait(self._under_way, timeout=CLOSED_WITHIN / 10)
        self._lost.set()


def _deferred(task: asyncio.Task[T]) -> Deferred[T]:
    """What a task of asyncio gives, as a L{Deferred}; cancelling it leaves the task alone."""
    answer: Deferred[T] = Deferred()

    def ended(task: asyncio.Task[T]) -> None:
        error = CancelledError() if task.cancelled() else task.exception()
        if error is None:
            answer.callback(task.result())
        else:
            answer.errback(error)

    task.add_done_callback(ended)
    return answer
