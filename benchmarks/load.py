"""
Load from one process, in a closed loop or at a fixed rate.

C{wrk} drives the closed loop, for a server may be faster than Python. The fixed rate is our own: each request is due at
its time, and its latency counts from then, even while all connections are busy with earlier requests.
"""

from __future__ import annotations

import json
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, cycle
from urllib.parse import urlsplit

from attrs import define, field, frozen

from benchmarks.figures import quantile
from benchmarks.host import processor_time

_DONE = """
done = function(summary, latency, requests)
    local wrong = summary.errors.status + summary.errors.read + summary.errors.connect + summary.errors.timeout
    io.stderr:write(string.format("%d %d %d", summary.requests, wrong, latency:percentile(99)))
end
"""


#: Build all requests at the start, and send one after the other.
_TURNS = """
function init()
    for number, more in ipairs(asked) do
        for name, value in pairs(wrk.headers) do more[name] = more[name] or value end
        asked[number] = wrk.format(nil, nil, more)
    end
end
function request()
    turn = turn % #asked + 1
    return asked[turn]
end
"""


@frozen
class Target:
    """
    A request that the load repeats, and the server that answers it.

    @ivar pid: the process of the server.
    @ivar turns: more headers, by which the requests differ; these requests take turns.
    """

    url: str
    pid: int
    method: str = "GET"
    headers: Mapping[str, str] = field(factory=dict)
    body: str = ""
    turns: Sequence[Mapping[str, str]] = ({},)

    def requests(self) -> Sequence[bytes]:
        """Return the bytes of the requests."""
        return [self._request(headers) for headers in self.turns]

    def _request(self, more: Mapping[str, str]) -> bytes:
        parts = urlsplit(self.url)
        where = parts.path + (f"?{parts.query}" if parts.query else "")
        head = {"Host": parts.netloc} | dict(self.headers) | dict(more)
        if self.body:
            head["Content-Length"] = str(len(self.body))
        lines = [f"{self.method} {where} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items()), "", ""]
        return ("\r\n".join(lines) + self.body).encode()


@frozen
class Rate:
    """
    The result of a measurement under load.

    @ivar cpu: microseconds of processor time of the server for each request.
    @ivar p99: latency in milliseconds.
    @ivar wrong: requests without an answer, or with an error.
    """

    second: float
    cpu: float
    p99: float
    wrong: int


def as_fast_as_it_goes(target: Target, connections: int, seconds: float) -> Rate:
    """Send the next request of a connection after each answer, by C{wrk} if it is installed."""
    before = processor_time(target.pid)
    if shutil.which("wrk"):
        whole = max(1, round(seconds))
        seconds, (count, wrong, p99) = whole, _wrk(target, connections, whole)
    else:
        count, wrong, p99 = _closed(target, connections, seconds)
    spent = processor_time(target.pid) - before
    return Rate(count / seconds, 1e6 * spent / max(count, 1), p99, wrong)


def at_a_rate(target: Target, rate: float, connections: int, seconds: float) -> Rate:
    """Send requests at a fixed rate a second; see the module."""
    before = processor_time(target.pid)
    times, wrong = Schedule(cycle(target.requests()), _address(target), connections).run(rate, seconds)
    spent = processor_time(target.pid) - before
    return Rate(len(times) / seconds, 1e6 * spent / max(len(times), 1), _p99(times), wrong)


def each_once(targets: Sequence[Target], connections: int, seconds: float) -> tuple[int, int]:
    """Send one request to each target of one server; return the number of answers within C{seconds}, and of errors."""
    requests = chain.from_iterable(each.requests() for each in targets)
    times, wrong = Schedule(requests, _address(targets[0]), connections).send(len(targets), seconds)
    return len(times), wrong


def _wrk(target: Target, connections: int, seconds: int) -> tuple[int, int, float]:
    lines = [f"wrk.method = {json.dumps(target.method)}"]
    lines += [f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in target.headers.items()]
    lines += [f"wrk.body = {json.dumps(target.body)}"] if target.body else []
    if len(target.turns) > 1:
        lines += [f"asked[{number}] = {_table(more)}" for number, more in enumerate(target.turns, 1)]
        lines = ["local asked, turn = {}, 0", *lines, _TURNS]
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write("\n".join(lines) + _DONE)
        script.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s"]
        told = subprocess.run([*command, "-s", script.name, target.url], capture_output=True, text=True, timeout=120)
    count, wrong, p99 = map(int, told.stderr.split()[-3:])
    return count, wrong, p99 / 1000


def _table(values: Mapping[str, str]) -> str:
    """Return a table in Lua."""
    return "{" + ", ".join(f"[{json.dumps(name)}] = {json.dumps(value)}" for name, value in values.items()) + "}"


def _closed(target: Target, connections: int, seconds: float) -> tuple[int, int, float]:
    times, wrong = Schedule(cycle(target.requests()), _address(target), connections).run(sys.float_info.max, seconds)
    return len(times), wrong, _p99(times)


def _address(target: Target) -> tuple[str, int]:
    parts = urlsplit(target.url)
    return parts.hostname or "", parts.port or 80


def _p99(times: list[float]) -> float:
    return 1000 * quantile(sorted(times) or [0.0], 0.99)


@define(eq=False)
class Schedule:
    """Requests without end that are due at fixed times, on persistent connections."""

    _requests: Iterator[bytes]
    _address: tuple[str, int]
    _connections: int
    _epoll: select.epoll = field(factory=select.epoll)
    _free: deque[socket.socket] = field(factory=deque)
    _busy: dict[int, tuple[socket.socket, float, bytes]] = field(factory=dict)
    _times: list[float] = field(factory=list)
    _wrong: int = 0

    def run(self, rate: float, seconds: float) -> tuple[list[float], int]:
        """Return the latency of each answer from its due time in seconds, and the number of errors."""
        self._connect()
        if rate == sys.float_info.max:
            self._closed_loop(time.monotonic() + seconds)
        else:
            self._open_loop(rate, round(rate * seconds))
        return self._finish()

    def send(self, count: int, seconds: float) -> tuple[list[float], int]:
        """Send so many requests in a closed loop, for at most C{seconds}; return what L{run} returns."""
        self._connect()
        until, sent = time.monotonic() + seconds, 0
        while sent < count and (now := time.monotonic()) < until:
            while self._free and sent < count:
                self._send(self._free.popleft(), now)
                sent += 1
            self._take(min(until - now, 0.1))
        return self._finish()

    def _connect(self) -> None:
        for _ in range(self._connections):
            connection = socket.create_connection(self._address, timeout=10)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._epoll.register(connection, select.EPOLLIN)
            self._free.append(connection)

    def _finish(self) -> tuple[list[float], int]:
        """Wait for the last answers, and close the connections."""
        until = time.monotonic() + 10
        while self._busy and time.monotonic() < until:
            self._take(0.1)
        for each in [*self._free, *(there for there, _, _ in self._busy.values())]:
            each.close()
        self._epoll.close()
        return self._times, self._wrong + len(self._busy)

    def _closed_loop(self, until: float) -> None:
        while (now := time.monotonic()) < until:
            while self._free:
                self._send(self._free.popleft(), now)
            self._take(min(until - now, 0.1))

    def _open_loop(self, rate: float, count: int) -> None:
        # A server or a machine that stalls makes requests late. It does not make them fewer.
        began, sent = time.monotonic(), 0
        while sent < count:
            now, due = time.monotonic(), began + sent / rate
            if self._free and due <= now:
                self._send(self._free.popleft(), due)
                sent += 1
            else:
                self._take(max(0.0, min(due - now, 0.1)) if self._free else 0.1)

    def _send(self, connection: socket.socket, due: float) -> None:
        connection.sendall(next(self._requests))
        self._busy[connection.fileno()] = connection, due, b""

    def _take(self, seconds: float) -> None:
        for descriptor, _ in self._epoll.poll(seconds):
            if descriptor not in self._busy:
                raise ConnectionError("the server closed an idle connection")
            connection, due, rest = self._busy[descriptor]
            piece = connection.recv(262144)
            if not piece:
                raise ConnectionError("the server closed a connection in the middle of an answer")
            answer = rest + piece
            if not _whole(answer):
                self._busy[descriptor] = connection, due, answer
                continue
            del self._busy[descriptor]
            self._times.append(time.monotonic() - due)
            self._wrong += answer[9:10] in b"45"
            self._free.append(connection)


def _whole(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end:
        return False
    lowered = head.lower()
    if lowered[9:12] == b"304":
        return True
    if b"transfer-encoding: chunked" in lowered:
        return body.endswith(b"0\r\n\r\n")
    return len(body) >= int(lowered.partition(b"content-length:")[2].partition(b"\r\n")[0])
