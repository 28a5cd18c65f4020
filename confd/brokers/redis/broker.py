"""
Redis: the newest announcement is stored in a key and published on a channel.

Importing this module installs the default reactor, because txredisapi does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.endpoints import connectProtocol, wrapClientTLS
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IStreamClientEndpoint
from twisted.logger import Logger
from zope.interface import implementer

from confd.brokers.link import RETRY_MAX_SECONDS, CommandRefused, Link, Lost, Misplaced, Work, one_line, unavailable
from confd.brokers.listeners import Listeners
from confd.brokers.redis.ordered import announce, announce_newer
from confd.brokers.redis.protocol import RedisConnection
from confd.errors import Unavailable
from confd.interfaces import IBroker
from confd.model import DEFAULT_NAMESPACE
from confd.runtime.addresses import join
from confd.runtime.reactor import Reactor
from confd.runtime.timing import Backoff
from confd.runtime.transport import HostEndpoint

T = TypeVar("T")

#: Time limit for one address to accept a connection.
CONNECT_TIMEOUT_SECONDS = 30


@implementer(IBroker)
class RedisBroker(Service):
    """A Redis server, with a connection for subscriptions and one for commands; each opens when it is first needed."""

    name = "REDIS"
    log = Logger()

    def __init__(
        self,
        reactor: Reactor,
        host: str,
        port: int,
        *,
        username: str | None = None,
        password: str | None = None,
        db: int = 0,
        tls: IOpenSSLClientConnectionCreator | None = None,
        channel: str = "config:global",
        shared: bool = False,
        random: Random,
    ) -> None:
        """
        @param username: the ACL user; C{None} for the default user.
        @param db: number of the database that holds the keys; channels belong to all databases.
        @param tls: verifies the server; C{None} connects without TLS.
        @param channel: the channel of the namespace C{default}.
        @param shared: whether other controllers announce here, too: see L{announce_newer}.
        """
        endpoint: IStreamClientEndpoint = HostEndpoint(reactor, host, port, CONNECT_TIMEOUT_SECONDS)
        self._endpoint = endpoint if tls is None else wrapClientTLS(tls, endpoint)
        self._address, self._tls = join(host, port), tls is not None
        self._username, self._password, self._db = username, password, db
        self._channel, self._shared = channel, shared
        self.listeners = Listeners()
        self._returned: Callable[[], None] = lambda: None
        where = f"REDIS_ADDRESS: {self._address}" + (" (with REDIS_TLS_ENABLED)" if self._tls else "")
        self._listening = Link(
            reactor,
            where,
            lambda: self._open(self.listeners.topics),
            Backoff(random, RETRY_MAX_SECONDS),
            self.listeners.connected,
        )
        self._commands = Link(
            reactor,
            where,
            lambda: self._open(()),
            Backoff(random, RETRY_MAX_SECONDS),
            left=self._listening.renew,
            returned=lambda: self._returned(),
        )

    def startService(self) -> None:
        """
        Connect in the background: to listen if it has listeners, otherwise for commands.

        A controller announces nothing before its first publish. Its L{problem} is known before that.
        """
        super().startService()
        (self._listening if self.listeners.topics else self._commands).startService()

    def stopService(self) -> Deferred[None]:
        """Close the connections."""
        super().stopService()
        links = [each for each in (self._listening, self._commands) if each.running]
        return gatherResults([each.stopService() or succeed(None) for each in links]).addCallback(lambda _: None)

    def problem(self) -> str | None:
        return self._listening.problem() or self._commands.problem()

    def present(self, password: str | None, token: str | None) -> None:
        """Take the password; Redis has no tokens."""
        self._password = password

    def listen(self, namespace: str, received: Callable[[bytes], object], connected: Callable[[], None]) -> None:
        self.listeners.add(self._channel_of(namespace), received, connected)

    def attend(self, namespace: str, rung: Callable[[bytes], object]) -> None:
        self.listeners.add_optional(self._doorbell_of(namespace), rung)

    def ring(self, namespace: str, doorbell: bytes) -> Deferred[None]:
        channel = self._doorbell_of(namespace)

        async def publish(connection: RedisConnection) -> None:
            try:
                await connection.ask("PUBLISH", channel, doorbell)
            except CommandRefused as refused:
                raise self._unavailable(f"refuses to publish on {channel}: {refused}", "REDIS_CHANNEL") from None

        return self._command(publish)

    def answer(self, latest: Callable[[str], bytes | None]) -> None:
        """Do nothing: Redis stores the newest announcement itself."""

    def remark(self) -> str | None:
        return None

    def keeps(self) -> bool:
        return True

    def watch(self, returned: Callable[[], None]) -> None:
        self._returned = returned

    def announce(self, namespace: str, announcement: bytes) -> Deferred[None]:
        store = announce_newer if self._shared else announce
        return self._command(
            lambda connection: store(connection, _key_of(namespace), self._channel_of(namespace), announcement)
        )

    def latest(self, namespace: str) -> Deferred[bytes | None]:
        async def read(connection: RedisConnection) -> bytes | None:
            found = await connection.ask("GET", _key_of(namespace))
            return self.listeners.bounded(found) if isinstance(found, bytes) else None

        return self._command(read)

    def _channel_of(self, namespace: str) -> str:
        return self._channel if namespace == DEFAULT_NAMESPACE else f"config:{namespace}"

    def _doorbell_of(self, namespace: str) -> str:
        return f"{self._channel_of(namespace)}:rollout"

    def _command(self, ask: Callable[[RedisConnection], Work[T]]) -> Deferred[T]:
        if self.running and not self._commands.running:
            self._commands.startService()
        return Deferred.fromCoroutine(self._commands.use(ask))

    async def _open(self, channels: Sequence[str]) -> RedisConnection:
        connection = RedisConnection(self.listeners.deliver)
        try:
            await connectProtocol(self._endpoint, connection)
        except Exception as error:
            raise self._unavailable(f"cannot be reached: {one_line(error)}") from None
        try:
            await self._introduce(connection, channels)
        except BaseException:
            connection.cut()
            raise
        return connection

    async def _introduce(self, connection: RedisConnection, channels: Sequence[str]) -> None:
        """
        Authenticate, select the database and subscribe.

        @raise Unavailable: names the setting to correct.
        """
        connection.subscribed = bool(channels)
        if self._password is not None:
            names = () if self._username is None else (self._username,)
            await self._step(connection.ask("AUTH", *names, self._password), "REDIS_PASSWORD")
        await self._step(connection.prove(), "REDIS_ADDRESS")
        if self._db:
            await self._step(connection.ask("SELECT", self._db), "REDIS_DB")
        for channel in channels:
            await self._step(connection.ask("SUBSCRIBE", channel), "REDIS_CHANNEL")
        for channel in self.listeners.optional if channels else ():
            try:
                await connection.ask("SUBSCRIBE", channel)
            except CommandRefused as refused:
                self.log.info(
                    "REDIS_CHANNEL: {where} refuses {channel}, so rollouts wait for polls: {reason}",
                    where=self._address,
                    channel=channel,
                    reason=str(refused),
                )

    async def _step(self, reply: Awaitable[object], setting: str) -> None:
        try:
            await reply
        except Lost as lost:
            if self._tls:
                raise self._unavailable(f"has no trustworthy TLS connection: {lost}", "REDIS_TLS_ENABLED") from None
            raise self._unavailable(f"hangs up: {lost}; if it expects TLS, set REDIS_TLS_ENABLED") from None
        except CommandRefused as refused:
            if str(refused).startswith("NOAUTH"):
                raise self._unavailable("asks for a password", "REDIS_PASSWORD") from None
            busy = isinstance(refused, Misplaced) and not str(refused).startswith("WRONGPASS")
            if busy or "max number of clients" in str(refused):
                raise self._unavailable(f"refuses: {refused}") from None
            if setting == "REDIS_PASSWORD":
                # Without the words of the refusal: they may hold the password.
                raise self._unavailable("refuses it; correct it, or REDIS_USERNAME", setting) from None
            raise self._unavailable(f"refuses: {refused}", setting) from None

    def _unavailable(self, what: str, setting: str = "REDIS_ADDRESS") -> Unavailable:
        return unavailable(f"{setting}: {self._address}", what)


def _key_of(namespace: str) -> str:
    return "latest_config" if namespace == DEFAULT_NAMESPACE else f"latest_config:{namespace}"
