"""A controller of the Go system is replaced by one of confd; its agents stay."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from tests.cli.go_files import go_database, url
from tests.integration.fleet import base_of, clean_environment, eventually, request
from tests.integration.go_system import NATS, REDIS, GoAgent, GoSubscriber
from tests.integration.servers import NatsServer, RedisServer, missing
from tests.integration.test_confdctl import Case


class ReplacementTests(Case):
    """The way from a database of the Go system to the next publish."""

    def test_import(self) -> None:
        """An agent keeps its document, learns the interval from the import, and takes the next publish."""
        database = go_database(str(self.folder / "go.db"), 41)
        self.fleet.controller().start()
        agent = GoAgent(self.fleet, 41)
        agent.poll()
        self.assertEqual((agent.version, agent.forwarded), (41, []))
        self.assertIn("the next publish is 42", self.good("import", "--from", "go-database", database, "-y"))
        agent.poll()
        self.assertEqual((agent.version, agent.forwarded, agent.interval), (41, [], 10))
        self.assertEqual(self.value("get"), url(41))
        self.assertEqual(len(self.value("history", "--limit", "100")), 41)
        self.good("set", "url=https://example.com/new", "-y")
        agent.poll()
        self.assertEqual((agent.version, agent.forwarded), (42, [{"url": "https://example.com/new"}]))
        again = self.type("import", "--from", "go-database", database, "-y")
        self.assertIn("is at version 42", again.err)
        self.assertEqual(again.status, 6)

    def test_database_as_it_is(self) -> None:
        """C{DB_PATH} refuses such a database with a sentence that names the import, and does not change it."""
        database = go_database(str(self.folder / "go.db"), 3)
        before = (self.folder / "go.db").read_bytes()
        done = subprocess.run(
            [sys.executable, "-m", "twisted", "confd-controller", "--db-path", database],
            env=clean_environment() | {"PORT": str(self.fleet.port)}, cwd=self.folder, capture_output=True, text=True,
            timeout=30, check=False,
        )  # fmt: skip
        said = done.stdout + done.stderr
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("confdctl import --from go-database", said)
        self.assertNotIn("Traceback", said)
        self.assertEqual((self.folder / "go.db").read_bytes(), before)
        self.assertFalse(os.path.exists(f"{database}-wal"))


class WorkerTests(Case):
    """A worker that takes configurations from another machine asks for credentials."""

    def test_credentials_in_its_address(self) -> None:
        """Credentials in the URL work for agents of the Go system, and for agents of confd."""
        worker = self.fleet.worker()
        worker.environ |= {"WORKER_USERNAME": "w", "WORKER_PASSWORD": "p@hunter2"}
        address = base_of(worker)
        self.fleet.controller().start()
        worker.start()
        agent = self.fleet.agent(address.replace("://", "://w:p%40hunter2@")).start()
        self.fleet.publish({"url": "https://example.com/brought"})
        eventually(lambda: b"/brought" in request("GET", f"{address}/config", auth=("w", "p@hunter2")).body)
        (listed,) = self.value("agents")
        self.assertEqual(listed["metadata"], f"worker_url={address}")
        self.assertNotIn("hunter2", agent.log)


class LateSubscriberTests(Case):
    """Agents of the Go system that reconnect after the controller get a publish from the outage."""

    skip = missing("redis-server") or missing("nats-server")

    def test_later_than_the_controller(self) -> None:
        """The announcement arrives within seconds after the broker returns, without a request."""
        redis, nats = RedisServer(self.folder / "redis"), NatsServer(self.folder / "nats")
        for server in (redis, nats):
            self.addCleanup(server.stop)
            server.start()
        self.fleet.controller(
            "--distribution-strategy", "REDIS,NATS",
            "--redis-address", f"127.0.0.1:{redis.port}", "--nats-url", f"nats://127.0.0.1:{nats.port}",
        ).start()  # fmt: skip
        self.assertEqual(self.fleet.publish({"url": "https://example.com/before"}).status, 200)
        redis.stop()
        nats.stop()
        self.assertFalse(self.fleet.publish({"url": "https://example.com/missed"}).json()["published"])
        redis.start()
        nats.start()
        time.sleep(3)
        for port, words in ((redis.port, REDIS), (nats.port, NATS)):
            subscriber = GoSubscriber(port, words)
            self.addCleanup(subscriber.close)
            eventually(lambda heard=subscriber: b"checksum" in heard.received())  # type: ignore[misc]
            self.assertIn(b"https://example.com/missed", subscriber.received())
