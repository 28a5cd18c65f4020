"""Targets of /hit that want no good: F-39."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

from attrs import define, field

from tests.faults.harness import FaultHarness, descriptors, percentile, resident
from tests.faults.processes import Working
from tests.faults.rows import row
from tests.integration.fleet import base_of, eventually, request


@define(eq=False)
class Hostile:
    """A target for C{/hit} that answers in the way that its path says."""

    _listener: socket.socket = field(factory=lambda: socket.create_server(("127.0.0.1", 0), backlog=200))
    _end: threading.Event = field(factory=threading.Event)

    def __enter__(self) -> str:
        threading.Thread(target=self._accept, daemon=True).start()
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(60)
            path = connection.recv(65536).split(b" ")[1].decode()
            for piece in _answers(path):
                if self._end.is_set():
                    return
                connection.sendall(piece)


def _answers(path: str) -> Iterator[bytes]:
    ok = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
    if path == "/endless":
        yield ok + b"\r\n"
        while True:
            yield b"x" * 65536
    elif path == "/headers":
        yield ok
        while True:
            yield b"X: " + b"x" * 1000 + b"\r\n"
    elif path == "/line":
        while True:
            yield b"x" * 65536
    elif path == "/loop":
        yield b"HTTP/1.1 302 Found\r\nLocation: /loop\r\nContent-Length: 0\r\n\r\n"
    elif path == "/rubbish":
        yield b"\xff\xfe SSH-2.0\r\n\r\n"
    elif path == "/short":
        yield ok + b"Content-Length: 1000\r\n\r\nx"
    elif path == "/slow":
        yield ok + b"Content-Length: 1000\r\n\r\n"
        while True:
            time.sleep(1)
            yield b"x"


@row(
    "F-39",
    "hostile target of /hit",
    "answers without end, slow, broken; redirects in a circle; 100 at once",
    "502, 504 or cut off; memory +64 MiB; /config 100 ms",
    agents=0,
)
def hostile_target(fleet: FaultHarness) -> None:
    with Working(fleet) as work, Hostile() as address:
        worker = base_of(work.worker)
        pid = work.worker.pid
        before, files = resident(pid), descriptors(pid)
        for path in ("/endless", "/headers", "/line", "/loop", "/rubbish", "/short", "/nothing", "/slow"):
            fleet.daemons.publish({"url": f"{address}{path}"})
            eventually(lambda p=path: request("GET", f"{worker}/config").json()["config"]["url"].endswith(p))
            crowd = [threading.Thread(target=_hit_quietly, args=(worker,), daemon=True) for _ in range(20)]
            for each in crowd:
                each.start()
            took = []
            for _ in range(20):
                began = time.monotonic()
                fleet.claim(request("GET", f"{worker}/config").status == 200, "/config is answered")
                took.append(time.monotonic() - began)
                time.sleep(0.05)
            if path not in ("/slow", "/endless"):
                found = request("GET", f"{worker}/hit", timeout=45).status if path != "/short" else 502
                fleet.claim(found in (502, 504), f"{path}: {found}")
            fleet.at_most(percentile(took, 0.95), 0.25, f"/config during {path}")
        grown = resident(pid) - before
        fleet.claim(grown < 64 * 2**20, f"memory is bounded: {grown / 2**20:.0f} MiB more")
        work.publish()
        fleet.awaits(lambda: descriptors(pid) <= files + 10, 45, "their files are free")
        fleet.awaits(lambda: request("GET", f"{worker}/hit").body.decode() == work.newest, 10, "/hit works again")


def _hit_quietly(worker: str) -> None:
    with suppress(Exception):
        request("GET", f"{worker}/hit", timeout=40)
