"""A worker in the process of the test, which records all deliveries in a history."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

from confd.codec import strict_json
from tests.integration.history import History


class WorkerHandler(BaseHTTPRequestHandler):
    """
    A handler with the API of confd's worker; a subclass handles POST.

    @cvar held: The configuration that the worker holds, for all connections.
    """

    protocol_version = "HTTP/1.1"
    held: ClassVar[dict[str, object]]

    def read(self) -> bytes:
        """Return the body of a POST."""
        return self.rfile.read(int(self.headers["Content-Length"]))

    def hold(self, document: object, checksum: str) -> None:
        """Hold a document."""
        tag = self.headers["X-Config-Version"]
        self.held.update(config=document, version=tag, checksum=checksum, applied_at="2026-01-01T00:00:00Z")

    def do_GET(self) -> None:
        if self.path == "/health":
            known = {"status": "ok", "has_config": bool(self.held), "version": self.held.get("version"), "boot_id": "1"}
            self.answer(200, known)
        elif self.held:
            self.answer(200, self.held)
        else:
            self.answer(404, {"error": "No configuration yet.", "code": "no_configuration"})

    def answer(self, status: int, value: object) -> None:
        """Answer with JSON."""
        body = strict_json.encode(value)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


class Recorder:
    """
    A worker that ignores versions, so that a wrong delivery of an agent shows.

    The exception is the first delivery of a process: an agent that was killed before it wrote its cache returns with an
    older version, and its worker must refuse that (409).

    @ivar url: The address on loopback.
    """

    def __init__(self, agent: str, history: History) -> None:
        """
        @param agent: The agent of the worker.
        """

        class Handler(WorkerHandler):
            held: ClassVar[dict[str, object]] = {}

            def do_POST(self) -> None:
                document = strict_json.decode(self.read())
                checksum = strict_json.checksum(document)
                if not history.delivered(agent, self.headers["X-Config-Version"], checksum):
                    self.answer(409, {"error": "A newer one is current.", "code": "stale_version"})
                    return
                self.hold(document, checksum)
                self.answer(200, {"message": "Configuration updated"})

        self._server = QuietServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """Stop the server."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class QuietServer(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Ignore the broken connections of killed agents."""
