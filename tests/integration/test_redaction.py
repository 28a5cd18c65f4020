"""
Secrets reach no log line, no error text and no metric (promise G10).

Every secret holds a canary, and every operation fails once, in real processes at the log level debug.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import socket
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.fleet import Fleet, Process, Response, eventually, free_port, request
from tests.integration.launcher import fork

ADMIN, AGENT = ("admin", "canary-admin-7f3a"), ("agent", "canary-agent-7f3a")
WORKER = ("worker", "canary-worker-7f3a")

#: The secrets of the processes.
SECRETS = {
    "ADMIN_PASSWORD": ADMIN[1],
    "AGENT_PASSWORD": AGENT[1],
    "CONTROLLER_PASSWORD": AGENT[1],
    "WORKER_PASSWORD": WORKER[1],
    "REDIS_PASSWORD": "canary-redis-7f3a",
    "NATS_PASSWORD": "canary-nats-7f3a",
    "KAFKA_PASSWORD": "canary-kafka-7f3a",
}

#: Secrets in the documents: a token in a query, and a password beside it.
IN_DOCUMENTS = ("canary-query-7f3a", "canary-field-7f3a", "canary-userinfo-7f3a")


class Echo:
    """
    A server that repeats all received bytes in an error, as some brokers do.

    @ivar heard: All received bytes.
    """

    def __init__(self, greeting: bytes, error: bytes) -> None:
        self._greeting, self._error, self.heard = greeting, error, b""
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Close the listener."""
        self._socket.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                with connection, contextlib.suppress(OSError):
                    connection.sendall(self._greeting)
                    received = connection.recv(65536)
                    self.heard += received
                    connection.sendall(self._error % received.replace(b"\r\n", b" "))


class RedactionTests(SynchronousTestCase):
    """A controller with two brokers, a worker, and an agent for each broker."""

    def setUp(self) -> None:
        stack = ExitStack()
        self.addCleanup(stack.close)
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        self.fleet = Fleet(folder, launch=fork)
        self.addCleanup(self.fleet.close)
        info = b'INFO {"server_id":"x","version":"2.10.0","max_payload":1048576,"auth_required":true}\r\n'
        self.redis = Echo(b"", b"-ERR unknown command with args beginning with: %s\r\n")
        self.kafka = Echo(b"", b"%s")
        self.nats = Echo(info, b"-ERR 'Authorization Violation: %s'\r\n")
        for each in (self.redis, self.nats, self.kafka):
            stack.callback(each.close)
        (folder / "schema.json").write_text("{}")
        self.environ = SECRETS | {
            "LOG_LEVEL": "debug",
            "REDIS_ADDRESS": f"127.0.0.1:{self.redis.port}",
            "NATS_URL": f"nats://127.0.0.1:{self.nats.port}",
            "NATS_USERNAME": "confd",
            "KAFKA_BOOTSTRAP": f"127.0.0.1:{self.kafka.port}",
            "KAFKA_USERNAME": "confd",
            "WORKER_USERNAME": WORKER[0],
            "CONFIG_SCHEMA": "schema.json",
            "DEFAULT_POLL_INTERVAL": "1",
        }
        self.answers: list[bytes] = []
        self.processes: list[Process] = []

    def start(self, name: str, *arguments: str, health: str | None = None) -> Process:
        """Start a process with all secrets in its environment."""
        process = self.fleet.add(name, list(arguments), health, **self.environ)
        self.processes.append(process)
        return process.start()

    def ask(
        self, method: str, path: str, value: Any = None, auth: tuple[str, str] | None = ADMIN, **more: Any
    ) -> Response:
        """Send a request to the controller, and keep the answer with its headers."""
        reply = request(method, self.fleet.url + path, value, auth, **more)
        self.answers.append(repr(reply.headers).encode() + reply.body)
        return reply

    def run_all(self) -> None:
        """Run each operation with success, and each with a failure."""
        controller = self.start(
            "controller",
            "--reactor=asyncio",
            "confd-controller",
            "--port",
            str(self.fleet.port),
            "--distribution-strategy",
            "REDIS,NATS,KAFKA",
            health=f"{self.fleet.url}/health",
        )
        port, ops = free_port(), free_port()
        worker = f"http://127.0.0.1:{port}"
        self.start("worker", "confd-worker", "--port", str(port), health=f"{worker}/health")
        for name in ("redis", "nats"):
            listen = ["--agent-listen", f"tcp:{ops}:interface=127.0.0.1"] if name == "redis" else []
            self.start(
                name,
                "confd-agent",
                "--controller-url",
                self.fleet.url,
                "--worker-url",
                worker,
                "--cache-file",
                f"{name}.cache",
                "--distribution-strategy",
                name,
                *listen,
            )
        nowhere = f"http://127.0.0.1:{free_port()}/?token={IN_DOCUMENTS[0]}"
        self.ask("POST", "/api/v1/config?comment=works", {"url": nowhere, "password": IN_DOCUMENTS[1]})
        eventually(lambda: [each["state"] for each in self.ask("GET", "/api/v1/agents").json()] == ["applied"] * 2)
        self.answers.append(request("GET", f"{worker}/hit").body)
        # The worker refuses the document, and the agents repeat its error.
        self.ask("POST", "/api/v1/config", {"url": f"http://user:{IN_DOCUMENTS[2]}@{nowhere[7:]}"})
        eventually(lambda: [each["state"] for each in self.ask("GET", "/api/v1/agents").json()] == ["failed"] * 2)
        self.misbehave(worker)
        eventually(lambda: self.redis.heard and self.nats.heard and self.kafka.heard)
        # On broken connections as well.
        for url in (self.fleet.url, worker, f"http://127.0.0.1:{ops}"):
            self.answers += [request("GET", url + path).body for path in ("/health", "/ready", "/metrics")]
        [one, _] = self.ask("GET", "/api/v1/agents").json()
        self.ask("DELETE", f"/api/v1/agents/{one['id']}?block=true")
        for path in ("/api/v1/audit?limit=500", "/api/v1/agents", "/api/v1/config/history", "/api/v1/namespaces"):
            self.ask("GET", path)
        self.ask("GET", "/api/v1/config/convergence")
        self.use_tokens()
        controller.stop()
        eventually(lambda: "cannot be reached" in self.processes[2].log)

    def use_tokens(self) -> None:
        """Use an API token, its successor and a session, rightly and wrongly."""
        grants = [{"role": "admin", "namespaces": ["*"]}]
        made = request("POST", f"{self.fleet.url}/api/v1/tokens", {"name": "ci", "grants": grants}, ADMIN).json()
        path = f"/api/v1/tokens/{made['id']}"
        renewed = request("POST", f"{self.fleet.url}{path}/rotate", {"overlap": 60}, ADMIN).json()["token"]
        signed_in = request("POST", f"{self.fleet.url}/signin", {"token": renewed})
        cookie = signed_in.headers["set-cookie"].partition(";")[0]
        self.secrets = [made["token"], renewed, cookie.partition("=")[2]]
        for _ in range(2):
            for secret in self.secrets:
                for headers in ({"Authorization": f"Bearer {secret}"}, {"Cookie": f"confd_session={secret}"}):
                    for asked in ("/api/v1/whoami", "/api/v1/tokens", path, f"/nowhere?token={secret}"):
                        self.ask("GET", asked, None, None, headers=headers)
                self.ask("GET", "/api/v1/whoami", None, ("00000000", secret))
                self.ask("POST", "/signin", {"token": secret + "x"}, None)
            # Once more, now that the token is revoked.
            self.ask("DELETE", path)
        self.ask("GET", "/api/v1/audit?limit=500")

    def misbehave(self, worker: str) -> None:
        """Send secrets to wrong places."""
        for secret in (*SECRETS.values(), *IN_DOCUMENTS):
            for auth in ((secret, "x"), ("admin", secret + "x"), ("agent", f"x{secret}")):
                self.ask("POST", "/api/v1/config", {"url": "http://x/"}, auth)
            for value in (
                f'{{"url": "{secret}"'.encode(),
                f'"{secret}"'.encode(),
                f'{{"{secret}":1,"{secret}":2}}'.encode(),
            ):
                self.ask("POST", "/api/v1/config", value)
                self.answers.append(request("POST", f"{worker}/config", value, WORKER).body)
            self.ask("POST", "/api/v1/config", {"url": "x"}, headers={"Content-Type": f"text/{secret}"})
            self.ask("GET", f"/api/v1/config?namespace=no-such&token={secret}")
            self.ask("GET", f"/nowhere?token={secret}")
            self.ask("GET", "/health", headers={"Authorization": f"Bearer {secret}", "Cookie": f"session={secret}"})
            self.answers.append(request("GET", f"{worker}/hit?token={quote(secret)}").body)

    def test_no_canary(self) -> None:
        """No log, no error, no metric and no other file holds a canary."""
        self.run_all()
        tokens = [each.read_text().strip() for each in self.fleet.folder.glob("*.cache.token")]
        self.assertEqual(len(tokens), 2)
        for process in self.processes:
            process.stop()
        canaries = {*SECRETS.values(), *IN_DOCUMENTS, *tokens, *self.secrets}
        digests = [hashlib.sha256(each.encode()) for each in self.secrets]
        canaries |= {each.hexdigest() for each in digests} | {
            base64.b64encode(each.digest()).decode() for each in digests
        }
        canaries |= {base64.b64encode(f"{name}:{word}".encode()).decode() for name, word in (ADMIN, AGENT, WORKER)}
        self.assertIn(SECRETS["REDIS_PASSWORD"].encode(), self.redis.heard, "the broker got its password")
        self.assertIn(SECRETS["NATS_PASSWORD"].encode(), self.nats.heard)
        logs = {process.name: process.log for process in self.processes}
        self.assertGreater(len(logs["controller"].splitlines()), 100, "the log level is debug")
        places = logs | {f"answer {number}": each.decode() for number, each in enumerate(self.answers)}
        found = [
            (canary, name, line)
            for name, text in places.items()
            for line in text.splitlines()
            for canary in canaries
            if canary in line or json.dumps(canary)[1:-1] in line
        ]
        self.assertEqual(found, [])
