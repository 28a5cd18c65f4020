"""A controller, and an agent that writes the files of real services."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase

from tests.integration.fleet import ADMIN, Fleet, Process, Response, base_of, eventually, request, staged

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"


@define(eq=False)
class FileFleet:
    """
    A controller and an agent with FILE outputs.

    @ivar fleet: The processes.
    @ivar agent: The agent that L{run} started last.
    """

    fleet: Fleet
    agent: Process = field(init=False)

    @property
    def folder(self) -> Path:
        """The folder of everything; only its owner can change it."""
        return self.fleet.folder

    def place(self, name: str, text: str, mode: int = 0o644) -> str:
        """
        Write a file that belongs to the operator; return its path.

        @param name: Relative to the folder; missing folders are made.
        """
        path = self.folder / name
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        path.parent.chmod(0o755)
        path.write_text(text)
        path.chmod(mode)
        return str(path)

    def example(self, name: str, where: str = "") -> str:
        """Copy an example from the documentation; return the path of the copy."""
        source = EXAMPLES / name
        return self.place(where or source.name, source.read_text(), source.stat().st_mode & 0o755)

    def settings(self, example: str, changes: dict[str, str]) -> str:
        """
        Place an example of C{outputs.toml} with other words; return its path.

        @param changes: New words by old words; each old word must occur.
        """
        text = (EXAMPLES / example).read_text()
        for old, new in changes.items():
            assert old in text, old
            text = text.replace(old, new)
        return self.place("outputs.toml", text)

    def start(
        self,
        *options: str,
        outputs: str = "FILE",
        worker: str = "http://127.0.0.1:1",
        before: Sequence[str] = (),
    ) -> Process:
        """
        Start an agent; return it when it is up.

        @param before: Words before its command line.
        """
        fast = ("--distribution-strategy", "STREAM", "--outputs", outputs, "--backoff-max", "1")
        self.agent = self.fleet.agent(worker, "agent", *fast, *options, ops=True)
        self.agent.before = list(before)
        return self.agent.start()

    def publish(self, **members: object) -> str:
        """Publish a document with some members; return its tag."""
        answer = self.fleet.publish({"url": "http://127.0.0.1/"} | members)
        assert answer.status == 200, answer.body
        return answer.headers["etag"].strip('"')

    def report(self) -> dict[str, Any]:
        """Return what the controller knows of the agent."""
        agents: list[dict[str, Any]] = request("GET", f"{self.fleet.url}/api/v1/agents", auth=ADMIN).json()
        return agents[0] if agents else {}

    def ready(self) -> Response:
        """Return what the agent says of itself."""
        return request("GET", f"{base_of(self.agent)}/ready")

    def applied(self, tag: str, since: str = "") -> None:
        """
        Wait until the agent reports a tag as applied.

        @param since: Earlier reports do not count; a time of RFC 3339.
        @raise AssertionError: if the report does not arrive.
        """
        self._await(
            lambda found: (
                found["state"] == "applied" and found["applied_tag"] == tag and (found["reported_at"] or "") >= since
            )
        )

    def failed(self, words: str) -> str:
        """
        Wait until the agent reports that the newest version failed; return its sentence.

        @param words: The sentence contains them.
        @raise AssertionError: if the report does not arrive.
        """
        self._await(lambda found: found["state"] == "failed" and words in (found["error"] or ""))
        return str(self.report()["error"])

    def applying(self, words: str) -> None:
        """
        Wait until the agent reports that it cannot apply the newest version now.

        @param words: Its sentence contains them.
        @raise AssertionError: if the report does not arrive.
        """
        self._await(lambda found: found["state"] == "applying" and words in (found["error"] or ""))

    def _await(self, expected: Any) -> None:
        try:
            eventually(lambda: (found := self.report()) and expected(found))
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.report()}\n{self.agent.log[-3000:]}") from None


def file_fleet(case: SynchronousTestCase) -> FileFleet:
    """Return a fleet whose controller runs; everything ends with the test."""
    fleet, _ = staged(case)
    fleet.folder.chmod(0o755)
    fleet.controller().start()
    return FileFleet(fleet)
