"""
How does a fleet return to a controller after an outage?

Agents of the STREAM strategy run in one process, with the back-off of real agents. Each loses its stream, retries until
it has a new stream, and is green after it receives the current version. Run it with C{python -m benchmarks.recovery}.
"""

from __future__ import annotations

import select
import signal
import socket
import sys
import time
from collections import Counter
from contextlib import suppress
from heapq import heappop, heappush
from random import Random
from typing import Any

from attrs import define, field

from benchmarks.contest import controller
from benchmarks.dialects import Stream
from benchmarks.figures import quantile
from benchmarks.findings import Bar, Finding, Scale, main, say
from benchmarks.host import Invalid, on_core
from benchmarks.plots import Chart
from confd.agent.strategies.factories import RETURN_SPREAD_SECONDS
from confd.runtime.timing import Backoff

#: The part of the agents whose returns count for the mean; the few last agents would stretch the time.
_MOST = 0.95

#: Limit of the time for all agents to return.
PATIENCE = 90.0


@define(eq=False)
class Agent:
    """The stream of an agent."""

    backoff: Backoff
    connection: socket.socket | None = None
    rest: bytes = b""
    joined: bool = False


@define(eq=False)
class Returning:
    """
    All agents of the benchmark.

    @ivar attempts: the moments at which an agent connected to a running controller, in monotonic seconds.
    @ivar green: the moment at which each agent received the current version.
    """

    _address: tuple[str, int]
    _count: int
    attempts: list[float] = field(factory=list)
    green: dict[int, float] = field(factory=dict)
    _agents: list[Agent] = field(factory=list)
    _by_descriptor: dict[int, int] = field(factory=dict)
    _due: list[tuple[float, int]] = field(factory=list)
    _epoll: select.epoll = field(factory=select.epoll)
    _dialect: Stream = field(factory=Stream)

    def begin(self) -> None:
        """Connect all agents, spread over some seconds."""
        now, random = time.monotonic(), Random()
        self._agents = [Agent(Backoff(Random(), base=RETURN_SPREAD_SECONDS)) for _ in range(self._count)]
        for number in range(self._count):
            heappush(self._due, (now + random.uniform(0, self._count / 500), number))
        self.settle()
        if len(self.green) < self._count:
            raise Invalid(f"only {len(self.green)} of {self._count} agents have a stream")

    def settle(self) -> None:
        """Continue until all agents are green, or L{PATIENCE} is over."""
        until = time.monotonic() + PATIENCE
        while len(self.green) < self._count and time.monotonic() < until:
            self.turn(0.1)

    def turn(self, seconds: float) -> None:
        """Run the retries that are due, and take the bytes that arrive within C{seconds}."""
        if self._due:
            seconds = max(0.0, min(seconds, self._due[0][0] - time.monotonic()))
        for descriptor, _ in self._epoll.poll(seconds):
            number = self._by_descriptor.get(descriptor)
            if number is not None:
                self._hear(number)
        while self._due and self._due[0][0] <= time.monotonic():
            self._try(heappop(self._due)[1])

    def close(self) -> None:
        """Close all connections."""
        for agent in self._agents:
            if agent.connection is not None:
                agent.connection.close()
        self._epoll.close()

    def _try(self, number: int) -> None:
        agent, connection = self._agents[number], socket.socket()
        # The agents are many, and none waits for another.
        connection.setblocking(False)
        connection.connect_ex(self._address)
        agent.connection, agent.rest, agent.joined = connection, b"", False
        self._by_descriptor[connection.fileno()] = number
        self._epoll.register(connection, select.EPOLLOUT)

    def _join(self, agent: Agent) -> bool:
        """Request the stream if the connection is open; return whether it is."""
        connection = agent.connection
        assert connection is not None
        if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0:
            return False
        agent.joined = True
        self.attempts.append(time.monotonic())
        with suppress(OSError):
            connection.send(self._dialect.hello)
        self._epoll.modify(connection, select.EPOLLIN)
        return True

    def _hear(self, number: int) -> None:
        agent = self._agents[number]
        assert agent.connection is not None
        if not agent.joined and self._join(agent):
            return
        piece = b""
        with suppress(OSError):
            piece = agent.connection.recv(65536)
        # A controller that is starting has no version to send.
        if not piece or piece.startswith(b"HTTP/1.1 503"):
            del self._by_descriptor[agent.connection.fileno()]
            agent.connection.close()
            agent.connection = None
            self.green.pop(number, None)
            self._again(number)
            return
        messages, agent.rest = self._dialect.split(agent.rest + piece)
        if any(message.payload for message in messages):
            self.green.setdefault(number, time.monotonic())
            agent.backoff.reset()

    def _again(self, number: int) -> None:
        heappush(self._due, (time.monotonic() + self._agents[number].backoff.next(), number))


def after(outage: float, agents: int) -> dict[str, Any]:
    """Kill a controller, wait, and start it again; return the behaviour of the fleet as a row."""
    with controller() as fleet:
        process = fleet.processes[0]
        crowd = Returning(("127.0.0.1", fleet.port), agents)
        try:
            crowd.begin()
            say(f"  {agents} agents have a stream; the controller is killed, for {outage} s")
            process.stop(signal.SIGKILL)
            until = time.monotonic() + outage
            while time.monotonic() < until:
                crowd.turn(0.05)
            crowd.attempts.clear()
            began = time.monotonic()
            with on_core(0):
                process.start(wait=False)
            crowd.settle()
        finally:
            crowd.close()
    came = sorted(each - min(crowd.attempts, default=0.0) for each in crowd.attempts)
    most = quantile(came, _MOST)
    peak = max(Counter(map(int, came)).values())
    mean = _MOST * len(came) / max(most, 1.0)
    return {
        "outage s": outage,
        "agents": agents,
        "peak in a second": peak,
        "mean": mean,
        "peak by mean": peak / mean,
        "95 % after s": most,
        "all green after s": max(crowd.green.values(), default=began) - began,
        "missed": agents - len(crowd.green),
    }


def measure(scale: Scale) -> Finding:
    """Measure each outage."""
    table = [after(outage, scale.returning) for outage in scale.outages]
    late = max(row["all green after s"] if not row["missed"] else float("inf") for row in table)
    return Finding(
        "recovery",
        "A fleet returns to a controller after an outage",
        table,
        [
            Bar("peak by mean", max(row["peak by mean"] for row in table), 3, least=False),
            Bar("seconds until all are green", late, 35, least=False),
        ],
        [
            Chart(
                "Seconds until all are green",
                [(f"gone for {row['outage s']} s", row["all green after s"]) for row in table],
                ("",),
            )
        ],
    )


if __name__ == "__main__":
    sys.exit(main(__doc__, measure))
