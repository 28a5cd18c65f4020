"""A rollout over agents that write files: health after apply takes back a document that all checks let pass."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.fleet import ADMIN, Process, eventually, request, staged

#: The bake outlasts the test, as only the failure may end the rollout.
PLAN = {"name": "pair", "waves": [{"count": 2}], "bake": 600}

OLD, BAD = ({"url": "http://127.0.0.1/", "upstream": name} for name in ("old", "bad"))

AGENTS = [f"web-{number}" for number in range(1, 5)]


class HealthTests(SynchronousTestCase):
    """Agents whose service loses the upstream C{bad} some time after the apply."""

    def setUp(self) -> None:
        self.fleet, _ = staged(self)
        self.fleet.folder.chmod(0o755)
        self.fleet.controller().start()
        self.dead = self.fleet.folder / "dead"
        for process in [self.agent(name) for name in AGENTS]:
            process.start()
        done = self.fleet.publish(OLD, wait="applied", timeout=60)
        self.assertEqual(done.status, 200, done.body)
        self.assertEqual(request("POST", f"{self.fleet.url}/api/v1/plans", PLAN, ADMIN).status, 200)

    def agent(self, name: str) -> Process:
        """Add an agent with an id; its reload keeps each content of the file."""
        (self.fleet.folder / f"{name}.cache.id").write_text(f"{name}\n")
        health = f"grep -q old $CONFD_FILE || test ! -e {self.dead} || {{ echo no upstream answers; exit 1; }}"
        return self.fleet.agent(
            "http://127.0.0.1:1", name, "--distribution-strategy", "STREAM", "--outputs", "FILE",
            "--file-path", str(self.file(name)), "--file-test", "sh -c 'grep -q upstream $CONFD_FILE'",
            "--file-reload", "sh -c 'cat $CONFD_FILE >> $CONFD_FILE.seen'", "--file-health", f"sh -c '{health}'",
            "--file-health-interval", "1", "--file-health-timeout", "1", "--file-health-failures", "2",
        )  # fmt: skip

    def file(self, name: str) -> Path:
        """Return the path of an agent's file."""
        return self.fleet.folder / f"{name}.json"

    def seen(self, name: str) -> list[Any]:
        """Return the documents that the service of an agent read, in this order."""
        text, found, decoder = Path(f"{self.file(name)}.seen").read_text().strip(), [], json.JSONDecoder()
        while text:
            document, end = decoder.raw_decode(text)
            found.append(document)
            text = text[end:].strip()
        return found

    def ask(self, path: str) -> Any:
        """Return the answer to a GET."""
        return request("GET", f"{self.fleet.url}/api/v1{path}", auth=ADMIN).json()

    def test_late_failure_of_health_takes_the_document_back(self) -> None:
        """The exposed agents write the old file again, and no other agent touches its file."""
        before = {name: self.file(name).stat() for name in AGENTS}
        self.assertEqual(self.fleet.publish(BAD, rollout="pair").status, 202)
        eventually(lambda: self.ask("/rollouts/1")["waves"][0]["applied"] == 2)
        self.dead.touch()
        eventually(lambda: self.ask("/rollouts/1")["ended_at"])
        rollout = self.ask("/rollouts/1")
        self.assertEqual((rollout["state"], rollout["reason"], rollout["wave"]), ("aborted", "failures", 1))
        eventually(lambda: self.ask("/config/convergence")["applied"] == len(AGENTS))
        members = {each["id"]: each for each in self.ask("/rollouts/1/agents")["items"]}
        self.assertEqual(len(members), 2)
        failed = [each["error"] for each in members.values() if each["outcome"] == "failed"]
        self.assertTrue(failed, members)
        for error in failed:
            self.assertIn("Applied, but the health check failed 2 times in a row", error)
            self.assertIn("no upstream answers", error)
        for name in AGENTS:
            self.assertEqual(json.loads(self.file(name).read_text()), OLD)
            after = self.file(name).stat()
            if name in members:
                self.assertEqual(self.seen(name), [OLD, BAD, OLD])
            else:
                self.assertEqual(self.seen(name), [OLD])
                self.assertEqual((after.st_ino, after.st_mtime_ns), (before[name].st_ino, before[name].st_mtime_ns))
