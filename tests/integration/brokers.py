"""The brokers of the push strategies, as the conformance suite uses them."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path
from typing import BinaryIO, Protocol

from attrs import define

from tests.integration.fleet import PATIENCE
from tests.integration.kafka import KafkaServer
from tests.integration.proxy import NATS_MESSAGE, REDIS_MESSAGE, Proxy
from tests.integration.servers import NatsServer, RedisServer, Server


class Broker(Protocol):
    """The broker of a strategy."""

    @property
    def server(self) -> Server:
        """The process."""

    @property
    def message(self) -> re.Pattern[bytes] | None:
        """The beginning of a message: see L{tests.integration.proxy}."""

    def options(self, port: int) -> list[str]:
        """Return the options of a controller or agent that uses the broker at a port."""

    def latest(self) -> bytes:
        """Return the newest announcement that the broker holds."""

    def inject(self, messages: list[bytes]) -> None:
        """Send forged messages to all subscribers; a broker that keeps messages keeps the last."""

    def kill_subscribers(self, proxy: Proxy) -> None:
        """End the connections of the subscribers at the broker; they pass through a proxy."""


@define(eq=False)
class RedisBroker:
    """Redis."""

    server: RedisServer
    message = REDIS_MESSAGE

    @classmethod
    def make(cls, folder: Path) -> RedisBroker:
        """Return a broker that is not started."""
        return cls(RedisServer(folder))

    def options(self, port: int) -> list[str]:
        return ["--redis-address", f"127.0.0.1:{port}"]

    def latest(self) -> bytes:
        with self._connected() as connection, connection.makefile("rb") as replies:
            return self._call(connection, replies, b"GET", b"latest_config")

    def inject(self, messages: list[bytes]) -> None:
        with self._connected() as connection, connection.makefile("rb") as replies:
            for message in messages:
                self._call(connection, replies, b"SET", b"latest_config", message)
                self._call(connection, replies, b"PUBLISH", b"config:global", message)

    def kill_subscribers(self, proxy: Proxy) -> None:
        self.server.call("CLIENT KILL TYPE pubsub")

    def _connected(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.server.port), timeout=PATIENCE)

    def _call(self, connection: socket.socket, replies: BinaryIO, *words: bytes) -> bytes:
        connection.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
        head = replies.readline()
        assert head[:1] in b"$+:", head
        return replies.read(int(head[1:]) + 2)[:-2] if head[:1] == b"$" else b""


@define(eq=False)
class NatsBroker:
    """NATS, whose newest announcement is with the controllers."""

    server: NatsServer
    message = NATS_MESSAGE

    @classmethod
    def make(cls, folder: Path) -> NatsBroker:
        """Return a broker that is not started."""
        return cls(NatsServer(folder))

    def options(self, port: int) -> list[str]:
        return ["--nats-url", f"nats://127.0.0.1:{port}"]

    def latest(self) -> bytes:
        with self._connected() as connection, connection.makefile("rb") as replies:
            connection.sendall(b"SUB inbox.conformance 1\r\nPUB config.worker.update.get inbox.conformance 0\r\n\r\n")
            while not (head := replies.readline()).startswith(b"MSG"):
                assert head, "the broker hung up"
            return replies.read(int(head.split()[-1]))

    def inject(self, messages: list[bytes]) -> None:
        with self._connected() as connection, connection.makefile("rb") as replies:
            # NATS takes no larger message.
            most = json.loads(replies.readline().removeprefix(b"INFO "))["max_payload"]
            for message in messages:
                connection.sendall(b"PUB config.worker.update %d\r\n%s\r\n" % (len(message[:most]), message[:most]))
            connection.sendall(b"PING\r\n")
            while replies.readline() != b"PONG\r\n":
                pass

    def kill_subscribers(self, proxy: Proxy) -> None:
        """See L{Broker.kill_subscribers}: the server does so for no client, and the proxy does it instead."""
        proxy.drop()

    def _connected(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.server.port), timeout=PATIENCE)
        connection.sendall(b'CONNECT {"verbose": false, "headers": true}\r\n')
        return connection


@define(eq=False)
class NatsStreamBroker(NatsBroker):
    """NATS with a stream, which keeps the newest announcement also when the server is killed."""

    @classmethod
    def make(cls, folder: Path) -> NatsStreamBroker:
        """Return a broker that is not started."""
        return cls(NatsServer(folder, ("-js", "-sd", str(folder / "js"))))

    def options(self, port: int) -> list[str]:
        return [*super().options(port), "--nats-stream", "CONFD"]

    def latest(self) -> bytes:
        """Return what the stream answers to a direct get; empty where it has no announcement."""
        with self._connected() as connection, connection.makefile("rb") as replies:
            connection.sendall(b"SUB me 1\r\nPUB $JS.API.DIRECT.GET.CONFD.config.worker.update me 0\r\n\r\n")
            while b"MSG" not in (head := replies.readline()):
                assert head, "the broker hung up"
            headers, size = map(int, head.split()[-2:])
            return replies.read(size)[headers:]


@define(eq=False)
class KafkaBroker:
    """
    Kafka. The proxy of the agents sees no separate messages, since the protocol has no beginning that tells them.

    The controller uses the internal port, since the other port sends its clients to the proxy.
    """

    server: KafkaServer
    message = None

    @classmethod
    def make(cls, folder: Path) -> KafkaBroker:
        """Return a broker that is not started."""
        return cls(KafkaServer(folder))

    def options(self, port: int) -> list[str]:
        if port == self.server.port:
            port = self.server.internal
        else:
            self.server.advertised = port
        return ["--kafka-bootstrap", f"127.0.0.1:{port}"]

    def latest(self) -> bytes:
        return [value for key, value in self.server.consume() if key == "default"][-1]

    def inject(self, messages: list[bytes]) -> None:
        self.server.produce(*[("default", message) for message in messages])

    def kill_subscribers(self, proxy: Proxy) -> None:
        """See L{Broker.kill_subscribers}: the server does so for no client, and the proxy does it instead."""
        proxy.drop()
