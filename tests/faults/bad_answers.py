"""Controllers that answer what no agent may use: row F-62."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.faults.harness import FaultHarness
from tests.faults.rows import row
from tests.integration.fleet import PATIENCE, request
from tests.integration.recorder import QuietServer

Change = Callable[[dict[str, Any]], Any]


def answers_changed(fleet: FaultHarness, changes: Sequence[Change], applied: bool = False) -> None:
    """
    Let an agent talk to a controller whose answers to GET C{/api/v1/config} are changed on their way.

    @param applied: whether it may use them.
    """
    fleet.start_controller()
    current: list[Change] = [lambda body: body]
    answered = [0]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass_on(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            kept = {
                name: self.headers[name]
                for name in ("Authorization", "X-Agent-ID", "Content-Type")
                if name in self.headers
            }
            answer = request(
                self.command, f"{fleet.daemons.url}{self.path}", self.rfile.read(size) if size else None, None, kept
            )
            body = answer.body
            if self.path.startswith("/api/v1/config") and answer.status == 200:
                answered[0] += 1
                changed = current[0](json.loads(body))
                body = changed if isinstance(changed, bytes) else json.dumps(changed).encode()
            self.send_response(answer.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = _pass_on

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = QuietServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    worker = fleet.daemons.worker()
    url = f"http://127.0.0.1:{server.server_port}"
    agent = fleet.daemons.agent(worker, "agent", "--controller-url", url, "--backoff-max", "1", ops=True)
    try:
        worker.start()
        agent.start()
        held = _current(fleet, worker.health, None)
        for change in changes:
            current[0], before = change, answered[0]
            fleet.daemons.publish(fleet.document())
            fleet.until(lambda seen=before: answered[0] > seen + 1 or applied, "asked", PATIENCE * 2)
            fleet.claim(agent.up(), f"the agent lives after change {changes.index(change)}")
            if applied:
                held = _current(fleet, worker.health, held)
            else:
                time.sleep(0.2)
                now = _version(worker.health)
                fleet.claim(now == held, f"change {changes.index(change)} is not applied: {now}, {held} before")
        current[0] = lambda body: body
        fleet.daemons.publish(fleet.document())
        with fleet.recovers(15, "applies what is good"):
            _current(fleet, worker.health, held)
    finally:
        agent.stop()
        server.shutdown()
        server.server_close()


def _version(health: str | None) -> object:
    return request("GET", str(health)).json()["version"]


def _current(fleet: FaultHarness, health: str | None, before: object) -> object:
    """Wait until the worker has another version; that one."""
    fleet.until(lambda: _version(health) not in (None, before), "on another version", PATIENCE)
    return _version(health)


def _with(**fields: object) -> Change:
    return lambda body: body | fields


CHANGES: tuple[Change, ...] = (
    _with(version=2**63),
    _with(version=-1),
    _with(version="x"),
    _with(version=None),
    _with(epoch="x"),
    _with(epoch=-1),
    _with(checksum="sha256:" + "0" * 64),
    _with(data={"url": "http://127.0.0.1/forged"}),
    _with(data=None),
    _with(cluster_id="ffffffff-ffff-4fff-bfff-ffffffffffff"),
    lambda body: {},
    lambda body: [],
    lambda body: None,
    lambda body: b"<html>Please log in</html>",
    lambda body: json.dumps(body).encode()[:-10],
    lambda body: b"\xff\xfe",
    lambda body: b"",
    lambda body: b"[" * 100_000,
    lambda body: b"x" * 2**24,
)


@row(
    "F-62",
    "answers_changed answers of the controller",
    "19 kinds: numbers out of bounds, other contents, HTML, half a body, 16 MiB",
    "applied 0; agents that end 0",
    agents=0,
    most=300,
)
def unusable_answers(fleet: FaultHarness) -> None:
    answers_changed(fleet, CHANGES)


@row(
    "F-62 interval",
    "poll intervals out of bounds",
    "0 and -5 seconds in the controller's answers",
    "taken as the nearest that is allowed; agents that end 0",
    agents=0,
)
def unusable_intervals(fleet: FaultHarness) -> None:
    answers_changed(fleet, [_with(poll_interval_seconds=each) for each in (0, -5)], applied=True)
