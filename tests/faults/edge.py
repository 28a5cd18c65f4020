"""Clients that take all they can get: F-33 to F-37, F-56."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress

from attrs import define, field

from confd.codec.headers import basic_authorization
from tests.faults.harness import FaultHarness, descriptors, percentile, resident
from tests.faults.rows import row
from tests.integration.fleet import ADMIN, eventually, request

#: Addresses of loopback that clients come from: one of them may have 64 connections only.
FIRST_ADDRESS = 20


HOST = b"Host: localhost\r\n"


AUTH = b"Authorization: " + basic_authorization(*ADMIN) + b"\r\n"


@define(eq=False)
class Crowd:
    """Connections from many addresses of loopback."""

    port: int
    each: int = 40
    sockets: list[socket.socket] = field(factory=list)

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self.sockets:
            connection.close()

    def connect(self, count: int, first: bytes = b"") -> int:
        """Make so many connections, and send the first bytes on each; returns how many were not refused."""
        for number in range(count):
            source = f"127.0.0.{FIRST_ADDRESS + number // self.each}"
            with suppress(OSError):
                connection = socket.create_connection(("127.0.0.1", self.port), 5, (source, 0))
                connection.settimeout(5)
                self.sockets.append(connection)
                connection.sendall(first)
        return len(self.sockets)

    def send(self, data: bytes) -> None:
        """Send to all that still take it."""
        for connection in self.sockets:
            with suppress(OSError):
                connection.sendall(data)

    def open(self) -> int:
        """How many the other side has not ended."""
        return sum(map(_is_open, self.sockets))


def _is_open(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        while data := connection.recv(65536):
            del data
        return False
    except BlockingIOError:
        return True
    except OSError:
        return False


def converse(port: int, raw: bytes, timeout: float = 10) -> bytes:
    """Send bytes and read until the other side ends."""
    with socket.create_connection(("127.0.0.1", port), timeout) as connection:
        found = b""
        with suppress(OSError):
            connection.sendall(raw)
        with suppress(OSError):
            while piece := connection.recv(65536):
                found += piece
        return found


def _others(fleet: FaultHarness, seconds: float) -> float:
    """How long others wait for an answer meanwhile: the 99th of 100."""
    took = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        began = time.monotonic()
        fleet.claim(fleet.get() == 200, "others are served")
        took.append(time.monotonic() - began)
        time.sleep(0.05)
    return percentile(took, 0.99)


@row(
    "F-33",
    "slow-loris",
    "1 000 connections, one byte of a header a second each",
    "none older than 11 s; GET p99 100 ms",
    agents=0,
)
def slow_headers(fleet: FaultHarness) -> None:
    fleet.begin()
    with Crowd(fleet.daemons.port) as crowd:
        crowd.connect(1000, b"GET / HTTP/1.1\r\n")
        joined = time.monotonic()
        waited = []
        while crowd.open() and time.monotonic() < joined + 20:
            crowd.send(b"X")
            waited.append(_others(fleet, 1.0))
        fleet.claim(not crowd.open(), "all are cut off")
        fleet.at_most(time.monotonic() - joined, 12, "until all are cut off")
        fleet.at_most(max(waited[1:] or waited), 0.1, "p99 of GET")
    fleet.awaits(lambda: descriptors(fleet.controller.pid) < 60, 5, "their files are free")


@row(
    "F-34",
    "slow body",
    "100 connections, one byte of a body a second each",
    "none older than 31 s; others served",
    agents=0,
    needs=(),
)
def slow_body(fleet: FaultHarness) -> None:
    fleet.begin()
    head = b"POST /api/v1/config HTTP/1.1\r\n" + HOST + AUTH + b"Content-Type: application/json\r\n"
    with Crowd(fleet.daemons.port) as crowd:
        crowd.connect(100, head + b"Content-Length: 900\r\n\r\n{")
        joined = time.monotonic()
        while crowd.open() and time.monotonic() < joined + 45:
            crowd.send(b" ")
            fleet.claim(fleet.get() == 200, "others are served")
            time.sleep(1)
        fleet.claim(not crowd.open(), "all are cut off")
        fleet.at_most(time.monotonic() - joined, 33, "until all are cut off")


@row(
    "F-34 reader",
    "slow reader of an answer",
    "100 connections that ask for 200 documents of 60 kB and read nothing",
    "memory +3 MiB each; others served; cut off",
    agents=0,
)
def slow_reader(fleet: FaultHarness) -> None:
    fleet.begin()
    fleet.daemons.publish({"url": "http://127.0.0.1/", "pad": "x" * 60_000})
    before = resident(fleet.controller.pid)
    ask = b"GET /api/v1/config HTTP/1.1\r\n" + HOST + AUTH + b"\r\n"
    with Crowd(fleet.daemons.port) as crowd:
        crowd.connect(100, ask * 200)
        wait = _others(fleet, 5)
        grown = resident(fleet.controller.pid) - before
        fleet.claim(grown < 100 * 3 * 2**20, f"memory is bounded: {grown / 2**20:.0f} MiB more")
        fleet.at_most(wait, 0.5, "p99 of GET")
    fleet.awaits(lambda: descriptors(fleet.controller.pid) < 60, 60, "their files are free")


@row(
    "F-35",
    "huge bodies",
    "Content-Length: 99999999999, and chunks without end",
    "413 and closed; memory +8 MiB; no file",
    agents=0,
    quick=True,
)
def huge_bodies(fleet: FaultHarness) -> None:
    temporary = fleet.folder / "tmp"
    temporary.mkdir()
    fleet.controller.environ["TMPDIR"] = str(temporary)
    fleet.begin()
    before = resident(fleet.controller.pid)
    head = b"POST /api/v1/config HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
    for authorization in (b"", AUTH):
        answer = converse(
            fleet.daemons.port, head + authorization + b"Content-Length: 99999999999\r\n\r\n" + b"x" * 1000
        )
        fleet.claim(b" 413 " in answer[:20] or b" 401 " in answer[:20], f"refused: {answer[:20]!r}")
        with socket.create_connection(("127.0.0.1", fleet.daemons.port), 10) as connection:
            connection.sendall(head + authorization + b"Transfer-Encoding: chunked\r\n\r\n")
            began = time.monotonic()
            with suppress(OSError):
                while time.monotonic() < began + 10:
                    connection.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            fleet.at_most(time.monotonic() - began, 3, "closed")
    grown = resident(fleet.controller.pid) - before
    fleet.claim(grown < 8 * 2**20, f"memory is bounded: {grown / 2**20:.1f} MiB more")
    fleet.claim(not list(temporary.iterdir()), "no temporary file")
    fleet.claim(fleet.get() == 200, "others are served")


@row(
    "F-36",
    "forms",
    "300 000 form fields; 5 000 multipart parts",
    "415; others wait 100 ms at most",
    agents=0,
    quick=True,
)
def forms(fleet: FaultHarness) -> None:
    fleet.begin()
    fields = b"&".join(b"a%d=1" % number for number in range(100_000))
    parts = b"".join(b"--b\r\nContent-Disposition: form-data; name=x\r\n\r\n1\r\n" for _ in range(5000)) + b"--b--\r\n"
    kinds = ((b"application/x-www-form-urlencoded", fields), (b"multipart/form-data; boundary=b", parts))
    for kind, body in kinds:
        head = b"POST /api/v1/config HTTP/1.1\r\n" + HOST + AUTH + b"Content-Type: " + kind
        head += b"\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
        sender = threading.Thread(target=converse, args=(fleet.daemons.port, head + body))
        sender.start()
        fleet.at_most(_others(fleet, 0.5), 0.1, "p99 of GET")
        sender.join()
        answer = converse(fleet.daemons.port, head + body)
        fleet.claim(b" 415 " in answer[:20] or b" 413 " in answer[:20], f"refused: {answer[:20]!r}")
    fleet.read_database()


@row(
    "F-37",
    "many connections",
    "4 000 streams from 100 addresses",
    "served, or refused cleanly; GET p99 250 ms; memory 60 kB each",
    agents=0,
    most=240,
)
def many_connections(fleet: FaultHarness) -> None:
    fleet.begin()
    pid = fleet.controller.pid
    before, files = resident(pid), descriptors(pid)
    ask = b"GET /api/v1/stream HTTP/1.1\r\n" + HOST + AUTH + b"\r\n"
    with Crowd(fleet.daemons.port) as crowd:
        count = crowd.connect(4000, ask)
        fleet.at_most(_others(fleet, 3), 0.25, "p99 of GET")
        fleet.claim(crowd.open() > count * 0.99, f"served: {crowd.open()} of {count}")
        each = (resident(pid) - before) / count
        fleet.claim(each < 60_000, f"memory of each is bounded: {each:.0f} bytes")
    fleet.awaits(lambda: descriptors(pid) <= files + 5, 30, "their files are free")


@row(
    "F-37 address",
    "one client with 500 connections",
    "500 connections from one address",
    "others served, GET p99 250 ms",
    agents=0,
)
def one_address(fleet: FaultHarness) -> None:
    fleet.begin()
    with Crowd(fleet.daemons.port, each=500) as crowd:
        crowd.connect(500)
        fleet.at_most(_others(fleet, 2), 0.25, "p99 of GET")


@row(
    "F-56",
    "streams that nobody reads",
    "100 readers that read nothing, 60 changes of 60 kB",
    "memory +1 MiB each; cut off; GET p99 250 ms",
    agents=0,
)
def unread_streams(fleet: FaultHarness) -> None:
    fleet.begin()
    pid = fleet.controller.pid
    before = resident(pid)
    ask = b"GET /api/v1/stream HTTP/1.1\r\n" + HOST + AUTH + b"\r\n"
    with Crowd(fleet.daemons.port) as crowd:
        for number in range(100):
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.bind((f"127.0.0.{FIRST_ADDRESS + number // 40}", 0))
            connection.connect(("127.0.0.1", fleet.daemons.port))
            connection.sendall(ask)
            crowd.sockets.append(connection)
        eventually(lambda: fleet.total("confd_stream_readers") >= 100)
        for number in range(60):
            fleet.daemons.publish({"url": "http://127.0.0.1/", "n": number, "pad": "x" * 60_000})
        fleet.at_most(_others(fleet, 2), 0.25, "p99 of GET")
        each = (resident(pid) - before) / 100
        fleet.claim(each < 2**20, f"memory of each: {each / 2**20:.2f} MiB")
        fleet.awaits(lambda: fleet.total("confd_stream_readers") == 0, 25, "all are cut off")


#: A header that a regular expression with two places for blanks takes seconds for.
BLANKS = b"Forwarded: a=b," + b" " * 15_700 + b'"x\r\n'


@row(
    "F-40 blanks",
    "headers that are slow to read",
    "Forwarded with 15 700 blanks, of strangers and through a trusted proxy; controller, worker, agent",
    "answered in 0.5 s each; GET p99 100 ms",
    agents=0,
    quick=True,
)
def slow_headers_to_read(fleet: FaultHarness) -> None:
    worker = fleet.daemons.worker()
    agent = fleet.daemons.agent(worker, ops=True)
    for process in (fleet.controller, worker, agent):
        if process is not agent:
            process.arguments += ["--trusted-proxies", "127.0.0.2"]
        process.start()
        port = int((process.health or "").split(":")[2].partition("/")[0])
        for source in ("127.0.0.1", "127.0.0.2"):
            with socket.create_connection(("127.0.0.1", port), 10, (source, 0)) as connection:
                began = time.monotonic()
                connection.sendall(b"GET /health HTTP/1.1\r\n" + HOST + BLANKS + b"Connection: close\r\n\r\n")
                answer = connection.recv(65536)
                fleet.at_most(time.monotonic() - began, 0.5, f"the answer of the {process.name} to {source}")
            refused = source == "127.0.0.2" and process is not agent
            expected = b"HTTP/1.1 400 " if refused else b"HTTP/1.1 200 "
            fleet.claim(answer.startswith(expected), f"{process.name}, {source}: {answer[:20]!r}")
    fleet.at_most(_others(fleet, 0.5), 0.1, "p99 of GET")


@row(
    "F-40 rebinding",
    "a web page with a host name of its own for this address",
    "Host: rebound.example, with the built-in passwords",
    "403 at each path; nothing published",
    agents=0,
    quick=True,
)
def rebound_name(fleet: FaultHarness) -> None:
    fleet.begin()
    before = fleet.daemons.current()["version"]
    for method, path in (("GET", "/api/v1/agents"), ("POST", "/api/v1/config"), ("GET", "/"), ("GET", "/metrics")):
        document = {"url": "http://127.0.0.1/"} if method == "POST" else None
        answer = request(method, f"{fleet.daemons.url}{path}", document, ADMIN, {"Host": "rebound.example"})
        fleet.claim(answer.status == 403, f"{method} {path}: {answer.status}")
    fleet.claim(fleet.daemons.current()["version"] == before, "nothing was published")
