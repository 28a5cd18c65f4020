"""Addresses of every kind between real processes: IPv6 literals, a controller that has moved, encoded bodies."""

from __future__ import annotations

import gzip
import json
import threading
import unittest
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from confd.runtime.addresses import join
from tests.integration.fleet import (
    ADMIN,
    AGENT,
    Fleet,
    Process,
    base_of,
    eventually,
    free_port,
    has_ipv6,
    request,
    staged,
)
from tests.integration.recorder import QuietServer
from tests.integration.servers import NatsServer, RedisServer, Server, missing


def ready(agent: Process) -> dict[str, str]:
    """Return the problem of each part of an agent."""
    answer = request("GET", f"{base_of(agent)}/ready")
    details = answer.json()["details"] if answer.status == 503 else []
    return {each["part"]: each["message"] for each in details}


def ipv6_fleet(fleet: Fleet, *options: str) -> tuple[Process, Process, Process]:
    """
    Return a controller, an agent and a worker that know each other by C{::1}.

    @param options: Options of controller and agent.
    """
    processes = []
    for name, setting, port in (
        ("controller", "listen", fleet.port),
        ("agent", "agent-listen", free_port()),
        ("worker", "listen", free_port()),
    ):
        arguments = [f"confd-{name}", f"--{setting}", f"tcp:{port}:interface=[::1]"]
        processes.append(fleet.add(name, arguments, f"http://[::1]:{port}/health"))
    controller, agent, worker = processes
    controller.health = f"{base_of(controller)}/ready"
    controller.arguments += options
    agent.arguments += options
    # A service link in the environment, as Kubernetes sets it.
    agent.environ |= {"CONFD_CONTROLLER_URL": base_of(controller), "CONFD_WORKER_URL": base_of(worker)}
    agent.environ["WORKER_PORT"] = "tcp://10.0.0.1:1"
    return controller, agent, worker


@unittest.skipUnless(has_ipv6(), "this machine has no IPv6 loopback")
class Ipv6Tests(SynchronousTestCase):
    """A fleet with IPv6 literals in its URLs."""

    def arrives(self, path: str, *options: str) -> None:
        """Assert that a change arrives by a strategy, and that the worker fetches from an IPv6 literal."""
        fleet, _ = staged(self)
        controller, agent, worker = processes = ipv6_fleet(fleet, *options)
        for each in processes:
            each.start()
        eventually(lambda: request("GET", f"{base_of(agent)}/ready").json().get("path") == path)
        url = f"{base_of(controller)}/health"
        answer = request("POST", f"{base_of(controller)}/api/v1/config?poll_interval=3600", {"url": url}, ADMIN)
        self.assertEqual(answer.status, 200, answer.body)
        eventually(lambda: request("GET", f"{base_of(worker)}/hit").body == b'{"status":"ok"}')

    def broker(self, kind: type[Server]) -> str:
        """Start a broker on C{::1}; return its address."""
        server = kind(Path(self.mktemp()).resolve(), host="::1")
        self.addCleanup(server.stop)
        server.start()
        return join(server.host, server.port)

    def test_stream(self) -> None:
        self.arrives("STREAM", "--distribution-strategy", "STREAM")

    def test_redis(self) -> None:
        self.arrives("REDIS", "--distribution-strategy", "REDIS", "--redis-address", self.broker(RedisServer))

    def test_nats(self) -> None:
        address = self.broker(NatsServer)
        self.arrives("NATS", "--distribution-strategy", "NATS", "--nats-url", f"nats://{address}")

    test_redis.skip = missing("redis-server")  # type: ignore[attr-defined]
    test_nats.skip = missing("nats-server")  # type: ignore[attr-defined]


class RedirectTests(SynchronousTestCase):
    """A controller that has moved to https, as a proxy in front of it says."""

    def test_the_log_and_ready_say_where_it_leads(self) -> None:
        class Moved(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self.send_response(301)
                self.send_header("Location", f"https://mallory:hunter2@confd.example{self.path}?token=hunter2")
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST = do_PUT = _answer

            def log_message(self, *_: object) -> None:
                """Quiet."""

        server = QuietServer(("127.0.0.1", 0), Moved)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        fleet, _ = staged(self)
        url = f"http://127.0.0.1:{server.server_port}"
        worker = fleet.worker().start()
        agent = fleet.agent(worker, "agent", "--controller-url", url, "--controller-password", "hunter3", ops=True)
        agent.start()
        said = eventually(lambda: ready(agent).get("controller"))
        self.assertIn("301 and redirects to https://confd.example; set CONTROLLER_URL to it", said)
        self.assertIn(said, [json.loads(line).get("reason") for line in agent.log.splitlines() if "reason" in line])
        self.assertEqual(set(ready(agent)), {"controller", "configuration"})
        for secret in ("hunter2", "hunter3", "mallory", "token"):
            self.assertNotIn(secret, agent.log + json.dumps(ready(agent)))


class EncodedBodyTests(SynchronousTestCase):
    """A body that a client has compressed."""

    def test_the_header_is_named_and_nothing_changes(self) -> None:
        fleet, address = staged(self)
        fleet.controller().start()
        worker = fleet.worker().start()
        document = {"url": f"{address}/x"}
        envelope = {"version": 1, "config": document}
        before = fleet.current()
        for url, value, auth in (
            (f"{fleet.url}/api/v1/config", document, ADMIN),
            (f"{fleet.url}/api/v1/register", {}, AGENT),
            (f"{base_of(worker)}/config", envelope, None),
        ):
            for encoding in ("gzip", "identity, gzip"):
                body = gzip.compress(json.dumps(value).encode())
                answer = request("POST", url, body, auth, {"Content-Encoding": encoding})
                self.assertEqual((answer.status, answer.json()["code"]), (415, "encoded_body"), url)
                self.assertIn("Content-Encoding", answer.json()["error"])
        self.assertEqual(fleet.current(), before)
        self.assertEqual(request("GET", f"{base_of(worker)}/hit").status, 503)
