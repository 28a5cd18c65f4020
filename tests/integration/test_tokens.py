"""The token of an agent, in real processes."""

from __future__ import annotations

import stat
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.fleet import ADMIN, Response, eventually, hit, request, staged


class TokenTests(SynchronousTestCase):
    """A controller, a worker, and an agent with its token."""

    def setUp(self) -> None:
        self.fleet, self.target = staged(self)
        self.folder = self.fleet.folder
        self.controller = self.fleet.controller().start()
        self.worker = self.fleet.worker().start()
        self.agent = self.fleet.agent(self.worker, "agent", "--distribution-strategy", "STREAM", "--backoff-max", "1")
        self.agent.start()
        self.file = self.folder / "agent.cache.token"
        self.token = eventually(self.read)

    def read(self, other_than: str = "") -> str:
        """Wait until the agent has a token other than C{other_than}, and return it."""
        token = self.file.read_text() if self.file.exists() else ""
        return token if token != other_than else ""

    def admin(self, method: str, path: str) -> Response:
        """Send a request as admin."""
        return request(method, f"{self.fleet.url}/api/v1{path}", auth=ADMIN)

    def the_agent(self) -> Any:
        """Return the agent from the controller."""
        [agent] = self.admin("GET", "/agents").json()
        return agent

    def arrives(self, path: str) -> None:
        """Publish another page, and wait until the worker fetches it."""
        self.assertEqual(self.fleet.publish({"url": f"{self.target}/{path}"}).status, 200)
        eventually(lambda: hit(self.worker) == f"/{path}")

    def test_shared_password_changed(self) -> None:
        """A new shared password does not affect an agent with a token, also after a restart; its file is private."""
        self.assertEqual(stat.S_IMODE(self.file.stat().st_mode), 0o600)
        self.controller.stop()
        self.controller = self.fleet.controller("--agent-password", "another-one").start()
        self.arrives("after-the-change")
        self.agent.stop()
        self.agent.start()
        self.arrives("after-a-restart")
        eventually(lambda: self.the_agent()["state"] == "applied")
        self.assertEqual(self.file.read_text(), self.token)

    def test_forgotten(self) -> None:
        """A forgotten agent registers again, with its id and a new token."""
        agent_id = self.the_agent()["id"]
        self.assertEqual(self.admin("DELETE", f"/agents/{agent_id}").status, 200)
        eventually(lambda: self.read(self.token))
        self.assertEqual(self.the_agent()["id"], agent_id)
        self.arrives("after-it-came-back")

    def test_blocked(self) -> None:
        """A blocked agent keeps its configuration, and returns by itself after the unblock."""
        # The controller links a stream from before the registration to the agent at the next heartbeat.
        self.agent.stop()
        self.agent.start()
        self.arrives("before")
        agent_id = self.the_agent()["id"]
        self.assertEqual(self.admin("DELETE", f"/agents/{agent_id}?block=true").status, 200)
        eventually(lambda: f"The agent {agent_id} is blocked" in self.agent.log)
        self.fleet.publish({"url": f"{self.target}/meanwhile"})
        self.assertEqual((self.admin("GET", "/agents").json(), hit(self.worker)), ([], "/before"))
        self.assertEqual(self.admin("DELETE", f"/blocked/{agent_id}").status, 200)
        eventually(lambda: hit(self.worker) == "/meanwhile")
        eventually(lambda: self.read(self.token))
        self.assertEqual(self.the_agent()["id"], agent_id)
