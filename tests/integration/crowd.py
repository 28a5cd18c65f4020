"""Many real agents with names, and their workers, some of them of an old release."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from attrs import define, field

from tests.integration.fleet import Fleet, Process

#: The words of an old worker for a document that it does not know.
WORDS = "compression is not supported by release 1.8"


@define(eq=False)
class CrowdWorker:
    """
    A worker in this process.

    @ivar old: whether it refuses documents with the key C{compression}.
    @ivar held: the version and the document that it holds.
    @ivar offered: the documents that it was sent, refused ones, too.
    """

    old: bool
    held: dict[str, Any] = field(factory=dict)
    offered: list[dict[str, Any]] = field(factory=list)

    def take(self, version: str, document: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Return status and body of the answer to C{POST /config}."""
        self.offered.append(document)
        if self.old and "compression" in document:
            return 422, {"error": WORDS, "code": "not_supported"}
        self.held = {"version": version, "config": document}
        return 200, {"message": "ok"}

    def serve(self) -> ThreadingHTTPServer:
        """Return a server that is not started."""
        worker = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.answer(*worker.take(self.headers["X-Config-Version"], document))

            def do_GET(self) -> None:
                if self.path == "/health":
                    held = worker.held.get("version")
                    self.answer(200, {"status": "ok", "has_config": bool(held), "version": held, "boot_id": "1"})
                else:
                    self.answer(200 if worker.held else 404, worker.held or {"error": "None yet.", "code": "none"})

            def answer(self, status: int, value: Any) -> None:
                body = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        return ThreadingHTTPServer(("127.0.0.1", 0), Handler)


@define(eq=False)
class Crowd:
    """
    Agents C{web-01}, C{web-02} and so on, each a process with a worker; one worker in ten is old.

    @ivar old: names of the agents with an old worker.
    @ivar before: words before the command line of an agent, for its name.
    """

    fleet: Fleet
    names: Sequence[str]
    old: frozenset[str]
    workers: dict[str, CrowdWorker] = field(factory=dict)

    @classmethod
    def of(cls, fleet: Fleet, count: int) -> Crowd:
        """
        Return a crowd of C{count} agents that are not started.

        The old workers are chosen so that the first rollout of a controller meets one of them in its middle.
        """
        names = [f"web-{number:02d}" for number in range(1, count + 1)]
        return cls(fleet, names, frozenset(names[count // 3 :: 10]))

    def start(self, stack: ExitStack, *before: str) -> None:
        """
        Start all workers and agents.

        @param stack: ends the workers.
        @param before: words before the command line of an agent; C{NAME} in them is its name.
        """
        agents: list[Process] = []
        for name in self.names:
            worker = self.workers[name] = CrowdWorker(name in self.old)
            server = worker.serve()
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
            agent = self.fleet.agent(f"http://127.0.0.1:{server.server_port}", name)
            agent.before += [word.replace("NAME", name) for word in before]
            # An agent keeps its id beside its cache.
            (self.fleet.folder / f"{name}.cache.id").write_text(f"{name}\n")
            agents.append(agent.start(wait=False))

    def documents(self) -> list[Any]:
        """Return the document that each worker holds."""
        return [self.workers[name].held.get("config") for name in self.names]
