"""NATS: announcements are published on a subject, and the controllers answer requests for the newest."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from random import Random
from ssl import SSLCertVerificationError, SSLContext, SSLError

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from zope.interface import implementer

from confd.brokers.link import RETRY_MAX_SECONDS, CommandRefused, Link, one_line, unavailable
from confd.brokers.listeners import Listeners
from confd.brokers.log_bridge import StandardLogs
from confd.brokers.nats.client import Insecure
from confd.brokers.nats.connection import Msg, NatsConnection, NatsOptions, SlowConsumerError, Subscription
from confd.brokers.nats.stream import KeptStream
from confd.brokers.tasks import event_loop
from confd.errors import Unavailable
from confd.interfaces import IBroker
from confd.model import DEFAULT_NAMESPACE
from confd.runtime.certificate_errors import describe_certificate_error
from confd.runtime.reactor import Reactor
from confd.runtime.timing import Backoff, LogLimiter

#: Time limit for a controller to answer a request; shorter than that of the connection.
_REQUEST_TIMEOUT_SECONDS = 2.0

#: Seconds between two log lines about the same kind of error.
WARNING_INTERVAL_SECONDS = 60.0


@implementer(IBroker)
class NatsBroker(Service):
    """A NATS server or cluster, over one connection."""

    name = "NATS"
    log = Logger()

    def __init__(
        self,
        reactor: Reactor,
        servers: Sequence[str],
        *,
        user: str | None = None,
        password: str | None = None,
        token: str | None = None,
        tls: SSLContext | None = None,
        subject: str = "config.worker.update",
        queue_group: str = "config-workers",
        stream: str | None = None,
        random: Random,
    ) -> None:
        """
        @param servers: URLs of the servers of one cluster.
        @param tls: requires TLS and verifies the server; C{None} leaves TLS to the server.
        @param subject: the subject of the namespace C{default}.
        @param queue_group: group of the controllers; each request goes to one member.
        @param stream: the stream that keeps announcements; C{None} keeps none.
        @raise StartError: the reactor is not that of asyncio.
        """
        self._loop = event_loop(reactor, "NATS")
        self._options: NatsOptions = {
            "servers": list(servers),
            "tls": tls,
            "user": user,
            "password": password,
            "token": token,
        }
        self._subject, self._queue_group = subject, queue_group
        self._address = ", ".join(_public(each) for each in servers)
        kept = (subject, f"{subject}.ns.*")
        self._stream = None if stream is None else KeptStream(stream, kept, self._address)
        self._latest: Callable[[str], bytes | None] | None = None
        self._log_limiter = LogLimiter(reactor, WARNING_INTERVAL_SECONDS)
        self._logs = StandardLogs(["nats", "asyncio"])
        self.listeners = Listeners()
        self._returned: Callable[[], None] = lambda: None
        self._link = Link(
            reactor,
            f"NATS_URL: {self._address}",
            self._open,
            Backoff(random, RETRY_MAX_SECONDS),
            self.listeners.connected,
            returned=lambda: self._returned(),
        )

    def startService(self) -> None:
        """Connect in the background."""
        super().startService()
        self._logs.install()
        self._link.startService()

    def stopService(self) -> Deferred[None]:
        """Close the connection."""
        super().stopService()
        return maybeDeferred(self._link.stopService).addCallback(lambda _: self._logs.remove())

    def problem(self) -> str | None:
        return self._link.problem() or (None if self._stream is None else self._stream.problem)

    def remark(self) -> str | None:
        return None if self._stream is None else self._stream.remark

    def keeps(self) -> bool:
        return self._stream is not None and self._stream.remark is None

    def present(self, password: str | None, token: str | None) -> None:
        self._options = {**self._options, "password": password, "token": token}

    def listen(self, namespace: str, received: Callable[[bytes], object], connected: Callable[[], None]) -> None:
        self.listeners.add(self._subject_of(namespace), received, connected)

    def attend(self, namespace: str, rung: Callable[[bytes], object]) -> None:
        self.listeners.add_optional(self._doorbell_of(namespace), rung)

    def ring(self, namespace: str, doorbell: bytes) -> Deferred[None]:
        subject = self._doorbell_of(namespace)

        async def publish(connection: NatsConnection) -> None:
            try:
                await connection.publish(subject, doorbell)
            except CommandRefused as refused:
                raise self._unavailable(f"refuses to publish on {subject}: {refused}", "NATS_SUBJECT") from None

        return Deferred.fromCoroutine(self._link.use(publish))

    def answer(self, latest: Callable[[str], bytes | None]) -> None:
        self._latest = latest

    def watch(self, returned: Callable[[], None]) -> None:
        self._returned = returned

    def announce(self, namespace: str, announcement: bytes) -> Deferred[None]:
        subject, stream = self._subject_of(namespace), self._stream

        async def publish(connection: NatsConnection) -> None:
            if stream is None:
                await connection.publish(subject, announcement)
            else:
                await stream.publish(connection, subject, announcement)

        return Deferred.fromCoroutine(self._link.use(publish))

    def latest(self, namespace: str) -> Deferred[bytes | None]:
        return Deferred.fromCoroutine(self._find_latest(namespace, self._stream))

    async def _find_latest(self, namespace: str, stream: KeptStream | None) -> bytes | None:
        if stream is not None:
            kept = await self._link.use(lambda connection: stream.latest(connection, self._subject_of(namespace)))
            if kept is not None:
                return self.listeners.bounded(kept)
        subject = f"{self._subject}.get" + ("" if namespace == DEFAULT_NAMESPACE else f".{namespace}")

        async def ask(connection: NatsConnection) -> bytes | None:
            try:
                answer = await connection.request(subject, _REQUEST_TIMEOUT_SECONDS)
            except TimeoutError:
                raise self._unavailable("is connected, but no controller answers") from None
            # A controller without a published version sends an empty answer.
            return self.listeners.bounded(answer) if answer else None

        return await self._link.use(ask)

    def _subject_of(self, namespace: str) -> str:
        return self._subject if namespace == DEFAULT_NAMESPACE else f"{self._subject}.ns.{namespace}"

    def _doorbell_of(self, namespace: str) -> str:
        return f"{self._subject}.rollout" + ("" if namespace == DEFAULT_NAMESPACE else f".{namespace}")

    async def _open(self) -> NatsConnection:
        connection = NatsConnection(self._loop, self._warn)
        subscriptions, doorbells = (
            [Subscription(each, "", self._receiver(each)) for each in topics]
            for topics in (self.listeners.topics, self.listeners.optional)
        )
        if self._latest is not None:
            reply = self._replier(connection, self._latest)
            for subject in (f"{self._subject}.get", f"{self._subject}.get.*"):
                subscriptions.append(Subscription(subject, self._queue_group, reply))
        try:
            await connection.open(self._options, subscriptions, doorbells, self._refused)
            await self._prepare(connection)
        except Exception as error:
            connection.cut()
            raise self._diagnosis(error) from None
        except BaseException:
            connection.cut()
            raise
        return connection

    async def _prepare(self, connection: NatsConnection) -> None:
        """Look at the stream; only controllers publish, and create it."""
        if self._stream is None or self._latest is None:
            return
        before = self._stream.remark
        await self._stream.prepare(connection)
        if self._stream.remark not in (None, before):
            self.log.warn("{remark}", remark=self._stream.remark)

    def _refused(self, subject: str, refusal: CommandRefused) -> None:
        self.log.info(
            "NATS_SUBJECT: {where} refuses {subject}, so rollouts wait for polls: {reason}",
            where=self._address,
            subject=subject,
            reason=str(refusal),
        )

    def _receiver(self, subject: str) -> Callable[[Msg], Awaitable[None]]:
        async def receive(message: Msg) -> None:
            self.listeners.deliver(subject, message.data)

        return receive

    def _replier(
        self, connection: NatsConnection, latest: Callable[[str], bytes | None]
    ) -> Callable[[Msg], Awaitable[None]]:
        async def reply(message: Msg) -> None:
            namespace = message.subject.removeprefix(f"{self._subject}.get").removeprefix(".")
            if message.reply:
                await connection.reply(message.reply, latest(namespace or DEFAULT_NAMESPACE) or b"")

        return reply

    def _warn(self, error: Exception) -> None:
        if isinstance(error, SlowConsumerError):
            # A dropped message may have been the newest.
            self.listeners.connected()
        if self._log_limiter.due(type(error).__name__):
            self.log.warn("NATS_URL: {where}: {error}", where=self._address, error=one_line(error))

    def _diagnosis(self, error: Exception) -> Unavailable:
        """Return the error that names the setting to correct."""
        words = one_line(error)
        if isinstance(error, SSLCertVerificationError):
            words = describe_certificate_error(error.verify_code, error.verify_message)
        if isinstance(error, (SSLError, Insecure)):
            return self._unavailable(f"has no trustworthy TLS connection: {words}", "NATS_TLS_ENABLED")
        if "authorization" in words.lower():
            return self._unavailable("refuses it; correct it and NATS_USERNAME, or NATS_TOKEN", "NATS_PASSWORD")
        if isinstance(error, CommandRefused):
            return self._unavailable(f"refuses the subscription: {words}", "NATS_SUBJECT")
        return self._unavailable(f"cannot be reached: {words}")

    def _unavailable(self, what: str, setting: str = "NATS_URL") -> Unavailable:
        return unavailable(f"{setting}: {self._address}", what)


def _public(url: str) -> str:
    """Return a URL without its credentials."""
    scheme, mark, rest = url.rpartition("://")
    return scheme + mark + rest.rpartition("@")[2]
