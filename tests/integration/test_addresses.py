"""A fleet that knows itself by IPv6 literals."""

from __future__ import annotations

import socket
import unittest
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.fleet import ADMIN, Fleet, eventually, free_port, request


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@unittest.skipUnless(_has_ipv6(), "this machine has no IPv6 loopback")
class Ipv6Tests(SynchronousTestCase):
    """Controller, agent and worker on C{::1}."""

    def test_a_change_arrives_and_is_fetched(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        fleet = Fleet(folder.resolve())
        self.addCleanup(fleet.close)
        controller, worker = f"http://[::1]:{fleet.port}", f"http://[::1]:{(port := free_port())}"
        arguments = ["confd-controller", "--listen", f"tcp:{fleet.port}:interface=::1", "--default-poll-interval", "1"]
        fleet.add("controller", arguments, f"{controller}/ready").start()
        fleet.add("worker", ["confd-worker", "--listen", f"tcp:{port}:interface=[::1]"], f"{worker}/health").start()
        addresses = {"CONFD_CONTROLLER_URL": controller, "CONFD_WORKER_URL": worker, "WORKER_PORT": "tcp://10.0.0.1:1"}
        fleet.add("agent", ["confd-agent"], **addresses).start()
        answer = request("POST", f"{controller}/api/v1/config", {"url": f"{controller}/health"}, ADMIN)
        self.assertEqual(answer.status, 200)
        eventually(lambda: request("GET", f"{worker}/hit").body == b'{"status":"ok"}')
