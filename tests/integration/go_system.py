"""Agents, workers and subscribers of the Go system, as far as confd notices their difference."""

from __future__ import annotations

import json
import re
import socket
import threading
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.integration.fleet import AGENT, PATIENCE, Fleet, request

#: What an agent of the Go system sends to a broker.
REDIS = b"SUBSCRIBE config:global\r\n"
NATS = b'CONNECT {"verbose": false}\r\nSUB config.worker.update 1\r\n'


class GoAgent:
    """
    An agent of the Go system: it polls with a bare number and no id, and takes any other number as a change.

    @ivar versions: The versions that it took, in this order.
    @ivar forwarded: The documents that its worker got.
    """

    def __init__(self, fleet: Fleet, version: int) -> None:
        self._fleet, self.version = fleet, version
        self.versions: list[int] = []
        self.forwarded: list[Any] = []
        self.interval = 30

    def poll(self) -> None:
        """Poll once."""
        held = {"If-None-Match": str(self.version)}
        answer = request("GET", f"{self._fleet.url}/api/v1/config", auth=AGENT, headers=held)
        if answer.status == 304:
            return
        body = answer.json()
        self.interval = body["poll_interval_seconds"]
        if body["version"] != self.version:
            self.version = body["version"]
            self.versions.append(self.version)
            self.forwarded.append(body["data"])


class GoSubscriber:
    """A subscriber of a broker, which checks no signature and takes each message."""

    def __init__(self, port: int, words: bytes) -> None:
        """
        Connect and subscribe.

        @param words: L{REDIS} or L{NATS}.
        """
        self._connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._connection.sendall(words)
        # The answer of Redis, or the greeting of NATS.
        self._received = self._connection.recv(65536)
        self._connection.setblocking(False)

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def received(self) -> bytes:
        """
        Return all bytes that arrived until now.

        @raise AssertionError: if the broker hung up.
        """
        while True:
            try:
                piece = self._connection.recv(65536)
            except BlockingIOError:
                return self._received
            assert piece, self._received
            self._received += piece

    def versions(self) -> list[int]:
        """Return the versions of all announcements until now, in this order."""
        return [int(found) for found in re.findall(rb'"version": ?"(\d+)"', self.received())]


class GoWorker:
    """
    A worker of the Go system: it has no GET C{/config}, and its health tells only whether it has a document.

    @ivar posted: The documents that it was sent.
    @ivar url: The address on loopback.
    """

    def __init__(self, stack: ExitStack) -> None:
        """
        Start the worker.

        @param stack: Ends the worker.
        """
        self.posted: list[Any] = []
        worker = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                worker.posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.answer(200, "application/json", b'{"message":"Configuration updated"}')

            def do_GET(self) -> None:
                if self.path == "/health":
                    health = {"status": "ok", "has_config": bool(worker.posted)}
                    self.answer(200, "application/json", json.dumps(health).encode())
                else:
                    self.answer(404, "text/plain", b"404 page not found")

            def answer(self, status: int, kind: str, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        stack.callback(server.server_close)
        stack.callback(server.shutdown)
        self.url = f"http://127.0.0.1:{server.server_port}"
