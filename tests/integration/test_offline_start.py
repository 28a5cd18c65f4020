"""An agent that starts while no controller answers gets the newest version from a broker that keeps it."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.fleet import PATIENCE, base_of, eventually, request, staged
from tests.integration.servers import NatsServer, missing


def kept(server: NatsServer) -> bytes:
    """Return what the stream answers to a direct get, with the lines of the protocol around it."""
    with socket.create_connection((server.host, server.port), timeout=PATIENCE) as connection:
        lines = connection.makefile("rb")
        lines.readline()
        connection.sendall(b'CONNECT {"verbose": false, "headers": true}\r\nSUB me 1\r\n')
        connection.sendall(b"PUB $JS.API.DIRECT.GET.CONFD.config.worker.update me 0\r\n\r\n")
        head = lines.readline()
        return lines.read(int(head.split()[-1])) if head.startswith(b"HMSG") else head


class OfflineStartTests(SynchronousTestCase):
    """C{NATS_STREAM}, and the keys in the cache of an agent."""

    skip = missing("nats-server")

    def test_newest_version_is_verified_and_applied(self) -> None:
        fleet, target = staged(self)
        folder = Path(self.mktemp()).resolve()
        server = NatsServer(folder, ("-js", "-sd", str(folder / "js")))
        self.addCleanup(server.stop)
        server.start()
        options = ("--distribution-strategy", "NATS", "--nats-url", server.url, "--nats-stream", "CONFD")
        controller, worker = fleet.controller(*options), fleet.worker()
        agent = fleet.agent(worker, "agent", *options)
        for process in (controller, worker, agent):
            process.start()
        self.assertEqual(fleet.publish({"url": f"{target}/one"}, wait="applied", timeout=60).status, 200)
        self.assertIn("announcements are kept", request("GET", f"{fleet.url}/ready").body.decode())
        # In order, so that the cache is written.
        agent.stop(signal.SIGTERM)
        self.assertEqual(fleet.publish({"url": f"{target}/two"}).status, 200)
        eventually(lambda: b'"version":"3"' in kept(server))
        controller.stop(signal.SIGKILL)
        agent.start()
        eventually(lambda: request("GET", f"{base_of(worker)}/config").json()["version"].endswith(".3"))
