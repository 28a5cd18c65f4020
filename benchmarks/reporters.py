"""
Many agents in one process that receive a version by stream and report it as applied. Like a real agent, each has an id,
a stream and a connection for its reports, and waits a random part of the report window.

Standard input may order a flood, C{{"flood": 64, "seconds": 5}}: reports on 64 connections, as fast as the controller
answers. Standard output has the number of ready agents, and after a flood the number of answers by status.
"""

from __future__ import annotations

import argparse
import gc
import http.client
import json
import resource
import select
import signal
import socket
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from heapq import heappop, heappush
from random import Random

from attrs import define, field

from benchmarks.dialects import Stream
from benchmarks.fleet import LIFE, PATIENCE, address, obey, say
from confd.codec import bodies
from confd.codec.headers import basic_authorization
from confd.model import Registration

_AUTHORIZATION = basic_authorization("agent", "secret123").decode()

#: Connections that register agents; each sends one request after the other.
_REGISTRARS = 16


@define(eq=False)
class Agent:
    """
    A simulated agent.

    @ivar id: the id from the controller.
    @ivar window: the report window in seconds.
    @ivar received: the moment at which C{tag} arrived, in monotonic seconds.
    """

    number: int
    id: str
    window: float
    stream: socket.socket
    reports: socket.socket
    rest: bytes = b""
    answer: bytes = b""
    tag: str = ""
    received: float = 0.0
    sequence: int = 0
    asking: bool = False

    def report(self, now: float) -> bytes:
        """Return the next report as the bytes of a request."""
        self.sequence += 1
        self.asking = True
        body = json.dumps(
            {
                "agent_id": self.id,
                "version": self.tag,
                "state": "applied",
                "holds": self.tag,
                "ms": {"agent": 0.1, "worker": 2.0, "waited": round(1000 * (now - self.received), 3)},
                "session": "benchmark",
                "sequence": self.sequence,
            }
        ).encode()
        head = (
            f"POST /api/v1/report HTTP/1.1\r\nHost: localhost\r\nAuthorization: {_AUTHORIZATION}\r\n"
            f"X-Agent-ID: {self.id}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


@define(eq=False)
class Crowd:
    """
    All agents of the process.

    @ivar statuses: the number of answers to reports, by status.
    """

    random: Random = field(factory=Random)
    statuses: Counter[str] = field(factory=Counter)
    _agents: list[Agent] = field(factory=list)
    _streams: dict[int, Agent] = field(factory=dict)
    _reporters: dict[int, Agent] = field(factory=dict)
    _due: list[tuple[float, int]] = field(factory=list)
    _dialect: Stream = field(factory=Stream)
    _tags: dict[bytes, str] = field(factory=dict)
    _epoll: select.epoll = field(factory=select.epoll)
    _flooding: bool = False

    def join(self, controller: tuple[str, int], count: int) -> None:
        """Register and connect C{count} agents, and return once each has the current version."""
        with ThreadPoolExecutor(_REGISTRARS) as pool:
            shares = [range(number, count, _REGISTRARS) for number in range(_REGISTRARS)]
            given = [each for some in pool.map(lambda share: register(controller, share), shares) for each in some]
        for number, (agent_id, window) in enumerate(given):
            agent = Agent(number, agent_id, window, _connect(controller), _connect(controller))
            agent.stream.send(self._dialect.hello.replace(b"\r\n\r\n", f"\r\nX-Agent-ID: {agent_id}\r\n\r\n".encode()))
            for there, who in ((agent.stream, self._streams), (agent.reports, self._reporters)):
                who[there.fileno()] = agent
                self._epoll.register(there, select.EPOLLIN)
            self._agents.append(agent)
            self.turn(0)
        until = time.monotonic() + PATIENCE
        while (self._due or not all(agent.tag for agent in self._agents)) and time.monotonic() < until:
            self.turn(0.1)

    def ready(self) -> int:
        """Return the number of agents that have a version."""
        return sum(bool(agent.tag) for agent in self._agents)

    def await_commands(self, stream: int) -> None:
        """Listen to C{stream} too: L{turn} returns whether an order is waiting."""
        self._epoll.register(stream, select.EPOLLIN)

    def turn(self, seconds: float) -> bool:
        """
        Take the bytes that arrive within C{seconds}, and send the reports that are due.

        @return: whether an order is waiting.
        """
        if self._due:
            seconds = max(0.0, min(seconds, self._due[0][0] - time.monotonic()))
        commanded = False
        for descriptor, _ in self._epoll.poll(seconds):
            if descriptor in self._streams:
                self._hear(self._streams[descriptor])
            elif descriptor in self._reporters:
                self._answered(self._reporters[descriptor])
            else:
                commanded = True
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            agent = self._agents[heappop(self._due)[1]]
            agent.reports.send(agent.report(now))
        return commanded

    def flood(self, connections: int, seconds: float) -> Counter[str]:
        """Report without a pause on some connections, for all agents in turn; return the answers by status."""
        self._calm_down()
        before = Counter(self.statuses)
        self._flooding = True
        for agent in self._agents[:connections]:
            agent.reports.send(agent.report(time.monotonic()))
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.turn(0.1)
        self._flooding = False
        self._calm_down()
        return self.statuses - before

    def _calm_down(self) -> None:
        """Send the due reports, and take all answers: a connection carries one request at a time."""
        until = time.monotonic() + PATIENCE
        while (self._due or any(agent.asking for agent in self._agents)) and time.monotonic() < until:
            self.turn(0.1)

    def _hear(self, agent: Agent) -> None:
        piece = agent.stream.recv(262144)
        if not piece:
            raise SystemExit("the controller ended a stream")
        messages, agent.rest = self._dialect.split(agent.rest + piece)
        for message in messages:
            tag = self._tags.get(message.payload)
            if tag is None:
                tag = self._tags[message.payload] = str(bodies.parse_configuration(message.payload).tag)
            agent.tag, agent.received = tag, time.monotonic()
            heappush(self._due, (agent.received + self.random.uniform(0, agent.window), agent.number))

    def _answered(self, agent: Agent) -> None:
        piece = agent.reports.recv(65536)
        if not piece:
            raise SystemExit("the controller closed a connection for reports")
        head, separator, body = (agent.answer + piece).partition(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
        )
        if not separator or len(body) < length:
            agent.answer += piece
            return
        agent.answer, agent.asking = b"", False
        status = head[9:12].decode()
        self.statuses[status] += 1
        if status == "200":
            agent.window = json.loads(body)["report_window_ms"] / 1000
        if self._flooding:
            agent.reports.send(agent.report(time.monotonic()))


def register(controller: tuple[str, int], share: range) -> list[tuple[str, float]]:
    """Register an agent for each number in C{share}; return their ids and report windows in seconds."""
    connection = http.client.HTTPConnection(*controller, timeout=PATIENCE)
    headers = {"Authorization": _AUTHORIZATION, "Content-Type": "application/json"}
    found = []
    for number in share:
        body = bodies.registration_body(Registration(f"host-{number}", "tier=benchmark", strategy="STREAM"))
        connection.request("POST", "/api/v1/register", body, headers)
        joined = bodies.parse_membership(connection.getresponse().read())
        found.append((joined.agent_id, joined.report_window))
    connection.close()
    return found


def _connect(controller: tuple[str, int]) -> socket.socket:
    connection = socket.create_connection(controller, timeout=PATIENCE)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--controller", type=address, required=True, help="host:port")
    parser.add_argument("--agents", type=int, default=1000)
    options = parser.parse_args()
    signal.alarm(LIFE)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    crowd = Crowd()
    crowd.join(options.controller, options.agents)
    # The benchmark measures the controller: a pause of this process would distort the figures.
    gc.freeze()
    gc.disable()
    say(ready=crowd.ready())
    obey(crowd, lambda order: {"statuses": crowd.flood(order["flood"], order["seconds"])})


if __name__ == "__main__":
    main()
