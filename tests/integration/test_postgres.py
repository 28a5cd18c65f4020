"""A controller on PostgreSQL, an agent and a worker: real processes. The controller and the server are killed."""

from __future__ import annotations

import signal

from twisted.trial.unittest import SynchronousTestCase

from tests.controller.store.postgres.server import PostgresServer, shared_server
from tests.integration.fleet import ADMIN, AGENT, eventually, request, staged


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
        controller.environ = {"DATABASE_URL": url, "DATABASE_INIT": "true"}
        controller.start()
        agent = fleet.agent(worker).start()
        self.assertEqual(fleet.publish({"url": f"{address}/2"}).status, 200)
        self.applied(fleet.url, 2)
        controller.stop(signal.SIGKILL)
        # The row of the killed process keeps this one waiting for a moment.
        controller.start()
        self.assertEqual(fleet.current()["version"], 2)
        server.stop(signal.SIGQUIT)
        refused = fleet.publish({"url": f"{address}/3"})
        self.assertEqual((refused.status, refused.json()["code"]), (503, "storage_unavailable"))
        self.assertEqual(fleet.current()["version"], 2)
        self.assertNotIn("confd@", controller.log)
        server.start()
        eventually(controller.up)
        self.assertEqual(fleet.publish({"url": f"{address}/4"}).status, 200)
        self.applied(fleet.url, 3)
        history = request("GET", f"{fleet.url}/api/v1/config/history", auth=ADMIN).json()
        self.assertEqual([each["version"] for each in history["items"]], [3, 2, 1])
        self.assertEqual((agent.stop(), controller.stop()), (0, 0))

    def applied(self, url: str, version: int) -> None:
        """Wait until the agent has applied a version."""

        def counts() -> bool:
            found = request("GET", f"{url}/api/v1/config/convergence", auth=ADMIN)
            return found.status == 200 and (found.json()["version"], found.json()["applied"]) == (version, 1)

        eventually(counts)
        self.assertEqual(request("GET", f"{url}/api/v1/config", auth=AGENT).json()["version"], version)
