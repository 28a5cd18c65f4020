"""
Many agents in one process. Each has a connection of its own, and speaks the real protocol of a strategy.

Standard input names a version to wait for, C{{"key": "PUSHED 7", "seconds": 20}}; standard output lists the moments at
which the agents held it. The process parses and verifies identical bytes once: real agents do that at the same time,
each on a machine of its own.
"""

from __future__ import annotations

import argparse
import gc
import http.client
import json
import os
import resource
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from heapq import heappop, heappush
from random import Random
from typing import Any, Protocol

from attrs import define, field

from benchmarks.dialects import Dialect, Kind, Message, Poller, command
from benchmarks.strategies import DIALECTS
from confd.codec import announcement, bodies, headers
from confd.codec.signing import KeyRing
from confd.model import Configuration

#: Limit of the life of a fleet, in case the benchmark dies without ending it.
LIFE = 600

#: Seconds for all agents to connect.
PATIENCE = 60.0

#: Size of the cache of parsed pieces. A piece arrives a thousand times, or once.
_REMEMBERED = 64

#: Agents that connect at the same time. A server's backlog holds 50; the kernel delays a connection beyond it by a
#: second.
_KNOCKING = 40

_PIECE = 262144


@define(eq=False)
class Verifier:
    """
    Verify payloads and return their configurations; identical payloads are verified once.

    @ivar signed: the payloads are announcements; else they are bodies of GET C{/api/v1/config}.
    """

    _keys: KeyRing
    _signed: bool
    _known: dict[bytes, Configuration] = field(factory=dict)

    def configuration(self, payload: bytes) -> Configuration:
        """
        Return the configuration in a payload.

        @raise ValueError: if no trusted key signed it.
        """
        found = self._known.get(payload)
        if found is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            found = self._known[payload] = self._read(payload)
        return found

    def _read(self, payload: bytes) -> Configuration:
        if not self._signed:
            return bodies.parse_configuration(payload)
        announced = announcement.read(payload)
        if not announced.verified(self._keys):
            raise ValueError("an announcement is not signed by the controller")
        return announced.configuration


class Agent:
    """The connection of an agent, and the beginning of an incomplete message."""

    __slots__ = ("connection", "number", "ready", "rest", "tag")

    def __init__(self, number: int, connection: socket.socket) -> None:
        self.number, self.connection = number, connection
        self.rest, self.ready = b"", False
        self.tag: str | None = None


@define(eq=False)
class Fleet:
    """
    All agents of the process.

    @ivar interval: mean seconds between two polls of one of them.
    @ivar ready: the agents that are connected and subscribed.
    @ivar held: by key such as C{PUSHED 7}, the moment at which each agent held that version, in monotonic seconds.
    @ivar payloads: the bytes of each version, by key.
    """

    _dialect: Dialect
    _verifier: Verifier
    _interval: float = 1.0
    ready: int = 0
    held: dict[str, dict[int, float]] = field(factory=dict)
    payloads: dict[str, bytes] = field(factory=dict)
    _agents: dict[int, Agent] = field(factory=dict)
    _pieces: dict[bytes, list[Message]] = field(factory=dict)
    _polls: list[tuple[float, int]] = field(factory=list)
    _random: Random = field(factory=Random)
    _epoll: select.epoll = field(factory=select.epoll)

    def connect(self, address: tuple[str, int], count: int) -> None:
        """Connect C{count} agents, and return once they are subscribed or L{PATIENCE} is over."""
        until = time.monotonic() + PATIENCE
        for number in range(count):
            connection = socket.create_connection(address, timeout=PATIENCE)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(self._dialect.hello)
            connection.setblocking(False)
            self._agents[connection.fileno()] = Agent(number, connection)
            self._epoll.register(connection, select.EPOLLIN)
            while number - self.ready > _KNOCKING and time.monotonic() < until:
                self.turn(0.1)
        while self.ready < count and time.monotonic() < until:
            self.turn(0.1)

    def close(self) -> None:
        """Close all connections."""
        for agent in self._agents.values():
            agent.connection.close()
        self._agents.clear()
        self._epoll.close()

    def await_commands(self, stream: int) -> None:
        """Listen to C{stream} too: L{turn} returns whether an order is waiting."""
        self._epoll.register(stream, select.EPOLLIN)

    def turn(self, seconds: float) -> bool:
        """
        Take the bytes that arrive within C{seconds}.

        @return: whether an order is waiting.
        """
        if self._polls:
            seconds = max(0.0, min(seconds, self._polls[0][0] - time.monotonic()))
        commanded = False
        for descriptor, _ in self._epoll.poll(seconds):
            agent = self._agents.get(descriptor)
            if agent is None:
                commanded = True
            else:
                self._hear(agent)
        self._poll()
        return commanded

    def settle(self, key: str, seconds: float) -> tuple[list[float], bytes]:
        """
        Wait until all agents hold the version of C{key}, or C{seconds} are over.

        @return: the moments at which the agents held it, in order, and its bytes.
        """
        until = time.monotonic() + seconds
        while len(self.held.get(key, ())) < len(self._agents) and (left := until - time.monotonic()) > 0:
            self.turn(left)
        return sorted(self.held.pop(key, {}).values()), self.payloads.pop(key, b"")

    def report(self, order: dict[str, Any]) -> dict[str, object]:
        """Return the moments at which the agents held the version of an order, and its bytes."""
        times, payload = self.settle(order["key"], order["seconds"])
        return {"times": times, "payload": payload.decode()}

    def _hear(self, agent: Agent) -> None:
        try:
            piece = agent.connection.recv(_PIECE)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        if not piece:
            self._agents.pop(agent.connection.fileno())
            agent.connection.close()
            return
        messages = None if agent.rest else self._pieces.get(piece)
        if messages is None:
            messages = self._split(agent, piece)
        now = time.monotonic()
        for message in messages:
            self._take(agent, message, now)

    def _split(self, agent: Agent, piece: bytes) -> list[Message]:
        whole = not agent.rest
        messages, agent.rest = self._dialect.split(agent.rest + piece)
        if whole and not agent.rest:
            if len(self._pieces) >= _REMEMBERED:
                self._pieces.clear()
            self._pieces[piece] = messages
        return messages

    def _take(self, agent: Agent, message: Message, now: float) -> None:
        if message.reply:
            agent.connection.send(message.reply)
        if message.payload:
            configuration = self._verifier.configuration(message.payload)
            key = f"{message.kind.name} {configuration.version}"
            agent.tag = str(configuration.tag)
            holders = self.held.get(key)
            if holders is None:
                holders = self.held[key] = {}
                self.payloads[key] = message.payload
            holders.setdefault(agent.number, now)
        # A broker confirms a subscription; the controller answers with the current configuration.
        if not agent.ready and message.kind is not Kind.PING:
            agent.ready = True
            self.ready += 1
        if isinstance(self._dialect, Poller):
            due = now + self._interval * self._random.uniform(0.5, 1.5)
            heappush(self._polls, (due, agent.connection.fileno()))

    def _poll(self) -> None:
        now = time.monotonic()
        while self._polls and self._polls[0][0] <= now:
            agent = self._agents.get(heappop(self._polls)[1])
            if agent is not None and isinstance(self._dialect, Poller):
                agent.connection.send(self._dialect.ask(agent.tag))


def keys_of(host: str, port: int) -> KeyRing:
    """Return the public keys of a controller."""
    connection = http.client.HTTPConnection(host, port, timeout=PATIENCE)
    authorization = headers.basic_authorization("agent", "secret123").decode()
    try:
        connection.request("GET", "/api/v1/config", headers={"Authorization": authorization})
        served = bodies.parse_served(connection.getresponse().read())
    finally:
        connection.close()
    ring = KeyRing()
    ring.trust(served.keys)
    return ring


class Player(Protocol):
    """A set of simulated agents that takes orders between two turns."""

    def await_commands(self, stream: int) -> None:
        """Listen to C{stream} as well."""

    def turn(self, seconds: float) -> bool:
        """Take the bytes that arrive within C{seconds}; return whether an order is waiting."""


def obey(player: Player, carry_out: Callable[[dict[str, Any]], Mapping[str, object]]) -> None:
    """
    Carry out the orders on standard input, one a line, until it ends.

    @param carry_out: carry out an order, and return the result, which goes to standard output.
    """
    player.await_commands(sys.stdin.fileno())
    unread = b""
    while True:
        while not player.turn(1.0):
            pass
        piece = os.read(sys.stdin.fileno(), 65536)
        if not piece:
            return
        *lines, unread = (unread + piece).split(b"\n")
        for line in lines:
            say(**carry_out(json.loads(line)))


def say(**values: object) -> None:
    """Write a result to standard output as a line."""
    sys.stdout.buffer.write(command(**values))
    sys.stdout.buffer.flush()


def address(text: str) -> tuple[str, int]:
    """Parse C{host:port}."""
    host, _, port = text.rpartition(":")
    return host, int(port)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("strategy", choices=DIALECTS)
    parser.add_argument("--controller", type=address, help="host:port; leave it out for etcd")
    parser.add_argument("--broker", type=address, help="host:port, if the strategy has one")
    parser.add_argument("--agents", type=int, default=1000)
    parser.add_argument("--poll-interval", type=float, default=1.0, help="mean seconds between two polls")
    options = parser.parse_args()
    signal.alarm(LIFE)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    keys = KeyRing() if options.controller is None else keys_of(*options.controller)
    verifier = Verifier(keys, options.broker is not None and options.controller is not None)
    fleet = Fleet(DIALECTS[options.strategy](), verifier, options.poll_interval)
    try:
        fleet.connect(options.broker or options.controller, options.agents)
        # The benchmark measures other processes: a pause of this one would distort the figures.
        gc.freeze()
        gc.disable()
        say(ready=fleet.ready)
        obey(fleet, fleet.report)
    finally:
        fleet.close()


if __name__ == "__main__":
    main()
