"""
NATS connections for Twisted, on nats-py. Only this module and L{confd.brokers.nats.client} use asyncio.

nats-py runs its coroutines on the event loop of the asyncio reactor. Each L{NatsConnection} has its own client, which
never reconnects; see L{confd.brokers.link}.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from ssl import SSLContext
from typing import TypedDict

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
from twisted.internet.defer import Deferred

from confd.brokers.link import CommandRefused, one_line
from confd.brokers.nats.client import CLOSE_TIMEOUT_SECONDS, NatsClient
from confd.brokers.tasks import Tasks, as_deferred
from confd.codec.bodies import MAX_ANSWER_BYTES

__all__ = ["Msg", "NatsConnection", "SlowConsumerError", "Subscription"]

#: The status of the answer to a message without a subscriber.
_NO_RESPONDERS = "503"


@frozen
class Subscription:
    """
    A subject to subscribe to.

    @ivar queue: name of a group whose members share the messages; empty to get every message.
    @ivar received: called with each message.
    """

    subject: str
    queue: str
    received: Callable[[Msg], Awaitable[None]]


class NatsOptions(TypedDict):
    """The parameters of C{Client.connect} that settings decide."""

    servers: list[str]
    tls: SSLContext | None
    user: str | None
    password: str | None
    token: str | None


@define(eq=False)
class NatsConnection:
    """
    One connection to one of the servers.

    @ivar failed: called with each error that belongs to no call, once the connection is open.
    """

    loop: asyncio.AbstractEventLoop
    failed: Callable[[Exception], None]
    _client: NatsClient = field(factory=NatsClient, init=False)
    _complaint: Exception | None = field(default=None, init=False)
    _opened: bool = field(default=False, init=False)
    _lost: asyncio.Event = field(factory=asyncio.Event, init=False)
    #: nats-py leaves its own waiters alone when the connection is closed.
    _tasks: Tasks = field(init=False)
    _closing: asyncio.Task[None] | None = field(default=None, init=False)

    @_tasks.default
    def _make_tasks(self) -> Tasks:
        return Tasks(self.loop, ConnectionClosedError, StaleConnectionError)

    async def open(
        self,
        options: NatsOptions,
        subscriptions: Sequence[Subscription],
        optional: Sequence[Subscription] = (),
        refused: Callable[[str, CommandRefused], object] = lambda subject, refusal: None,
    ) -> None:
        """
        Connect and subscribe; close everything on failure.

        @param optional: subscriptions that the server may refuse.
        @param refused: called with the subject of each of them that it refuses.
        """
        try:
            await self._tasks.run(self._connect(options))
            await self._tasks.run(self._subscribe(subscriptions))
            for each in optional:
                try:
                    await self._tasks.run(self._subscribe([each]))
                except CommandRefused as refusal:
                    refused(each.subject, refusal)
        except BaseException:
            self.cut()
            raise
        self._opened = True

    async def publish(self, subject: str, message: bytes) -> None:
        """Publish a message, and return when the server has received it."""
        await self._tasks.run(self._publish(subject, message))

    async def request(self, subject: str, seconds: float) -> bytes | None:
        """
        Send a request and return the answer; C{None} where no subscriber exists.

        @param seconds: time limit for the answer.
        @raise TimeoutError: a subscriber exists and does not answer in time.
        """
        try:
            # The old style keeps no subscription for answers.
            answer = await self._tasks.run(self._client.request(subject, timeout=seconds, old_style=True))
        except NoRespondersError:
            return None
        return bytes(answer.data)

    async def exchange(
        self, subject: str, message: bytes, seconds: float, headers: dict[str, str] | None = None
    ) -> Msg | None:
        """
        Send a message with a reply subject, and return the answer; C{None} where no subscriber exists.

        @param seconds: time limit for the answer.
        @raise TimeoutError: no answer came in time.
        @raise CommandRefused: the server refuses the message.
        """
        return await self._tasks.run(self._exchange(subject, message, seconds, headers))

    async def reply(self, subject: str, message: bytes) -> None:
        """Send the answer to a request; await it in asyncio."""
        await self._client.publish(subject, message)

    async def prove(self) -> None:
        """Ping the server; see L{Connection}."""
        await self._tasks.run(self._client.rtt())

    def when_lost(self) -> Deferred[bool]:
        """Return a L{Deferred} that fires when the connection is closed."""
        return as_deferred(self.loop.create_task(self._lost.wait()))

    def cut(self) -> None:
        """Close the connection soon; data that is still unsent is dropped."""
        if self._closing is None:
            self._closing = self.loop.create_task(self._cut())

    async def _connect(self, options: NatsOptions) -> None:
        try:
            await self._client.connect(
                allow_reconnect=False,
                # Per server; 0 means no limit to nats-py.
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                connect_timeout=2,
                # Without a buffer, each message is sent before the ping that follows it.
                pending_size=1,
                error_cb=self._error,
                closed_cb=self._closed,
                # The server is about to stop; the next connection goes to another server.
                lame_duck_mode_cb=self._closed,
                **options,
            )
        except Error:
            # This error says only that no server is left; the complaint before it has the reason.
            raise self._complaint or Error("no server accepts the connection") from None

    async def _subscribe(self, subscriptions: Sequence[Subscription]) -> None:
        self._complaint = None
        for each in subscriptions:
            await self._client.subscribe(
                each.subject, each.queue, each.received, pending_bytes_limit=4 * MAX_ANSWER_BYTES
            )
        await self._settle()

    async def _publish(self, subject: str, message: bytes) -> None:
        self._complaint = None
        try:
            await self._client.publish(subject, message)
        except MaxPayloadError:
            raise CommandRefused(f"{len(message)} bytes exceed its max_payload") from None
        await self._settle()

    async def _exchange(
        self, subject: str, message: bytes, seconds: float, headers: dict[str, str] | None
    ) -> Msg | None:
        # The request of nats-py in the style that keeps no subscription sends no headers.
        self._complaint = None
        inbox, answer = self._client.new_inbox(), self.loop.create_future()
        subscription = await self._client.subscribe(inbox, future=answer, max_msgs=1)
        try:
            await subscription.unsubscribe(limit=1)
            await self._client.publish(subject, message, reply=inbox, headers=headers)
            await self._settle()
            found: Msg = await asyncio.wait_for(answer, seconds)
        except MaxPayloadError:
            raise CommandRefused(f"{len(message)} bytes exceed its max_payload") from None
        finally:
            if not answer.done() or answer.cancelled():
                await subscription.unsubscribe()
        return None if (found.headers or {}).get("Status") == _NO_RESPONDERS else found

    async def _settle(self) -> None:
        """Wait until the server has processed everything sent; raise its complaint."""
        await self._client.rtt()
        if self._complaint is not None:
            raise CommandRefused(one_line(self._complaint))

    async def _error(self, error: Exception) -> None:
        if not isinstance(error, SlowConsumerError):
            self._complaint = error
        if self._opened and not isinstance(error, StaleConnectionError):
            self.failed(error)

    async def _closed(self) -> None:
        self.cut()

    async def _cut(self) -> None:
        for _ in range(10):
            # Repeated, because nats-py swallows a cancellation while it sends.
            self._tasks.cancel()
            await self._client.abort()
            if await self._tasks.ended(CLOSE_TIMEOUT_SECONDS / 10):
                break
        self._lost.set()
