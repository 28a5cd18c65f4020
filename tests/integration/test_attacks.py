"""Requests of attackers and of web pages to real processes."""

from __future__ import annotations

import contextlib
import socket
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.fleet import ADMIN, AGENT, Fleet, eventually, free_port, request
from tests.integration.launcher import fork
from tests.web.test_smuggling import FRAMING

REBOUND = {"Host": "rebound.example"}


class AttackTests(SynchronousTestCase):
    """Each role with its defaults."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.fleet = Fleet(Path(folder.name), launch=fork)
        self.addCleanup(self.fleet.close)

    def _status(self, host: str, method: str = "GET", path: str = "/api/v1/agents", value: object = None) -> int:
        return request(method, f"{self.fleet.url}{path}", value, ADMIN, {"Host": host}).status

    def test_rebound_name(self) -> None:
        """confd-dev refuses a name that an attacker can let lead to this machine."""
        ports = ["--port", str(self.fleet.port), "--worker-port", str(free_port())]
        self.fleet.add(
            "dev", ["confd-dev", *ports, "--allowed-hosts", "codespace.example"], f"{self.fleet.url}/ready"
        ).start()
        before = self.fleet.current()["version"]
        document = {"url": "http://127.0.0.1/"}
        for path in (
            "/",
            "/api/v1/agents",
            "/api/v1/stream",
            "/api/v1/events",
            "/metrics",
            "/swagger/index.html",
            "/health",
        ):
            self.assertEqual(self._status("rebound.example", path=path), 403, path)
        self.assertEqual(self._status("rebound.example:80", "POST", "/api/v1/config", document), 403)
        self.assertEqual(self.fleet.current()["version"], before)
        for host in ("localhost", f"127.0.0.1:{self.fleet.port}", "[::1]", "codespace.example"):
            self.assertEqual(self._status(host), 200, host)

    def test_passwords_are_set(self) -> None:
        """With passwords every name is accepted; with a built-in password again, none, whatever the earlier answers."""
        secret = self.fleet.folder / "admin.password"
        secret.write_text("x" * 20)
        agent = ["--agent-password", "y" * 20]
        self.fleet.controller("--admin-password-file", str(secret), *agent).start()
        own = {"Host": "ctl_1:8080"}
        poll = f"{self.fleet.url}/api/v1/config"
        for _ in range(3):
            self.assertEqual(request("GET", poll, None, (AGENT[0], "y" * 20), own).status, 200)
        secret.write_text(ADMIN[1])
        eventually(lambda: request("GET", poll, None, (AGENT[0], "y" * 20), own).status == 403)

    def test_framing(self) -> None:
        """No role answers a request that is hidden behind a body."""
        worker = self.fleet.worker()
        agent = self.fleet.agent(worker, ops=True)
        for process in (self.fleet.controller(), worker, agent):
            process.start()
            port = int((process.health or "").split(":")[2].partition("/")[0])
            for name in ("chunked, then identity", "identity, then chunked", "trailer with a bare LF", "chunked twice"):
                raw = FRAMING[name].replace(b"/wish", b"/health") + b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
                answer = _converse(port, raw)
                self.assertEqual(answer.count(b"HTTP/1.1 "), 1, (process.name, name))
                self.assertIn(b"HTTP/1.1 400 ", answer, (process.name, name))


def _converse(port: int, raw: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(raw)
        found = b""
        with contextlib.suppress(ConnectionError):
            while piece := connection.recv(65536):
                found += piece
        return found
