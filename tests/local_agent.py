"""The read API of an agent, played in threads."""

from __future__ import annotations

import json
import queue
import socketserver
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


class FakeAgent:
    """
    The read API of an agent, in threads of this process.

    @ivar asked: the C{If-None-Match} and C{Authorization} of each request.
    @ivar arrivals: holds an item for each request.
    @ivar answer: an answer to give in place of the document: status and code.
    """

    def __init__(self, path: str | None = None) -> None:
        """@param path: a unix socket; C{None} for a port of loopback."""
        self.asked: list[tuple[str | None, str | None]] = []
        self.arrivals: queue.Queue[None] = queue.Queue()
        self.answer: tuple[int, str] | None = (404, "not_applied")
        self._changed = threading.Condition()
        self._tag, self._document, self._open = "", b"", True
        agent = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                known = self.headers["If-None-Match"]
                agent.asked.append((known, self.headers["Authorization"]))
                agent.arrivals.put(None)
                wait = float(parse_qs(urlsplit(self.path).query).get("wait", ["0"])[0])
                with agent._changed:
                    if known is not None:
                        agent._changed.wait_for(lambda: known != f'"{agent._tag}"' or not agent._open, wait)
                    status, body = 200, agent._document
                    if agent.answer is not None:
                        status, body = agent.answer[0], json.dumps({"error": "No.", "code": agent.answer[1]}).encode()
                    elif known == f'"{agent._tag}"':
                        status, body = 304, b""
                    tag = agent._tag
                self.send_response(status)
                self.send_header("X-Config-Version", tag)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def address_string(self) -> str:
                return "local"

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
            daemon_threads = True

        self.server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler) if path is None else UnixServer(path, Handler)
        # A watch that stops resets its connection.
        self.server.handle_error = lambda *_: None
        self.url = f"unix:{path}" if path else f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def apply(self, tag: str, document: Any) -> None:
        """Apply a configuration."""
        with self._changed:
            self._tag, self._document, self.answer = tag, json.dumps(document).encode(), None
            self._changed.notify_all()

    def close(self) -> None:
        """Stop to answer."""
        with self._changed:
            self._open = False
            self._changed.notify_all()
        self.server.shutdown()
        self.server.server_close()
