"""An output of another package: the example of the documentation, installed beside confd and run."""

from __future__ import annotations

import json
from contextlib import ExitStack

from tests.integration.examples import InstalledExample
from tests.integration.fleet import Fleet, eventually


class ReleasesTests(InstalledExample):
    """C{docs/examples/confd-releases}."""

    example = "confd-releases"

    def start(self) -> Fleet:
        stack = ExitStack()
        self.addCleanup(stack.close)
        fleet = Fleet(self.folder)
        stack.callback(fleet.close)
        self.agent = fleet.agent("http://127.0.0.1:1", "agent", "--outputs", "releases", ops=True)
        self.agent.environ = {"PYTHONPATH": self.path, "RELEASES_FOLDER": str(self.folder / "releases")}
        return fleet

    def current(self) -> object:
        file = self.folder / "releases" / "current" / "config.json"
        return json.loads(file.read_text()) if file.is_file() else None

    def test_an_agent_puts_each_document_into_the_output(self) -> None:
        """The output repairs a foreign change, and needs no worker."""
        (self.folder / "releases").mkdir()
        fleet = self.start()
        fleet.controller("--default-config", '{"url": "http://a/1"}').start()
        self.agent.start()
        eventually(lambda: self.current() == {"url": "http://a/1"})
        fleet.publish({"url": "http://a/2"})
        eventually(lambda: self.current() == {"url": "http://a/2"})
        (self.folder / "releases" / "current" / "config.json").write_text("{}")
        eventually(lambda: self.current() == {"url": "http://a/2"})

    def test_mistakes_and_its_own_tests(self) -> None:
        """
        The error of an unknown name lists the output, and a mistake in its settings is reported at the start.

        The tests of the example pass; they include the contract of outputs.
        """
        fleet = self.start()
        for outputs, said in (("PIGEON", "choose from FILE, HTTP, RELEASES."), ("RELEASES", "RELEASES_FOLDER: is not")):
            agent = fleet.agent("http://127.0.0.1:1", outputs.lower(), "--outputs", outputs)
            agent.environ = {"PYTHONPATH": self.path}
            agent.start(wait=False)
            self.assertRaises(AssertionError, eventually, agent.up)
            self.assertIn(said, agent.log)
            self.assertNotIn("Traceback", agent.log)
        self.assertIn("PASSED (successes=16)", self.run_its_tests())
