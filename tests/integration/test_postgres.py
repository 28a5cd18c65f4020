"""Two controllers on PostgreSQL, an agent and a worker: real processes. A controller and the server are killed."""

from __future__ import annotations

import signal
import socket
import threading
from http.client import HTTPException
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.controller.store.postgres.server import PostgresServer, shared_server
from tests.integration.fleet import ADMIN, AGENT, Fleet, Process, eventually, free_port, request, staged
from tests.integration.servers import NatsServer, RedisServer, missing


def announcing(redis: int, nats: int) -> dict[str, str]:
    """Return the settings of brokers on two ports."""
    return {
        "DISTRIBUTION_STRATEGY": "POLLER,REDIS,NATS",
        "REDIS_ADDRESS": f"127.0.0.1:{redis}",
        "NATS_URL": f"nats://127.0.0.1:{nats}",
    }


class PostgresTests(SynchronousTestCase):
    """What was acknowledged survives, and agents notice nothing but a delay."""

    timeout = 120

    def test_controller_and_server_are_killed(self) -> None:
        # Skips, where no server can be had.
        shared_server()
        server = PostgresServer()
        self.addCleanup(server.remove)
        server.create()
        server.start()
        url = server.url(server.new_database())
        fleet, address = staged(self)
        worker, controller = fleet.worker().start(), fleet.controller()
        redis, nats = brokers = self.brokers()
        controller.environ = {
            "DATABASE_URL": url,
            "DATABASE_INIT": "true",
            **announcing(*(each.port for each in brokers)),
        }
        controller.start()
        agent = fleet.agent(worker).start()
        self.assertEqual(fleet.publish({"url": f"{address}/2"}).status, 200)
        self.applied(fleet.url, 2)
        other = self.second_controller(fleet, controller)
        self.applied(other, 2)
        acknowledged = self.publish_and_kill(controller, (fleet.url, other), address)
        newest = len(acknowledged) + 2
        # Each publish is there once, whichever controller died before it answered.
        self.assertEqual(sorted(acknowledged), list(range(3, newest + 1)))
        controller.start()
        self.assertEqual(fleet.current()["version"], newest)
        self.applied(other, newest)
        newest += 1
        self.announced_by_another(fleet, other, redis, nats, newest)
        self.applied(other, newest)
        server.stop(signal.SIGQUIT)
        refused = fleet.publish({"url": f"{address}/3"})
        self.assertEqual((refused.status, refused.json()["code"]), (503, "storage_unavailable"))
        self.assertEqual(fleet.current()["version"], newest)
        self.assertNotIn("confd@", controller.log)
        server.start()
        eventually(controller.up)
        self.assertEqual(fleet.publish({"url": f"{address}/4"}).status, 200)
        self.applied(other, newest + 1)
        history = request("GET", f"{fleet.url}/api/v1/config/history", auth=ADMIN).json()
        self.assertEqual([each["version"] for each in history["items"]], list(range(newest + 1, 0, -1)))
        self.assertEqual((agent.stop(), controller.stop()), (0, 0))

    def second_controller(self, fleet: Fleet, first: Process) -> str:
        """Start another controller on the same database; return its address."""
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        second = fleet.add("second", ["confd-controller", "--port", str(port)], f"{url}/health")
        # It reaches no broker: the first controller announces for it.
        second.environ = first.environ | announcing(free_port(), free_port())
        second.start()
        return url

    def publish_and_kill(self, killed: Process, controllers: tuple[str, str], address: str) -> list[int]:
        """
        Publish at two controllers at the same time, and kill the first of them meanwhile.

        @return: the version of each publish; a publish that got no answer is repeated at the other controller.
        """
        acknowledged: list[int] = []

        def publish(number: int, url: str, instead: str) -> None:
            headers, document = {"Idempotency-Key": f"k{number}"}, {"url": f"{address}/k{number}"}
            try:
                response = request("POST", f"{url}/api/v1/config", document, ADMIN, headers)
            except (OSError, HTTPException):
                response = request("POST", f"{instead}/api/v1/config", document, ADMIN, headers)
            acknowledged.append(response.json()["version"])

        def send(first: int) -> None:
            for number in range(first, 40, 2):
                publish(number, controllers[first], controllers[1 - first])

        senders = [threading.Thread(target=send, args=(first,)) for first in range(2)]
        for each in senders:
            each.start()
        eventually(lambda: len(acknowledged) >= 10)
        killed.stop(signal.SIGKILL)
        for each in senders:
            each.join()
        return acknowledged

    def brokers(self) -> tuple[RedisServer, NatsServer]:
        """Start a Redis and a NATS, until the test is over."""
        for name in ("redis-server", "nats-server"):
            if (why := missing(name)) is not None:
                raise SkipTest(why)
        folder = Path(self.mktemp()).resolve()
        servers = RedisServer(folder), NatsServer(folder)
        for each in servers:
            self.addCleanup(each.stop)
            each.start()
        return servers

    def announced_by_another(self, fleet: Fleet, url: str, redis: RedisServer, nats: NatsServer, version: int) -> None:
        """Publish at a controller that reaches no broker; wait until the brokers have the version."""
        document = {"url": f"{fleet.url}/health"}
        with socket.create_connection(("127.0.0.1", nats.port), timeout=30) as subscriber:
            subscriber.sendall(b"CONNECT {}\r\nSUB config.worker.update 1\r\nPING\r\n")
            lines = subscriber.makefile("rb")
            eventually(lambda: lines.readline().startswith(b"PONG"))
            self.assertEqual(request("POST", f"{url}/api/v1/config", document, ADMIN).json()["version"], version)
            eventually(lambda: f'"version":"{version}"'.encode() in lines.readline())
        # The second line is the value.
        eventually(lambda: f'"version":"{version}"' in redis.call("GETRANGE latest_config 0 40", "PING")[1])

    def applied(self, url: str, version: int) -> None:
        """Wait until the agent has applied a version."""

        def counts() -> bool:
            found = request("GET", f"{url}/api/v1/config/convergence", auth=ADMIN)
            return found.status == 200 and (found.json()["version"], found.json()["applied"]) == (version, 1)

        eventually(counts)
        self.assertEqual(request("GET", f"{url}/api/v1/config", auth=AGENT).json()["version"], version)
