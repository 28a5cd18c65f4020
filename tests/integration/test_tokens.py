"""An agent's own token, through real processes."""

from __future__ import annotations

import stat
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.fleet import ADMIN, Response, eventually, hit, request, staged


class TokenTests(SynchronousTestCase):
    """One controller, one worker, one agent that has been given its token."""

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
        """The token that the agent keeps, once it is another one."""
        token = self.file.read_text() if self.file.exists() else ""
        return token if token != other_than else ""

    def admin(self, method: str, path: str) -> Response:
        """Ask for something as an operator."""
        return request(method, f"{self.fleet.url}/api/v1{path}", auth=ADMIN)

    def the_agent(self) -> Any:
        """The one agent of the list."""
        [agent] = self.admin("GET", "/agents").json()
        return agent

    def arrives(self, path: str) -> None:
        """Publish something else to fetch, and wait until it is fetched."""
        self.assertEqual(self.fleet.publish({"url": f"{self.target}/{path}"}).status, 200)
        eventually(lambda: hit(self.worker) == f"/{path}")

    def test_shared_password_changed(self) -> None:
        """Agents that have their tokens do not notice, and not when they are restarted; it is theirs alone to read."""
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
        """It joins again by itself, under its id and with a new token."""
        agent_id = self.the_agent()["id"]
        self.assertEqual(self.admin("DELETE", f"/agents/{agent_id}").status, 200)
        eventually(lambda: self.read(self.token))
        self.assertEqual(self.the_agent()["id"], agent_id)
        self.arrives("after-it-came-back")

    def test_blocked(self) -> None:
        """It stays out, keeps what it has, and comes back by itself once it may."""
        # A stream that was opened before the agent was registered is not known to be its own until the next heartbeat.
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
